// Package badgerstore is the default [state.Store]: one PDP, on Badger, in one folder.
//
// One goroutine, the committer, makes all transactions. It merges the batches that wait into
// one, since Badger syncs every transaction by itself and the sync is what costs. Guards
// are evaluated in order inside it, so a batch sees those before it. Each transaction also
// writes its history, with the chain checksum that a [state.Mark] names, and the head record.
// After the sync the mark is written to a file beside Badger, then the sink has the changes,
// then whoever committed is answered (PROTOCOL R10).
//
// What Badger does silently is checked from outside (TRAPS): opening looks at all the files
// first, without Badger, and refuses a store that is damaged or ends before its mark, leaving
// every byte as it was. Records are checked one by one when they are loaded. Badger's value
// log stays empty: all values are below the threshold, so that there is no garbage collection
// to run and nothing deleted can come back.
//
// Known limits: a raw rollback of the whole folder, mark included, cannot be seen. A disk that
// fills up although space is watched kills the process with SIGBUS, as Badger writes to
// memory maps; nothing acknowledged is lost, and the next start says that the disk is full.
package badgerstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	badgeroptions "github.com/dgraph-io/badger/v4/options"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Store implements [state.Store].
type Store struct {
	opts Options
	log  *slog.Logger
	lock *os.File
	db   *badger.DB
	mark markFile
	// space is used by the committer alone.
	space space

	queue chan *request
	// entering counts the calls that are about to send to queue.
	entering atomic.Int64
	closed   chan struct{} // Closed by Close: no more batches.
	idle     chan struct{} // Closed when the committer has ended.
	failed   chan struct{}

	// mu guards what readers and the committer share.
	mu     sync.RWMutex
	seen   snapshot       // after the newest transaction whose changes the sink has
	pins   map[uint64]int // transactions that calls are reading at, and how many of them
	broken error          // why failed is closed
	unread chan struct{}  // made by Close when there are pins, closed with the last of them

	// stage says how far Attach is.
	stage atomic.Int32
	// torn says that Badger itself failed: what it has in memory must not reach the disk.
	torn atomic.Bool
	// marked wakes the goroutine that syncs the mark.
	marked chan struct{}
	// pruning is held by PruneEvents, so that two do not count the same events.
	pruning sync.Mutex

	closeOnce sync.Once
	closeErr  error

	// What follows belongs to the committer, and to Open before it runs. Attach sets sink and
	// fills known before any batch can be queued.
	sink    state.Sink
	next    snapshot // after the newest transaction
	group   int      // how many requests it had
	files   memFiles
	scratch scratch
	mods    mods
	known   known
}

// The stages of a store.
const (
	opened = iota
	attaching
	attached
)

// Open opens the store in a folder, or makes it. An error is a *authz.Error; its text says
// what is wrong with the folder and what to do. Until Open returns without one nothing in
// the folder was changed, except that a store which proved whole was made ready to use.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts.fill()
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, unusable(opts.Dir, err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, log: opts.Logger, lock: lock, known: known{seed: maphash.MakeSeed()},
		queue: make(chan *request, 1024), marked: make(chan struct{}, 1), pins: make(map[uint64]int),
		closed: make(chan struct{}), idle: make(chan struct{}), failed: make(chan struct{}),
	}
	found, err := look(opts.Dir)
	if err == nil && ctx.Err() != nil {
		err = state.ErrCanceled(ctx)
	}
	if err == nil {
		err = s.start(found)
	}
	if err != nil {
		s.release()
		return nil, unusable(opts.Dir, err)
	}
	go s.commitLoop()
	return s, nil
}

// start makes a new store or opens the one that look found whole.
func (s *Store) start(found *found) error {
	fault := s.opts.Fault
	if found.mark == nil {
		found.mark = new(mark)
		found.mark.Epoch.Counter = 1
		rand.Read(found.mark.Epoch.ID[:])
		if err := fault.do(StepCreateMark, func() error { return createMark(s.opts.Dir, *found.mark) }); err != nil {
			return err
		}
	}
	if err := roomToOpen(&s.opts, found.logs); err != nil {
		return err
	}
	if err := s.openBadger(found); err != nil {
		return err
	}
	var err error
	if s.mark, err = openMark(s.opts.Dir); err != nil {
		return err
	}
	if last := s.db.MaxVersion(); last != found.last {
		return fmt.Errorf("opened at transaction %d, and its files go to %d", last, found.last)
	}
	s.next = snapshot{found.last, found.head, found.spans}
	if !found.hasHead {
		s.next = snapshot{txn: 1, head: head{mark: found.mark.Mark, first: 1}}
		if err := fault.do(StepCreateHead, s.createHead); err != nil {
			return err
		}
	}
	s.publish(s.next)
	// The mark can be behind by one transaction, from a kill between the two.
	if err := s.writeMark(s.next); err != nil {
		return err
	}
	if err = s.files.find(s.badgerDir(), s.db.Opts().MemTableSize); err != nil {
		return err
	}
	s.space = newSpace(&s.opts, s.db)
	return s.space.makeBallast()
}

// openBadger lets Badger have the folder. After this it has been changed.
func (s *Store) openBadger(found *found) error {
	dir := s.badgerDir()
	for _, name := range found.empty {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	// Replaying needs a table in memory that is large enough for what was written with
	// another setting.
	memtable := max(s.opts.Memtable, found.arena)
	opts := badger.DefaultOptions(dir).
		WithLogger(&logger{s}).WithMetricsEnabled(false).
		// We hold a lock of our own, on the folder above.
		WithBypassLockGuard(true).
		WithSyncWrites(true).
		WithMemTableSize(memtable).WithNumMemtables(2).WithNumCompactors(2).
		// One writer has no conflicts. Old versions are of no use.
		WithDetectConflicts(false).WithNumVersionsToKeep(1).
		WithValueThreshold(min(valueThreshold, memtable*15/100)).WithValueLogFileSize(2 << 20).
		// Records are small and read one at a time: uncompressed, straight from the page cache,
		// every one with its own checksum.
		WithCompression(badgeroptions.None).WithBlockCacheSize(0).
		WithChecksumVerificationMode(badgeroptions.NoVerification)
	err := s.opts.Fault.do(StepOpen, func() (err error) {
		s.db, err = badger.OpenManaged(opts)
		return err
	})
	if err != nil {
		return err
	}
	if !s.db.Opts().SyncWrites {
		return errors.New("writes are not synced")
	}
	return errors.Join(syncDir(s.opts.Dir), syncDir(dir))
}

func (s *Store) badgerDir() string { return filepath.Join(s.opts.Dir, badgerName) }

// createHead commits the head record of a new store.
func (s *Store) createHead() error {
	txn := s.db.NewTransactionAt(0, true)
	defer txn.Discard()
	if err := txn.Set(headKey(), s.next.head.encode(nil)); err != nil {
		return err
	}
	return txn.CommitAt(s.next.txn, nil)
}

// Head implements [state.Store].
func (s *Store) Head() (state.Mark, authz.Stamp) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seen.head.mark, s.seen.head.stamp
}

// Failed implements [state.Store].
func (s *Store) Failed() <-chan struct{} { return s.failed }

// fail stops the store for good and gives the error that every call gets from now on.
func (s *Store) fail(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = state.ErrStateUnknown(cause)
		s.log.Error("the store failed; this process has to stop", "error", cause)
		close(s.failed)
	}
	return s.broken
}

// failure gives the error of a store that failed.
func (s *Store) failure() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.broken
}

// usable says why no call can be served.
func (s *Store) usable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.refusal()
}

// refusal is usable for those who hold mu.
func (s *Store) refusal() error {
	if s.broken != nil {
		return s.broken
	}
	select {
	case <-s.closed:
		return state.ErrClosed()
	default:
		return nil
	}
}

// Close implements [state.Store]. A store that failed is left as the failure left it: Badger
// would write what it has in memory, of which nobody knows whether it is whole.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		<-s.idle
		s.waitUnread()
		if err := s.release(); err != nil {
			s.closeErr = unusable(s.opts.Dir, fmt.Errorf("closing: %w", err))
		}
	})
	return s.closeErr
}

// release lets go of everything that Open has got so far.
func (s *Store) release() error {
	if s.torn.Load() && s.db != nil {
		return nil // The folder stays locked until the process has ended.
	}
	var errs []error
	if s.db != nil {
		errs = append(errs, s.opts.Fault.do(StepClose, s.db.Close))
		if !s.db.IsClosed() { // A test broke the step; its goroutines have to end all the same.
			errs = append(errs, s.db.Close())
		}
	}
	if s.mark.f != nil {
		errs = append(errs, syncData(s.mark.f), s.mark.f.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
