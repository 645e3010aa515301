package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// MaxReconcile is how many running jobs one list can name.
const MaxReconcile = 2_000_000

// ReconcileRequest says which jobs run: everything else is finished.
type ReconcileRequest struct {
	// AsOf is the revision that the list was made at or before: jobs issued later are
	// younger than the list and left alone (PROTOCOL R7).
	AsOf authz.Revision
	// Runner limits the list to the jobs of one runner.
	Runner string
	// Running are all jobs that run.
	Running []authz.JobID
	// Outcome is how the jobs that are not listed ended.
	Outcome Outcome
	// ValidateOnly shows the difference and does nothing.
	ValidateOnly bool
}

// Reconciled is the difference that a list of running jobs made.
type Reconciled struct {
	// Finished are the jobs that were alive and not on the list.
	Finished []authz.JobID
	// Dead are jobs on the list that have no live token here: unknown, or ended. They
	// need attention, because what they run with opens nothing.
	Dead []authz.JobID
	// Confirmed is how many jobs on the list are alive, Younger how many were left alone
	// because they are newer than the list.
	Confirmed, Younger int
	Revision           authz.Revision
}

// Awaits says what the call's receipt waits for: jobs that are not on the list may have
// been finished just before, by a call that was cut off, so it is everything.
func (r Reconciled) Awaits() Awaits { return Awaits{Revision: r.Revision, All: true} }

// Reconcile finishes every job that is not on the list and not younger than it. A
// list longer than one commit takes is carried out in several, each complete in
// itself; running it again goes on where it was cut off.
func (e *Engine) Reconcile(ctx context.Context, by Actor, req ReconcileRequest) (Reconciled, error) {
	if len(req.Running) > MaxReconcile {
		return Reconciled{}, authz.Invalid("job_ids", "a list names at most %d jobs", MaxReconcile)
	}
	// What another PDP has issued or ended before must be seen here: the revision may have
	// been read there, and a job that is listed must not be called dead because it is new.
	if err := e.catchUp(ctx); err != nil {
		return Reconciled{}, err
	}
	if head := e.view.Mark().Revision; req.AsOf == 0 || req.AsOf > head {
		return Reconciled{}, authz.Invalid("as_of_revision",
			"must be the revision at which the list was begun, 1 to %d: read it from GetStatus or any answer before you collect the jobs", head)
	}
	running := make(map[authz.JobID]bool, len(req.Running))
	for _, id := range req.Running {
		running[id] = true
	}
	var out Reconciled
	for cursor := authz.JobID(""); ; {
		page := e.view.Jobs(cursor, state.JobFilter{Runner: req.Runner, Alive: true}, 1000)
		for _, j := range page {
			switch {
			case running[j.ID]:
				delete(running, j.ID)
				out.Confirmed++
			case j.Issued > req.AsOf:
				out.Younger++
			default:
				out.Finished = append(out.Finished, j.ID)
			}
		}
		if len(page) < 1000 {
			break
		}
		cursor = page[len(page)-1].ID
	}
	for _, id := range req.Running {
		if running[id] {
			delete(running, id)
			if j, _, ok := e.view.Job(id); !ok || !j.Alive() {
				out.Dead = append(out.Dead, id)
			}
		}
	}
	out.Revision = e.view.Mark().Revision
	if req.ValidateOnly {
		return out, nil
	}
	for todo := out.Finished; len(todo) > 0; {
		n := min(len(todo), 1000)
		rev, err := e.finish(ctx, by, todo[:n], req)
		if err != nil {
			return Reconciled{}, err
		}
		out.Revision, todo = rev, todo[n:]
	}
	return out, nil
}

// finish ends the jobs that are still alive and not younger than the list.
func (e *Engine) finish(ctx context.Context, by Actor, ids []authz.JobID, req ReconcileRequest) (authz.Revision, error) {
	return e.commit(ctx, "reconcile", by, func() (state.Batch, error) {
		b := state.Batch{Urgent: true}
		now := e.clock.Now()
		for _, id := range ids {
			j, rev, ok := e.view.Job(id)
			if !ok || !j.Alive() || j.Issued > req.AsOf {
				continue
			}
			end(j, req.Outcome, now)
			b.Guards = append(b.Guards, state.Guard{Key: state.JobKey(id), Revision: rev})
			b.Puts = append(b.Puts, j)
			b.Events = append(b.Events, e.event("reconcile", by,
				audit.Event{Job: id, Source: j.Project, User: j.User, Detail: "not on the list of running jobs"}))
		}
		return b, nil
	})
}
