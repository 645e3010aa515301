package state

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// seeded is newRand for the tests inside the package: the flag is defined there.
func seeded(t *testing.T) *rand.Rand {
	seed, _ := strconv.ParseUint(flag.Lookup("seed").Value.String(), 10, 64)
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("run again with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestIndexAgreesWithAMap fills an index past many splits, with hashes of which some
// are equal and some differ only in their last bits, and empties it again.
func TestIndexAgreesWithAMap(t *testing.T) {
	r := seeded(t)
	ix, rows := newIndex(), make(map[uint32]uint32) // row to hash
	check := func() {
		t.Helper()
		byHash := make(map[uint32][]uint32)
		for row, h := range rows {
			byHash[h] = append(byHash[h], row)
		}
		for h, want := range byHash {
			var got []uint32
			for p := ix.probe(h); ; {
				row := p.next()
				if row == 0 {
					break
				}
				got = append(got, row)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("hash %x: got rows %v, want %v", h, got, want)
			}
		}
		for range 1000 {
			h := r.Uint32()
			if p := ix.probe(h); byHash[h] == nil && p.next() != 0 {
				t.Fatalf("hash %x, which nothing has, is found", h)
			}
		}
	}
	for row := uint32(1); row <= 20_000; row++ {
		h := r.Uint32()
		switch row % 4 {
		case 0:
			h &= 0xff // many of equal hash, at one end
		case 1:
			h |= 0xffffff00 // and at the other, so that pages wrap around
		}
		if row%4 < 2 && row > 1600 {
			h = r.Uint32()
		}
		rows[row] = h
		ix.insert(h, row)
	}
	check()
	if ix.depth < 4 {
		t.Fatalf("the directory has depth %d: nothing was split", ix.depth)
	}
	for row := range maps.Clone(rows) {
		if r.IntN(4) > 0 {
			ix.remove(rows[row], row)
			delete(rows, row)
		}
	}
	check()
	for row, h := range rows {
		ix.remove(h, row)
	}
	clear(rows)
	check()
	for _, pg := range ix.dir {
		if pg.n != 0 || pg.slots != [pageSlots]uint64{} {
			t.Fatal("an empty index has slots in use")
		}
	}
}

// TestPairsAgreeWithASortedList inserts and removes at random and in order, from an
// empty tree and from one built in one go, and reads from random places.
func TestPairsAgreeWithASortedList(t *testing.T) {
	r := seeded(t)
	for round := range 24 {
		tree, want := newPairs(), make(map[pair]bool)
		span := uint64(1) << (4 + 2*(round%8))
		random := func() pair { return pair{r.Uint64N(span), r.Uint64N(8) << (20 * (round % 3))} }
		for range r.IntN(12_000) {
			p := random()
			tree.insert(p)
			want[p] = true
		}
		tree.build()
		checkPairs(t, r, &tree, want)
		for range 4 {
			grow := r.IntN(2) == 0
			for i := range 6000 {
				p := random()
				if grow && i%2 == 0 {
					p = pair{span + uint64(i), 0} // at the end
				}
				if grow || r.IntN(10) == 0 {
					tree.insert(p)
					want[p] = true
				} else {
					tree.remove(p)
					delete(want, p)
				}
			}
			checkPairs(t, r, &tree, want)
		}
		for p := range maps.Clone(want) {
			tree.remove(p)
			delete(want, p)
		}
		checkPairs(t, r, &tree, want)
		if used := int(tree.leaves.next) - len(tree.leaves.free) - 1; used != 1 {
			t.Fatalf("an empty tree uses %d leaves", used)
		}
		if used := int(tree.inners.next) - len(tree.inners.free) - 1; used != 0 {
			t.Fatalf("an empty tree uses %d inner nodes", used)
		}
	}
}

func checkPairs(t *testing.T, r *rand.Rand, tree *pairs, want map[pair]bool) {
	t.Helper()
	sorted := slices.SortedFunc(maps.Keys(want), comparePairs)
	from := pair{}
	for range 50 {
		i, _ := slices.BinarySearchFunc(sorted, from, comparePairs)
		rest := sorted[i:]
		limit := len(rest)
		if r.IntN(4) > 0 {
			limit = min(limit, r.IntN(300))
		}
		var got []pair
		tree.scan(from, func(p pair) bool {
			got = append(got, p)
			return len(got) < limit
		})
		if limit == 0 && len(got) > 0 {
			got = got[:len(got)-1] // it was given one before it could say no
		}
		if !slices.Equal(got, rest[:limit]) {
			t.Fatalf("from %v: got %d pairs, want %d", from, len(got), limit)
		}
		if len(sorted) > 0 {
			from = sorted[r.IntN(len(sorted))]
			from.lo += uint64(r.IntN(2))
		}
	}
}

// TestTreesStayFull removes most pairs at random: leaves with little in them must
// merge, or memory would never come down.
func TestTreesStayFull(t *testing.T) {
	r := seeded(t)
	tree := newPairs()
	tree.build()
	perm := r.Perm(100_000)
	for _, n := range perm {
		tree.insert(pair{uint64(n), 0})
	}
	for _, n := range perm[:95_000] {
		tree.remove(pair{uint64(n), 0})
	}
	used := int(tree.leaves.next) - len(tree.leaves.free)
	if used > 4*5000/fan {
		t.Fatalf("%d leaves hold 5000 pairs", used)
	}
}

// TestTextAgreesWithAMap writes, changes and clears entries of all lengths and checks
// that each row keeps its own through compactions, that strings read long ago do
// not change, and that the waste is bounded.
func TestTextAgreesWithAMap(t *testing.T) {
	r := seeded(t)
	const rows = 3000
	fields := make([]uint32, rows)
	want := make([]string, rows)
	tx := newText(func(o owner) *uint32 { return &fields[o.row] })
	type kept struct{ got, copy string }
	var early []kept
	for i := range 200_000 {
		row := r.IntN(rows)
		n := r.IntN(40)
		switch r.IntN(400) {
		case 0:
			n = r.IntN(3 * chunkBytes)
		case 1, 2, 3, 4:
			n = r.IntN(bigEntry)
		}
		s := strings.Repeat(string(rune('a'+i%26)), n)
		tx.set(owner{textKind(r.IntN(12)), uint32(row)}, s)
		want[row] = s
		if i%100 == 0 {
			got := tx.get(fields[row])
			early = append(early, kept{got, strings.Clone(got)})
		}
	}
	live := 0
	for row, s := range want {
		if got := tx.get(fields[row]); got != s {
			t.Fatalf("row %d has %d bytes %.20q, want %d bytes %.20q", row, len(got), got, len(s), s)
		}
		live += len(s)
	}
	for _, k := range early {
		if k.got != k.copy {
			t.Fatalf("a string that was read has become %.20q, it was %.20q", k.got, k.copy)
		}
	}
	held := 0
	for _, c := range tx.chunks {
		held += len(c.s)
	}
	if limit := live*3/2 + rows*12 + 2*chunkBytes; held > limit {
		t.Errorf("%d bytes are held for %d live ones, more than %d", held, live, limit)
	}
	for row := range uint32(rows) {
		tx.set(owner{0, row}, "")
	}
	for i, c := range tx.chunks {
		if c.live != 0 {
			t.Fatalf("chunk %d of an empty text has %d live bytes", i, c.live)
		}
	}
}

// TestSharedCounts holds and lets go of values and checks that the last one to let go
// frees them, and that nil and empty lists are told apart.
func TestSharedCounts(t *testing.T) {
	limits := newShared[policy.Limits]()
	values := []policy.Limits{
		{},
		{Permissions: []authz.Permission{}},
		{Targets: []authz.Scope{}},
		{Permissions: []authz.Permission{}, Targets: []authz.Scope{}},
		{Permissions: []authz.Permission{"a", "bc"}},
		{Permissions: []authz.Permission{"ab", "c"}},
		{Permissions: []authz.Permission{"abc"}},
		{Targets: []authz.Scope{authz.InProject(1), authz.InGroup(2)}},
		{Targets: []authz.Scope{authz.InGroup(1), authz.InProject(2)}},
	}
	var held []uint32
	for range 3 {
		for _, l := range values {
			i := limits.hold(limitsKey(nil, l), func() policy.Limits { return cloneLimits(l) })
			held = append(held, i)
			if got := limits.at(i); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", l) {
				t.Errorf("held %#v, got %#v", l, got)
			}
		}
	}
	if got, want := len(limits.byKey), len(values)-1; got != want {
		t.Errorf("%d values are kept, want %d", got, want)
	}
	for _, i := range held {
		limits.letGo(i)
	}
	if len(limits.byKey) != 0 || len(limits.free) != len(limits.vals)-1 {
		t.Errorf("after everybody let go %d values are kept, and %d of %d places are free",
			len(limits.byKey), len(limits.free), len(limits.vals)-1)
	}
}

// TestFind looks up every entry, and keys between them, in lists of all lengths.
func TestFind(t *testing.T) {
	for n := range 70 {
		var list []byte
		for i := range n {
			k := uint64(2*i+2) << roleBits
			list = append(list, byte(i), byte(k>>8), byte(k>>16), 0, 0, 0, 0, 0)
		}
		for key := range uint64(2*n + 4) {
			want := -1
			if key%2 == 0 && key >= 2 && int(key) <= 2*n {
				want = int(key-2) / 2 * memberBytes
			}
			if got := find(string(list), memberBytes, key, roleBits); got != want {
				t.Fatalf("%d entries, key %d: found at %d, want %d", n, key, got, want)
			}
		}
	}
}
