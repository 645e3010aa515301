package badgerstore

import (
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// prunePacks is how many packs of history one transaction deletes at most. Each adds one
// pack, so that two keep history from growing.
const prunePacks = 2

// scratch is memory of the committer's that every transaction uses again. Badger has copied
// what it was given when Commit returns.
type scratch struct {
	values []byte // keys and values
	pack   []byte // history of the transaction
}

// transaction merges batches into one transaction of Badger's.
type transaction struct {
	s       *Store
	txn     *badger.Txn
	version uint64 // what Badger will call it
	head    head   // after the batches so far
	first   authz.Revision
	before  [16]byte // the chain before first
	changes []state.Change
	dirty   bool // there is something to store
	values  []byte
	pack    []byte
	chunks  int // entries of history
	pruned  int // packs of history deleted
}

func (s *Store) begin() *transaction {
	txn := s.db.NewTransaction(true)
	t := &transaction{
		s: s, txn: txn, version: txn.ReadTs() + 1, head: s.next,
		first: s.next.mark.Revision + 1, before: s.next.mark.Chain,
		values: s.scratch.values[:0], pack: s.scratch.pack[:0],
	}
	t.pack = append(t.pack, t.before[:]...)
	return t
}

// add does what r asks for, or nothing of it and gives the reason. After a fatalError the
// transaction must not be committed.
func (t *transaction) add(r *request) error {
	if r.ctx.Err() != nil {
		return state.ErrCanceled(r.ctx) // Whoever asked is gone: the batch need not happen.
	}
	for _, key := range r.prune {
		if err := t.delete(key); err != nil {
			return err
		}
		t.dirty = true
	}
	if r.batch == nil {
		return nil
	}
	p := r.batch
	known, err := t.guards(p.Guards)
	if err != nil {
		return err
	}
	for i := range p.Events {
		if err := t.event(&p.Events[i]); err != nil {
			return err
		}
	}
	if len(p.Keys) == 0 {
		t.dirty = t.dirty || len(p.Events) > 0 || p.Stamp > t.head.stamp
		t.head.stamp = max(t.head.stamp, p.Stamp)
		return nil
	}
	c, sums := p.Change(t.head.mark.Revision+1, t.head.stamp)
	for i, key := range p.Keys {
		if err := t.count(key, i < len(p.Bodies), known); err != nil {
			return err
		}
		if i < len(p.Bodies) {
			err = t.set(t.recordKey(key), t.recordValue(c.Revision, sums[i], p.Bodies[i]))
		} else {
			err = t.delete(t.recordKey(key))
		}
		if err != nil {
			return err
		}
	}
	raw := len(t.pack)
	t.pack = state.AppendChange(t.pack, &c, sums)
	t.head.mark.Revision, t.head.stamp = c.Revision, c.Stamp
	t.head.mark.Chain = state.ChainNext(t.head.mark.Chain, t.pack[raw:])
	t.changes = append(t.changes, c)
	t.dirty = true
	return nil
}

// known is what guards told about records: whether they were there.
type known []struct {
	key   state.Key
	there bool
}

// guards checks the preconditions of a batch.
func (t *transaction) guards(guards []state.Guard) (known, error) {
	if len(guards) == 0 {
		return nil, nil
	}
	told := make(known, len(guards))
	for i, g := range guards {
		found, err := t.modified(g.Key)
		if err != nil {
			return nil, err
		}
		if found != g.Revision {
			return nil, state.ErrGuardFailed(g, found)
		}
		told[i].key, told[i].there = g.Key, found != 0
	}
	return told, nil
}

// modified gives the revision that last changed the record at key, zero when there is
// none.
func (t *transaction) modified(key state.Key) (mod authz.Revision, err error) {
	item, err := t.txn.Get(t.recordKey(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fatal("reading %v: %w", key, err)
	}
	err = item.Value(func(value []byte) error {
		mod, _, err = openRecord(key, value)
		return err
	})
	if err != nil {
		return 0, fatal("%v is damaged: %w", key, err)
	}
	return mod, nil
}

// count keeps the number of records of each kind. A guard has told whether the record is
// there, or we look.
func (t *transaction) count(key state.Key, put bool, told known) error {
	there, sure := false, false
	for i := range told {
		if told[i].key == key {
			there, sure = told[i].there, true
			break
		}
	}
	if !sure {
		mod, err := t.modified(key)
		if err != nil {
			return err
		}
		there = mod != 0
	}
	switch {
	case put && !there:
		t.head.counts[key.Kind()]++
	case !put && there:
		t.head.counts[key.Kind()]--
	}
	return nil
}

func (t *transaction) event(e *state.Event) error {
	t.head.seq++
	start := len(t.values)
	t.values = appendEventKey(t.values, state.EventID{Stamp: e.Stamp, Seq: t.head.seq})
	key := t.values[start:len(t.values):len(t.values)]
	start = len(t.values)
	t.values = append(sealed(t.values), e.Data...)
	return t.set(key, seal(key, t.values[start:len(t.values):len(t.values)]))
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
	if err := t.txn.Set(key, value); err != nil {
		return fatal("writing %d bytes: %w", len(value), err)
	}
	return nil
}

func (t *transaction) delete(key []byte) error {
	if err := t.txn.Delete(key); err != nil {
		return fatal("deleting: %w", err)
	}
	return nil
}

// finish adds what every transaction ends with: its history, less of the oldest, and the
// head.
func (t *transaction) finish() error {
	if len(t.changes) > 0 {
		for rest := t.pack; len(rest) > 0; t.chunks++ {
			part := rest[:min(len(rest), maxChunk)]
			rest = rest[len(part):]
			start := len(t.values)
			t.values = appendHistoryKey(t.values, t.first, t.chunks)
			key := t.values[start:len(t.values):len(t.values)]
			start = len(t.values)
			t.values = append(sealed(t.values), part...)
			if err := t.set(key, seal(key, t.values[start:len(t.values):len(t.values)])); err != nil {
				return err
			}
		}
	}
	if err := t.pruneHistory(); err != nil {
		return err
	}
	start := len(t.values)
	t.values = t.head.encode(t.values)
	err := t.set(headKey(), t.values[start:])
	t.s.scratch = scratch{keep(t.values), keep(t.pack)}
	return err
}

// keep lets scratch memory go that one large batch made.
func keep(b []byte) []byte {
	if cap(b) > 1<<20 {
		return nil
	}
	return b
}

// pruneHistory deletes the oldest packs of which no change is among the newest that are to
// be kept. What stays begins with the chain before it.
func (t *transaction) pruneHistory() error {
	spans := t.s.spans // Only the committer changes it.
	for t.pruned < min(prunePacks, len(spans)-1) {
		old, next := spans[t.pruned], spans[t.pruned+1].first
		if t.head.mark.Revision < next-1+authz.Revision(t.s.opts.History) {
			break
		}
		for chunk := range old.chunks {
			start := len(t.values)
			t.values = appendHistoryKey(t.values, old.first, chunk)
			if err := t.delete(t.values[start:len(t.values):len(t.values)]); err != nil {
				return err
			}
		}
		t.pruned++
		t.head.first = next
	}
	return nil
}
