package engine

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/state"
)

// applied is what the engine attaches to its store: the feed, and beside it what has to
// follow every change, this PDP's own or another's.
type applied struct {
	*feed.Feed
	e *Engine
}

// Loaded implements [state.Sink].
func (a applied) Loaded(mark state.Mark, stamp authz.Stamp) {
	a.e.clock.begin(stamp)
	a.Feed.Loaded(mark, stamp)
}

// Apply implements [state.Sink]. The clock comes first: nobody may see a change at a time
// before it.
func (a applied) Apply(changes []state.Change) {
	if a.e.shared { // else every stamp is this clock's
		for i := range changes {
			a.e.clock.raise(changes[i].Stamp)
		}
	}
	a.Feed.Apply(changes)
	for i := range changes {
		for _, rec := range changes[i].Puts {
			if j, ok := rec.(*state.Job); ok && j.Lapsed {
				a.e.lapsed.add(j)
			}
		}
	}
}
