package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// JobInfo is what there is to know about a job. It never holds the token.
type JobInfo struct {
	// Job is the record, the caller's to keep.
	Job *state.Job
	// Live says whether the newest token opens anything now; Reason says why not, or
	// is AllowedOwnJob.
	Live   bool
	Reason authz.Reason
	// Deadline is the end of the heartbeat term, zero without one.
	Deadline authz.Stamp
	// Revision is the point in history that all this was read at.
	Revision authz.Revision
}

// Introspect tells whose token this is, dead or alive: KindNotFound (TOKEN_UNKNOWN)
// when nobody's.
func (e *Engine) Introspect(ctx context.Context, d authz.Digest) (JobInfo, error) {
	if err := e.Serving(); err != nil {
		return JobInfo{}, err
	}
	info, ok := e.introspect(d)
	if e.shared && !d.IsZero() && (!ok || info.Reason == authz.HeartbeatLapsed && !info.Job.Lapsed) {
		// As for Check: another PDP may have issued it, or heard its runner.
		if err := e.catchUp(ctx); err != nil {
			return JobInfo{}, err
		}
		info, ok = e.introspect(d)
	}
	if !ok {
		return JobInfo{}, authz.Errorf(authz.KindNotFound, CodeTokenUnknown, "no job has this token")
	}
	return info, nil
}

func (e *Engine) introspect(d authz.Digest) (JobInfo, bool) {
	j, _, ok := e.view.JobByDigest(d)
	if !ok || d.IsZero() {
		return JobInfo{}, false
	}
	return e.info(j, d), true
}

// GetJob tells what is known about a job: KindNotFound (JOB_NOT_FOUND) when nothing.
func (e *Engine) GetJob(ctx context.Context, id authz.JobID) (JobInfo, error) {
	j, _, ok := e.view.Job(id)
	if !ok {
		if err := e.catchUp(ctx); err != nil {
			return JobInfo{}, err
		}
		if j, _, ok = e.view.Job(id); !ok {
			return JobInfo{}, jobNotFound(id)
		}
	}
	return e.info(j, j.Digest), nil
}

func (e *Engine) info(j *state.Job, d authz.Digest) JobInfo {
	info := JobInfo{Job: j, Revision: e.view.Mark().Revision}
	if j.Term > 0 {
		info.Deadline = e.deadline(j)
	}
	if d.IsZero() { // a tombstone has no token to ask about
		info.Reason = authz.JobNotRunning
		return info
	}
	// The liveness rules are policy's; asking for what any live token may do runs
	// them and no others.
	k := e.walks.Get().(*policy.Walk)
	dec := e.Decide(k, authz.Request{Token: d, Permission: "read_own_job"})
	e.walks.Put(k)
	info.Live, info.Reason = dec.Allow, dec.Reason
	if dec.Reason == authz.LimitedPermission { // alive, and may not even ask
		info.Live, info.Reason = true, authz.AllowedOwnJob
	}
	return info
}

// JobPage is a piece of the list of jobs.
type JobPage struct {
	Jobs []JobInfo
	// Next is the [Page.After] of the next page, empty at the end.
	Next     string
	Revision authz.Revision
}

// ListJobs lists the jobs that the filter chooses, ended ones included unless it says
// otherwise.
func (e *Engine) ListJobs(_ context.Context, filter state.JobFilter, page Page) (JobPage, error) {
	if page.After != "" && !authz.JobID(page.After).Valid() {
		return JobPage{}, errCursor()
	}
	out := JobPage{Revision: e.view.Mark().Revision}
	jobs := e.view.Jobs(authz.JobID(page.After), filter, page.limit())
	for _, j := range jobs {
		out.Jobs = append(out.Jobs, e.info(j, j.Digest))
	}
	if len(jobs) == page.limit() {
		out.Next = string(jobs[len(jobs)-1].ID)
	}
	return out, nil
}
