package badgerstore_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

// breaking is a hook that fails from step n on, as a kill does.
type breaking struct {
	mu     sync.Mutex
	on     bool
	n      int
	done   bool
	broken bool
}

func (b *breaking) hook(_ badgerstore.Step, done bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.on {
		return nil
	}
	if b.broken || done == b.done && b.n == 0 {
		b.broken = true
		return errBroken
	}
	if done == b.done {
		b.n--
	}
	return nil
}

func (b *breaking) from(n int, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on, b.n, b.done, b.broken = true, n, done, false
}

func (b *breaking) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = false
	return b.broken
}

func TestImport(t *testing.T) {
	statetest.Import(t, func(t *testing.T) statetest.ImportHarness {
		b := new(breaking)
		dir := filepath.Join(t.TempDir(), "data")
		opts := badgerstore.Options{Dir: dir, Memtable: 8 << 20, Ballast: -1, Fault: b.hook}
		return statetest.ImportHarness{
			Import: func() (state.Import, error) { return badgerstore.OpenImport(context.Background(), opts) },
			Open:   func() (state.Store, error) { return badgerstore.Open(context.Background(), opts) },
			Check:  func() error { return check(dir) },
			Clear:  func() { os.RemoveAll(dir) },
			Empty: func() bool {
				found, err := badgerstore.Look(dir)
				if err != nil {
					t.Error(err)
				}
				return found.Holds == ""
			},
			Break: b.from, Broken: b.stop,
		}
	})
}

// TestImportPlaces tries places that are no good.
func TestImportPlaces(t *testing.T) {
	dir := t.TempDir()
	opts := badgerstore.Options{Dir: dir, Ballast: -1}
	if err := os.WriteFile(filepath.Join(dir, "SEEN"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := badgerstore.OpenImport(t.Context(), opts)
	wantCode(t, err, "TARGET_NOT_EMPTY")
	opts.Dir = t.TempDir()
	s := open(t, opts)
	_, err = badgerstore.OpenImport(t.Context(), opts)
	wantCode(t, err, "STORE_IN_USE")
	s.Close()
	opts.Dir, opts.Free = t.TempDir(), func() (int64, error) { return 1 << 20, nil }
	im, err := badgerstore.OpenImport(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, im.Finish(t.Context(), state.Beginning{}), "DISK_LOW")
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = badgerstore.Open(t.Context(), opts)
	wantCode(t, err, state.CodeImportUnfinished)
	_, err = badgerstore.Check(t.Context(), opts.Dir)
	wantCode(t, err, state.CodeImportUnfinished)
}
