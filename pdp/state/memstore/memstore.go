// Package memstore is a [state.Store] in maps under one lock. It is the reference model
// that durable stores are compared with, and the fake for the tests of packages above:
// it keeps the whole contract except that nothing outlives the process. [Store.Reopen]
// stands in for a restart, [Store.FailNext] for a disk that fails.
package memstore

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// DefaultHistory is how many changes New keeps: what the contract asks for at least.
const DefaultHistory = 10_000

// Store implements [state.Store].
type Store struct {
	keep   int
	failed chan struct{}

	mu       sync.Mutex // everything below, and calls of the sink
	data     *data
	sink     state.Sink
	attached bool
	closed   bool
	broken   error
	failNext int
}

// data is what a restart would find.
type data struct {
	records map[state.Key]held
	mark    state.Mark
	stamp   authz.Stamp
	history []state.Change // the newest, without contents; the last is that of mark
	events  []event        // sorted by id
	seq     uint64
}

type held struct {
	rec state.Record
	mod authz.Revision
}

type event struct {
	id state.EventID
	state.Event
}

// New makes an empty store with a new epoch.
func New() *Store { return NewKeeping(DefaultHistory) }

// NewKeeping makes a store that keeps only the newest changes in its history, keep of
// them, to test what happens at the end of it.
func NewKeeping(keep int) *Store {
	d := &data{records: make(map[state.Key]held)}
	d.mark.Epoch.Counter = 1
	rand.Read(d.mark.Epoch.ID[:])
	return &Store{keep: keep, failed: make(chan struct{}), data: d}
}

// Reopen closes s and gives a store with everything that s held, as a restart would.
func (s *Store) Reopen() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return &Store{keep: s.keep, failed: make(chan struct{}), data: s.data}
}

// The ways in which a write fails.
const (
	failNotStored = 1 + iota
	failStored
)

// FailNext makes the next Commit fail as a broken disk does, with STATE_UNKNOWN; stored
// says whether a restart finds the batch.
func (s *Store) FailNext(stored bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failNext = failNotStored
	if stored {
		s.failNext = failStored
	}
}

// Attach implements [state.Store].
func (s *Store) Attach(ctx context.Context, sink state.Sink) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if s.attached {
		return state.ErrAttachOrder("a sink is attached already")
	}
	s.attached, s.sink = true, sink
	sink.Reset()
	for _, h := range s.data.records {
		sink.Load(h.rec, h.mod)
	}
	sink.Loaded(s.data.mark, s.data.stamp)
	return nil
}

// usable says why no call can be served. The caller holds mu.
func (s *Store) usable(ctx context.Context) error {
	switch {
	case s.broken != nil:
		return s.broken
	case s.closed:
		return state.ErrClosed()
	case ctx.Err() != nil:
		return state.ErrCanceled(ctx)
	}
	return nil
}

// Commit implements [state.Store].
func (s *Store) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	p, err := state.Prepare(b)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if !s.attached {
		return 0, state.ErrAttachOrder("nothing is attached")
	}
	for _, g := range b.Guards {
		if found := s.data.records[g.Key].mod; found != g.Revision {
			return 0, state.ErrGuardFailed(g, found)
		}
	}
	if s.failNext != 0 {
		if s.failNext == failStored {
			s.data.commit(p, s.keep)
		}
		s.broken = state.ErrStateUnknown(errors.New("the test said so"))
		close(s.failed)
		return 0, s.broken
	}
	if c := s.data.commit(p, s.keep); c != nil {
		s.sink.Apply([]state.Change{*c})
	}
	return s.data.mark.Revision, nil
}

// commit gives nil for a batch that changes no record.
func (d *data) commit(p *state.Prepared, keep int) *state.Change {
	rev := d.mark.Revision
	if len(p.Keys) > 0 {
		rev++
	}
	for _, e := range p.Events {
		d.seq++
		e.Revision = rev
		id := state.EventID{Stamp: e.Stamp, Seq: d.seq}
		i, _ := slices.BinarySearchFunc(d.events, id, compare)
		d.events = slices.Insert(d.events, i, event{id, e})
	}
	if len(p.Keys) == 0 {
		d.stamp = max(d.stamp, p.Stamp)
		return nil
	}
	c, sums := p.Change(d.mark.Revision+1, d.stamp)
	d.mark.Revision, d.stamp = c.Revision, c.Stamp
	d.mark.Chain = state.ChainNext(d.mark.Chain, state.AppendChange(nil, &c, sums))
	c.Chain = d.mark.Chain
	for _, rec := range c.Puts {
		d.records[rec.Key()] = held{rec, c.Revision}
	}
	for _, key := range c.Deletes {
		delete(d.records, key)
	}
	kept := c
	kept.Puts = nil
	d.history = append(d.history, kept)
	if n := len(d.history) - keep; n > 0 {
		d.history = d.history[n:]
	}
	return &c
}

// Head implements [state.Store].
func (s *Store) Head() (state.Mark, authz.Stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.mark, s.data.stamp
}

// History implements [state.Store].
func (s *Store) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	s.mu.Lock()
	err := s.usable(ctx)
	history, head := s.data.history, s.data.mark.Revision
	s.mu.Unlock()
	if err != nil {
		return err
	}
	first := head - authz.Revision(len(history)) + 1
	switch {
	case after > head:
		return state.ErrHistoryAhead(after, head)
	case after+1 < first:
		return state.ErrHistoryGone(after, first)
	}
	for _, c := range history[after+1-first:] {
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

// Events implements [state.Store].
func (s *Store) Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	end := state.EventID{Stamp: to}
	if cursor != "" {
		at, err := state.ParseCursor(cursor)
		if err != nil {
			return err
		}
		if to == 0 || at.Before(end) {
			end = at
		}
	}
	s.mu.Lock()
	err := s.usable(ctx)
	events := slices.Clone(s.data.events)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(events) {
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		if (end != state.EventID{}) && !e.id.Before(end) {
			continue
		}
		if e.Stamp < from {
			return nil
		}
		if err := fn(e.Event, e.id.Cursor()); err != nil {
			return err
		}
	}
	return nil
}

// PruneEvents implements [state.Store].
func (s *Store) PruneEvents(ctx context.Context, before authz.Stamp, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	n, _ := slices.BinarySearchFunc(s.data.events, state.EventID{Stamp: before}, compare)
	n = min(n, max(limit, 0))
	s.data.events = slices.Clone(s.data.events[n:])
	return n, nil
}

func compare(e event, id state.EventID) int {
	switch {
	case e.id.Before(id):
		return -1
	case e.id == id:
		return 0
	}
	return 1
}

// Failed implements [state.Store].
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Close implements [state.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
