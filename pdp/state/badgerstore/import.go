package badgerstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// importName is the file that says that an import into the folder has begun. It is the first
// thing that an import makes and the last that it removes: while it is there nothing else in
// the folder counts.
const importName = "IMPORTING"

// The steps of an import, see [Fault].
const (
	// StepImport makes the file that says that an import has begun.
	StepImport Step = "import"
	// StepImportStore commits a transaction of records or events, or the head.
	StepImportStore Step = "import store"
	// StepImportMark makes the mark file, when all else is durable.
	StepImportMark Step = "import mark"
	// StepImportFinish removes the file of StepImport.
	StepImportFinish Step = "import finish"
)

// Import implements [state.Import] for a folder that holds nothing yet.
type Import struct {
	s   *Store
	txn *badger.Txn
	// no is the number of txn, entries and bytes what is in it.
	no             uint64
	entries, bytes int64
	head           head
	events         []storedEvent
	eventBytes     int
}

// Look tells what an import into dir would find. It changes nothing and does not make the folder.
func Look(dir string) (t state.Target, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		for up := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist); up = filepath.Dir(up) {
			t.Room, err = freeBytes(up)
		}
		return t, err
	}
	if err != nil {
		return t, unusable(dir, err)
	}
	for _, f := range files {
		switch f.Name() {
		case "lost+found":
		case importName:
			t.Unfinished = true
		case markName:
			t.Holds = "a store"
			if m, err := readMark(dir); err == nil {
				t.Holds = fmt.Sprintf("a store at %v", m.Mark)
			}
		default:
			if t.Holds == "" {
				t.Holds = "the file " + f.Name()
			}
		}
	}
	if t.Unfinished {
		t.Holds = "an import that was not finished"
	}
	t.Room, err = freeBytes(dir)
	return t, err
}

// OpenImport begins an import into the folder of opts, which must be empty, not there, or left
// by an import that did not finish.
//
// If we die before the file of StepImport has its name, the folder is empty. From then on it is
// an unfinished import, until the file is removed, when the store is whole: records and events
// are synced, then the head, then the tables and their names, then the mark.
func OpenImport(ctx context.Context, opts Options) (*Import, error) {
	opts.fill()
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, unusable(opts.Dir, err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: opts, log: opts.Logger, lock: lock, known: known{seed: maphash.MakeSeed()}, failed: make(chan struct{}), pins: map[uint64]int{}}
	im := &Import{s: s, no: 1}
	if err := im.begin(ctx); err != nil {
		s.release()
		return nil, unusable(opts.Dir, err)
	}
	return im, nil
}

func (im *Import) begin(ctx context.Context) error {
	s := im.s
	t, err := Look(s.opts.Dir)
	switch {
	case err != nil:
		return err
	case t.Unfinished:
		if err := im.clear(); err != nil {
			return err
		}
	case t.Holds != "":
		return state.ErrNotEmpty(s.opts.Dir, t.Holds)
	}
	if ctx.Err() != nil {
		return state.ErrCanceled(ctx)
	}
	if err := s.opts.Fault.do(StepImport, im.mark); err != nil {
		return err
	}
	if err := s.openBadger(new(found)); err != nil {
		return err
	}
	s.space = newSpace(&s.opts, s.db)
	im.txn = s.db.NewTransactionAt(0, true)
	return nil
}

// mark makes the file which says that the import has begun.
func (im *Import) mark() error {
	f, err := os.OpenFile(im.path(importName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(im.s.opts.Dir))
}

func (im *Import) path(name string) string { return filepath.Join(im.s.opts.Dir, name) }

// clear removes what an import left, but for the file that says so.
func (im *Import) clear() error {
	var errs []error
	for _, name := range []string{badgerName, markName, markName + ".new", ballastName} {
		errs = append(errs, os.RemoveAll(im.path(name)))
	}
	return errors.Join(append(errs, syncDir(im.s.opts.Dir))...)
}

// Record implements [state.Import].
func (im *Import) Record(ctx context.Context, key state.Key, mod authz.Revision, body []byte) error {
	im.head.counts[key.Kind()]++
	return im.set(ctx, appendRecordKey(nil, key), appendRecord(make([]byte, 0, len(body)+16), mod, state.Sum(key, mod, body), body))
}

// importPack is how many events are made into packs at a time, and their bytes.
const (
	importPack      = 4096
	importPackBytes = 1 << 20
)

// Event implements [state.Import].
func (im *Import) Event(ctx context.Context, id state.EventID, e state.Event) error {
	im.events = append(im.events, storedEvent{id, e.Revision, bytes.Clone(e.Data)})
	if im.eventBytes += len(e.Data); len(im.events) < importPack && im.eventBytes < importPackBytes {
		return nil
	}
	return im.pack(ctx)
}

func (im *Import) pack(ctx context.Context) error {
	err := packEvents(im.events, func(pack []storedEvent) error {
		key, value, _ := appendPack(nil, pack)
		return im.set(ctx, key, value)
	})
	im.events, im.eventBytes = im.events[:0], 0
	return err
}

// set adds an entry to the transaction, after storing the one that has no room for it.
func (im *Import) set(ctx context.Context, key, value []byte) error {
	if ctx.Err() != nil {
		return state.ErrCanceled(ctx)
	}
	size := int64(len(key)+len(value)) + entryCost
	maxEntries, maxBytes := im.s.room()
	if im.entries+1 > maxEntries || im.bytes+size > maxBytes {
		if err := im.store(); err != nil {
			return err
		}
	}
	im.entries, im.bytes = im.entries+1, im.bytes+size
	if err := im.txn.Set(key, value); err != nil {
		return unusable(im.s.opts.Dir, fmt.Errorf("writing %d bytes: %w", len(value), err))
	}
	return nil
}

// store makes the transaction durable and begins the next.
func (im *Import) store() error {
	if err := im.space(); err != nil {
		return err
	}
	err := im.s.opts.Fault.do(StepImportStore, func() error { return im.txn.CommitAt(im.no, nil) })
	if err != nil {
		return unusable(im.s.opts.Dir, fmt.Errorf("storing a transaction: %w", err))
	}
	im.txn = im.s.db.NewTransactionAt(im.no, true)
	im.no++
	im.entries, im.bytes = 0, 0
	return nil
}

// space refuses to fill the disk: Badger writes to memory maps, which kills a process that finds
// it full.
func (im *Import) space() error {
	sp := &im.s.space
	if err := sp.look(time.Now()); err != nil {
		return unusable(im.s.opts.Dir, err)
	}
	if need := sp.needed() + sp.reserve; sp.isFree < need {
		return authz.Errorf(authz.KindExhausted, "DISK_LOW",
			"the disk of %s has %d MiB left, and %d MiB are needed to go on; make room and begin again", im.s.opts.Dir, sp.isFree>>20, need>>20)
	}
	return nil
}

// Finish implements [state.Import]. The epoch is one that the Leases record does not know, so the
// first start waits for the longest lease there is (PROTOCOL R1).
func (im *Import) Finish(ctx context.Context, b state.Beginning) error {
	if err := im.pack(ctx); err != nil {
		return err
	}
	if im.entries > 0 {
		if err := im.store(); err != nil {
			return err
		}
	}
	im.head.mark, im.head.stamp, im.head.seq, im.head.first = b.Mark, b.Stamp, b.Seq, b.Mark.Revision+1
	if err := im.set(ctx, headKey(), im.head.encode(nil)); err != nil {
		return err
	}
	last := im.no
	if err := im.store(); err != nil {
		return err
	}
	if err := im.finish(mark{b.Mark, last}); err != nil {
		return unusable(im.s.opts.Dir, err)
	}
	return nil
}

// finish makes a store of what is durable.
func (im *Import) finish(m mark) error {
	s := im.s
	im.txn.Discard()
	if err := s.opts.Fault.do(StepClose, s.db.Close); err != nil {
		return err
	}
	s.db, im.txn = nil, nil
	if err := syncDir(s.badgerDir()); err != nil {
		return err
	}
	if err := s.opts.Fault.do(StepImportMark, func() error { return createMark(s.opts.Dir, m) }); err != nil {
		return err
	}
	return s.opts.Fault.do(StepImportFinish, func() error {
		return errors.Join(os.Remove(im.path(importName)), syncDir(s.opts.Dir))
	})
}

// Close implements [state.Import].
func (im *Import) Close() error {
	if im.s.lock == nil {
		return nil
	}
	if im.txn != nil {
		im.txn.Discard()
	}
	err := im.s.release()
	im.s.lock = nil
	if err != nil {
		return unusable(im.s.opts.Dir, fmt.Errorf("closing: %w", err))
	}
	return nil
}

// unfinished refuses a folder that holds an import which was not finished.
func unfinished(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, importName)); err == nil {
		return state.ErrImportUnfinished(dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return unusable(dir, err)
	}
	return nil
}

// ImportSteps gives the steps of an import, for tests that break each.
func ImportSteps() []Step {
	return []Step{StepImport, StepOpen, StepImportStore, StepClose, StepImportMark, StepImportFinish}
}
