package replica

import (
	"context"
	"flag"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

var seeds = flag.Int("seeds", 12, "random worlds to try")
var first = flag.Uint64("seed", 1, "the first of them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trouble runs a world with random troubles for a while, and gives what was wrong.
func trouble(t *testing.T, seed uint64, fault Fault, deaf bool) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed, 2+int(seed%3), fault)
		w.deaf = deaf
		end := time.Now().Add(90 * time.Second)
		var running sync.WaitGroup
		for time.Now().Before(end) && !w.found() {
			w.event(&running)
			for range 1 + w.rnd.IntN(40) {
				time.Sleep(time.Duration(5+w.rnd.IntN(10)) * time.Millisecond)
				for _, n := range w.nodes {
					if w.rnd.IntN(20) == 0 {
						n.tend(w.rnd.IntN(2) == 0)
					}
					n.look()
				}
			}
		}
		for _, n := range w.nodes {
			n.mu.Lock()
			n.slow = false
			n.mu.Unlock()
			n.goOn()
			n.setStuck(false)
			n.setCut(false)
		}
		w.mu.Lock()
		clear(w.apart)
		w.mu.Unlock()
		running.Wait()
		w.stop()
		time.Sleep(time.Minute)
	})
	return w
}

// event is one thing that happens.
func (w *world) event(running *sync.WaitGroup) {
	n, other := w.nodes[w.rnd.IntN(len(w.nodes))], w.nodes[w.rnd.IntN(len(w.nodes))]
	switch w.rnd.IntN(18) {
	case 0, 1, 2, 3:
		running.Go(func() { w.commit(n) })
	case 4:
		n.setCut(true)
	case 5, 6:
		n.setCut(false)
	case 7:
		n.pause()
	case 8, 9:
		n.goOn()
	case 10:
		w.mu.Lock()
		if yes := w.rnd.IntN(2) == 0; yes {
			w.apart[[2]*node{n, other}] = true
		} else {
			clear(w.apart)
		}
		w.mu.Unlock()
	case 11:
		n.setStuck(w.rnd.IntN(2) == 0)
	case 12:
		n.mu.Lock()
		n.side.shut = !n.side.shut
		n.mu.Unlock()
	case 14: // the store is gone for everybody
		all := slices.Clone(w.nodes)
		for _, n := range all {
			n.setCut(true)
		}
		running.Go(func() {
			time.Sleep(3 * fence)
			for _, n := range all {
				n.setCut(false)
			}
		})
	case 16, 17:
		n.mu.Lock()
		n.slow = !n.slow
		n.harmed++
		n.mu.Unlock()
	case 15:
		n.mu.Lock()
		n.harmed++
		n.mu.Unlock()
		n.h.LoseAnswer()
	case 13: // it is killed, and a new one started; the sidecar of the old one believes on
		old := n.side
		n.end()
		for i := range w.nodes {
			if w.nodes[i] == n {
				fresh := w.start(n.name)
				w.mu.Lock()
				w.nodes[i] = fresh
				w.mu.Unlock()
			}
		}
		orphan := &node{w: w, name: n.name + " (orphan)", m: n.m, dead: true, side: old, origin: n.origin, rate: 1}
		running.Go(func() {
			for time.Now().Before(old.until) {
				orphan.look()
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// TestTroubles: whatever happens, nobody answers from before an effective receipt (P1, R8),
// and receipts come.
func TestTroubles(t *testing.T) {
	receipts := 0
	for i := range *seeds {
		w := trouble(t, *first+uint64(i), NoFault, false)
		if len(w.wrong) > 0 {
			t.Fatalf("-seed %d: %s", *first+uint64(i), strings.Join(w.wrong, "\n"))
		}
		receipts += w.receipts
	}
	t.Logf("%d receipts", receipts)
	if receipts < 20**seeds {
		t.Errorf("only %d receipts in %d worlds", receipts, *seeds)
	}
}

// TestPlanted plants each bug and wants it found.
func TestPlanted(t *testing.T) {
	for name, p := range map[string]struct {
		fault Fault
		deaf  bool
	}{
		"M2 head ignored": {FaultHeadIgnored, false},
		"M3 serves on":    {FaultServesOn, false}, "M3 resumes": {FaultResumes, false},
		"M6 applied is settled": {FaultAppliedIsSettled, false}, "M6 peer acknowledges before its sidecars": {NoFault, true},
		"M7 fence wait only": {FaultFenceWaitOnly, false}, "M7 forgets departed": {FaultForgetsDeparted, false},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			const most = 150
			for seed := range uint64(most) {
				if w := trouble(t, seed+1, p.fault, p.deaf); len(w.wrong) > 0 {
					t.Logf("seed %d: %s", seed+1, w.wrong[0])
					return
				}
			}
			t.Errorf("not found in %d worlds", most)
		})
	}
}

// steady is a world in which nothing happens, for scripts. Faults are of nodes by name.
func steady(t *testing.T, faults map[string]Fault, play func(t *testing.T, w *world, a, b *node)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, 1, 2, NoFault, faults, false)
		for _, n := range w.nodes {
			if err := n.m.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.tend(false)
		}
		play(t, w, w.nodes[0], w.nodes[1])
		w.stop()
		time.Sleep(time.Minute)
	})
}

// change commits something, for which nobody waits yet.
func (n *node) change(t *testing.T) []Want {
	t.Helper()
	rev, err := n.h.Commit(t.Context(), state.Batch{Puts: []state.Record{&state.Runner{ID: "r", Beat: authz.Stamp(time.Now().UnixNano())}}})
	if err != nil {
		t.Fatal(err)
	}
	return []Want{{Revision: rev}}
}

// settle waits for a receipt for so long.
func (n *node) settle(limit time.Duration, wants []Want) (Receipt, time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	r := n.m.Settle(ctx, wants, nil)
	return r, time.Since(began)
}

// Who was fenced and comes back renews no lease from before: its sidecars have to say hello
// (M3).
func TestCutAfterFence(t *testing.T) {
	for fault, cuts := range map[Fault]bool{NoFault: true, FaultKeepsLeases: false} {
		steady(t, map[string]Fault{"n1": fault}, func(t *testing.T, w *world, a, b *node) {
			b.pause()
			wants := a.change(t)
			if r, took := a.settle(time.Minute, wants); !r.Effective || took > r.Bound || a.m.Stats().Fences != 1 {
				t.Errorf("after %v: %+v", took, r)
			}
			before := b.m.Incarnation()
			b.goOn()
			if now := b.now(); b.m.Serving(now) { // M1: by the clock of this moment
				t.Error("it answers after a pause")
			}
			time.Sleep(fence)
			if s := b.m.Stats(); !b.m.Serving(b.now()) || b.m.Incarnation() == before || s.Joined != 2 || s.Fenced != 1 {
				t.Errorf("it did not join again: %+v", s)
			}
			// Its serving had ended before, which cuts as well: what counts is the second.
			if got := b.side.cuts == 2; got != cuts {
				t.Errorf("%d: cut %d times", fault, b.side.cuts)
			}
		})
	}
}

// Healthy peers settle at once, and nobody is fenced.
func TestHealthy(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		for range 10 {
			done := make(chan struct{})
			go func() { w.commit(a); close(done) }()
			for open := true; open; {
				select {
				case <-done:
					open = false
				case <-time.After(5 * time.Millisecond):
					a.tend(false)
					b.tend(false)
				}
			}
		}
		if w.receipts != 10 || w.longest > 100*time.Millisecond {
			t.Errorf("%d receipts, the longest took %v", w.receipts, w.longest)
		}
		if s := a.m.Stats(); s.Fences != 0 || s.Live != 2 || s.Departed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A clean stop is waited for by nobody; one that is not counts as departed (R8).
func TestStop(t *testing.T) {
	for _, clean := range []bool{true, false} {
		steady(t, nil, func(t *testing.T, w *world, a, b *node) {
			if err := b.m.Stop(t.Context(), clean); err != nil {
				t.Fatal(err)
			}
			b.mu.Lock()
			b.dead = true
			b.mu.Unlock()
			if b.m.Serving(b.now()) || b.m.Why(b.now()) == nil {
				t.Error("it serves on")
			}
			r, took := a.settle(time.Minute, a.change(t))
			want := lease.GrantorTerm(fence) - lease.Margin + lease.GrantorTerm(term)
			if clean && (took > 100*time.Millisecond || len(r.Standings) > 0) || !clean && (took < want || took > r.Bound || r.Standings[0].Outcome != Gone) || !r.Effective {
				t.Errorf("clean %v: after %v, %+v", clean, took, r)
			}
		})
	}
}

// Without the store nothing is effective, and the PDP ceases to answer within F and says so.
func TestNoStore(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		a.setCut(true)
		time.Sleep(fence / 2)
		if !a.m.Serving(a.now()) {
			t.Error("it ceases to answer before its time")
		}
		time.Sleep(fence/2 + fence/50)
		if a.m.Serving(a.now()) {
			t.Error("it answers for longer than F after its last renewal")
		}
		if r, _ := a.settle(10*fence, []Want{{Revision: 1}}); r.Effective {
			t.Errorf("effective without the store: %+v", r)
		}
		if a.m.Serving(a.now()) || a.m.Stats().Silent != 1 || !a.side.cut {
			t.Errorf("it answers without the store: %+v", a.m.Stats())
		}
		a.setCut(false)
		time.Sleep(2 * fence)
		if !a.m.Serving(a.now()) || a.m.Why(a.now()) != nil {
			t.Error("it does not answer again")
		}
	})
}
