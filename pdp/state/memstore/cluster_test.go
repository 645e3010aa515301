package memstore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

// TestHandle: one handle alone keeps the whole contract of a store.
func TestHandle(t *testing.T) {
	statetest.Run(t, func(t *testing.T) statetest.Harness {
		c := memstore.NewCluster(memstore.Options{})
		s := c.Open()
		t.Cleanup(func() { s.Close() })
		return statetest.Harness{Store: s, Reopen: func() state.Store { s.Close(); s = c.Open(); return s }}
	})
}

// two opens two handles with sinks.
func two(t *testing.T) (a, b *memstore.Handle, ra, rb *statetest.Recorder) {
	c := memstore.NewCluster(memstore.Options{Timeout: time.Second})
	a, b, ra, rb = c.Open(), c.Open(), new(statetest.Recorder), new(statetest.Recorder)
	if err := errors.Join(a.Attach(t.Context(), ra), b.Attach(t.Context(), rb)); err != nil {
		t.Fatal(err)
	}
	return a, b, ra, rb
}

func put(t *testing.T, s state.Store, id authz.GroupID) {
	t.Helper()
	if _, err := s.Commit(t.Context(), state.Batch{Puts: []state.Record{&state.Group{ID: id}}, Stamp: authz.Stamp(id)}); err != nil {
		t.Error(err)
	}
}

// TestHold: a watch that is stuck brings nothing until it is released; an empty batch brings the
// sink to the head all the same (R16).
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, rb := two(t)
		defer a.Close()
		defer b.Close()
		at := func(want authz.Revision) {
			t.Helper()
			synctest.Wait()
			mark, stamp := b.Head()
			if rb.Revision() != want || mark.Revision != want || stamp != authz.Stamp(want) {
				t.Errorf("the sink is at %d, the head at %v, stamp %d; want %d", rb.Revision(), mark, stamp, want)
			}
		}
		put(t, a, 1)
		at(1)
		b.Hold()
		put(t, a, 2)
		put(t, a, 3)
		at(1)
		if n := b.Deliver(1); n != 1 {
			t.Errorf("delivered %d", n)
		}
		at(2)
		if rev, err := b.Commit(t.Context(), state.Batch{}); rev != 3 || err != nil {
			t.Errorf("an empty batch gave %d: %v", rev, err)
		}
		at(3)
		put(t, a, 4)
		at(3)
		put(t, b, 5)
		at(5)
		put(t, a, 6)
		b.Release()
		at(6)
	})
}

// TestCut: nothing gets through to a handle that is cut off, or from it, and its calls end in
// time; what it missed comes when it is mended.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _, rb := two(t)
		defer a.Close()
		defer b.Close()
		b.Cut()
		put(t, a, 1)
		reg := state.Registration{Incarnation: state.Incarnation{1}}
		for name, call := range map[string]func(context.Context) error{
			"commit":  func(ctx context.Context) error { _, err := b.Commit(ctx, state.Batch{}); return err },
			"list":    func(ctx context.Context) error { _, err := b.Registry().List(ctx); return err },
			"join":    func(ctx context.Context) error { _, err := b.Registry().Join(ctx, reg); return err },
			"renew":   func(ctx context.Context) error { _, err := b.Registry().Renew(ctx, reg); return err },
			"fence":   func(ctx context.Context) error { return b.Registry().Fence(ctx, reg) },
			"history": func(ctx context.Context) error { return b.History(ctx, 0, nil) },
		} {
			began := time.Now()
			err := call(t.Context())
			var is *authz.Error
			if !errors.As(err, &is) || is.Code != "STORE_UNREACHABLE" || is.Kind != authz.KindUnavailable || time.Since(began) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(began))
			}
		}
		synctest.Wait()
		if rb.Revision() != 0 {
			t.Error("something was delivered")
		}
		if l, err := a.Registry().List(t.Context()); err != nil || len(l.Live) != 0 {
			t.Errorf("what was cut off got through: %v, %v", l, err)
		}
		go put(t, b, 2) // Waits, and goes on.
		synctest.Wait()
		b.Mend()
		synctest.Wait()
		if rb.Revision() != 2 {
			t.Errorf("the sink is at %d after it was mended", rb.Revision())
		}
	})
}

// TestLostAnswer: a write whose answer was lost has happened.
func TestLostAnswer(t *testing.T) {
	h := memstore.NewCluster(memstore.Options{}).Open()
	defer h.Close()
	reg := state.Registration{Incarnation: state.Incarnation{1}, Version: 1}
	h.LoseAnswer()
	if _, err := h.Registry().Join(t.Context(), reg); authz.KindOf(err) != authz.KindUnavailable {
		t.Errorf("the answer was not lost: %v", err)
	}
	if l, err := h.Registry().List(t.Context()); err != nil || len(l.Live) != 1 || l.Live[0] != reg {
		t.Errorf("it has not happened: %v, %v", l, err)
	}
}

func opener(*testing.T) statetest.Opener {
	c := memstore.NewCluster(memstore.Options{})
	return func() state.Shared { return c.Open() }
}

func TestRegistry(t *testing.T) { statetest.Registry(t, opener) }

func TestShared(t *testing.T) { statetest.Shared(t, opener) }
