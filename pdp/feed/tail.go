package feed

import (
	"sync/atomic"

	"github.com/jobward/jobward/pdp/authz"
)

// Event is a change as tails see it. Its slices must not be changed.
type Event struct {
	Revision    authz.Revision
	Stamp       authz.Stamp
	Actor, Verb string
	Keys        []authz.Key
	// Told is how many generations it concerned.
	Told int
}

// Tail tells of changes as they are dispatched. Whoever reads it too slowly misses some
// and is told how many; nobody waits for it.
type Tail struct {
	// C gives the events, those that fitted. It is never closed.
	C <-chan Event

	f      *Feed
	c      chan Event
	missed atomic.Uint64
}

// Tail begins to tell of changes, to a queue of so many.
func (f *Feed) Tail(queue int) *Tail {
	c := make(chan Event, max(queue, 1))
	t := &Tail{C: c, f: f, c: c}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tails[t] = struct{}{}
	return t
}

// Missed gives how many events did not fit since the last call.
func (t *Tail) Missed() uint64 { return t.missed.Swap(0) }

// Close ends it.
func (t *Tail) Close() {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	delete(t.f.tails, t)
}

// tell gives an event to all tails.
func (f *Feed) tell(e Event) {
	for t := range f.tails {
		select {
		case t.c <- e:
		default:
			t.missed.Add(1)
		}
	}
}
