package badgerstore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

// smallTable makes Badger begin new files after some hundred batches.
const smallTable = 256 << 10

// copyDir copies a store as it is at this instant. Badger may be writing a table behind us,
// so it is done again when the folder changed meanwhile.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	for {
		before := listDir(t, from)
		os.RemoveAll(to)
		err := os.CopyFS(to, os.DirFS(from))
		if after := listDir(t, from); err == nil && before == after {
			return
		}
	}
}

// listDir names all files with their sizes, and has the contents of the MANIFEST, which says
// when Badger has changed something.
func listDir(t testing.TB, dir string) string {
	t.Helper()
	var b bytes.Buffer
	for _, pattern := range []string{"*", "badger/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && !info.IsDir() {
				fmt.Fprintln(&b, name, info.Size())
			}
			if filepath.Base(name) == "MANIFEST" {
				if f, err := os.Open(name); err == nil {
					io.Copy(&b, f)
					f.Close()
				}
			}
		}
	}
	return b.String()
}

// life is one store from its making to its closing, with an image of the folder at every
// step: what a kill there leaves.
type life struct {
	t      *testing.T
	dir    string
	mu     sync.Mutex
	acked  authz.GroupID // every group up to it is acknowledged
	images []image
	taken  map[string]int
}

type image struct {
	name  string
	dir   string
	acked authz.GroupID
}

// perStep is how many images are taken of one step: of the first times it is reached.
const perStep = 4

func (l *life) hook(step badgerstore.Step, done bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := fmt.Sprintf("%s, done %v", step, done)
	if l.taken[name]++; l.taken[name] > perStep {
		return nil
	}
	im := image{fmt.Sprintf("%s, time %d", name, l.taken[name]), filepath.Join(l.t.TempDir(), "image"), l.acked}
	copyDir(l.t, l.dir, im.dir)
	l.images = append(l.images, im)
	return nil
}

// live makes the store, fills it over several tables, closes it, and does so again.
func (l *life) live() {
	for range 2 {
		s := open(l.t, badgerstore.Options{Dir: l.dir, Fault: l.hook, Memtable: smallTable})
		if err := s.Attach(context.Background(), new(discard)); err != nil {
			l.t.Fatal(err)
		}
		for range 400 {
			id := l.acked + 1
			b := state.Batch{Puts: pairOf(id), Events: []state.Event{{Stamp: authz.Stamp(id)}}}
			if _, err := s.Commit(context.Background(), b); err != nil {
				l.t.Fatal(err)
			}
			l.mu.Lock()
			l.acked = id
			l.mu.Unlock()
		}
		if err := s.Close(); err != nil {
			l.t.Fatal(err)
		}
	}
}

// pairOf are the two records of one batch, long enough to fill tables quickly.
func pairOf(id authz.GroupID) []state.Record {
	text := strings.Repeat("x", 1000)
	return []state.Record{&state.Group{ID: id, Name: text}, &state.User{ID: authz.UserID(id), Name: text}}
}

// TestKilledAtEveryStep opens what a kill before and after every step leaves: everything
// acknowledged is there, no batch is there by half, and the store goes on.
func TestKilledAtEveryStep(t *testing.T) {
	l := &life{t: t, dir: filepath.Join(t.TempDir(), "store"), taken: make(map[string]int)}
	l.live()
	for _, step := range badgerstore.Steps() {
		for _, done := range []bool{false, true} {
			if l.taken[fmt.Sprintf("%s, done %v", step, done)] == 0 {
				t.Errorf("step %q (done %v) was never reached", step, done)
			}
		}
	}
	for _, im := range l.images {
		t.Run(im.name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(im.dir, "MARK")); err == nil {
				if err := check(im.dir); err != nil {
					t.Errorf("before opening: %v", err)
				}
			}
			s := open(t, badgerstore.Options{Dir: im.dir, Memtable: smallTable})
			r := new(statetest.Recorder)
			if err := s.Attach(context.Background(), r); err != nil {
				t.Fatal(err)
			}
			records := r.Records()
			if len(records) != 2*int(r.Revision()) {
				t.Errorf("%d records at revision %d", len(records), r.Revision())
			}
			if n := authz.GroupID(r.Revision()); n < im.acked || n > im.acked+1 {
				t.Errorf("%d batches are there, %d were acknowledged", n, im.acked)
			}
			if _, err := s.Commit(context.Background(), state.Batch{Puts: pairOf(authz.GroupID(r.Revision() + 1))}); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := check(im.dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBrokenStepsOfOpenAndClose breaks the steps that are no part of a commit. Opening or
// closing says so, and opening again finds everything.
func TestBrokenStepsOfOpenAndClose(t *testing.T) {
	for _, step := range []badgerstore.Step{badgerstore.StepCreateMark, badgerstore.StepOpen, badgerstore.StepCreateHead, badgerstore.StepClose, badgerstore.StepSyncNames} {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, done %v", step, done), func(t *testing.T) {
				dir := t.TempDir()
				f := new(faults)
				opts := badgerstore.Options{Dir: dir, Ballast: -1, Fault: f.hook, Memtable: smallTable}
				f.fail(step, done)
				acked := authz.GroupID(0)
				for untilBroken(t, opts, &acked) {
				}
				s := open(t, badgerstore.Options{Dir: dir, Memtable: smallTable})
				r := new(statetest.Recorder)
				if err := s.Attach(context.Background(), r); err != nil {
					t.Fatal(err)
				}
				if n := authz.GroupID(r.Revision()); n < acked || n > acked+1 || len(r.Records()) != 2*int(n) {
					t.Errorf("%d batches in %d records are there, %d were acknowledged", n, len(r.Records()), acked)
				}
				s.Close()
				if err := check(dir); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// untilBroken opens the store, commits and closes it. It gives false when one of these
// failed.
func untilBroken(t *testing.T, opts badgerstore.Options, acked *authz.GroupID) bool {
	s, err := badgerstore.Open(context.Background(), opts)
	if err != nil {
		return false
	}
	defer s.Close()
	if err := s.Attach(context.Background(), new(discard)); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if _, err := s.Commit(context.Background(), state.Batch{Puts: pairOf(*acked + 1)}); err != nil {
			return false
		}
		*acked++
	}
	return s.Close() == nil
}

// TestSmallerTable opens with a small table what was written and killed with a large one: the
// write-ahead file has to fit into memory all the same.
func TestSmallerTable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, badgerstore.Options{Dir: dir, Memtable: 8 << 20})
	if err := s.Attach(context.Background(), new(discard)); err != nil {
		t.Fatal(err)
	}
	for id := range authz.GroupID(1000) {
		if _, err := s.Commit(context.Background(), state.Batch{Puts: pairOf(id + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	killed := filepath.Join(t.TempDir(), "killed")
	copyDir(t, dir, killed)
	s.Close()
	s = open(t, badgerstore.Options{Dir: killed, Memtable: smallTable})
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if n := len(r.Records()); n != 2000 {
		t.Errorf("%d records of 2000", n)
	}
	// And what one of this size cannot take is refused for what it is.
	b := state.Batch{}
	for id := range authz.GroupID(500) {
		b.Puts = append(b.Puts, pairOf(id+1)...)
	}
	_, err := s.Commit(context.Background(), b)
	if authz.KindOf(err) != authz.KindInvalid {
		t.Errorf("a batch larger than the table: %v", err)
	}
}
