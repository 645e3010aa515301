package badgerstore

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// request is one call that waits for the committer.
type request struct {
	ctx   context.Context
	batch *state.Prepared
	// prune is set instead of batch by PruneEvents.
	prune []rewrite
	// entries and bytes are the most that it adds to a transaction.
	entries, bytes int64
	// done gets the answer; it has room for it.
	done chan answer
}

func (r *request) urgent() bool { return r.batch != nil && r.batch.Urgent }

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
		r.bytes += int64(17 + 4 + len(p.Events[i].Data) + eventCost + entryCost)
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

// submit hands r to the committer and waits for the answer. The committer answers whatever
// it was handed, so that nobody has to watch for its end: what all callers wait on at the same
// time is what they wait for each other on.
func (s *Store) submit(r *request) answer {
	if err := s.enqueue(r); err != nil {
		return answer{err: err}
	}
	select {
	case a := <-r.done:
		return a
	case <-r.ctx.Done():
		return answer{err: state.ErrCanceled(r.ctx)}
	}
}

func (s *Store) enqueue(r *request) error {
	s.entering.Add(1)
	defer s.entering.Add(-1)
	if err := s.usable(); err != nil {
		return err
	}
	if s.stage.Load() != attached {
		return state.ErrAttachOrder("nothing is attached")
	}
	select {
	case s.queue <- r:
		return nil
	default:
	}
	select {
	case s.queue <- r:
		return nil
	case <-r.ctx.Done():
		return state.ErrCanceled(r.ctx)
	}
}

// turnAway answers those who were on their way into the queue when the committer ended. Whoever
// comes later is told by usable.
func (s *Store) turnAway() {
	for {
		// In this order: who has entered is in the queue.
		entering := s.entering.Load()
		select {
		case r := <-s.queue:
			r.done <- answer{err: s.gone()}
			continue
		default:
		}
		if entering == 0 {
			return
		}
		runtime.Gosched()
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
//
// It does not build the next transaction while one is being written: that halves the groups,
// and what a write costs hardly depends on how much is in it.
func (s *Store) commitLoop() {
	defer close(s.idle)
	defer s.turnAway()
	stop := s.startMarkSync()
	defer stop()
	var left *request // Taken from the queue; the transaction before it was full.
	for {
		if left == nil {
			if left = s.wait(); left == nil {
				return
			}
		}
		t := s.begin()
		t.take(left)
		left = s.fill(t)
		s.group = len(t.requests)
		if err := s.write(t); err != nil {
			if left != nil {
				left.done <- answer{err: err}
			}
			return
		}
	}
}

// wait gives the next request, nil when there is none and the store is being closed.
func (s *Store) wait() *request {
	select {
	case r := <-s.queue:
		return r
	case <-s.closed:
		select {
		case r := <-s.queue:
			return r
		default:
			return nil
		}
	}
}

// fill adds to t what is queued. A request that does not fit ends it and is given back.
//
// Where there are many callers, those that the last transaction woke are on their way back,
// and a transaction that has them all is worth waiting for: it ends when none has come for as
// long as patience.
func (s *Store) fill(t *transaction) (left *request) {
	var waiting time.Time // Since when; zero while requests come.
	for t.err == nil {
		select {
		case r := <-s.queue:
			if !t.fits(r) {
				return r
			}
			t.take(r)
			waiting = time.Time{}
			continue
		default:
		}
		if len(t.requests) == 1 && s.group == 1 {
			return nil // One caller alone: nobody else is to be expected.
		}
		if now := time.Now(); waiting.IsZero() {
			waiting = now
		} else if now.Sub(waiting) > patience {
			return nil
		}
		runtime.Gosched()
	}
	return nil
}

// patience is a fraction of what a sync takes, and enough for callers to come back from an
// answer with their next batch.
const patience = 10 * time.Microsecond

// write stores a transaction, shows it and answers those who wait for it. After an error the
// store has failed.
func (s *Store) write(t *transaction) error {
	defer t.release()
	if t.err == nil {
		t.err = s.failure() // Behind our back: a table or the mark could not be written.
	}
	if t.err == nil && t.dirty {
		t.err = t.finish()
	}
	if t.err == nil && t.dirty {
		t.err = s.store(t)
	}
	if t.err != nil {
		err := s.fail(t.err)
		for _, r := range t.requests {
			r.done <- answer{err: err}
		}
		return err
	}
	if t.dirty {
		// From here on everything is durable. Nobody has seen any of it before (R10).
		s.next = t.next
		if len(t.changes) > 0 {
			s.sink.Apply(t.changes)
		}
		s.publish(t.next)
	}
	for i, r := range t.requests {
		r.done <- t.answers[i]
	}
	return nil
}

// store makes the transaction durable, then its mark.
//
// If we die before CommitAt, nothing was stored. If we die after it, the batches are stored,
// though nobody was told, and the mark is one transaction behind, which the next start
// takes for what it is.
func (s *Store) store(t *transaction) error {
	err := s.opts.Fault.do(StepStore, func() error {
		err := t.txn.CommitAt(t.next.txn, nil)
		if err != nil {
			s.torn.Store(true)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("storing a transaction: %w", err)
	}
	if s.files.begun(t.size) {
		// Badger has begun a write-ahead file. It syncs what it writes there, but not the name: a
		// power cut could take the file away.
		if err := s.opts.Fault.do(StepSyncNames, func() error { return syncDir(s.badgerDir()) }); err != nil {
			return fmt.Errorf("making a file name durable: %w", err)
		}
	}
	if err := s.opts.Fault.do(StepMark, func() error { return s.writeMark(t.next) }); err != nil {
		return fmt.Errorf("writing %s: %w", markName, err)
	}
	return nil
}
