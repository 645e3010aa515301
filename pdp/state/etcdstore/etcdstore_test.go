package etcdstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/pdp/state/statetest"
	"github.com/jobward/jobward/test/etcd"
)

var _ = flag.Uint64("seed", 0, "seed of the random tests; zero takes one from the clock")

func TestMain(m *testing.M) {
	code := m.Run()
	etcd.Clean()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// faults is a hook that tests arm.
type faults struct {
	mu    sync.Mutex
	armed func(step etcdstore.Step, done bool) error
}

func (f *faults) hook(step etcdstore.Step, done bool) error {
	f.mu.Lock()
	armed := f.armed
	f.mu.Unlock()
	if armed == nil {
		return nil
	}
	return armed(step, done)
}

func (f *faults) arm(fn func(step etcdstore.Step, done bool) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = fn
}

var (
	errBroken = errors.New("the test broke it")
	errLost   = fmt.Errorf("the test lost the answer: %w", context.DeadlineExceeded)
)

// fail breaks a step once.
func (f *faults) fail(step etcdstore.Step, done bool, err error) {
	f.arm(func(s etcdstore.Step, d bool) error {
		if s != step || d != done {
			return nil
		}
		f.arm(nil)
		return err
	})
}

func (f *faults) hold(step etcdstore.Step) (<-chan struct{}, func()) {
	reached, released := make(chan struct{}), make(chan struct{})
	f.arm(func(s etcdstore.Step, done bool) error {
		if s == step && !done {
			f.arm(nil)
			close(reached)
			<-released
		}
		return nil
	})
	return reached, sync.OnceFunc(func() { close(released) })
}

// open opens a store, or fails the test.
func open(t testing.TB, opts etcdstore.Options) *etcdstore.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := etcdstore.Open(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func attach(t testing.TB, s state.Store) *statetest.Recorder {
	t.Helper()
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range r.Faults() {
			t.Error(f)
		}
	})
	return r
}

func commit(t testing.TB, s state.Store, b state.Batch) authz.Revision {
	t.Helper()
	rev, err := s.Commit(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func group(id authz.GroupID) *state.Group { return &state.Group{ID: id, Name: "g"} }

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var e *authz.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want code %s", err, code)
	}
}

func TestStore(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{})
	n := 0
	statetest.Run(t, func(t *testing.T) statetest.Harness {
		n++
		f := new(faults)
		opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: fmt.Sprintf("/test/%d/", n), Fault: f.hook, Fold: 64}
		s := open(t, opts)
		h := statetest.Harness{
			Store: s, StoreStep: string(etcdstore.StepCommit), Steps: []string{string(etcdstore.StepCommit)},
			Break: func(step string, done bool) { f.fail(etcdstore.Step(step), done, errBroken) },
			Hold: func(step string) (<-chan struct{}, func()) {
				reached, release := f.hold(etcdstore.Step(step))
				t.Cleanup(release)
				return reached, release
			},
		}
		h.Reopen = func() state.Store { s.Close(); s = open(t, opts); return s }
		return h
	})
}
