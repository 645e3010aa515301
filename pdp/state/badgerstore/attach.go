package badgerstore

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Attach implements [state.Store]. Every record is checked on the way; a store with a
// damaged one, or with more or fewer than the head record counts, is refused. The records
// given to Load are new and the sink may keep them.
func (s *Store) Attach(ctx context.Context, sink state.Sink) error {
	if err := s.usable(); err != nil {
		return err
	}
	if !s.stage.CompareAndSwap(opened, attaching) {
		return state.ErrAttachOrder("a sink is attached already")
	}
	r, err := s.read(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	sink.Reset()
	if err := s.load(ctx, r, sink); err != nil {
		return err
	}
	sink.Loaded(r.head.mark, r.head.stamp)
	s.sink = sink
	s.stage.Store(attached)
	return nil
}

// collectEvery is how many records are read between two collections of garbage. By itself the
// runtime lets garbage grow to the size of what is alive, and at a start most of what is
// alive is new: collecting early halves the peak. It costs little, as what a view holds has no
// pointers to follow.
const collectEvery = 256 << 10

// chunkRecords is how many records the reader hands over at a time.
const chunkRecords = 512

type chunk struct {
	recs [chunkRecords]state.Record
	mods [chunkRecords]authz.Revision
	n    int
}

// load gives sink all records. One goroutine reads and decodes, and this one calls the sink:
// the view takes about as long to index a record as it takes to read it.
func (s *Store) load(ctx context.Context, r *reader, sink state.Sink) error {
	full, empty := make(chan *chunk, 3), make(chan *chunk, 3)
	for range cap(empty) {
		empty <- new(chunk)
	}
	var err error // Written before full is closed.
	go func() {
		defer close(full)
		err = s.readRecords(ctx, r, full, empty)
	}()
	for c := range full {
		for i := range c.n {
			sink.Load(c.recs[i], c.mods[i])
		}
		empty <- c
	}
	return err
}

// recordTables gives the files of the tables that hold records, by the names that the system
// knows them by.
func (s *Store) recordTables() map[string]bool {
	files := make(map[string]bool)
	dir, err := filepath.Abs(s.badgerDir())
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return files
	}
	for _, t := range s.db.Tables() {
		if t.Left[0] <= prefixRecord && prefixRecord <= t.Right[0] {
			files[table.NewFilename(t.ID, dir)] = true
		}
	}
	return files
}

// readRecords sends all records to full, in chunks that come back by empty.
func (s *Store) readRecords(ctx context.Context, r *reader, full, empty chan *chunk) error {
	before := s.recordTables()
	it := r.txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixRecord}})
	defer it.Close()
	defer func() {
		// A table that was there before and is there now is one of the iterator's, which keeps it
		// mapped.
		now := s.recordTables()
		maps.DeleteFunc(before, func(file string, _ bool) bool { return !now[file] })
		unmap(before)
	}()
	var dec state.Decoder
	var counts [state.NumKinds]uint64
	read := 0
	c := <-empty
	c.n = 0
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		key := state.Key(item.Key()[1:])
		err := item.Value(func(value []byte) error {
			mod, body, err := openRecord(key, value)
			if err != nil {
				return err
			}
			if mod > r.head.mark.Revision {
				return fmt.Errorf("it was changed at revision %d, and the head is at %d", mod, r.head.mark.Revision)
			}
			c.mods[c.n] = mod
			c.recs[c.n], err = dec.Decode(key, body)
			return err
		})
		if err != nil {
			return damagedInside(s.opts.Dir, fmt.Errorf("%v: %w", key, err))
		}
		counts[key.Kind()]++
		if read++; read%collectEvery == 0 {
			runtime.GC()
		}
		s.known.add(key)
		if c.n++; c.n < chunkRecords {
			continue
		}
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		full <- c
		c = <-empty
		c.n = 0
	}
	full <- c
	for kind := range state.Kind(state.NumKinds) {
		if have, want := counts[kind], r.head.counts[kind]; have != want {
			return damagedInside(s.opts.Dir, fmt.Errorf("it holds %d records of kind %v and its head counts %d", have, kind, want))
		}
	}
	return nil
}
