package badgerstore_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// TestSlowReader reads history and events while both are pruned and Badger compacts: what a
// call began to read is there until it ends.
func TestSlowReader(t *testing.T) {
	s := open(t, badgerstore.Options{Dir: t.TempDir(), Memtable: smallTable})
	if err := s.Attach(context.Background(), new(discard)); err != nil {
		t.Fatal(err)
	}
	commit := func(n int) {
		var wg sync.WaitGroup
		for c := range 32 {
			wg.Go(func() {
				for i := c; i < n; i += 32 {
					b := state.Batch{Puts: pairOf(authz.GroupID(1 + i%100)), Events: []state.Event{{Stamp: authz.Stamp(1 + i), Data: make([]byte, 200)}}}
					if _, err := s.Commit(context.Background(), b); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	commit(2000)
	changes, events := 0, 0
	err := s.History(context.Background(), 0, func(state.Change) error {
		if changes++; changes > 1 {
			return nil
		}
		return s.Events(context.Background(), 0, 0, "", func(state.Event, string) error {
			if events++; events > 1 {
				return nil
			}
			if n, err := s.PruneEvents(context.Background(), 1<<60, 1<<30); err != nil || n != 2000 {
				t.Errorf("pruned %d: %v", n, err)
			}
			commit(14_000)
			return nil
		})
	})
	if err != nil || changes != 2000 || events != 2000 {
		t.Errorf("%d changes and %d events of 2000 were read: %v", changes, events, err)
	}
	err = s.History(context.Background(), 0, func(state.Change) error { return nil })
	if authz.KindOf(err) != authz.KindPrecondition {
		t.Errorf("the history was to be pruned meanwhile: %v", err)
	}
}

// TestPruneInWideBatches prunes events of which all packs straddle the border, so that a
// transaction could not take the rest of all of them at once.
func TestPruneInWideBatches(t *testing.T) {
	s := open(t, badgerstore.Options{Dir: t.TempDir(), Memtable: smallTable})
	if err := s.Attach(context.Background(), new(discard)); err != nil {
		t.Fatal(err)
	}
	const packs = 60
	for i := range authz.Stamp(packs) {
		b := state.Batch{Events: []state.Event{{Stamp: 1 + i}, {Stamp: 100_000_000 + i, Data: make([]byte, 5000)}}}
		if _, err := s.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.PruneEvents(context.Background(), 1000, 1000); err != nil || n != packs {
		t.Errorf("pruned %d of %d: %v", n, packs, err)
	}
	left := 0
	err := s.Events(context.Background(), 0, 0, "", func(e state.Event, _ string) error {
		if left++; len(e.Data) != 5000 {
			t.Errorf("an event of stamp %d is left", e.Stamp)
		}
		return nil
	})
	if err != nil || left != packs {
		t.Errorf("%d events left of %d: %v", left, packs, err)
	}
}

// TestSecondProcess opens a store that is open.
func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, badgerstore.Options{Dir: dir})
	for range 2 {
		_, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir})
		wantCode(t, err, "STORE_IN_USE")
		_, err = badgerstore.Check(context.Background(), dir)
		wantCode(t, err, "STORE_IN_USE")
	}
	s.Close()
	open(t, badgerstore.Options{Dir: dir})
	_, err := badgerstore.Check(context.Background(), t.TempDir())
	wantCode(t, err, "NO_STORE")
}
