// Package statetest holds the suite that every [state.Store] passes, and those of stores that
// share a history: [Shared] and [Registry]. It asks for what the contract says and for nothing
// else, so that an engine works the same on all of them.
//
// A store that keeps what it has over a restart, or whose steps can be broken, says so in its
// [Harness]; what it does not have is skipped, visibly.
package statetest

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Harness is one store under test and what can be done to it. The functions may be nil.
type Harness struct {
	// Store is new and empty, with nothing attached. The suite closes it.
	Store state.Store
	// Reopen closes the newest store of the harness, if it is not, and opens it again.
	Reopen func() state.Store
	// Check looks at a closed store with an independent checker.
	Check func() error
	// Steps are the steps of a commit that Break and Hold know, all of them.
	Steps []string
	// Break makes a step fail the next time it is reached: before it was done, or after.
	Break func(step string, done bool)
	// Hold stops the store before a step, once: reached is closed when it got there, and it
	// goes on when release is called.
	Hold func(step string) (reached <-chan struct{}, release func())
	// StoreStep is the step that makes a batch durable.
	StoreStep string
}

// Run runs the suite. open is called for each test, with the test that it is for.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"NewStore", testNewStore},
		{"AttachOrder", testAttachOrder},
		{"CommitAndSink", testCommitAndSink},
		{"ThisRevision", testThisRevision},
		{"Guards", testGuards},
		{"FailedBatchHasNoEffect", testAtomic},
		{"InvalidBatches", testInvalid},
		{"Limits", testLimits},
		{"EventsOnly", testEventsOnly},
		{"EventRevision", testEventRevision},
		{"StampsNeverGoBack", testStamps},
		{"ConcurrentCommitters", testConcurrent},
		{"GuardsSerialise", testCounter},
		{"NothingIsSeenBeforeItIsDurable", testHold},
		{"History", testHistory},
		{"HistoryEnds", testHistoryEnds},
		{"Events", testEvents},
		{"PruneEvents", testPruneEvents},
		{"CallbackErrors", testCallbackErrors},
		{"Canceled", testCanceled},
		{"Close", testClose},
		{"Reopen", testReopen},
		{"BrokenSteps", testBrokenSteps},
		{"RandomHistory", testRandom},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			t.Cleanup(func() { h.Store.Close() })
			c.run(t, h)
		})
	}
}

// NewRand gives the random numbers of a test and logs their seed. A test binary that has a
// flag -seed sets it; zero and no flag mean a new one.
func NewRand(t testing.TB) *rand.Rand {
	var seed uint64
	if f := flag.Lookup("seed"); f != nil {
		seed, _ = strconv.ParseUint(f.Value.String(), 10, 64)
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("run again with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// attach attaches a new Recorder.
func attach(t testing.TB, s state.Store) *Recorder {
	t.Helper()
	r := new(Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Fatalf("attach: %v", err)
	}
	return r
}

// commit commits a batch that must be stored.
func commit(t testing.TB, s state.Store, b state.Batch) authz.Revision {
	t.Helper()
	rev, err := s.Commit(context.Background(), b)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return rev
}

// wantCode fails the test unless err is an *authz.Error of that kind and code.
func wantCode(t testing.TB, err error, kind authz.Kind, code string) {
	t.Helper()
	var e *authz.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Code != code {
		t.Errorf("error %v, want kind %d code %s", err, kind, code)
	}
}

func codeOf(err error) string {
	var e *authz.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
