package engine

import (
	"context"
	"fmt"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Heartbeat answers a KeepAlive.
type Heartbeat struct {
	// Lapsed are the runner's jobs whose term had run out before, sorted: dead for good.
	// A job stands here until its token would have ended by itself.
	Lapsed []authz.JobID
	// Alive is how many jobs of the runner the heartbeat keeps alive, Next the time by
	// which the first of them needs another; zero when there are none.
	Alive    int
	Next     authz.Stamp
	Revision authz.Revision
}

// KeepAlive says that a runner lives: one durable record for all its jobs. A job
// whose term had run out before stays dead, and is named (PROTOCOL R12).
func (e *Engine) KeepAlive(ctx context.Context, by Actor, runner string) (Heartbeat, error) {
	if runner == "" {
		return Heartbeat{}, authz.Invalid("runner", "must be set")
	}
	if err := checkHeartbeat(runner, 0); err != nil {
		return Heartbeat{}, err
	}
	var out Heartbeat
	var before authz.Stamp
	beat := func() (state.Batch, error) {
		now := e.clock.Now()
		var b state.Batch
		r, rev, _ := e.view.Runner(runner) // first: the guard covers what is read after it
		if r != nil {
			before = r.Beat
		}
		for _, j := range e.view.RunnerJobs(runner) {
			if e.deadline(j) <= now {
				e.lapse(&b, j.ID, now)
			}
		}
		b.Guards = append(b.Guards, state.Guard{Key: state.RunnerKey(runner), Revision: rev})
		b.Puts = append(b.Puts, &state.Runner{ID: runner, Beat: now})
		return b, nil
	}
	rev, err := e.commit(ctx, "keep_alive", by, beat)
	if err != nil {
		return Heartbeat{}, err
	}
	out.Revision = rev
	// A commit can take longer than what was left of a term. Who asked in between was
	// told that the job is dead, and dead it stays.
	if late := e.lapsedDuring(runner, before); len(late) > 0 {
		out.Revision, err = e.commit(ctx, "lapse", by, func() (state.Batch, error) {
			var b state.Batch
			for _, j := range late {
				e.lapse(&b, j.ID, e.clock.Now())
			}
			return b, nil
		})
	}
	if err != nil {
		return Heartbeat{}, err
	}
	// Another PDP may have made a job's lapse final that this one had not heard of, and the
	// heartbeat came too late for it: what counts is what the records say now.
	out.Lapsed = e.lapsed.of(runner, e.clock.Now())
	out.Alive, out.Next = e.kept(runner)
	return out, nil
}

// kept counts the jobs that a runner's heartbeat keeps alive, and says by when the first of
// them needs another.
func (e *Engine) kept(runner string) (alive int, next authz.Stamp) {
	for _, j := range e.view.RunnerJobs(runner) {
		alive++
		if end := e.deadline(j); next == 0 || end < next {
			next = end
		}
	}
	return alive, next
}

// lapsedDuring finds the jobs of a runner that, with the heartbeat from before, are
// past their deadline now.
func (e *Engine) lapsedDuring(runner string, before authz.Stamp) []*state.Job {
	now := e.clock.Now()
	var late []*state.Job
	for _, j := range e.view.RunnerJobs(runner) {
		if max(j.IssuedAt, before).Add(j.Term) <= now {
			late = append(late, j)
		}
	}
	return late
}

func (e *Engine) deadline(j *state.Job) authz.Stamp {
	last := j.IssuedAt
	if r, _, ok := e.view.Runner(j.Runner); ok {
		last = max(last, r.Beat)
	}
	return last.Add(j.Term)
}

// lapse adds to b that a job's heartbeat has run out, unless the job is dead already.
func (e *Engine) lapse(b *state.Batch, id authz.JobID, now authz.Stamp) {
	j, rev, ok := e.view.Job(id)
	if !ok || !j.Alive() {
		return
	}
	j.Lapsed, j.Ended, j.EndedAt = true, state.ThisRevision, now
	b.Urgent = true
	b.Guards = append(b.Guards, state.Guard{Key: state.JobKey(id), Revision: rev})
	b.Puts = append(b.Puts, j)
	b.Events = append(b.Events, e.event("lapse", Actor{Name: "jobward"}, audit.Event{
		Job: id, Source: j.Project, User: j.User, Detail: fmt.Sprintf("runner %s said nothing for %s", j.Runner, j.Term),
	}))
}

// commitLapsed makes final what has lapsed by now. Where several PDPs do at once, the guards
// let one through and the others find nothing left to do.
func (e *Engine) commitLapsed(ctx context.Context, now authz.Stamp) error {
	for {
		ids := e.view.LapsedJobs(now, 1000)
		if len(ids) == 0 {
			return nil
		}
		err := e.commitOwn(ctx, "lapse", func() (state.Batch, error) {
			var b state.Batch
			for _, id := range ids {
				j, _, ok := e.view.Job(id)
				if !ok || j.Term == 0 {
					continue
				}
				// A KeepAlive that comes first must win, here or at another PDP: it was heard in
				// time. So the guard is read before the deadline.
				_, rev, _ := e.view.Runner(j.Runner)
				if e.deadline(j) > now {
					continue
				}
				b.Guards = append(b.Guards, state.Guard{Key: state.RunnerKey(j.Runner), Revision: rev})
				e.lapse(&b, id, now)
			}
			return b, nil
		})
		if err != nil {
			return err
		}
	}
}
