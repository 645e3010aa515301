package lease

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

var seed = flag.Uint64("seed", 0, "the seed of the random tests, as a failure prints it; zero for many new ones")

// seeds runs a random test with many seeds, or with the one asked for.
func seeds(t *testing.T, n int, f func(t *testing.T, r *rand.Rand)) {
	if *seed != 0 {
		n = 1
	}
	for range n {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		f(t, rand.New(rand.NewPCG(s, 0)))
		if t.Failed() {
			t.Fatalf("again with: go test ./internal/lease -run '^%s$' -seed %d", t.Name(), s)
		}
	}
}

// naive is a grantor that never forgets anything: it writes down what happened, and
// looks through all of it for every question. It knows nothing of queues and buckets.
type naive struct {
	gens    map[Generation]*naiveGen
	changes []Change
	waits   []naiveWait
}

type naiveGen struct {
	owner string
	ends  Instant
	over  bool
	// answers, newest last, and which were taken out of the interest since, by key.
	answers []naiveAnswer
	gone    map[int]map[authz.Key]bool
	acked   authz.Revision
	cut     bool
}

type naiveAnswer struct {
	rev    authz.Revision
	number uint64
	keys   []authz.Key
}

// naiveWait: this generation is waited for by the receipt of rev.
type naiveWait struct {
	rev   authz.Revision
	gen   Generation
	until Instant
	how   string // how it ended, empty while it is waited for
}

// rests tells whether a generation rests on k.
func (g *naiveGen) rests(k authz.Key) bool {
	for i, a := range g.answers {
		if slices.Contains(a.keys, k) && !g.gone[i][k] {
			return true
		}
	}
	return false
}

// leave takes k out if all answers that rest on it are as old as asked for.
func (g *naiveGen) leave(k authz.Key, old func(naiveAnswer) bool) {
	for i, a := range g.answers {
		if slices.Contains(a.keys, k) && !g.gone[i][k] && !old(a) {
			return
		}
	}
	for i := range g.answers {
		if g.gone[i] == nil {
			g.gone[i] = map[authz.Key]bool{}
		}
		g.gone[i][k] = true
	}
}

func (n *naive) commit(c Change) (concerns int) {
	n.changes = append(n.changes, c)
	for id, g := range n.gens {
		if !g.over && slices.ContainsFunc(c.Keys, g.rests) {
			concerns++
			n.waits = append(n.waits, naiveWait{rev: c.Revision, gen: id, until: g.ends})
		}
	}
	return concerns
}

func (n *naive) ack(id Generation, rev authz.Revision) {
	g := n.gens[id]
	for i := range n.waits {
		w := &n.waits[i]
		if w.gen != id || w.rev > rev || w.rev <= g.acked {
			continue
		}
		if w.how == "" {
			w.how = "acked"
		}
		for _, k := range n.changes[w.rev-1].Keys {
			g.leave(k, func(a naiveAnswer) bool { return a.rev < w.rev })
		}
	}
	g.acked = max(g.acked, rev)
}

func (n *naive) end(id Generation, how string) {
	n.gens[id].over = true
	for i := range n.waits {
		if w := &n.waits[i]; w.gen == id && w.how == "" {
			w.how = how
		}
	}
}

func (n *naive) tick(now Instant) {
	for i := range n.waits {
		if w := &n.waits[i]; w.how == "" && now >= w.until {
			w.how = "lapsed"
		}
	}
	for id, g := range n.gens {
		if !g.over && now >= g.ends {
			n.end(id, "lapsed")
		}
	}
}

func (n *naive) receipt(rev authz.Revision) (acked, lapsed, pending int) {
	for _, w := range n.waits {
		switch {
		case w.rev != rev:
		case w.how == "acked":
			acked++
		case w.how == "lapsed":
			lapsed++
		default:
			pending++
		}
	}
	return acked, lapsed, pending
}

func (n *naive) meets(rev authz.Revision, keys []authz.Key) bool {
	return slices.ContainsFunc(n.changes, func(c Change) bool { return c.Revision > rev && meet(c.Keys, keys) })
}

// TestRandomAgainstNaive drives a Grantor and the naive one alike: they agree on whom
// each change concerns, on verdicts and on every receipt (L5, L6, L7, L8).
func TestRandomAgainstNaive(t *testing.T) { seeds(t, 400, againstNaive) }

func againstNaive(t *testing.T, r *rand.Rand) {
	draw := uint64(0)
	g := NewGrantor(GrantorConfig{Head: Mark{Epoch: 1}, Draw: func() uint64 { draw++; return draw }})
	n := &naive{gens: map[Generation]*naiveGen{}}
	now, head := Instant(0), authz.Revision(0)
	owners := []string{"a", "b", "c"}
	numbers, sent := map[Generation]uint64{}, map[Generation]authz.Revision{}
	some := func() []authz.Key {
		keys := make([]authz.Key, 1+r.IntN(3))
		for i := range keys {
			keys[i] = authz.ProjectKey(authz.ProjectID(r.IntN(6)))
		}
		slices.Sort(keys)
		return slices.Compact(keys)
	}
	for step := range 300 {
		id := Generation(r.Uint64N(draw + 1))
		ng := n.gens[id]
		live := ng != nil && !ng.over
		owner := owners[r.IntN(len(owners))]
		if ng != nil && r.IntN(10) > 0 {
			owner = ng.owner
		}
		mine := live && owner == ng.owner
		switch what := r.IntN(20); {
		case what == 0:
			id := g.Hello(now, owner, Hello{})
			n.gens[id] = &naiveGen{owner: owner, ends: now.Add(GrantorTerm(DefaultTerm)), gone: map[int]map[authz.Key]bool{}}
		case what < 3:
			now = now.Add(time.Duration(r.Int64N(int64(2 * time.Second))))
		case what < 6:
			head++
			keys := some()
			told, want := g.Commit(now, Mark{Epoch: 1, Revision: head}, keys), n.commit(Change{head, keys})
			if told != want {
				t.Errorf("step %d: revision %d concerns %d, the naive grantor says %d", step, head, told, want)
			}
		case what < 12:
			rev, keys := head-min(head, authz.Revision(r.IntN(3))), some()
			number, v := g.Interest(now, id, owner, rev, keys)
			want := Uncacheable
			if mine && !ng.cut && now < ng.ends {
				if want = Cacheable; n.meets(rev, keys) {
					want = JudgeAgain
				}
			}
			if v != want {
				t.Errorf("step %d: verdict %d, the naive grantor says %d", step, v, want)
			}
			if v == Cacheable {
				numbers[id] = number
				ng.answers = append(ng.answers, naiveAnswer{rev, number, keys})
			}
		case what < 15:
			ms, _ := g.Take(id)
			for _, m := range ms {
				if m.Kind == Invalidation {
					sent[id] = m.Revision
				}
			}
			rev := sent[id] - min(sent[id], authz.Revision(r.IntN(2)))
			g.Ack(id, owner, rev)
			if mine {
				n.ack(id, rev)
			}
		case what == 15:
			keys, number := some(), numbers[id]-min(numbers[id], r.Uint64N(3))
			g.Forget(id, owner, keys, number)
			for _, k := range keys {
				if mine {
					ng.leave(k, func(a naiveAnswer) bool { return a.number <= number })
				}
			}
		case what == 16:
			g.Release(id, owner)
			if mine {
				n.end(id, "acked")
			}
		case what == 17:
			g.Broken(id)
			if live {
				ng.cut = true
			}
		default:
			before, ok := g.Info(id)
			g.Renew(now, id, owner, 1)
			after, _ := g.Info(id)
			if ok && after.Ends != before.Ends {
				if !mine || ng.cut || now >= ng.ends {
					t.Errorf("step %d: renewed: %+v", step, before)
				}
				ng.ends = after.Ends
			}
		}
		g.Tick(now)
		n.tick(now)
		agree(t, step, g, n, now, head)
		if t.Failed() {
			return
		}
	}
}

func agree(t *testing.T, step int, g *Grantor, n *naive, now Instant, head authz.Revision) {
	t.Helper()
	for rev := range head + 1 {
		got := g.Receipt(now, rev)
		a, l, p := n.receipt(rev)
		if got.Acked != a || got.Lapsed != l || got.Pending != p || got.Effective != (p == 0) {
			t.Errorf("step %d: receipt %+v, the naive grantor says acked %d, lapsed %d, pending %d", step, got, a, l, p)
		}
	}
	checkGrantor(t, fmt.Sprint("step ", step), g, now)
}

// checkGrantor looks at what must hold in a Grantor whatever it was fed.
func checkGrantor(t *testing.T, when string, g *Grantor, now Instant) {
	t.Helper()
	pending := map[authz.Revision]int{}
	for i, x := range g.order {
		if g.tenures[x.id] != x || i > 0 && g.order[i-1].opened >= x.opened {
			t.Errorf("%s: order and tenures differ at %v", when, x.id)
		}
		for k := range x.rests {
			found := false
			g.interests.each(k, func(o *tenure) { found = found || o == x })
			if !found {
				t.Errorf("%s: %v rests on %v, and the index does not say so", when, x.id, k)
			}
		}
		for j, o := range x.owed {
			if !o.counted {
				pending[o.receipt.revision]++
				if o.until > x.ends {
					t.Errorf("%s: waits for %v longer than its lease", when, x.id)
				}
			}
			if j > 0 && x.owed[j-1].revision >= o.revision {
				t.Errorf("%s: owed out of order", when)
			}
		}
		for _, r := range x.waits {
			pending[r.revision]++
		}
		if x.sent > x.queued || x.queued > g.head.Revision {
			t.Errorf("%s: sent %d, queued %d, head %d", when, x.sent, x.queued, g.head.Revision)
		}
	}
	if len(g.order) != len(g.tenures) {
		t.Errorf("%s: %d in order, %d tenures", when, len(g.order), len(g.tenures))
	}
	indexed := 0
	for k := range g.interests.of {
		g.interests.each(k, func(x *tenure) {
			indexed++
			if _, ok := x.rests[k]; !ok || g.tenures[x.id] != x {
				t.Errorf("%s: the index has %v at %v", when, x.id, k)
			}
		})
	}
	for rev, r := range g.receipts.of {
		if r.pending != pending[rev] || r.acked < 0 || r.lapsed < 0 {
			t.Errorf("%s: receipt %+v, and %d owe it", when, *r, pending[rev])
		}
		if g.Receipt(now, rev).Effective && pending[rev] != 0 {
			t.Errorf("%s: receipt %d is effective, and %d owe it", when, rev, pending[rev])
		}
	}
}

// TestRandomGarbage feeds a Grantor calls of every kind with arguments of every kind,
// small bounds, and checks after each what must hold; a well-behaved generation beside
// it is waited for as ever (L3, L8).
func TestRandomGarbage(t *testing.T) { seeds(t, 400, garbage) }

func garbage(t *testing.T, r *rand.Rand) {
	draw := uint64(0)
	g := NewGrantor(GrantorConfig{Head: Mark{Epoch: 1, Revision: 3}, MaxInterest: 1 + r.IntN(5), MaxQueue: 2 + r.IntN(5), MaxRecent: 1 + r.IntN(5),
		Draw: func() uint64 { draw++; return draw / 2 }}) // repeats itself, begins with zero
	now, head := Instant(0), authz.Revision(3)
	good := g.Hello(now, "good", Hello{})
	goodKey := authz.ProjectKey(1)
	g.Interest(now, good, "good", head, []authz.Key{goodKey})
	some := func() []authz.Key {
		keys := make([]authz.Key, r.IntN(5))
		for i := range keys {
			keys[i] = authz.Key(r.Uint64() >> r.IntN(64))
			if r.IntN(2) == 0 {
				keys[i] = authz.ProjectKey(authz.ProjectID(2 + r.IntN(4)))
			}
		}
		return keys
	}
	rev := func() authz.Revision { return authz.Revision(r.Uint64() >> r.IntN(64)) }
	for step := range 200 {
		id, owner := Generation(r.Uint64N(draw+2)), []string{"a", "b", ""}[r.IntN(3)]
		switch r.IntN(13) {
		case 0:
			g.Hello(now, owner, Hello{Seen: Mark{Epoch: 1}, Vouch: r.IntN(2) == 0, Applied: rev(), Keys: some()})
		case 1:
			g.Ack(id, owner, rev())
		case 2:
			g.Forget(id, owner, some(), r.Uint64()>>r.IntN(64))
		case 3:
			g.Renew(now, id, owner, r.Uint64())
		case 4:
			g.Release(id, owner)
		case 5, 6, 7:
			g.Interest(now, id, owner, min(rev(), head+1), some())
		case 8, 9:
			head++
			g.Commit(now, Mark{Epoch: 1, Revision: head}, some())
		case 10:
			if id != good {
				g.Broken(id)
			}
		case 11:
			for _, id := range g.Ready() {
				if id != good {
					g.Take(id)
				}
			}
			g.Heartbeats()
		case 12:
			if now = now.Add(time.Duration(r.IntN(100)) * time.Millisecond); now < Instant(GrantorTerm(DefaultTerm)) {
				g.Tick(now)
			}
		}
		checkGrantor(t, fmt.Sprint("step ", step), g, min(now, Instant(GrantorTerm(DefaultTerm))-1))
		if t.Failed() {
			return
		}
	}
	head++
	g.Commit(now, Mark{Epoch: 1, Revision: head}, []authz.Key{goodKey})
	if got := g.Receipt(now, head); got.Pending != 1 && now < Instant(GrantorTerm(DefaultTerm)) {
		t.Errorf("the good one is not waited for: %+v", got)
	}
	if g.Tick(now.Add(GrantorTerm(DefaultTerm))); !g.Receipt(now, head).Effective {
		t.Errorf("a receipt that does not end: %+v", g.Receipt(now, head))
	}
}

// TestDeterministic: the same calls give the same messages in the same order, so that a
// simulation runs again from its seed. Found in review: the order came from maps.
func TestDeterministic(t *testing.T) {
	run := func() string {
		draw := uint64(100)
		g := NewGrantor(GrantorConfig{Head: Mark{Epoch: 1}, Draw: func() uint64 { draw--; return draw }})
		for i := range 30 {
			id := g.Hello(0, "a", Hello{})
			g.Interest(0, id, "a", 0, []authz.Key{authz.TheInstance, authz.ProjectKey(authz.ProjectID(i % 3))})
		}
		g.Ready()
		out := ""
		take := func() {
			for _, id := range g.Ready() {
				ms, _ := g.Take(id)
				out += fmt.Sprintln(id, ms)
			}
		}
		g.Commit(0, Mark{Epoch: 1, Revision: 1}, []authz.Key{authz.ProjectKey(2), authz.TheInstance})
		take()
		g.Commit(0, Mark{Epoch: 1, Revision: 2}, nil)
		g.Heartbeats()
		take()
		g.Moving()
		take()
		out += fmt.Sprintln(g.Generations(), g.Tick(Instant(time.Hour)))
		take()
		return out
	}
	want := run()
	for range 10 {
		if got := run(); got != want {
			t.Fatalf("the same calls gave\n%s\nand\n%s", want, got)
		}
	}
}
