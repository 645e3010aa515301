package badgerstore

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/state"
)

// Attach implements [state.Store]. Every record is checked on the way; a store with a
// damaged one, or with more or fewer than the head record counts, is refused.
func (s *Store) Attach(ctx context.Context, sink state.Sink) error {
	if err := s.usable(); err != nil {
		return err
	}
	if !s.stage.CompareAndSwap(opened, attaching) {
		return state.ErrAttachOrder("a sink is attached already")
	}
	txn, end, err := s.read(ctx)
	if err != nil {
		return err
	}
	defer end()
	sink.Reset()
	counts, err := s.load(ctx, txn, sink)
	if err != nil {
		return err
	}
	for kind := range state.Kind(state.NumKinds) {
		if have, want := counts[kind], s.next.counts[kind]; have != want {
			return damaged(s.opts.Dir, fmt.Errorf("it holds %d records of kind %v and its head counts %d", have, kind, want))
		}
	}
	sink.Loaded(s.next.mark, s.next.stamp)
	s.sink = sink
	s.stage.Store(attached)
	return nil
}

func (s *Store) load(ctx context.Context, txn *badger.Txn, sink state.Sink) (counts [state.NumKinds]uint64, err error) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixRecord}})
	defer it.Close()
	var dec state.Decoder
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		key := state.Key(item.Key()[1:])
		err := item.Value(func(value []byte) error {
			mod, body, err := openRecord(key, value)
			if err != nil {
				return err
			}
			if mod > s.next.mark.Revision {
				return fmt.Errorf("it was changed at revision %d, and the head is at %d", mod, s.next.mark.Revision)
			}
			rec, err := dec.Decode(key, body)
			if err != nil {
				return err
			}
			sink.Load(rec, mod)
			return nil
		})
		if err != nil {
			return counts, damaged(s.opts.Dir, fmt.Errorf("%v: %w", key, err))
		}
		counts[key.Kind()]++
		if counts[key.Kind()]%1024 == 0 && ctx.Err() != nil {
			return counts, state.ErrCanceled(ctx)
		}
	}
	return counts, nil
}
