package replica

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// held is a registry in which some calls do not come back.
type held struct {
	state.Registry
	house atomic.Bool // all but Join and Renew wait for their time-out
	late  atomic.Bool // Renew happens, and is answered when renew is closed
	renew chan struct{}
}

func (h *held) stop(ctx context.Context) error {
	if h.house.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (h *held) List(ctx context.Context) (state.Registrations, error) {
	if err := h.stop(ctx); err != nil {
		return state.Registrations{}, err
	}
	return h.Registry.List(ctx)
}

func (h *held) Renew(ctx context.Context, r state.Registration) (authz.Revision, error) {
	head, err := h.Registry.Renew(context.WithoutCancel(ctx), r)
	if h.late.Load() {
		<-h.renew // however its caller has ended
	}
	return head, err
}

// lone is a Member by itself, whose view has everything.
type lone struct{}

func (lone) Applied() authz.Revision                            { return 1 << 40 }
func (lone) Settled() authz.Revision                            { return 0 }
func (lone) AwaitApplied(context.Context, authz.Revision) error { return nil }
func (lone) CutAll()                                            {}

func alone(t *testing.T, n *node, reg state.Registry) *Member {
	t.Helper()
	m := New(Options{Registry: reg, Dialer: dialer{n}, Name: "lone", Address: "lone", Term: term, Fence: fence, Now: n.now, Local: lone{}})
	if err := m.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// A renewal that is answered long after it was sent lets nothing be answered: the process
// stood still in between, was fenced and waited out (M1).
func TestLateAnswer(t *testing.T) {
	for fault, good := range map[Fault]bool{NoFault: true, FaultAnswerCounts: false} {
		steady(t, map[string]Fault{"n1": fault}, func(t *testing.T, w *world, a, b *node) {
			b.mu.Lock()
			b.renewed = b.pause
			b.mu.Unlock()
			time.Sleep(fence)
			a.tend(false)
			if r, took := a.settle(time.Minute, a.change(t)); !r.Effective || took > r.Bound {
				t.Errorf("after %v: %+v", took, r)
			}
			b.setStuck(true)
			b.goOn()
			synctest.Wait()
			if stale := b.m.Serving(b.now()); stale == good {
				t.Errorf("fault %d: it answers: %v", fault, stale)
			}
		})
	}
}

// What is done for others does not hold the renewals up (M1).
func TestHouseHangs(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		h := w.cluster.Open()
		defer h.Close()
		reg := &held{Registry: h.Registry()}
		m := alone(t, a, reg)
		reg.house.Store(true)
		for range 1000 {
			time.Sleep(fence / 100)
			if now := a.now(); !m.Serving(now) {
				t.Fatal(m.Why(now))
			}
		}
		if s := m.Stats(); s.Silent != 0 || s.Left <= 0 || s.Left > fence.Seconds() {
			t.Errorf("%+v", s)
		}
		reg.house.Store(false)
		m.Stop(t.Context(), true)
	})
}

// A renewal that is answered while the Member stops does not have it answer again (M1).
func TestStopWhileRenewing(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		h := w.cluster.Open()
		defer h.Close()
		reg := &held{Registry: h.Registry(), renew: make(chan struct{})}
		m := alone(t, a, reg)
		reg.late.Store(true)
		time.Sleep(fence / 2)
		time.AfterFunc(fence/10, func() { close(reg.renew) })
		if err := m.Stop(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if now := a.now(); m.Serving(now) || m.Why(now) == nil {
			t.Error("it answers after it has left")
		}
		if m.Ready(t.Context()) == nil {
			t.Error("it is ready after it has left")
		}
	})
}

// The store is gone for everybody for a long time, also while a receipt is waited for. Who
// is back first leaves the others time to renew (M10).
func TestOutage(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		time.Sleep(2 * fence)
		a.tend(false)
		b.tend(false)
		b.setStuck(true)
		wants := a.change(t)
		done := make(chan Receipt)
		go func() {
			r, _ := a.settle(time.Minute, wants)
			done <- r
		}()
		time.Sleep(10 * time.Millisecond)
		a.setCut(true)
		b.setCut(true)
		b.setStuck(false)
		time.Sleep(10 * fence)
		if a.m.Serving(a.now()) || b.m.Serving(b.now()) {
			t.Error("they answer without the store")
		}
		a.setCut(false)
		time.Sleep(fence / 3)
		b.setCut(false)
		if r := <-done; !r.Effective || r.Standings[0].Outcome != Settled {
			t.Errorf("%+v", r)
		}
		time.Sleep(4 * fence)
		for _, n := range w.nodes {
			if s := n.m.Stats(); s.Fences+s.Fenced != 0 || s.Joined != 1 || s.Silent != 1 || !n.m.Serving(n.now()) {
				t.Errorf("%s: %+v", n.name, s)
			}
			synctest.Wait()
			n.mu.Lock()
			// It began, ceased and began again, and each was told once.
			if told := n.changes; len(told) != 3 || told[0] != nil || told[1] == nil || told[2] != nil {
				t.Errorf("%s was told %v", n.name, told)
			}
			n.mu.Unlock()
		}
	})
}

// The store answers for a long time, but takes no write: nobody can renew, and all see it (M10).
func TestFull(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		set := func(n *node, full bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.full = full
		}
		b.setStuck(true)
		wants := a.change(t)
		set(a, true)
		set(b, true)
		done := make(chan Receipt)
		go func() {
			r, _ := a.settle(time.Minute, wants)
			done <- r
		}()
		time.Sleep(10 * fence)
		b.setStuck(false)
		set(a, false)
		time.Sleep(fence / 3)
		set(b, false)
		if r := <-done; !r.Effective || r.Standings[0].Outcome != Settled {
			t.Errorf("%+v", r)
		}
		time.Sleep(4 * fence)
		for _, n := range w.nodes {
			if s := n.m.Stats(); s.Fences+s.Fenced != 0 || s.Joined != 1 {
				t.Errorf("%s: %+v", n.name, s)
			}
		}
	})
}

// One that is dead is fenced and forgotten although nobody asks for a receipt (M8, M10).
func TestHousekeeping(t *testing.T) {
	steady(t, nil, func(t *testing.T, w *world, a, b *node) {
		b.end()
		time.Sleep(7 * fence / 2)
		if s := a.m.Stats(); s.Fences != 1 || s.Live != 1 || s.Departed != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2*fence + term)
		if r, took := a.settle(time.Minute, a.change(t)); !r.Effective || took > 50*time.Millisecond || len(r.Standings) != 0 {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}

// A join whose answer was lost is not a PDP for which all others wait (M3, M10).
func TestLostJoin(t *testing.T) {
	for name, out := range map[string]time.Duration{"at once": 0, "after long": 2 * fence} {
		synctest.Test(t, func(t *testing.T) {
			c := memstore.NewCluster(memstore.Options{Timeout: 50 * time.Millisecond})
			h := c.Open()
			defer h.Close()
			w := &world{t: t, cluster: c}
			n := &node{w: w, h: h, origin: time.Now(), rate: 1, side: &side{}}
			var drawn []state.Incarnation
			m := New(Options{Registry: h.Registry(), Dialer: dialer{n}, Term: term, Fence: fence, Now: n.now, Local: lone{}, Draw: func() state.Incarnation {
				drawn = append(drawn, state.Incarnation{byte(len(drawn) + 1)})
				return drawn[len(drawn)-1]
			}})
			h.LoseAnswer()
			if out > 0 {
				time.AfterFunc(20*time.Millisecond, h.Cut)
				time.AfterFunc(out, h.Mend)
			}
			if err := m.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
			if m.Incarnation() != drawn[len(drawn)-1] || out == 0 && len(drawn) != 1 {
				t.Errorf("%s: %x, of %x", name, m.Incarnation(), drawn)
			}
			time.Sleep(fence / 2)
			if list, self, err := m.Registrations(t.Context()); err != nil || len(list.Live) != 1 || len(list.Departed) != 0 || list.Live[0].Incarnation != self {
				t.Errorf("%s: %+v, %v", name, list, err)
			}
			if err := m.Stop(t.Context(), true); err != nil {
				t.Error(err)
			}
		})
	}
}

// Why says which of the reasons it is, since when, and what to do (M1, M2, M4).
func TestWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, 1, 1, NoFault, nil, false)
		n := w.nodes[0]
		wants := func(m *Member, words ...string) {
			t.Helper()
			err := m.Why(n.now())
			var e *authz.Error
			if !errors.As(err, &e) || e.Kind != authz.KindUnavailable || e.Code != state.CodeFenced {
				t.Fatalf("%v", err)
			}
			if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(err.Error(), w) }) {
				t.Errorf("%q has not all of %q", err, words)
			}
		}
		m := New(Options{Registry: n.h.Registry(), Dialer: dialer{n}, Fence: fence, Now: n.now})
		time.Sleep(3 * time.Second)
		wants(m, "register", "since 2000-01-01T00:00:00Z", "ask another")
		if err := m.Join(t.Context()); err != nil { // M4: it has no view
			t.Fatal(err)
		}
		time.Sleep(fence)
		if m.Serving(n.now()) {
			t.Error("it answers without a view")
		}
		short, cancel := context.WithTimeout(t.Context(), fence)
		if err := m.Ready(short); err == nil {
			t.Error("it is ready without a view")
		}
		cancel()
		if err := m.Stop(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		wants(m, "stopping")

		if err := n.m.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.setStuck(true)
		go n.h.Commit(t.Context(), state.Batch{Puts: []state.Record{&state.Runner{ID: "r"}}})
		time.Sleep(3 * fence)
		wants(n.m, "has not reached revision 1")
		n.setStuck(false)
		time.Sleep(fence)
		n.setCut(true)
		time.Sleep(4 * fence)
		wants(n.m, "could not renew", "since 2000-01-01T00:00:", "ask another")
		w.stop()
		time.Sleep(time.Minute)
	})
}
