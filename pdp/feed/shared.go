package feed

import (
	"context"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// With several PDPs on one store (PROTOCOL R8) a Feed is what package replica asks about its
// own PDP.

// applying is a call that waits for a revision.
type applying struct {
	revision authz.Revision
	there    chan struct{}
}

// Applied gives the newest revision of the view. It was dispatched.
func (f *Feed) Applied() authz.Revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head.Revision
}

// Settled gives the newest revision up to which every receipt here is effective: whoever
// rested on what changed has let go of it, or has lost its lease. It is zero while leases of
// an earlier incarnation may run (R1).
func (f *Feed) Settled() authz.Revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.grantor == nil || f.opt.Now() < f.quiet:
		return 0
	case len(f.open) > 0:
		return f.open[0] - 1
	}
	return f.head.Revision
}

// AwaitApplied waits until the view has rev, or until ctx ends, whose error it gives.
func (f *Feed) AwaitApplied(ctx context.Context, rev authz.Revision) error {
	f.mu.Lock()
	if f.head.Revision >= rev {
		f.mu.Unlock()
		return nil
	}
	w := &applying{rev, make(chan struct{})}
	f.applying[w] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.applying, w)
	}()
	select {
	case <-w.there:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tellApplied wakes those who wait for a revision that is there. Called with the lock.
func (f *Feed) tellApplied() {
	for w := range f.applying {
		if w.revision <= f.head.Revision {
			close(w.there)
			delete(f.applying, w)
		}
	}
}

// CutAll ends the streams of all generations and renews none of their leases any more; they
// run out (R2). Sidecars open new ones, here or elsewhere.
func (f *Feed) CutAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.grantor == nil {
		return
	}
	f.grantor.CutAll()
	for _, s := range f.streams {
		s.gone = true // not because it was too slow
	}
	f.flush()
}

// serves reports whether leases may be granted. The clock is read in the call (R11).
func (f *Feed) serves(now lease.Instant) bool { return f.opt.Serving == nil || f.opt.Serving(now) }

func errFenced() error {
	return authz.Errorf(authz.KindUnavailable, CodeFenced, "this policy decision point may grant no leases at present, as it cannot be sure of its store: ask another")
}

// catchUp brings the view to the head of a store that others commit to.
func (f *Feed) catchUp(ctx context.Context) error {
	_, err := f.store.Commit(ctx, state.Batch{})
	return err
}

// reach makes sure that this PDP has what a sidecar has seen and applied, if it exists. A PDP
// that only lags must not take itself for one whose store was replaced (R13), and can vouch
// only for what it has (R3).
func (f *Feed) reach(ctx context.Context, h *lease.Hello) error {
	head := f.Head()
	if !f.opt.Shared || head.Revision >= h.Applied && lease.Judge(h.Seen, head) != lease.HistoryBehind {
		return nil
	}
	return f.catchUp(ctx)
}
