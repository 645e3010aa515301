package badgerstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// The events of one transaction are stored together, in a pack: one entry for all of them
// costs a fraction of one each, and nearly every batch has an event. The key of a pack is the
// id of its newest event, and its events are within packSpan of that, so that whoever looks
// for a time knows how far off its pack can begin. Packs of transactions that were made at
// about the same time overlap; readers merge them.
const packSpan = authz.Stamp(time.Second)

// storedEvent is an event in its place.
type storedEvent struct {
	id   state.EventID
	rev  authz.Revision // of the batch it came with
	data []byte
}

func byID(a, b storedEvent) int {
	return cmp.Or(cmp.Compare(a.id.Stamp, b.id.Stamp), cmp.Compare(a.id.Seq, b.id.Seq))
}

// packEvents cuts events, which it sorts, into packs and calls fn with each.
func packEvents(events []storedEvent, fn func(pack []storedEvent) error) error {
	slices.SortFunc(events, byID)
	for len(events) > 0 {
		// From the newest back, as far as span and size allow.
		last := len(events) - 1
		n, size := 1, len(events[last].data)
		for ; n <= last; n++ {
			e := events[last-n]
			if size += len(e.data) + eventCost; size > maxChunk || events[last].id.Stamp-e.id.Stamp > packSpan {
				break
			}
		}
		if err := fn(events[len(events)-n:]); err != nil {
			return err
		}
		events = events[:len(events)-n]
	}
	return nil
}

// eventCost bounds what an event takes in a pack beside its data.
const eventCost = 4 * binary.MaxVarintLen64

// appendPack makes the key and the value of a pack, the oldest event first.
func appendPack(dst []byte, pack []storedEvent) (key, value, rest []byte) {
	start := len(dst)
	dst = appendEventKey(dst, pack[len(pack)-1].id)
	key = dst[start:len(dst):len(dst)]
	start = len(dst)
	dst = sealed(dst)
	for _, e := range pack {
		dst = binary.AppendUvarint(dst, uint64(e.id.Stamp))
		dst = binary.AppendUvarint(dst, e.id.Seq)
		dst = binary.AppendUvarint(dst, uint64(e.rev))
		dst = binary.AppendUvarint(dst, uint64(len(e.data)))
		dst = append(dst, e.data...)
	}
	return key, seal(key, dst[start:len(dst):len(dst)]), dst
}

var errPack = errors.New("it is no pack of events")

// readPack appends the events of a pack to events. Their data belongs to value.
func readPack(events []storedEvent, key, value []byte) ([]storedEvent, error) {
	newest, ok := parseEventKey(key)
	if !ok {
		return events, errPack
	}
	b, err := unseal(key, value)
	if err != nil {
		return events, err
	}
	var last state.EventID
	for len(b) > 0 {
		var fields [4]uint64
		for i := range fields {
			v, n := binary.Uvarint(b)
			if n <= 0 {
				return events, errPack
			}
			fields[i], b = v, b[n:]
		}
		size := fields[3]
		if size > uint64(len(b)) {
			return events, errPack
		}
		last = state.EventID{Stamp: authz.Stamp(fields[0]), Seq: fields[1]}
		events = append(events, storedEvent{last, authz.Revision(fields[2]), b[:size:size]})
		b = b[size:]
	}
	if last != newest || last.Seq == 0 {
		return events, errPack
	}
	return events, nil
}

// Events implements [state.Store].
func (s *Store) Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	end := state.EventID{Stamp: math.MaxInt64, Seq: math.MaxUint64} // The first not to be given.
	if to != 0 {
		end = state.EventID{Stamp: to}
	}
	if cursor != "" {
		at, err := state.ParseCursor(cursor)
		if err != nil {
			return err
		}
		if at.Before(end) {
			end = at
		}
	}
	r, err := s.read(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	m := newMerger(r, end, from)
	defer m.it.Close()
	for {
		e, ok, err := m.next()
		switch {
		case err != nil:
			return errUnreadable("events", err)
		case !ok:
			return nil
		case ctx.Err() != nil:
			return state.ErrCanceled(ctx)
		}
		if err := fn(state.Event{Stamp: e.id.Stamp, Revision: e.rev, Data: e.data}, e.id.Cursor()); err != nil {
			return err
		}
	}
}

// merger gives the events of overlapping packs one by one, newest first.
type merger struct {
	it   *badger.Iterator
	end  state.EventID
	from authz.Stamp
	// pending are events of the packs read, oldest first.
	pending []storedEvent
}

func newMerger(r *reader, end state.EventID, from authz.Stamp) *merger {
	m := &merger{end: end, from: from}
	m.it = r.txn.NewIterator(badger.IteratorOptions{Reverse: true, Prefix: []byte{prefixEvent}})
	// The newest pack that can have an event before end.
	first := state.EventID{Stamp: math.MaxInt64, Seq: math.MaxUint64}
	if end.Stamp < math.MaxInt64-packSpan {
		first.Stamp = end.Stamp + packSpan
	}
	m.it.Seek(appendEventKey(nil, first))
	return m
}

// next gives the newest event left. Before that it reads every pack which may have a newer
// one than those pending.
func (m *merger) next() (e storedEvent, ok bool, err error) {
	for m.it.ValidForPrefix([]byte{prefixEvent}) {
		newest, _ := parseEventKey(m.it.Item().Key())
		if newest.Stamp < m.from || len(m.pending) > 0 && newest.Before(m.pending[len(m.pending)-1].id) {
			break
		}
		if err := m.read(); err != nil {
			return e, false, err
		}
		m.it.Next()
	}
	if len(m.pending) == 0 {
		return e, false, nil
	}
	e = m.pending[len(m.pending)-1]
	m.pending = m.pending[:len(m.pending)-1]
	return e, true, nil
}

func (m *merger) read() error {
	value, err := m.it.Item().ValueCopy(nil)
	if err != nil {
		return err
	}
	if m.pending, err = readPack(m.pending, m.it.Item().Key(), value); err != nil {
		return err
	}
	m.pending = slices.DeleteFunc(m.pending, func(e storedEvent) bool {
		return !e.id.Before(m.end) || e.id.Stamp < m.from
	})
	slices.SortFunc(m.pending, byID)
	return nil
}

// prunedAtOnce is how many events one transaction deletes at most.
const prunedAtOnce = 2000

// PruneEvents implements [state.Store].
func (s *Store) PruneEvents(ctx context.Context, before authz.Stamp, limit int) (pruned int, err error) {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	maxEntries, maxBytes := s.room()
	for atOnce := prunedAtOnce; pruned < limit; {
		n, packs, err := s.oldEvents(ctx, before, min(limit-pruned, atOnce))
		if err != nil || n == 0 {
			return pruned, err
		}
		r := &request{ctx: ctx, prune: packs, done: make(chan answer, 1)}
		for _, p := range packs {
			r.entries++
			r.bytes += int64(len(p.key) + len(p.value) + entryCost)
		}
		if n > 1 && (r.entries > maxEntries || r.bytes > maxBytes) {
			atOnce = n / 2 // One event at a time always fits: its pack did.
			continue
		}
		if a := s.submit(r); a.err != nil {
			return pruned, a.err
		}
		pruned += n
	}
	return pruned, nil
}

// rewrite is a pack with fewer events than before; without a value it has none left.
type rewrite struct{ key, value []byte }

// oldEvents finds the oldest events, at most limit of them, and gives the packs without
// them.
func (s *Store) oldEvents(ctx context.Context, before authz.Stamp, limit int) (n int, packs []rewrite, err error) {
	r, err := s.read(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer r.close()
	it := r.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixEvent}})
	defer it.Close()
	type source struct {
		storedEvent
		pack int // index of its pack
	}
	var events []storedEvent
	var old []source
	var keys [][]byte
	for it.Rewind(); it.Valid(); it.Next() {
		newest, _ := parseEventKey(it.Item().Key())
		oldest := newest.Stamp - packSpan // No event of this or a later pack is older.
		if oldest >= before || len(old) >= limit && oldest > old[limit-1].id.Stamp {
			break
		}
		value, err := it.Item().ValueCopy(nil)
		if err != nil {
			return 0, nil, errUnreadable("events", err)
		}
		key := it.Item().KeyCopy(nil)
		if events, err = readPack(events[:0], key, value); err != nil {
			return 0, nil, errUnreadable("events", err)
		}
		for _, e := range events {
			old = append(old, source{e, len(keys)})
		}
		keys = append(keys, key)
		slices.SortFunc(old, func(a, b source) int { return byID(a.storedEvent, b.storedEvent) })
	}
	for n < len(old) && n < limit && old[n].id.Stamp < before {
		n++
	}
	gone, left := make([]bool, len(keys)), make([][]storedEvent, len(keys))
	for i, e := range old {
		if i < n {
			gone[e.pack] = true
		} else {
			left[e.pack] = append(left[e.pack], e.storedEvent)
		}
	}
	for i, key := range keys {
		switch {
		case gone[i] && len(left[i]) == 0:
			packs = append(packs, rewrite{key: key})
		case gone[i]:
			key, value, _ := appendPack(nil, left[i])
			packs = append(packs, rewrite{key, value})
		}
	}
	return n, packs, nil
}
