package engine

import (
	"context"
	"time"

	"github.com/jobward/jobward/pdp/state"
)

// restartHeartbeats is what a start does (R12): jobs whose term had run out at the
// last committed stamp are dead; the others get one full term from now, because
// nobody could hear their runners while the PDP was away. Where another PDP was there all
// the time runners could be heard, and nobody gets anything.
func (e *Engine) restartHeartbeats(ctx context.Context) error {
	_, last := e.store.Head()
	if err := e.commitLapsed(ctx, last); err != nil {
		return err
	}
	runners := e.view.HeartbeatRunners()
	if len(runners) == 0 {
		return nil
	}
	if heard, err := e.heard(ctx); err != nil || heard {
		return err
	}
	for len(runners) > 0 {
		n := min(len(runners), state.MaxBatchRecords/2)
		err := e.commitOwn(ctx, "restart_heartbeats", func() (state.Batch, error) {
			var b state.Batch
			now := e.clock.Now()
			for _, id := range runners[:n] {
				r, rev, ok := e.view.Runner(id)
				if ok && r.Beat > last {
					continue // heard since, or restarted by another PDP that starts
				}
				b.Guards = append(b.Guards, state.Guard{Key: state.RunnerKey(id), Revision: rev})
				b.Puts = append(b.Puts, &state.Runner{ID: id, Beat: now})
			}
			return b, nil
		})
		if err != nil {
			return err
		}
		runners = runners[n:]
	}
	return nil
}

// heard reports whether runners could be heard while this PDP was away.
func (e *Engine) heard(ctx context.Context) (bool, error) {
	if e.opt.Heard != nil {
		return e.opt.Heard(ctx)
	}
	if s, ok := e.store.(state.Shared); ok {
		return heardElsewhere(ctx, s.Registry())
	}
	return false, nil
}

// heardElsewhere watches the registrations on a shared store until one of them is renewed by
// a PDP that serves, or all have stood still for as long as they may. The first takes a third
// of a fence window (R8), the second a whole one: what stands in the list proves nothing, as
// the dead do, too. A registration that has applied nothing is of a PDP that is starting, such
// as this one: it has heard nobody. So of several that start together after an outage the
// first one restarts the heartbeats, and perhaps the second as well.
func heardElsewhere(ctx context.Context, list state.Registry) (bool, error) {
	type sighting struct {
		version uint64
		at      time.Time
	}
	seen := map[state.Incarnation]sighting{}
	for {
		all, err := list.List(ctx)
		if err != nil {
			return false, err
		}
		now, pause := time.Now(), time.Duration(0)
		for _, r := range all.Live {
			if r.Applied == 0 {
				continue
			}
			s, ok := seen[r.Incarnation]
			switch {
			case !ok:
				s = sighting{r.Version, now}
				seen[r.Incarnation] = s
			case r.Version != s.version:
				return true, nil
			}
			// Drift (R11) is far less than a quarter, and a renewal late by as much is none.
			if now.Sub(s.at) < r.Fence+r.Fence/4 {
				pause = max(pause, r.Fence/10, time.Millisecond)
			}
		}
		if pause == 0 {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, state.ErrCanceled(ctx)
		case <-time.After(pause):
		}
	}
}
