package engine

import (
	"context"
	"errors"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// maxAttempts bounds how often a verb reads again after a lost guard. Each loss means
// that another commit on the same records got through.
const maxAttempts = 64

// maxMoved bounds how often a refusal is decided again only because something, anything, was
// committed while it was decided.
const maxMoved = 2

// catchUp brings the view to the head of a store that several PDPs have open, where others
// commit what this view has a moment later; many callers share one read. Whatever was
// committed before the call is in the view after it. With a store of its own the view always
// has everything, and nothing is done. It fails when the store cannot be reached.
func (e *Engine) catchUp(ctx context.Context) error {
	if !e.shared {
		return nil
	}
	_, err := e.store.Commit(ctx, state.Batch{})
	return err
}

// afresh calls look, and where it refuses something calls it once more on a view that has
// caught up: for what is looked at outside commit.
func (e *Engine) afresh(ctx context.Context, look func() error) error {
	err := look()
	if !e.shared || !rests(err) {
		return err
	}
	if err := e.catchUp(ctx); err != nil {
		return err
	}
	return look()
}

// rests reports whether an error can be what the view said, and not the trouble of a store
// or of the caller's patience.
func rests(err error) bool {
	if err == nil {
		return false
	}
	switch authz.KindOf(err) {
	case authz.KindInternal, authz.KindUnavailable, authz.KindCanceled, authz.KindExhausted:
		return false
	}
	return true
}

// commit carries out one change: decide reads the view and builds the batch. It runs
// again when another change came between its reading and its commit. A batch
// without puts, deletes and events is not committed: the result is the revision that
// the view is at.
//
// What is committed rests on its guards. A refusal, or that there is nothing to do, rests
// on the view alone, which with several PDPs may be behind: then it is told only if the
// view had everything that was committed before the call (so no call is refused for what
// another PDP has undone and answered for).
func (e *Engine) commit(ctx context.Context, verb string, by Actor, decide func() (state.Batch, error)) (authz.Revision, error) {
	rev, _, err := e.commitChange(ctx, verb, by, decide)
	return rev, err
}

// commitChange is commit, and tells whether anything was changed but that a request id
// was used.
func (e *Engine) commitChange(ctx context.Context, verb string, by Actor, decide func() (state.Batch, error)) (rev authz.Revision, changed bool, err error) {
	return e.attempt(ctx, verb, by, !e.shared, decide)
}

// commitOwn is commit for the engine's own housekeeping, which comes again: nobody is told
// that there was nothing to do.
func (e *Engine) commitOwn(ctx context.Context, verb string, decide func() (state.Batch, error)) error {
	_, _, err := e.attempt(ctx, verb, Actor{Name: "jobward"}, true, decide)
	return err
}

// attempt is commitChange; sure says that the view is new enough to refuse from.
func (e *Engine) attempt(ctx context.Context, verb string, by Actor, sure bool, decide func() (state.Batch, error)) (rev authz.Revision, changed bool, err error) {
	moved := 0
	for range maxAttempts {
		at := e.view.Mark().Revision
		b, refused := decide()
		nothing := refused == nil && len(b.Puts)+len(b.Deletes)+len(b.Events) == 0
		switch {
		case !sure && (nothing || rests(refused)):
			if err := e.catchUp(ctx); err != nil {
				return 0, false, err
			}
			sure = true
			continue
		case (nothing || rests(refused)) && moved < maxMoved && e.view.Mark().Revision != at:
			moved++ // what was read is of no one moment
			continue
		case refused != nil:
			return 0, false, refused
		case nothing:
			return e.view.Mark().Revision, false, nil
		}
		b.Actor, b.Verb, b.Stamp = by.Name, verb, e.clock.Now()
		rev, err := e.store.Commit(ctx, b)
		var lost *authz.Error
		if errors.As(err, &lost) && lost.Kind == authz.KindConflict {
			sure = true // a guard is judged at the newest head, and the view has that now
			continue
		}
		return rev, changes(&b), err
	}
	return 0, false, authz.Errorf(authz.KindConflict, CodeContention, "others kept changing the same records; try again")
}

// changes reports whether a batch does more than remember a request id.
func changes(b *state.Batch) bool {
	for _, rec := range b.Puts {
		if _, ok := rec.(*state.Request); !ok {
			return true
		}
	}
	return len(b.Deletes) > 0
}
