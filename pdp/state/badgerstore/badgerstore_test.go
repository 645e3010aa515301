package badgerstore_test

import (
	"context"
	"errors"
	"flag"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

var _ = flag.Uint64("seed", 0, "seed of the random tests; zero takes one from the clock")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faults is a hook that tests arm.
type faults struct {
	mu    sync.Mutex
	armed func(step badgerstore.Step, done bool) error
}

func (f *faults) hook(step badgerstore.Step, done bool) error {
	f.mu.Lock()
	armed := f.armed
	f.mu.Unlock()
	if armed == nil {
		return nil
	}
	return armed(step, done)
}

func (f *faults) arm(fn func(step badgerstore.Step, done bool) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = fn
}

var errBroken = errors.New("the test broke it")

// fail breaks a step once.
func (f *faults) fail(step badgerstore.Step, done bool) {
	f.arm(func(s badgerstore.Step, d bool) error {
		if s != step || d != done {
			return nil
		}
		f.arm(nil)
		return errBroken
	})
}

func (f *faults) hold(step badgerstore.Step) (<-chan struct{}, func()) {
	reached, released := make(chan struct{}), make(chan struct{})
	f.arm(func(s badgerstore.Step, done bool) error {
		if s == step && !done {
			f.arm(nil)
			close(reached)
			<-released
		}
		return nil
	})
	return reached, sync.OnceFunc(func() { close(released) })
}

// open opens a store without ballast, or fails the test.
func open(t testing.TB, opts badgerstore.Options) *badgerstore.Store {
	t.Helper()
	if opts.Ballast == 0 {
		opts.Ballast = -1
	}
	s, err := badgerstore.Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func check(dir string) error {
	report, err := badgerstore.Check(context.Background(), dir)
	if err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errors.New(report.String())
	}
	return nil
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var e *authz.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want code %s", err, code)
	}
}

func TestStore(t *testing.T) {
	statetest.Run(t, func(t *testing.T) statetest.Harness {
		f := new(faults)
		opts := badgerstore.Options{Dir: t.TempDir(), Fault: f.hook}
		s := open(t, opts)
		h := statetest.Harness{
			Store: s, StoreStep: string(badgerstore.StepStore),
			Steps: []string{string(badgerstore.StepStore), string(badgerstore.StepMark), string(badgerstore.StepSyncMark)},
			Check: func() error { return check(opts.Dir) },
			Break: func(step string, done bool) { f.fail(badgerstore.Step(step), done) },
			Hold: func(step string) (<-chan struct{}, func()) {
				reached, release := f.hold(badgerstore.Step(step))
				t.Cleanup(release)
				return reached, release
			},
		}
		h.Reopen = func() state.Store { s.Close(); s = open(t, opts); return s }
		return h
	})
}
