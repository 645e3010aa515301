package replica

import (
	"context"
	"flag"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/state"
)

var seeds = flag.Int("seeds", 12, "random worlds to try")
var first = flag.Uint64("seed", 1, "the first of them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trouble runs a world with random troubles for a while, and gives what was wrong.
func trouble(t *testing.T, seed uint64, fault Fault, deaf bool) (w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed, 3, fault)
		w.deaf = deaf
		end := time.Now().Add(90 * time.Second)
		var running sync.WaitGroup
		for time.Now().Before(end) && len(w.wrong) == 0 {
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
	switch w.rnd.IntN(14) {
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
		"M7 fence wait only": {FaultFenceWaitOnly, false}, "M7 forgets departed": {FaultForgetsDeparted, false}, "M3 serves on": {FaultServesOn, false},
		"M5 list old": {FaultListOld, false}, "M2 head ignored": {FaultHeadIgnored, false},
		"M6 peer acknowledges before its sidecars": {NoFault, true},
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

// steady is a world in which nothing happens, for scripts.
func steady(t *testing.T, fault Fault, play func(t *testing.T, w *world, a, b *node)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 2, fault)
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

// A peer that waits for a revision which its stuck watch never brings is fenced, and the
// receipt is effective within its bound (M2, M8).
func TestStuckWatch(t *testing.T) {
	settle := func(fault Fault, limit time.Duration) (r Receipt, took time.Duration) {
		steady(t, fault, func(t *testing.T, w *world, a, b *node) {
			b.setStuck(true)
			rev, err := a.h.Commit(t.Context(), state.Batch{Puts: []state.Record{&state.Runner{ID: "r"}}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			r = a.m.Settle(ctx, []Want{{Revision: rev}}, nil)
			took = time.Since(began)
			if fault == NoFault && b.m.Serving(b.now()) {
				t.Error("the stuck one answers")
			}
		})
		return r, took
	}
	if r, took := settle(NoFault, time.Minute); !r.Effective || took > r.Bound || r.Standings[0].Outcome != Gone {
		t.Errorf("after %v: %+v", took, r)
	}
	// With both bugs of a stuck watch the receipt never comes.
	if r, _ := settle(FaultHeadIgnored, time.Minute); !r.Effective {
		t.Errorf("a peer whose view stands still was not fenced: %+v", r)
	}
}

// Who was fenced and comes back renews no lease from before: its sidecars have to say hello
// (M3), as they may owe an ack for which nobody waits any more.
func TestCutAfterFence(t *testing.T) {
	play := func(fault Fault) (wrong []string) {
		steady(t, fault, func(t *testing.T, w *world, a, b *node) {
			time.Sleep(fence / 2)
			b.tend(false)
			b.setCut(true)
			done := make(chan struct{})
			go func() { w.commit(a); close(done) }()
			for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
				if a.m.Stats().Fences > 0 {
					b.setCut(false)
				}
				a.tend(false)
				b.tend(true) // its acks are late
				a.look()
				b.look()
			}
			<-done
			if w.receipts != 1 || b.m.Stats().Joined != 2 {
				t.Errorf("%d receipts, %+v", w.receipts, b.m.Stats())
			}
			wrong = w.wrong
		})
		return wrong
	}
	if wrong := play(NoFault); len(wrong) > 0 {
		t.Error(wrong[0])
	}
	if wrong := play(FaultKeepsLeases); len(wrong) == 0 {
		t.Error("leases that were renewed after a fence were not found out")
	}
}

// Healthy peers settle at once, and nobody is fenced.
func TestHealthy(t *testing.T) {
	steady(t, NoFault, func(t *testing.T, w *world, a, b *node) {
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
		steady(t, NoFault, func(t *testing.T, w *world, a, b *node) {
			if err := b.m.Stop(t.Context(), clean); err != nil {
				t.Fatal(err)
			}
			b.mu.Lock()
			b.dead = true
			b.mu.Unlock()
			if b.m.Serving(b.now()) || b.m.Why(b.now()) == nil {
				t.Error("it serves on")
			}
			rev, err := a.h.Commit(t.Context(), state.Batch{Puts: []state.Record{&state.Runner{ID: "r"}}})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			r := a.m.Settle(t.Context(), []Want{{Revision: rev}}, nil)
			took := time.Since(began)
			want := lease.GrantorTerm(fence) - lease.Margin + lease.GrantorTerm(term)
			if clean && (took > 100*time.Millisecond || len(r.Standings) > 0) || !clean && (took < want || took > r.Bound || r.Standings[0].Outcome != Gone) || !r.Effective {
				t.Errorf("clean %v: after %v, %+v", clean, took, r)
			}
		})
	}
}

// Without the store nothing is effective, and the PDP ceases to answer within F and says so.
func TestNoStore(t *testing.T) {
	steady(t, NoFault, func(t *testing.T, w *world, a, b *node) {
		a.setCut(true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*fence)
		defer cancel()
		if r := a.m.Settle(ctx, []Want{{Revision: 1}}, nil); r.Effective {
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
