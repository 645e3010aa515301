package badgerstore

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// TestMods: whatever it remembers is what was said last, and it remembers most of what there
// is room for.
func TestMods(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var m mods
	key := func(n int) state.Key { return state.JobKey(authz.JobID(fmt.Sprint("job-", n))) }
	if _, ok := m.get(key(0)); ok {
		t.Error("it remembers what nobody said")
	}
	last := map[int]authz.Revision{}
	for step := range 1_000_000 {
		n := r.IntN(2 * modSets * modWays)
		if mod, ok := m.get(key(n)); ok && mod != last[n] {
			t.Fatalf("step %d: %v was changed at %d, and it says %d", step, key(n), last[n], mod)
		}
		last[n] = authz.Revision(r.IntN(3)) // zero: it is gone
		m.set(key(n), last[n])
		if mod, ok := m.get(key(n)); !ok || mod != last[n] {
			t.Fatalf("step %d: %v was changed at %d, and it says %d, %v", step, key(n), last[n], mod, ok)
		}
	}
	kept := 0
	for n := range last {
		if _, ok := m.get(key(n)); ok {
			kept++
		}
	}
	if kept < modSets*modWays*9/10 {
		t.Errorf("it remembers %d records and has room for %d", kept, modSets*modWays)
	}
}

// TestKnown: what is there may be there, whatever came and went, and of what is not there
// nearly everything is known not to be.
func TestKnown(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	k := &known{seed: maphash.MakeSeed()}
	key := func(n int) state.Key { return state.JobKey(authz.JobID(fmt.Sprint("job-", n))) }
	there := map[int]bool{}
	for step := range 400_000 {
		n := r.IntN(100_000)
		switch {
		case there[n] && step%3 > 0:
			k.remove(key(n))
			delete(there, n)
		case !there[n]:
			k.add(key(n))
			there[n] = true
		}
		if m := r.IntN(100_000); there[m] && !k.maybe(key(m)) {
			t.Fatalf("step %d: %v is there", step, key(m))
		}
	}
	guesses := 0
	for n := range 100_000 {
		switch maybe := k.maybe(key(n)); {
		case there[n] && !maybe:
			t.Fatalf("%v is there", key(n))
		case maybe && !there[n]:
			guesses++
		}
	}
	if guesses > 500 {
		t.Errorf("%d wrong guesses among %d", guesses, 100_000-len(there))
	}
	left := 0
	for i := range k.shards {
		left += k.shards[i].n
	}
	if left != len(there) {
		t.Errorf("%d left of %d", left, len(there))
	}
	if !k.maybe(state.UserKey(1)) {
		t.Error("users are not known here")
	}
}

// TestKnownEqualHashes: of two records with one hash the other stays when one goes.
func TestKnownEqualHashes(t *testing.T) {
	k := &known{seed: maphash.MakeSeed()}
	key := state.JobKey("j")
	k.add(key)
	k.add(key) // stands for another record
	k.remove(key)
	if !k.maybe(key) {
		t.Error("the other one is gone")
	}
	k.remove(key)
	k.remove(key)
	if k.maybe(key) {
		t.Error("it is still there")
	}
}
