package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// request is one call that waits for the committer.
type request struct {
	ctx   context.Context
	batch *state.Prepared
	// prune is set instead of batch by PruneEvents: Badger's keys of events to delete.
	prune [][]byte
	// entries and bytes are the most that it adds to a transaction.
	entries, bytes int64
	// done gets the answer; it has room for it.
	done chan answer
}

type answer struct {
	rev authz.Revision
	err error
}

// Bounds of what one Badger entry takes beside its key and value, as Badger counts.
const entryCost = 12

// headCost bounds the entries of a transaction that do not depend on its batches: the
// head, the history key, what pruning deletes, Badger's own end mark.
const (
	headEntries = 16 + prunePacks*16
	headCost    = 1 << 10
)

func newRequest(ctx context.Context, p *state.Prepared) *request {
	r := &request{ctx: ctx, batch: p, done: make(chan answer, 1)}
	r.bytes = int64(64 + len(p.Actor) + len(p.Verb))
	for _, key := range p.Keys {
		r.entries++
		r.bytes += int64(2*len(key) + 8 + 16 + entryCost)
	}
	for _, body := range p.Bodies {
		r.bytes += int64(len(body))
	}
	for i := range p.Events {
		r.entries++
		r.bytes += int64(17 + 4 + len(p.Events[i].Data) + entryCost)
	}
	r.entries += r.bytes / maxChunk // Chunks of history.
	return r
}

// Commit implements [state.Store].
func (s *Store) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	p, err := state.Prepare(b)
	if err != nil {
		return 0, err
	}
	r := newRequest(ctx, p)
	if entries, bytes := s.room(); r.entries > entries || r.bytes > bytes {
		return 0, authz.Invalid("batch", "%d records and events in %d bytes are more than a store with a small memtable takes", len(p.Keys)+len(p.Events), r.bytes)
	}
	a := s.submit(r)
	return a.rev, a.err
}

// room is what fits into one transaction beside its fixed part.
func (s *Store) room() (entries, bytes int64) {
	return s.db.MaxBatchCount() - headEntries - 1, s.db.MaxBatchSize() - headCost - headEntries*(32+entryCost) - 1
}

// submit hands r to the committer and waits for the answer.
func (s *Store) submit(r *request) answer {
	if err := s.usable(); err != nil {
		return answer{err: err}
	}
	if s.stage.Load() != attached {
		return answer{err: state.ErrAttachOrder("nothing is attached")}
	}
	select {
	case s.queue <- r:
	case <-r.ctx.Done():
		return answer{err: state.ErrCanceled(r.ctx)}
	case <-s.idle:
		return answer{err: s.gone()}
	}
	select {
	case a := <-r.done:
		return a
	case <-r.ctx.Done():
		return answer{err: state.ErrCanceled(r.ctx)}
	case <-s.idle:
		// The committer may have answered just before it ended.
		select {
		case a := <-r.done:
			return a
		default:
			return answer{err: s.gone()}
		}
	}
}

// gone is the error of calls that the committer did not come to.
func (s *Store) gone() error {
	if err := s.usable(); err != nil {
		return err
	}
	return state.ErrClosed()
}

// commitLoop is the committer. It ends when the store is closed and everything that was
// queued by then is done, or when a write fails.
func (s *Store) commitLoop() {
	defer close(s.idle)
	stop := s.startMarkSync()
	defer stop()
	var group []*request
	var next *request // Taken from the queue and did not fit.
	for {
		group = group[:0]
		if next == nil {
			select {
			case next = <-s.queue:
			case <-s.closed:
				select {
				case next = <-s.queue:
				default:
					return
				}
			}
			// Let callers that the last transaction woke queue up again: a fuller transaction is
			// worth more than the microseconds.
			for range 3 {
				runtime.Gosched()
			}
		}
		group, next = s.gather(append(group, next))
		if !s.transact(group) {
			return
		}
	}
}

// gather adds to group what waits and fits into one transaction, and gives the first that
// does not fit.
func (s *Store) gather(group []*request) ([]*request, *request) {
	maxEntries, maxBytes := s.room()
	entries, bytes := group[0].entries, group[0].bytes
	for {
		select {
		case r := <-s.queue:
			if entries+r.entries > maxEntries || bytes+r.bytes > maxBytes {
				return group, r
			}
			entries, bytes = entries+r.entries, bytes+r.bytes
			group = append(group, r)
		default:
			return group, nil
		}
	}
}

// transact stores what of group can be stored, in one synced transaction, and answers all
// of group. It gives false when the store failed.
func (s *Store) transact(group []*request) bool {
	t := s.begin()
	defer t.txn.Discard()
	answers := make([]answer, len(group))
	wal := memPath(s.badgerDir(), s.memFile)
	now := time.Now()
	for i, r := range group {
		err := s.admit(r, wal, now)
		if err == nil {
			err = t.add(r)
		}
		if fatal := (*fatalError)(nil); errors.As(err, &fatal) {
			s.stop(group, s.fail(fatal.cause))
			return false
		}
		answers[i] = answer{t.head.mark.Revision, err}
		if err != nil {
			answers[i].rev = 0
		}
	}
	if t.dirty {
		if err := s.store(t); err != nil {
			s.stop(group, s.fail(err))
			return false
		}
		// From here on everything is durable. Nobody has seen any of it before (R10).
		if len(t.changes) > 0 {
			s.sink.Apply(t.changes)
		}
		s.publish(t)
	}
	for i, r := range group {
		r.done <- answers[i]
	}
	return true
}

// admit refuses r when space is short.
func (s *Store) admit(r *request, wal string, now time.Time) error {
	err := s.space.admit(r.batch != nil && r.batch.Urgent, r.bytes, wal, now)
	if known := (*authz.Error)(nil); err != nil && !errors.As(err, &known) {
		return &fatalError{err}
	}
	return err
}

// stop answers everybody who waits when the store has failed.
func (s *Store) stop(group []*request, err error) {
	for _, r := range group {
		r.done <- answer{err: err}
	}
}

// store makes the transaction durable, then its mark.
//
// If we die before Commit, nothing was stored. If we die after it, the batches are stored,
// though nobody was told, and the mark is one transaction behind, which the next start
// takes for what it is.
func (s *Store) store(t *transaction) error {
	if err := t.finish(); err != nil {
		return err
	}
	err := s.opts.Fault.do(StepStore, func() error {
		err := t.txn.Commit()
		if err != nil {
			s.torn.Store(true)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("storing a transaction: %w", err)
	}
	s.next, s.txn = t.head, t.version
	if err := s.syncNames(); err != nil {
		return fmt.Errorf("making a file name durable: %w", err)
	}
	if err := s.opts.Fault.do(StepMark, s.writeMark); err != nil {
		return fmt.Errorf("writing %s: %w", markName, err)
	}
	return nil
}

// syncNames makes the name of a new write-ahead file durable when Badger has begun one,
// which it does not do itself: the synced contents of a file whose name a power cut takes
// away are lost.
func (s *Store) syncNames() error {
	began := false
	for {
		_, err := os.Stat(memPath(s.badgerDir(), s.memFile+1))
		if err != nil {
			break
		}
		s.memFile++
		began = true
	}
	if !began {
		return nil
	}
	return s.opts.Fault.do(StepSyncNames, func() error { return syncDir(s.badgerDir()) })
}

// publish lets readers see the transaction.
func (s *Store) publish(t *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.head = t.head
	s.spans = s.spans[t.pruned:]
	if t.chunks > 0 {
		s.spans = append(s.spans, span{t.first, t.chunks})
	}
}

// fatalError is one after which the store cannot go on.
type fatalError struct{ cause error }

func (e *fatalError) Error() string { return e.cause.Error() }

func fatal(format string, args ...any) error {
	return &fatalError{fmt.Errorf(format, args...)}
}
