package statetest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// committers is how many goroutines commit at a time in the concurrent tests.
const committers = 64

// testConcurrent attacks P3: revisions are dense and in order under many committers.
func testConcurrent(t *testing.T, h Harness) {
	const each = 20
	r := attach(t, h.Store)
	var mu sync.Mutex
	revs := make(map[authz.Revision]state.Key)
	var wg sync.WaitGroup
	for c := range committers {
		wg.Go(func() {
			for i := range each {
				id := authz.UserID(1 + c*each + i)
				rev, err := h.Store.Commit(context.Background(), state.Batch{
					Guards: []state.Guard{{Key: state.UserKey(id)}}, Puts: []state.Record{user(id)},
				})
				if err != nil {
					t.Error(err)
					return
				}
				// The sink has it before Commit returns.
				if mod := r.Mod(state.UserKey(id)); mod != rev {
					t.Errorf("the sink has user %d as of %d, committed at %d", id, mod, rev)
				}
				if mark, _ := h.Store.Head(); mark.Revision < rev {
					t.Errorf("the head is at %d after revision %d", mark.Revision, rev)
				}
				mu.Lock()
				revs[rev] = state.UserKey(id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(revs) != committers*each {
		t.Fatalf("%d revisions for %d commits", len(revs), committers*each)
	}
	for _, c := range r.Changes() {
		if revs[c.Revision] != c.Keys[0] {
			t.Errorf("revision %d is of %v, its committer was told %v", c.Revision, c.Keys[0], revs[c.Revision])
		}
	}
	if mark, _ := h.Store.Head(); int(mark.Revision) != len(revs) {
		t.Errorf("%d commits led to revision %d", len(revs), mark.Revision)
	}
	sound(t, r)
}

// testCounter has everybody count up one record under a guard: if two guards held at the
// same revision, a step is lost.
func testCounter(t *testing.T, h Harness) {
	const each = 10
	r := attach(t, h.Store)
	key := state.RunnerKey("counter")
	commit(t, h.Store, state.Batch{Puts: []state.Record{&state.Runner{ID: "counter"}}})
	var wg sync.WaitGroup
	for range committers {
		wg.Go(func() {
			for done := 0; done < each; {
				held := r.Records()[key]
				_, err := h.Store.Commit(context.Background(), state.Batch{
					Guards: []state.Guard{on(key, held.Mod)},
					Puts:   []state.Record{&state.Runner{ID: "counter", Beat: held.Record.(*state.Runner).Beat + 1}},
				})
				if err == nil {
					done++
				} else if codeOf(err) != "GUARD_FAILED" {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := r.Records()[key].Record.(*state.Runner).Beat; got != committers*each {
		t.Errorf("counted to %d, want %d", got, committers*each)
	}
	sound(t, r)
}

func testHold(t *testing.T, h Harness) {
	if h.Hold == nil {
		t.Skip("this store has no steps that can be held")
	}
	r := attach(t, h.Store)
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}, Stamp: 1})
	before, _ := h.Store.Head()
	reached, release := h.Hold(h.StoreStep)
	result := make(chan error, 1)
	go func() {
		_, err := h.Store.Commit(context.Background(), state.Batch{
			Puts: []state.Record{group(2)}, Stamp: 9, Events: []state.Event{{Stamp: 9, Data: []byte("e")}},
		})
		result <- err
	}()
	<-reached
	select {
	case err := <-result:
		t.Fatalf("Commit returned before the batch was durable: %v", err)
	default:
	}
	if len(r.Changes()) != 1 {
		t.Error("the sink has a change that is not durable")
	}
	if mark, stamp := h.Store.Head(); mark != before || stamp != 1 {
		t.Errorf("the head shows %v, stamp %d, before they are durable", mark, stamp)
	}
	if n := len(history(t, h.Store, 0)); n != 1 {
		t.Errorf("history shows %d changes, of which one is durable", n)
	}
	if n := len(events(t, h.Store, 0, 0)); n != 0 {
		t.Errorf("%d events are seen before they are durable", n)
	}
	release()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if len(r.Changes()) != 2 || len(events(t, h.Store, 0, 0)) != 1 {
		t.Error("the batch was stored and is not to be seen")
	}
}

func testCanceled(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := h.Store.Commit(ctx, state.Batch{Puts: []state.Record{group(1)}})
	wantCode(t, err, authz.KindCanceled, "CANCELED")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not say that the context ended", err)
	}
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(2)}, Events: []state.Event{{Data: []byte("x")}}})
	wantCode(t, h.Store.History(ctx, r.Revision()-1, func(state.Change) error { return nil }), authz.KindCanceled, "CANCELED")
	wantCode(t, h.Store.Events(ctx, 0, 0, "", func(state.Event, string) error { return nil }), authz.KindCanceled, "CANCELED")
	_, err = h.Store.PruneEvents(ctx, 1, 1)
	wantCode(t, err, authz.KindCanceled, "CANCELED")
	if h.Hold == nil {
		return
	}
	// Given up while it waits: it may happen, and the store goes on.
	reached, release := h.Hold(h.StoreStep)
	ctx, cancel = context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, err := h.Store.Commit(ctx, state.Batch{Puts: []state.Record{group(3)}})
		result <- err
	}()
	<-reached
	cancel()
	wantCode(t, <-result, authz.KindCanceled, "CANCELED")
	release()
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(4)}})
	sound(t, r)
}

func testClose(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	var wg sync.WaitGroup
	acked := make(chan authz.GroupID, committers*100)
	for c := range committers {
		wg.Go(func() {
			for i := range 100 {
				id := authz.GroupID(1 + c*100 + i)
				_, err := h.Store.Commit(context.Background(), state.Batch{Puts: []state.Record{group(id)}})
				if err != nil {
					wantCode(t, err, authz.KindUnavailable, "CLOSED")
					return
				}
				acked <- id
			}
		})
	}
	for range 50 {
		acked <- <-acked // At least some are under way.
	}
	if err := h.Store.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := h.Store.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	ctx := context.Background()
	_, err := h.Store.Commit(ctx, state.Batch{Puts: []state.Record{group(1)}})
	wantCode(t, err, authz.KindUnavailable, "CLOSED")
	wantCode(t, h.Store.History(ctx, 0, func(state.Change) error { return nil }), authz.KindUnavailable, "CLOSED")
	wantCode(t, h.Store.Events(ctx, 0, 0, "", func(state.Event, string) error { return nil }), authz.KindUnavailable, "CLOSED")
	_, err = h.Store.PruneEvents(ctx, 1, 1)
	wantCode(t, err, authz.KindUnavailable, "CLOSED")
	select {
	case <-h.Store.Failed():
		t.Error("a store that was closed says that it failed")
	default:
	}
	close(acked)
	records := r.Records()
	if h.Reopen != nil {
		records = attach(t, h.Reopen()).Records()
	}
	for id := range acked {
		if _, ok := records[state.GroupKey(id)]; !ok {
			t.Errorf("group %d was acknowledged and is lost", id)
		}
	}
	sound(t, r)
}

func testReopen(t *testing.T, h Harness) {
	if h.Reopen == nil {
		t.Skip("this store keeps nothing over a restart")
	}
	rnd := NewRand(t)
	r := attach(t, h.Store)
	for round := range 3 {
		for range 30 {
			commit(t, h.Store, batch(rnd, r))
		}
		mark, stamp := h.Store.Head()
		want, log, saved := r.Records(), history(t, h.Store, 0), events(t, h.Store, 0, 0)
		h.Store = h.Reopen()
		r = attach(t, h.Store)
		if m, s := h.Store.Head(); m != mark || s != stamp {
			t.Fatalf("round %d: head %v stamp %d became %v stamp %d", round, mark, stamp, m, s)
		}
		if got, _ := r.Mark(); got != mark {
			t.Errorf("round %d: loaded to %v, head %v", round, got, mark)
		}
		for _, line := range Diff(r.Records(), want) {
			t.Errorf("round %d: %s", round, line)
		}
		same(t, "history", history(t, h.Store, 0), log)
		same(t, "events", events(t, h.Store, 0, 0), saved)
	}
	if h.Check != nil {
		h.Store.Close()
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	}
	sound(t, r)
}
