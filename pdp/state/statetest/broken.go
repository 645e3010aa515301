package statetest

import (
	"context"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// testBrokenSteps breaks every step of a commit, before and after it was done: the caller is
// told that nobody knows, the store takes nothing more, and a restart finds the batch or does
// not, whole either way, and goes on.
func testBrokenSteps(t *testing.T, h Harness) {
	if h.Break == nil || h.Reopen == nil {
		t.Skip("this store has no steps that can be broken")
	}
	ctx := context.Background()
	r := attach(t, h.Store)
	next := authz.GroupID(1)
	for _, step := range h.Steps {
		for _, done := range []bool{false, true} {
			commit(t, h.Store, state.Batch{Puts: []state.Record{group(next)}})
			before, _ := h.Store.Head()
			h.Break(step, done)
			b := state.Batch{Puts: []state.Record{group(next + 1), user(authz.UserID(next))}, Events: []state.Event{{Stamp: 1}}}
			_, err := h.Store.Commit(ctx, b)
			if err == nil {
				// The step comes after the answer: the store finds out behind it.
				<-h.Store.Failed()
			} else {
				wantCode(t, err, authz.KindInternal, "STATE_UNKNOWN")
			}
			unknown(t, h.Store)
			acked := err == nil
			h.Store.Close()
			if h.Check != nil {
				if err := h.Check(); err != nil {
					t.Errorf("%s broken (done %v): %v", step, done, err)
				}
			}
			sound(t, r)
			h.Store = h.Reopen()
			r = attach(t, h.Store)
			after, _ := h.Store.Head()
			_, first := r.Records()[state.GroupKey(next+1)]
			_, second := r.Records()[state.UserKey(authz.UserID(next))]
			if stored := after.Revision == before.Revision+1; first != second || first != stored {
				t.Errorf("%s broken (done %v): half of a batch, at %v after %v", step, done, after, before)
			} else if acked && !stored {
				t.Errorf("%s broken (done %v): an acknowledged batch is lost", step, done)
			} else if step == h.StoreStep && stored != done {
				t.Errorf("%s broken (done %v): stored is %v", step, done, stored)
			}
			next += 2
		}
	}
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(next)}})
	sound(t, r)
}

// unknown checks that a store which failed refuses everything.
func unknown(t *testing.T, s state.Store) {
	t.Helper()
	select {
	case <-s.Failed():
	default:
		t.Error("Failed is not closed")
	}
	ctx := context.Background()
	_, err := s.Commit(ctx, state.Batch{Puts: []state.Record{group(1)}, Urgent: true})
	wantCode(t, err, authz.KindInternal, "STATE_UNKNOWN")
	wantCode(t, s.History(ctx, 0, func(state.Change) error { return nil }), authz.KindInternal, "STATE_UNKNOWN")
	wantCode(t, s.Events(ctx, 0, 0, "", func(state.Event, string) error { return nil }), authz.KindInternal, "STATE_UNKNOWN")
	_, err = s.PruneEvents(ctx, 1, 1)
	wantCode(t, err, authz.KindInternal, "STATE_UNKNOWN")
}
