package feed

import (
	"cmp"
	"slices"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Sidecar is one generation, as an operator sees it.
type Sidecar struct {
	lease.Info
	About
	Figures
	// Since is when the generation was opened, Remaining what is left of its lease.
	Since     time.Time
	Remaining time.Duration
}

// Sidecars lists the generations that live, by name and then by age.
func (f *Feed) Sidecars() []Sidecar {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opt.Now()
	out := make([]Sidecar, 0, len(f.streams))
	for gen, s := range f.streams {
		if info, ok := f.grantor.Info(gen); ok {
			out = append(out, Sidecar{info, s.about, s.figures, s.since, max(info.Ends.Sub(now), 0)})
		}
	}
	slices.SortFunc(out, func(a, b Sidecar) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Since.Compare(b.Since), cmp.Compare(a.Generation, b.Generation))
	})
	return out
}

// Quiet tells how long leases of earlier incarnations may still run (R1), zero for not.
func (f *Feed) Quiet() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.quiet.Sub(f.opt.Now()), 0)
}

// Term gives the term of leases.
func (f *Feed) Term() time.Duration { return f.opt.Term }

// Stopped is closed when the Feed has stopped.
func (f *Feed) Stopped() <-chan struct{} { return f.done }

// Head gives the newest mark dispatched. It is not sealed.
func (f *Feed) Head() lease.Mark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// Stats are figures for metrics. Those of type uint64 count up from the start.
type Stats struct {
	Head authz.Revision
	// Generations live; Cut are those whose stream is gone; Buckets those whose interest is
	// kept in buckets.
	Generations, Cut, Buckets int
	// Interest is how many keys or buckets all are interested in, Queued how many messages
	// were not taken, Owed how many invalidations not acked.
	Interest, Queued, Owed int
	// Pending is how many receipts somebody is waited for, Waiting how many calls wait.
	Pending, Waiting int
	// Changes dispatched, and invalidations that they made.
	Changes, Invalidations uint64
	// Receipts that concerned anybody and are complete, and how many sidecars had acked or
	// lapsed on them.
	Receipts, Acked, Lapsed uint64
	// Opened are generations opened; Overflows those cut because they were too slow;
	// Lapses those that ended by lapse; Refused hellos with a history that is behind or
	// beside.
	Opened, Overflows, Lapses, Refused uint64
}

// Stats gives the figures.
func (f *Feed) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.stats
	out.Head, out.Pending = f.head.Revision, len(f.open)
	for _, w := range f.waits {
		out.Waiting += w.calls
	}
	for gen := range f.streams {
		info, ok := f.grantor.Info(gen)
		if !ok {
			continue
		}
		out.Generations++
		out.Interest += info.Keys
		out.Queued += info.Queue
		out.Owed += info.Owed
		if info.Cut {
			out.Cut++
		}
		if info.Buckets {
			out.Buckets++
		}
	}
	return out
}
