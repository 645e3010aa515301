package server

import (
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
)

// The convert files turn the engine's records into messages and back. Words that the
// sidecar speaks too are in package wire. What comes from outside has passed the rules
// of the proto files; enums and scopes are tested once more where they are read,
// because their zero value can mean more than what was sent.

// reader reads fields from outside and keeps the first error.
type reader struct {
	field string // the path of the message that is read, with a dot behind it, or empty
	err   error
}

func (r *reader) fail(name, format string, args ...any) {
	if r.err == nil {
		r.err = authz.Invalid(r.field+name, format, args...)
	}
}

// read takes one enum or scope.
func read[T, P any](r *reader, name string, from func(P) (T, bool), p P) T {
	v, ok := from(p)
	if !ok {
		r.fail(name, "has no value that this API declares")
	}
	return v
}

func jobToProto(info engine.JobInfo) *jobwardv1.Job {
	j := info.Job
	return &jobwardv1.Job{
		JobId: string(j.ID), ProjectId: int64(j.Project), UserId: int64(j.User), PipelineId: j.Pipeline, Ref: j.Ref,
		Status: wire.JobStatusToProto(j.Status), Erased: j.Erased, Live: info.Live, Reason: wire.ReasonToProto(info.Reason),
		IssueTime: wire.StampToProto(j.IssuedAt), IssueRevision: uint64(j.Issued), ExpireTime: wire.StampToProto(j.Expires),
		RunnerId: j.Runner, HeartbeatTerm: wire.DurationToProto(j.Term), HeartbeatDeadline: wire.StampToProto(info.Deadline),
		EndTime: wire.StampToProto(j.EndedAt), EndRevision: uint64(j.Ended), Limits: limitsToProto(j.Limits),
	}
}

// lifeLeft is how long a live token can still live, by its own end or its heartbeat,
// nil when it is dead.
func lifeLeft(info engine.JobInfo, now authz.Stamp) *durationpb.Duration {
	end := info.Job.Expires
	if info.Deadline != 0 {
		end = min(end, info.Deadline)
	}
	if !info.Live || end <= now {
		return nil
	}
	return durationpb.New(end.Sub(now))
}

func limitsToProto(l policy.Limits) *jobwardv1.Limits {
	if l.Permissions == nil && l.Targets == nil {
		return nil
	}
	m := &jobwardv1.Limits{LimitPermissions: l.Permissions != nil, LimitTargets: l.Targets != nil}
	for _, p := range l.Permissions {
		m.Permissions = append(m.Permissions, string(p))
	}
	for _, t := range l.Targets {
		m.Targets = append(m.Targets, wire.ScopeToProto(t))
	}
	return m
}

// limitsFromProto keeps apart what the wire cannot: no list limits nothing, an empty
// one leaves nothing.
func limitsFromProto(r *reader, m *jobwardv1.Limits) policy.Limits {
	var l policy.Limits
	if m.GetLimitPermissions() || len(m.GetPermissions()) > 0 {
		l.Permissions = make([]authz.Permission, 0, len(m.GetPermissions()))
	}
	for _, p := range m.GetPermissions() {
		l.Permissions = append(l.Permissions, authz.Permission(p))
	}
	if m.GetLimitTargets() || len(m.GetTargets()) > 0 {
		l.Targets = make([]authz.Scope, 0, len(m.GetTargets()))
	}
	for _, t := range m.GetTargets() {
		l.Targets = append(l.Targets, read(r, "limits.targets", wire.ScopeFromProto, t))
	}
	return l
}

func outcomeFromProto(o jobwardv1.Outcome) engine.Outcome {
	switch o {
	case jobwardv1.Outcome_OUTCOME_SUCCESS:
		return engine.Succeeded
	case jobwardv1.Outcome_OUTCOME_FAILED:
		return engine.Failed
	case jobwardv1.Outcome_OUTCOME_SKIPPED:
		return engine.Skipped
	case jobwardv1.Outcome_OUTCOME_ERASED:
		return engine.Erased
	}
	return engine.Canceled
}

func revocationToProto(r engine.Revocation) *jobwardv1.RevokeResult {
	m := &jobwardv1.RevokeResult{JobId: string(r.Job), Revision: uint64(r.Revision)}
	switch r.Ending {
	case engine.EndedNow:
		m.Effect = jobwardv1.RevokeEffect_REVOKE_EFFECT_REVOKED
	case engine.EndedBefore:
		m.Effect = jobwardv1.RevokeEffect_REVOKE_EFFECT_ALREADY_DEAD
	case engine.Tombstoned:
		m.Effect = jobwardv1.RevokeEffect_REVOKE_EFFECT_TOMBSTONED
	case engine.TokenUnknown:
		m.Effect = jobwardv1.RevokeEffect_REVOKE_EFFECT_TOKEN_UNKNOWN
	}
	return m
}

func jobIDs(ids []string) []authz.JobID {
	out := make([]authz.JobID, len(ids))
	for i, id := range ids {
		out[i] = authz.JobID(id)
	}
	return out
}

// firstIDs gives at most n of the ids.
func firstIDs(ids []authz.JobID, n int) []string {
	out := make([]string, 0, min(len(ids), n))
	for _, id := range ids[:cap(out)] {
		out = append(out, string(id))
	}
	return out
}

func stepsToProto(steps []policy.Step) []*jobwardv1.Step {
	out := make([]*jobwardv1.Step, len(steps))
	for i, s := range steps {
		out[i] = &jobwardv1.Step{Rule: int32(s.Rule), Name: s.Name, Saw: s.Saw, Reason: wire.ReasonToProto(s.Reason)}
		if s.Reason != authz.ReasonNone {
			out[i].Text = s.Reason.Text()
		}
	}
	return out
}

func eventToProto(e audit.Event) *jobwardv1.AuditEvent {
	reason, _ := authz.ParseReason(e.Reason) // empty for changes
	return &jobwardv1.AuditEvent{
		EventTime: wire.StampToProto(e.Time), Revision: uint64(e.Revision), Actor: e.Actor, ActingUserId: int64(e.OnBehalf),
		Verb: e.Verb, Reason: wire.ReasonToProto(reason), JobId: string(e.Job), SourceProjectId: int64(e.Source),
		TargetProjectId: int64(e.Target), UserId: int64(e.User), Permission: string(e.Permission), Count: e.Count,
		Detail: e.Detail, DecisionId: e.Decision,
	}
}

// eventFilter reads the filters of ListEvents; errors name the field.
func eventFilter(m *jobwardv1.ListEventsRequest) (engine.EventQuery, error) {
	r := &reader{}
	q := engine.EventQuery{From: stampFromProto(r, "start_time", m.GetStartTime()), To: stampFromProto(r, "end_time", m.GetEndTime())}
	q.Filter = audit.Filter{
		Job: authz.JobID(m.GetJobId()), Project: authz.ProjectID(m.GetProjectId()), User: authz.UserID(m.GetUserId()),
		Actor: m.GetActor(), Verb: m.GetVerb(), Denials: m.GetDenialsOnly(), Changes: m.GetChangesOnly(),
	}
	if reason := read(r, "reason", wire.ReasonFromProto, m.GetReason()); reason != authz.ReasonNone {
		q.Reason = reason.String()
	}
	return q, r.err
}

func stampFromProto(r *reader, name string, t *timestamppb.Timestamp) authz.Stamp {
	s, ok := wire.StampFromProto(t)
	if !ok {
		r.fail(name, "must be a time from 1970 to 2261")
	}
	return s
}

// expected reads an expected revision; nil asks for none.
func expected(rev *uint64) *authz.Revision {
	if rev == nil {
		return nil
	}
	r := authz.Revision(*rev)
	return &r
}
