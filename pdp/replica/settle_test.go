package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/state"
)

// A peer that waits for a revision which its stuck watch never brings is fenced, and the
// receipt is effective within its bound (M2, M8).
func TestStuckWatch(t *testing.T) {
	stuck := func(faults map[string]Fault) (r Receipt, took time.Duration) {
		steady(t, faults, func(t *testing.T, w *world, a, b *node) {
			b.setStuck(true)
			r, took = a.settle(time.Minute, a.change(t))
			if faults == nil && b.m.Serving(b.now()) {
				t.Error("the stuck one answers")
			}
			b.setStuck(false)
		})
		return r, took
	}
	if r, took := stuck(nil); !r.Effective || took > r.Bound || r.Standings[0].Outcome != Gone {
		t.Errorf("after %v: %+v", took, r)
	}
	// One that serves all the same keeps its registration and says "pending", and is fenced too.
	ignores := map[string]Fault{"n1": FaultHeadIgnored}
	if r, took := stuck(ignores); !r.Effective || took > r.Bound {
		t.Errorf("a peer whose view stands still was not fenced, after %v: %+v", took, r)
	}
	ignores["n0"] = FaultPendingForever
	if r, _ := stuck(ignores); r.Effective {
		t.Errorf("that a stuck peer is waited for as long as it answers was not found out: %+v", r)
	}
}

// A peer that has applied the change, but for whose sidecar it waits, and then dies, is not
// waited for from the beginning (M6, M8).
func TestAppliedAndGone(t *testing.T) {
	for fault, good := range map[Fault]bool{NoFault: true, FaultAppliedIsPending: false} {
		steady(t, map[string]Fault{"n0": fault}, func(t *testing.T, w *world, a, b *node) {
			b.tend(false)
			b.mu.Lock()
			b.side.shut = true
			b.mu.Unlock()
			time.AfterFunc(term-50*time.Millisecond, func() { b.end() })
			r, took := a.settle(time.Minute, a.change(t))
			if !r.Effective || (took <= r.Bound) != good {
				t.Errorf("fault %d: after %v: %+v", fault, took, r)
			}
			if good && took < lease.HolderTerm(term) {
				t.Errorf("the sidecar of the dead one was not waited for: %v", took)
			}
		})
	}
}

// A PDP that has joined since the last list is asked (M5).
func TestListAfterCommit(t *testing.T) {
	for fault, good := range map[Fault]bool{NoFault: true, FaultListOld: false} {
		steady(t, map[string]Fault{"n0": fault}, func(t *testing.T, w *world, a, b *node) {
			if _, _, err := a.m.Registrations(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := w.start("n2")
			w.mu.Lock()
			w.nodes = append(w.nodes, c)
			w.mu.Unlock()
			if err := c.m.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.setStuck(true)
			time.AfterFunc(100*time.Millisecond, func() { c.setStuck(false) })
			wants := a.change(t)
			time.AfterFunc(5*time.Millisecond, func() { b.tend(false) })
			r, _ := a.settle(time.Minute, wants)
			if stale := c.m.Serving(c.now()) && c.Applied() < wants[0].Revision; !r.Effective || stale == good {
				t.Errorf("fault %d: %+v, and the new one answers from before: %v", fault, r, stale)
			}
		})
	}
}

// Nobody waits for a PDP that loads its view (M9).
func TestLoading(t *testing.T) {
	for fault, good := range map[Fault]bool{NoFault: true, FaultWaitsForLoading: false} {
		steady(t, map[string]Fault{"n0": fault}, func(t *testing.T, w *world, a, b *node) {
			h := w.cluster.Open()
			defer h.Close()
			c := New(Options{Registry: h.Registry(), Dialer: dialer{a}, Name: "c", Address: "c", Term: term, Fence: fence, Now: a.now})
			if err := c.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * fence)
			a.tend(false)
			b.tend(false)
			time.AfterFunc(time.Millisecond, func() { b.tend(false) })
			if r, took := a.settle(time.Minute, a.change(t)); !r.Effective || (took < fence/2) != good {
				t.Errorf("fault %d: after %v: %+v", fault, took, r)
			}
			if c.Serving(a.now()) || good && a.m.Stats().Live != 3 {
				t.Errorf("it answers, or was fenced: %+v", a.m.Stats())
			}
			// It never answered, and so has nothing to be waited for when it stops.
			if err := c.Stop(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			if list, _, err := a.m.Registrations(t.Context()); err != nil || len(list.Live) != 2 || good && len(list.Departed) != 0 {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

// Many receipts at once share the lists, and one of them fences who is dead (M5, M8).
func TestMany(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		const many = 300
		all := func(ok func(r Receipt, took time.Duration) bool) {
			t.Helper()
			wants := a.change(t)
			b.tend(false)
			var running sync.WaitGroup
			for range many {
				running.Go(func() {
					if r, took := a.settle(time.Minute, wants); !ok(r, took) {
						t.Errorf("after %v: %+v", took, r)
					}
				})
			}
			time.Sleep(5 * time.Millisecond)
			b.tend(false)
			running.Wait()
		}
		before := a.m.Stats().Lists
		all(func(r Receipt, took time.Duration) bool { return r.Effective && took < 50*time.Millisecond })
		if n := a.m.Stats().Lists - before; n > 3 || n == 0 {
			t.Errorf("%d lists", n)
		}
		b.end()
		all(func(r Receipt, took time.Duration) bool { return r.Effective && took <= r.Bound })
		if s := a.m.Stats(); s.Fences != 1 {
			t.Errorf("fenced %d times", s.Fences)
		}
	})
}

// What is wanted twice is settled once, and a peer is not fenced for it.
func TestTwice(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		wants := a.change(t)
		time.Sleep(10 * time.Millisecond)
		b.tend(false)
		if r, took := a.settle(time.Minute, slices.Concat(wants, wants)); !r.Effective || took > 100*time.Millisecond || r.Standings[0].Outcome != Settled {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}

// A receipt says each step once, ends with its caller, and with the Member.
func TestProgress(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		b.tend(false)
		b.mu.Lock()
		b.side.shut = true
		b.mu.Unlock()
		var steps []Receipt
		r := a.m.Settle(t.Context(), a.change(t), func(r Receipt) { steps = append(steps, r) })
		last := steps[len(steps)-1]
		if !r.Effective || !last.Effective || len(steps) < 2 || steps[0].Effective || steps[0].Standings[0].Outcome != Pending {
			t.Errorf("%+v, %+v", r, steps)
		}
		if slices.ContainsFunc(steps[1:], func(r Receipt) bool { return sameReceipt(r, steps[0]) }) {
			t.Errorf("told twice: %+v", steps)
		}
		b.pause()
		wants := a.change(t)
		if r, took := a.settle(fence/2, wants); r.Effective || took > fence/2+10*time.Millisecond {
			t.Errorf("after %v: %+v", took, r)
		}
		time.AfterFunc(fence/4, func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			a.m.Stop(ctx, true)
		})
		if r, took := a.settle(time.Minute, wants); r.Effective || took > fence {
			t.Errorf("after %v, with its Member stopped: %+v", took, r)
		}
	})
}

var _ state.Registry = (*held)(nil)

// What a peer has applied of several revisions counts when it is all of them (M6).
func TestSeveral(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		first := a.change(t)
		time.Sleep(20 * time.Millisecond)
		b.setStuck(true)
		second := a.change(t)
		if r, took := a.settle(time.Minute, slices.Concat(second, first)); !r.Effective || took > r.Bound || r.Standings[0].Outcome != Gone {
			t.Errorf("after %v: %+v", took, r)
		}
		b.setStuck(false)
	})
}

// One that has applied the change and was then fenced by another is waited for as if it were
// there (M6).
func TestAppliedAndFenced(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		b.tend(false)
		b.mu.Lock()
		b.side.shut = true
		b.mu.Unlock()
		time.AfterFunc(fence/2, func() {
			list, err := a.h.Registry().List(context.Background())
			for _, r := range list.Live {
				if r.Name == b.name {
					err = errors.Join(err, a.h.Registry().Fence(context.Background(), r))
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
		if r, took := a.settle(time.Minute, a.change(t)); !r.Effective || took > lease.GrantorTerm(term)+fence/10 || took < lease.HolderTerm(term) || r.Standings[0].Outcome != Gone {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}

// Who has departed is waited for by its own terms, from when it was first seen, and then
// forgotten (M7). A restore puts such records, for leases of which it knows only the longest.
func TestDeparted(t *testing.T) {
	for _, d := range []state.Departed{{Term: 3 * term, Fence: 2 * fence}, {Term: term / 2, Fence: fence / 3}, {Term: lease.MaxTerm}} {
		steady(t, nil, func(t *testing.T, w *world, a, b *node) {
			d.Incarnation, d.Name = state.Incarnation{9}, "gone"
			wait := d.Fence*101/100 + d.Term*101/100 + lease.Margin
			if err := a.h.Registry().Depart(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			expect := func(outcome Outcome, took, least, most time.Duration, r Receipt) {
				t.Helper()
				i := slices.IndexFunc(r.Standings, func(s Standing) bool { return s.Name == "gone" })
				if i < 0 || r.Standings[i].Outcome != outcome || r.Effective != (outcome == Gone) || took < least || took > most || took > r.Bound && r.Effective {
					t.Errorf("%+v: after %v, not between %v and %v: %+v", d, took, least, most, r)
				}
			}
			b.mu.Lock()
			b.side.ends = 0 // it has no sidecar
			b.mu.Unlock()
			r, took := a.settle(wait/2, a.change(t))
			expect(Fenced, took, wait/2, wait/2+fence/50, r)
			r, took = a.settle(2*wait, a.change(t))
			expect(Gone, took, wait/2-fence/50, wait/2+fence/10, r)
			time.Sleep(fence)
			if list, err := a.h.Registry().List(t.Context()); err != nil || len(list.Departed) != 0 || time.Since(began) > wait+2*fence {
				t.Errorf("%+v, %v", list, err)
			}
		})
	}
}

// One that has applied the change is waited for by its own term (M6).
func TestAppliedByItsTerm(t *testing.T) {
	for _, long := range []time.Duration{term / 2, 3 * term} {
		steady(t, nil, func(t *testing.T, w *world, a, b *node) {
			c := &node{w: w, name: "c", h: w.cluster.Open(), origin: time.Now(), rate: 1, fence: fence, term: long, side: &side{cut: true}}
			defer c.end()
			c.m = New(Options{Registry: c.h.Registry(), Dialer: dialer{c}, Name: "c", Address: "c", Term: long, Fence: fence, Now: c.now, Local: c})
			if err := errors.Join(c.m.Join(t.Context()), c.h.Attach(t.Context(), c), c.m.Ready(t.Context())); err != nil {
				t.Fatal(err)
			}
			c.tend(false)
			wants := a.change(t)
			time.AfterFunc(5*time.Millisecond, func() { b.tend(false) })
			// It answers nobody (it is not among the nodes): what its registration says has to do.
			r, took := a.settle(time.Minute, wants)
			if i := slices.IndexFunc(r.Standings, func(s Standing) bool { return s.Name == "c" }); !r.Effective || took < lease.HolderTerm(long) || took > lease.GrantorTerm(long)+fence || r.Standings[i].Outcome != Settled {
				t.Errorf("%v: after %v: %+v", long, took, r)
			}
		})
	}
}
