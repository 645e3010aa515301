package memstore_test

import (
	"context"
	"errors"
	"flag"
	"testing"

	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

var _ = flag.Uint64("seed", 0, "seed of the random tests; zero takes one from the clock")

func TestStore(t *testing.T) {
	statetest.Run(t, func(t *testing.T) statetest.Harness {
		s := memstore.New()
		h := statetest.Harness{Store: s, Steps: []string{"commit"}, StoreStep: "commit"}
		h.Reopen = func() state.Store { s = s.Reopen(); return s }
		h.Break = func(_ string, done bool) { s.FailNext(done) }
		return h
	})
}

func TestHistoryKeepsWhatWasAsked(t *testing.T) {
	s := memstore.NewKeeping(3)
	if err := s.Attach(context.Background(), new(statetest.Recorder)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := s.Commit(context.Background(), state.Batch{Puts: []state.Record{&state.Group{ID: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	stop := errors.New("stop")
	if err := s.History(context.Background(), 7, func(state.Change) error { return stop }); err != stop {
		t.Errorf("the oldest kept: %v", err)
	}
	if err := s.History(context.Background(), 6, func(state.Change) error { return stop }); err == nil || err == stop {
		t.Errorf("one before it: %v", err)
	}
}
