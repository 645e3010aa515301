package engine

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// Bounds of what a job can bring along.
const (
	MaxRef          = 1024
	MaxRunner       = 128
	MaxLimitEntries = 100
	MinHeartbeat    = time.Second
	MaxHeartbeat    = 24 * time.Hour
)

// IssueRequest asks for the token of a job.
type IssueRequest struct {
	Job     authz.JobID
	Project authz.ProjectID
	// User is who caused the job.
	User authz.UserID
	// Pipeline and Ref are for reports; Ref has at most MaxRef bytes.
	Pipeline int64
	Ref      string
	// Limits leave the job less than its user has; at most MaxLimitEntries each.
	Limits policy.Limits
	// Timeout bounds the token's life; zero takes the default.
	Timeout time.Duration
	// Runner and Term ask for a heartbeat: without a KeepAlive of this runner for a
	// term of MinHeartbeat to MaxHeartbeat the token is dead for good.
	Runner string
	Term   time.Duration
	// Status is the job's status: running (the zero value), canceling, or one from
	// before it runs, in which the token opens nothing until it is issued again.
	Status       authz.JobStatus
	ValidateOnly bool
}

// Issued is a token, and how it came about.
type Issued struct {
	// Token is not kept anywhere: this is the only time it is seen. It is zero when the
	// call was to validate only.
	Token    token.Secret
	Expires  authz.Stamp
	Revision authz.Revision
	// Replaced says that the job had a token before, which is dead now.
	Replaced bool
}

// Awaits says what the call's receipt waits for: only a token that took the place of
// another takes anything away, and nobody can have heard of a new one before (R16).
func (i Issued) Awaits() Awaits {
	if !i.Replaced {
		return Awaits{Revision: i.Revision}
	}
	return Awaits{Revision: i.Revision, Each: []authz.Revision{i.Revision}}
}

// Issue makes the token of a job. A second call for the same job replaces the first
// token. A job that has ended is never issued again, not even when its Revoke came
// first (PROTOCOL R7): KindPrecondition, JOB_ENDED. When Issue returns, the very next
// Check sees the token.
func (e *Engine) Issue(ctx context.Context, by Actor, req IssueRequest) (Issued, error) {
	if err := e.checkIssue(&req); err != nil {
		return Issued{}, err
	}
	// The catalogue needs no guard: a limit to what is no longer in it allows nothing.
	if err := e.afresh(ctx, func() error { return e.checkPermissions(req.Limits) }); err != nil {
		return Issued{}, err
	}
	var out Issued
	rev, err := e.commit(ctx, "issue", by, func() (state.Batch, error) {
		old, b, err := e.issuable(req)
		if err != nil {
			return b, err
		}
		now := e.clock.Now()
		out = Issued{Expires: now.Add(req.Timeout), Replaced: old != nil}
		if req.ValidateOnly {
			return state.Batch{}, nil
		}
		out.Token = e.opt.Tokens.Mint()
		b.Puts = append(b.Puts, &state.Job{
			ID: req.Job, Digest: out.Token.Digest(), Project: req.Project, User: req.User, Pipeline: req.Pipeline, Ref: req.Ref,
			Runner: req.Runner, Term: req.Term, Issued: state.ThisRevision, IssuedAt: now, Expires: out.Expires,
			Status: req.Status, Limits: req.Limits,
		})
		if old != nil {
			b.Puts = append(b.Puts, &state.Replaced{Digest: old.Digest, Job: req.Job, At: now})
		}
		b.Events = append(b.Events, e.event("issue", by, audit.Event{Job: req.Job, Source: req.Project, User: req.User}))
		return b, nil
	})
	if err != nil {
		return Issued{}, err
	}
	out.Revision = rev
	return out, nil
}

// issuable reads what the issue rests on: the job as it was, if there was one, and
// guards on that, the project and the user, so that a deletion, a block or a
// revocation that comes first wins.
func (e *Engine) issuable(req IssueRequest) (old *state.Job, b state.Batch, err error) {
	p, prev, ok := e.view.Project(req.Project)
	if !ok || p.State >= authz.StateDeletionInProgress {
		return nil, b, authz.Errorf(authz.KindPrecondition, CodeSourceGone,
			"project %d does not exist or is being deleted: it runs no jobs", req.Project)
	}
	u, urev, ok := e.view.User(req.User)
	if !ok || u.State != authz.UserStateActive {
		return nil, b, authz.Errorf(authz.KindPrecondition, CodeUserInactive,
			"user %d does not exist or is not active: nothing runs on their behalf", req.User)
	}
	old, jrev, ok := e.view.Job(req.Job)
	if !ok {
		old = nil
	}
	if old != nil && !old.Alive() && (old.Ended != 0 || old.Lapsed || old.Erased || old.Digest.IsZero()) {
		return nil, b, authz.Errorf(authz.KindPrecondition, CodeJobEnded,
			"job %q has ended at revision %d: use a new job id for a new job", req.Job, old.Ended)
	}
	if old != nil && (old.Project != req.Project || old.User != req.User) {
		return nil, b, authz.Errorf(authz.KindPrecondition, CodeJobMismatch,
			"job %q was issued for project %d and user %d: a job keeps both", req.Job, old.Project, old.User)
	}
	b.Guards = []state.Guard{
		{Key: state.JobKey(req.Job), Revision: jrev},
		{Key: state.ProjectKey(req.Project), Revision: prev},
		{Key: state.UserKey(req.User), Revision: urev},
	}
	return old, b, nil
}

func (e *Engine) checkIssue(req *IssueRequest) error {
	if !req.Job.Valid() {
		return authz.Invalid("job_id", "must be 1 to %d bytes of printable ASCII without spaces", authz.MaxJobID)
	}
	if !req.Project.Valid() {
		return authz.Invalid("project_id", "must be 1 to %d", authz.MaxID)
	}
	if !req.User.Valid() {
		return authz.Invalid("user_id", "must be 1 to %d", authz.MaxID)
	}
	if len(req.Ref) > MaxRef || !utf8.ValidString(req.Ref) {
		return authz.Invalid("ref", "must be UTF-8 of at most %d bytes", MaxRef)
	}
	if req.Timeout == 0 {
		req.Timeout = e.opt.DefaultTimeout
	}
	if req.Timeout < 0 || req.Timeout > e.opt.MaxTimeout {
		return authz.Invalid("timeout", "must be above zero and at most %s", e.opt.MaxTimeout)
	}
	if req.Status.Finished() {
		return authz.Invalid("status", "%s is the status of a job that has ended; use Revoke", req.Status)
	}
	if err := checkHeartbeat(req.Runner, req.Term); err != nil {
		return err
	}
	return checkLimits(req.Limits)
}

func checkHeartbeat(runner string, term time.Duration) error {
	if len(runner) > MaxRunner || (runner != "" && !authz.JobID(runner).Valid()) {
		return authz.Invalid("runner", "must be at most %d bytes of printable ASCII without spaces", MaxRunner)
	}
	if term == 0 {
		return nil
	}
	if term < MinHeartbeat || term > MaxHeartbeat {
		return authz.Invalid("heartbeat_term", "must be %s to %s", MinHeartbeat, MaxHeartbeat)
	}
	if runner == "" {
		return authz.Invalid("runner", "must be set with heartbeat_term: it names whose KeepAlive counts")
	}
	return nil
}

func checkLimits(l policy.Limits) error {
	if len(l.Permissions) > MaxLimitEntries {
		return authz.Invalid("limits.permissions", "must be at most %d", MaxLimitEntries)
	}
	if len(l.Targets) > MaxLimitEntries {
		return authz.Invalid("limits.targets", "must be at most %d", MaxLimitEntries)
	}
	for _, t := range l.Targets {
		if !t.Valid() {
			return authz.Invalid("limits.targets", "each must name a project or a group by its id, 1 to %d", authz.MaxID)
		}
	}
	return nil
}

func (e *Engine) checkPermissions(l policy.Limits) error {
	if len(l.Permissions) == 0 {
		return nil
	}
	known := e.view.Catalogue()
	for _, p := range l.Permissions {
		if _, ok := known.Permission(p); !ok {
			return authz.Invalid("limits.permissions", "the catalogue has no permission %q", p)
		}
	}
	return nil
}
