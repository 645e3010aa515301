package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

// whole is a store before it is damaged, and what is in it.
type whole struct {
	dir     string
	mark    state.Mark
	stamp   authz.Stamp
	records map[state.Key]statetest.Held
	events  int
	history int
}

const damageTable = 256 << 10

func openDamaged(dir string) (*badgerstore.Store, error) {
	return badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir, Memtable: damageTable, Ballast: -1})
}

// makeWhole fills a store over several tables. A running one is copied while it is open, so
// that it has write-ahead files as a kill leaves them; a closed one has none.
func makeWhole(t *testing.T, running bool) *whole {
	w := &whole{dir: filepath.Join(t.TempDir(), "whole")}
	dir := filepath.Join(t.TempDir(), "store")
	s, err := openDamaged(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	for i := range authz.GroupID(700) {
		b := state.Batch{Stamp: authz.Stamp(i), Puts: []state.Record{
			&state.Group{ID: i + 1, Name: strings.Repeat("g", 500)}, &state.User{ID: authz.UserID(i%50 + 1), Name: fmt.Sprint("u", i)},
		}}
		if i%5 == 4 {
			b.Deletes = []state.Key{state.GroupKey(i)}
		}
		if i%3 == 0 {
			b.Events = []state.Event{{Stamp: authz.Stamp(i), Data: []byte("event")}}
			w.events++
		}
		if _, err := s.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	w.mark, w.stamp = s.Head()
	w.records = r.Records()
	w.history = int(w.mark.Revision)
	if !running {
		s.Close()
	}
	// Badger may be busy with a table; a copy that fsck finds whole is one of an instant.
	for {
		copyDir(t, dir, w.dir)
		if report, err := badgerstore.Check(context.Background(), w.dir); err == nil && len(report.Problems) == 0 {
			return w
		}
	}
}

// damage is one thing done to one file.
type damage struct {
	name string
	do   func(path string) error
}

func flip(at int64, with byte) damage {
	return damage{fmt.Sprintf("byte %d xor %02x", at, with), func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return err
		}
		b[0] ^= with
		_, err = f.WriteAt(b[:], at)
		return err
	}}
}

func cut(size int64) damage {
	return damage{fmt.Sprintf("cut to %d bytes", size), func(path string) error { return os.Truncate(path, size) }}
}

// zero overwrites a range, as a lost page does.
func zero(at, n int64) damage {
	return damage{fmt.Sprintf("zeros from %d to %d", at, at+n), func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt(make([]byte, n), at)
		return err
	}}
}

// damages are those done to a file of that size, of which used bytes are not zeros at the
// end. Every byte of a small file is flipped, and some of a large one.
func damages(rnd *rand.Rand, size, used int64) []damage {
	list := []damage{
		{"removed", os.Remove},
		{"renamed", func(path string) error { return os.Rename(path, path+".bak") }},
	}
	for _, n := range []int64{0, 1, 7, 19, 20, used / 3, used / 2, used - 9, used - 1, size - 1} {
		if n >= 0 && n < size {
			list = append(list, cut(n))
		}
	}
	flips := make(map[int64]bool)
	for _, n := range []int64{0, 1, 4, 6, 8, 11, 20, 21, 22, 24, used - 1, used - 2, used - 4, used - 8, used - 12, used, used + 1, used + 30, size - 1} {
		flips[n] = true
	}
	for range 24 {
		flips[rnd.Int64N(max(used, 1))] = true
	}
	for n := range flips {
		if n >= 0 && n < size {
			list = append(list, flip(n, 1<<rnd.IntN(8)), flip(n, 0xff))
		}
	}
	if used > 4096 {
		at := rnd.Int64N(used-4096) &^ 511
		list = append(list, zero(at, 512), zero(at, 4096))
	}
	return list
}

func usedBytes(t *testing.T, path string) (size, used int64) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used = int64(len(strings.TrimRight(string(b), "\x00")))
	return int64(len(b)), used
}

// TestDamage attacks P6. It does all kinds of damage to each file of a store. It opens with everything that
// was in it, or it is refused with words, and then every byte is where it was.
func TestDamage(t *testing.T) {
	rnd := newRand(t)
	for _, running := range []bool{true, false} {
		w := makeWhole(t, running)
		var files []string
		for _, pattern := range []string{"*", "badger/*"} {
			names, _ := filepath.Glob(filepath.Join(w.dir, pattern))
			files = append(files, names...)
		}
		sort.Strings(files)
		intact, refused := 0, 0
		for _, file := range files {
			name, _ := filepath.Rel(w.dir, file)
			if info, err := os.Stat(file); err != nil || info.IsDir() {
				continue
			}
			size, used := usedBytes(t, file)
			for _, d := range damages(rnd, size, used) {
				dir := filepath.Join(t.TempDir(), "damaged")
				copyDir(t, w.dir, dir)
				if err := d.do(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				what := fmt.Sprintf("running %v, %s: %s", running, name, d.name)
				if w.try(t, what, dir) {
					intact++
				} else {
					refused++
				}
			}
		}
		w.leftovers(t)
		// All of it gone but the mark.
		dir := filepath.Join(t.TempDir(), "damaged")
		copyDir(t, w.dir, dir)
		os.RemoveAll(filepath.Join(dir, "badger"))
		if w.try(t, "Badger's folder removed", dir) {
			t.Error("a store without its files was opened")
		}
		t.Logf("running %v: %d files; opened whole after %d damages, refused after %d", running, len(files), intact, refused)
	}
}

// leftovers are files that a kill can leave beside the others: of no length, since Badger was
// about to fill or to delete them, or tables that no MANIFEST came to list. Files that Badger
// does not make are no leftovers.
func (w *whole) leftovers(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		name, content string
		opens         bool
	}{
		{"badger/00099.mem", "", true},
		{"badger/00099.mem", "short", true},
		{"badger/000099.vlog", "", true},
		{"badger/000099.sst", "half a table", true},
		{"badger/MANIFEST-REWRITE", "half a manifest", true},
		{"MARK.new", "half a mark", true},
		{"badger/000099.vlog", strings.Repeat("value", 10), false},
		{"badger/notes.txt", "who put this here?", false},
		{"badger/000099.blob", "", false},
	} {
		dir := filepath.Join(t.TempDir(), "leftover")
		copyDir(t, w.dir, dir)
		if err := os.WriteFile(filepath.Join(dir, c.name), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("%s of %d bytes beside it", c.name, len(c.content))
		if opened := w.try(t, what, dir); opened != c.opens {
			t.Errorf("%s: opened %v", what, opened)
		}
	}
}

// try opens a damaged store and gives whether it was intact.
func (w *whole) try(t *testing.T, what, dir string) bool {
	t.Helper()
	before := fingerprint(t, dir)
	s, err := openDamaged(dir)
	if err != nil {
		var e *authz.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "pdp fsck") && e.Code != "STORE_UNUSABLE" {
			t.Errorf("%s: refused without words on what to do: %v", what, err)
		}
		if fingerprint(t, dir) != before {
			t.Errorf("%s: refused (%v) and changed", what, err)
		}
		return false
	}
	defer s.Close()
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Errorf("%s: opened, and loading says %v", what, err)
		return true
	}
	if mark, stamp := s.Head(); mark != w.mark || stamp != w.stamp {
		t.Errorf("%s: opened at %v stamp %d, was at %v stamp %d", what, mark, stamp, w.mark, w.stamp)
	}
	for _, line := range statetest.Diff(r.Records(), w.records) {
		t.Errorf("%s: %s", what, line)
	}
	events, changes := 0, 0
	count := func(state.Event, string) error { events++; return nil }
	if err := s.Events(context.Background(), 0, 0, "", count); err != nil || events != w.events {
		t.Errorf("%s: %d of %d events: %v", what, events, w.events, err)
	}
	err = s.History(context.Background(), 0, func(state.Change) error { changes++; return nil })
	if err != nil || changes != w.history {
		t.Errorf("%s: %d of %d changes: %v", what, changes, w.history, err)
	}
	if _, err := s.Commit(context.Background(), state.Batch{Puts: []state.Record{&state.Group{ID: 9999}}}); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	return true
}
