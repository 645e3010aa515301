// Package memstore is a [state.Store] in maps under one lock. It is the reference model
// that durable stores are compared with, and the fake for the tests of packages above:
// it keeps the whole contract except that nothing outlives the process. [Store.Reopen]
// stands in for a restart, [Store.FailNext] for a disk that fails. A [Cluster] is one
// history that several PDPs have open, with their registry: the fake of etcdstore.
package memstore

import (
	"context"
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

// New makes an empty store with a new epoch.
func New() *Store { return NewKeeping(DefaultHistory) }

// NewKeeping makes a store that keeps only the newest changes in its history, keep of
// them, to test what happens at the end of it.
func NewKeeping(keep int) *Store {
	return &Store{keep: keep, failed: make(chan struct{}), data: newData()}
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
	if err := s.data.judge(b.Guards); err != nil {
		return 0, err
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
	return walkHistory(ctx, history, after, head, fn)
}

// Events implements [state.Store].
func (s *Store) Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	s.mu.Lock()
	err := s.usable(ctx)
	events := slices.Clone(s.data.events)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return walkEvents(ctx, events, from, to, cursor, fn)
}

// PruneEvents implements [state.Store].
func (s *Store) PruneEvents(ctx context.Context, before authz.Stamp, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	return s.data.prune(before, limit), nil
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
