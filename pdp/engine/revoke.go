package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// MaxRevoke is how many jobs and tokens one call can end.
const MaxRevoke = 1000

// Outcome is how a job ended.
type Outcome uint8

// The outcomes. Erased takes the job's traces away, whatever its status is.
const (
	Succeeded Outcome = iota
	Failed
	Canceled
	Skipped
	Erased
)

// RevokeRequest names what is to end: jobs by id, or by their tokens.
type RevokeRequest struct {
	Jobs    []authz.JobID
	Tokens  []authz.Digest
	Outcome Outcome
	// ValidateOnly tells what would happen and does nothing.
	ValidateOnly bool
}

// Ending is what became of one job or token of a RevokeRequest.
type Ending uint8

// The endings: it was alive and is dead now; it was dead before; the job was unknown
// and can never be issued now; nobody has this token.
const (
	EndedNow Ending = iota
	EndedBefore
	Tombstoned
	TokenUnknown
)

// Revocation tells of one job or token.
type Revocation struct {
	// Job is empty for a token that nobody has.
	Job    authz.JobID
	Ending Ending
	// Revision is the one that killed it (PROTOCOL R6: for what was dead before, the
	// earlier one).
	Revision authz.Revision
}

// Revoked answers a RevokeRequest: first its jobs, then its tokens, in their order.
type Revoked struct {
	Items    []Revocation
	Revision authz.Revision
	changed  bool
}

// Awaits says what the call's receipt waits for: each revision that killed one of them,
// now or before (R6), and what the call changed about those that were dead.
func (r Revoked) Awaits() Awaits {
	a := Awaits{Revision: r.Revision}
	if r.changed {
		a.Each = append(a.Each, r.Revision)
	}
	for _, it := range r.Items {
		a.Each = append(a.Each, it.Revision)
	}
	a.Each = distinct(a.Each)
	return a
}

// Revoke ends jobs: when it returns, no check that starts afterwards is allowed for
// them. It is idempotent. A job that is not known yet gets a tombstone, so that its
// Issue, if it is still on the way, is refused (R7). All of a call happens in one
// commit, or nothing.
func (e *Engine) Revoke(ctx context.Context, by Actor, req RevokeRequest) (Revoked, error) {
	if n := len(req.Jobs) + len(req.Tokens); n == 0 || n > MaxRevoke {
		return Revoked{}, authz.Invalid("job_ids", "name 1 to %d jobs or tokens, not %d", MaxRevoke, n)
	}
	for _, id := range req.Jobs {
		if !id.Valid() {
			return Revoked{}, authz.Invalid("job_ids", "each must be 1 to %d bytes of printable ASCII without spaces", authz.MaxJobID)
		}
	}
	if err := e.knowTokens(ctx, req.Tokens); err != nil {
		return Revoked{}, err
	}
	var items []Revocation
	rev, changed, err := e.commitChange(ctx, "revoke", by, func() (state.Batch, error) {
		r := revoker{e: e, by: by, outcome: req.Outcome, now: e.clock.Now(), seen: map[authz.JobID]int{}}
		r.batch.Urgent = true
		for _, id := range req.Jobs {
			r.job(id)
		}
		for _, d := range req.Tokens {
			r.token(d)
		}
		items = r.items
		if req.ValidateOnly {
			return state.Batch{}, nil
		}
		return r.batch, nil
	})
	if err != nil {
		return Revoked{}, err
	}
	for i := range items {
		if items[i].Revision == state.ThisRevision {
			items[i].Revision = rev
		}
	}
	return Revoked{Items: items, Revision: rev, changed: changed}, nil
}

// knowTokens catches up where a token is unknown to the view: another PDP may have issued it
// a moment ago, and no guard of the commit would tell (R16). An unknown job needs no such
// look: its tombstone is guarded on that there is no job.
func (e *Engine) knowTokens(ctx context.Context, tokens []authz.Digest) error {
	for _, d := range tokens {
		if _, _, ok := e.view.JobByDigest(d); !ok {
			return e.catchUp(ctx)
		}
	}
	return nil
}

// revoker builds the batch of one attempt.
type revoker struct {
	e       *Engine
	by      Actor
	outcome Outcome
	now     authz.Stamp
	batch   state.Batch
	items   []Revocation
	seen    map[authz.JobID]int // index in items
}

func (r *revoker) token(d authz.Digest) {
	j, _, ok := r.e.view.JobByDigest(d)
	switch {
	case !ok:
		r.items = append(r.items, Revocation{Ending: TokenUnknown})
	case j.Digest != d: // replaced: dead since the newer one was issued, which lives on
		r.items = append(r.items, Revocation{Job: j.ID, Ending: EndedBefore, Revision: j.Issued})
	default:
		r.job(j.ID)
	}
}

func (r *revoker) job(id authz.JobID) {
	if i, ok := r.seen[id]; ok {
		r.items = append(r.items, r.items[i])
		return
	}
	r.seen[id] = len(r.items)
	j, rev, ok := r.e.view.Job(id)
	item := Revocation{Job: id, Ending: EndedNow, Revision: state.ThisRevision}
	switch {
	case !ok:
		item.Ending = Tombstoned
		j = &state.Job{ID: id}
	case j.Ended != 0:
		item.Ending, item.Revision = EndedBefore, j.Ended
		if r.outcome != Erased || j.Erased {
			r.items = append(r.items, item)
			return
		}
	}
	r.items = append(r.items, item)
	end(j, r.outcome, r.now)
	r.batch.Guards = append(r.batch.Guards, state.Guard{Key: state.JobKey(id), Revision: rev})
	r.batch.Puts = append(r.batch.Puts, j)
	r.batch.Events = append(r.batch.Events, r.e.event("revoke", r.by,
		audit.Event{Job: id, Source: j.Project, User: j.User, Detail: r.outcome.String()}))
}

// end makes the record that of an ended job. What ended before keeps its revision
// and its status.
func end(j *state.Job, o Outcome, now authz.Stamp) {
	switch {
	case o == Erased:
		j.Erased = true
	case j.Ended == 0:
		j.Status = authz.JobSuccess + authz.JobStatus(o)
	}
	if j.Ended == 0 {
		j.Ended, j.EndedAt = state.ThisRevision, now
	}
}

// String gives the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Succeeded:
		return "success"
	case Failed:
		return "failed"
	case Canceled:
		return "canceled"
	case Skipped:
		return "skipped"
	case Erased:
		return "erased"
	}
	return "unknown outcome"
}
