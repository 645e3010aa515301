package badgerstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// prunePacks is how many packs of history one transaction deletes at most. Each adds one
// pack, so that two keep history from growing.
const prunePacks = 2

// scratch is memory that every transaction uses again. Badger has copied what it was given when a
// commit returns.
type scratch struct {
	values []byte // keys and values
	pack   []byte // history of the transaction
	events []storedEvent
}

// transaction merges batches into one transaction of Badger's.
type transaction struct {
	s   *Store
	txn *badger.Txn
	now time.Time

	requests       []*request
	answers        []answer // of requests
	entries, bytes int64    // at most what they add
	size           int64    // at most what Badger makes of all that was set

	next    snapshot // after the batches so far
	first   authz.Revision
	changes []state.Change
	// dirty says that there is something to store, err that the store can't go on.
	dirty bool
	err   error
	scratch
}

func (s *Store) begin() *transaction {
	t := &transaction{
		s: s, txn: s.db.NewTransactionAt(s.next.txn, true), now: time.Now(),
		next: s.next, first: s.next.head.mark.Revision + 1, scratch: s.scratch,
		size: entryBound, // Badger's own end mark.
		// As many as the last one had: callers come again.
		requests: make([]*request, 0, s.group), answers: make([]answer, 0, s.group), changes: make([]state.Change, 0, s.group),
	}
	t.next.txn++
	t.pack = append(t.pack, t.next.head.mark.Chain[:]...)
	return t
}

// release gives the memory to the next transaction, unless one large batch made it large.
func (t *transaction) release() {
	t.txn.Discard()
	if cap(t.values) > 1<<20 || cap(t.pack) > 1<<20 || cap(t.events) > 10_000 {
		t.s.scratch = scratch{}
		return
	}
	clear(t.events) // So that it does not hold on to the memory of their data.
	t.s.scratch = scratch{t.values[:0], t.pack[:0], t.events[:0]}
}

// fits reports whether the transaction has room for r. An empty one has.
func (t *transaction) fits(r *request) bool {
	entries, bytes := t.s.room()
	return len(t.requests) == 0 || t.entries+r.entries <= entries && t.bytes+r.bytes <= bytes
}

// take adds r to the transaction, if space, its context and its guards allow.
func (t *transaction) take(r *request) {
	err := t.s.space.admit(r.urgent(), r.bytes, t.s.files.newest, t.now)
	if err == nil {
		err = t.add(r)
	}
	var said *authz.Error
	if err != nil && !errors.As(err, &said) {
		t.err = err
	}
	a := answer{rev: t.next.head.mark.Revision}
	if err != nil {
		a = answer{err: err}
	}
	t.requests, t.answers = append(t.requests, r), append(t.answers, a)
	t.entries, t.bytes = t.entries+r.entries, t.bytes+r.bytes
}

// add does what r asks for, or nothing of it and gives the reason: an *authz.Error, or any
// other after which the store cannot go on.
func (t *transaction) add(r *request) error {
	if r.ctx.Err() != nil {
		return state.ErrCanceled(r.ctx) // Whoever asked is gone: the batch need not happen.
	}
	for _, pack := range r.prune {
		var err error
		if t.dirty = true; pack.value == nil {
			err = t.delete(pack.key)
		} else {
			err = t.set(pack.key, pack.value)
		}
		if err != nil {
			return err
		}
	}
	if r.batch == nil {
		return nil
	}
	p := r.batch
	if err := t.guards(p.Guards); err != nil {
		return err
	}
	if len(p.Keys) == 0 {
		t.dirty = t.dirty || len(p.Events) > 0 || p.Stamp > t.next.head.stamp
		t.next.head.stamp = max(t.next.head.stamp, p.Stamp)
	} else if err := t.change(p); err != nil {
		return err
	}
	for i := range p.Events { // after the change, whose revision they carry
		t.event(&p.Events[i])
	}
	return nil
}

// change adds the records of a batch, and its history.
func (t *transaction) change(p *state.Prepared) error {
	h := &t.next.head
	c, sums := p.Change(h.mark.Revision+1, h.stamp)
	for i, key := range p.Keys {
		put := i < len(p.Bodies)
		if err := t.count(key, put); err != nil {
			return err
		}
		var err error
		if put {
			err = t.set(t.recordKey(key), t.recordValue(c.Revision, sums[i], p.Bodies[i]))
			t.s.mods.set(key, c.Revision)
		} else {
			err = t.delete(t.recordKey(key))
			t.s.mods.set(key, 0)
		}
		if err != nil {
			return err
		}
	}
	raw := len(t.pack)
	t.pack = state.AppendChange(t.pack, &c, sums)
	h.mark.Revision, h.stamp = c.Revision, c.Stamp
	h.mark.Chain = state.ChainNext(h.mark.Chain, t.pack[raw:])
	c.Chain = h.mark.Chain
	t.changes = append(t.changes, c)
	t.dirty = true
	return nil
}

// guards checks the preconditions of a batch.
func (t *transaction) guards(guards []state.Guard) error {
	for _, g := range guards {
		found, err := t.modified(g.Key)
		if err != nil {
			return err
		}
		if found != g.Revision {
			return state.ErrGuardFailed(g, found)
		}
	}
	return nil
}

// modified gives the revision that last changed the record at key, zero when there is
// none.
func (t *transaction) modified(key state.Key) (mod authz.Revision, err error) {
	if !t.s.known.maybe(key) {
		return 0, nil // the job of nearly every Issue: it needs no place among mods yet
	}
	if mod, ok := t.s.mods.get(key); ok {
		return mod, nil
	}
	if mod, err = t.stored(key); err != nil {
		return 0, err
	}
	t.s.mods.set(key, mod)
	return mod, nil
}

// stored looks up what the store has of the record at key.
func (t *transaction) stored(key state.Key) (mod authz.Revision, err error) {
	start := len(t.values)
	item, err := t.txn.Get(t.recordKey(key))
	t.values = t.values[:start]
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading %v: %w", key, err)
	}
	err = item.Value(func(value []byte) error {
		mod, _, err = openRecord(key, value)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%v is damaged: %w", key, err)
	}
	return mod, nil
}

// count keeps the number of records of each kind.
func (t *transaction) count(key state.Key, put bool) error {
	mod, err := t.modified(key)
	switch {
	case err != nil:
		return err
	case put && mod == 0:
		t.next.head.counts[key.Kind()]++
		t.s.known.add(key)
	case !put && mod != 0:
		t.next.head.counts[key.Kind()]--
		t.s.known.remove(key)
	}
	return nil
}

// event keeps an event for finish. The caller may give up waiting, so its bytes are copied.
func (t *transaction) event(e *state.Event) {
	t.next.head.seq++
	start := len(t.values)
	t.values = append(t.values, e.Data...)
	id := state.EventID{Stamp: e.Stamp, Seq: t.next.head.seq}
	t.events = append(t.events, storedEvent{id, t.next.head.mark.Revision, t.values[start:len(t.values):len(t.values)]})
}

// recordKey makes Badger's key of a record in the scratch memory.
func (t *transaction) recordKey(key state.Key) []byte {
	start := len(t.values)
	t.values = appendRecordKey(t.values, key)
	return t.values[start:len(t.values):len(t.values)]
}

func (t *transaction) recordValue(mod authz.Revision, sum uint32, body []byte) []byte {
	start := len(t.values)
	t.values = appendRecord(t.values, mod, sum, body)
	return t.values[start:len(t.values):len(t.values)]
}

// set and delete cannot fail: the batches were measured before they were merged.

func (t *transaction) set(key, value []byte) error {
	t.size += int64(len(key)+len(value)) + entryBound
	if err := t.txn.Set(key, value); err != nil {
		return fmt.Errorf("writing %d bytes: %w", len(value), err)
	}
	return nil
}

func (t *transaction) delete(key []byte) error {
	t.size += int64(len(key)) + entryBound
	if err := t.txn.Delete(key); err != nil {
		return fmt.Errorf("deleting: %w", err)
	}
	return nil
}

// finish adds what every transaction ends with: its history, less of the oldest, and the
// head.
func (t *transaction) finish() error {
	if err := t.pruneHistory(); err != nil {
		return err
	}
	err := packEvents(t.events, func(pack []storedEvent) error {
		var key, value []byte
		key, value, t.values = appendPack(t.values, pack)
		return t.set(key, value)
	})
	if err != nil {
		return err
	}
	if len(t.changes) > 0 {
		sp := span{first: t.first}
		for rest := t.pack; len(rest) > 0; sp.chunks++ {
			part := rest[:min(len(rest), maxChunk)]
			rest = rest[len(part):]
			start := len(t.values)
			t.values = appendHistoryKey(t.values, t.first, sp.chunks)
			key := t.values[start:len(t.values):len(t.values)]
			start = len(t.values)
			t.values = append(sealed(t.values), part...)
			if err := t.set(key, seal(key, t.values[start:len(t.values):len(t.values)])); err != nil {
				return err
			}
		}
		// A reader's slice ends before what this writes to.
		t.next.spans = append(t.next.spans, sp)
	}
	start := len(t.values)
	t.values = t.next.head.encode(t.values)
	return t.set(headKey(), t.values[start:])
}

// pruneHistory deletes the oldest packs of which no change is among the newest that are to
// be kept. What stays begins with the chain before it.
func (t *transaction) pruneHistory() error {
	for range prunePacks {
		spans := t.next.spans
		if len(spans) < 2 || t.next.head.mark.Revision < spans[1].first-1+authz.Revision(t.s.opts.History) {
			break
		}
		for chunk := range spans[0].chunks {
			start := len(t.values)
			t.values = appendHistoryKey(t.values, spans[0].first, chunk)
			if err := t.delete(t.values[start:len(t.values):len(t.values)]); err != nil {
				return err
			}
		}
		t.next.head.first = spans[1].first
		t.next.spans = spans[1:]
	}
	return nil
}
