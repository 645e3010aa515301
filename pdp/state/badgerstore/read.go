package badgerstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// History implements [state.Store].
func (s *Store) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	// First the index, then the view of Badger: what is in the index is in the view, unless
	// it has been pruned since.
	s.mu.RLock()
	spans, head := s.spans, s.head
	s.mu.RUnlock()
	txn, end, err := s.read(ctx)
	if err != nil {
		return err
	}
	defer end()
	switch newest := head.mark.Revision; {
	case after > newest:
		return state.ErrHistoryAhead(after, newest)
	case after == newest:
		return nil
	case after+1 < head.first:
		return state.ErrHistoryGone(after, head.first)
	}
	at := sort.Search(len(spans), func(i int) bool { return spans[i].first > after+1 }) - 1
	var pack []byte
	for i, span := range spans[at:] {
		if pack, err = readPack(txn, span, pack[:0]); errors.Is(err, badger.ErrKeyNotFound) && i == 0 {
			return state.ErrHistoryGone(after, span.first+1)
		}
		if err != nil {
			return errUnreadable("history", err)
		}
		var refused error
		_, err := unpack(pack, span.first, func(c state.Change, _ []uint32, _ []byte) error {
			if c.Revision <= after {
				return nil
			}
			if refused = ctx.Err(); refused != nil {
				refused = state.ErrCanceled(ctx)
			} else {
				refused = fn(c)
			}
			return refused
		})
		if refused != nil {
			return refused
		}
		if err != nil {
			return errUnreadable("history", err)
		}
	}
	return nil
}

// readPack joins the chunks of a pack in buf.
func readPack(txn *badger.Txn, sp span, buf []byte) ([]byte, error) {
	for chunk := range sp.chunks {
		key := appendHistoryKey(nil, sp.first, chunk)
		item, err := txn.Get(key)
		if err != nil {
			return buf, err
		}
		err = item.Value(func(value []byte) error {
			part, err := unseal(key, value)
			buf = append(buf, part...)
			return err
		})
		if err != nil {
			return buf, fmt.Errorf("revision %d: %w", sp.first, err)
		}
	}
	return buf, nil
}

// errUnreadable says that something on the disk is damaged. The store goes on: what is kept
// for decisions is in memory.
func errUnreadable(what string, err error) error {
	return &authz.Error{
		Kind: authz.KindInternal, Code: "STORE_DAMAGED",
		Message: "reading " + what + " failed; stop the PDP and look with `pdp fsck`", Cause: err,
	}
}

// Events implements [state.Store].
func (s *Store) Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	var end []byte // The first key not to be given.
	if to != 0 {
		end = appendEventKey(nil, state.EventID{Stamp: to})
	}
	if cursor != "" {
		at, err := state.ParseCursor(cursor)
		if err != nil {
			return err
		}
		if key := appendEventKey(nil, at); end == nil || bytes.Compare(key, end) < 0 {
			end = key
		}
	}
	if end == nil {
		end = []byte{prefixEvent + 1}
	}
	txn, done, err := s.read(ctx)
	if err != nil {
		return err
	}
	defer done()
	it := txn.NewIterator(badger.IteratorOptions{Reverse: true, Prefix: []byte{prefixEvent}, PrefetchSize: 1})
	defer it.Close()
	for it.Seek(end); it.ValidForPrefix([]byte{prefixEvent}); it.Next() {
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		item := it.Item()
		if bytes.Compare(item.Key(), end) >= 0 {
			continue
		}
		id, ok := parseEventKey(item.Key())
		if !ok {
			return errUnreadable("events", fmt.Errorf("key %x is no key of an event", item.Key()))
		}
		if id.Stamp < from {
			return nil
		}
		var data []byte
		if err := item.Value(func(value []byte) error {
			b, err := unseal(item.Key(), value)
			data = bytes.Clone(b)
			return err
		}); err != nil {
			return errUnreadable("events", err)
		}
		if err := fn(state.Event{Stamp: id.Stamp, Data: data}, id.Cursor()); err != nil {
			return err
		}
	}
	return nil
}

// prunedAtOnce is how many events one transaction deletes at most.
const prunedAtOnce = 2000

// PruneEvents implements [state.Store].
func (s *Store) PruneEvents(ctx context.Context, before authz.Stamp, limit int) (pruned int, err error) {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	for pruned < limit {
		keys, err := s.oldEvents(ctx, before, min(limit-pruned, prunedAtOnce))
		if err != nil || len(keys) == 0 {
			return pruned, err
		}
		r := &request{ctx: ctx, prune: keys, done: make(chan answer, 1)}
		r.entries, r.bytes = int64(len(keys)), int64(len(keys)*(17+entryCost))
		if a := s.submit(r); a.err != nil {
			return pruned, a.err
		}
		pruned += len(keys)
	}
	return pruned, nil
}

// oldEvents finds the keys of the oldest events, at most limit of them.
func (s *Store) oldEvents(ctx context.Context, before authz.Stamp, limit int) (keys [][]byte, err error) {
	txn, done, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	end := appendEventKey(nil, state.EventID{Stamp: before})
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixEvent}})
	defer it.Close()
	for it.Rewind(); it.Valid() && len(keys) < limit && bytes.Compare(it.Item().Key(), end) < 0; it.Next() {
		keys = append(keys, it.Item().KeyCopy(nil))
	}
	return keys, nil
}
