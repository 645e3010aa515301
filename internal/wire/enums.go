package wire

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// The ToProto functions are total on the values that authz declares. The FromProto
// functions report false for numbers that the API does not declare; UNSPECIFIED gives
// the zero value of authz, which is the default that the API's comments promise,
// except for a feature and a public scope, which have no default.

// ReasonToProto gives the reason's number on the wire, which is its own.
func ReasonToProto(r authz.Reason) jobwardv1.Reason { return jobwardv1.Reason(r) }

// ReasonFromProto is the inverse. It reports false for ones that this version does
// not know, which a newer server may send.
func ReasonFromProto(r jobwardv1.Reason) (authz.Reason, bool) {
	if r < 0 || int(r) >= authz.NumReasons {
		return authz.ReasonNone, false
	}
	return authz.Reason(r), true
}

// RoleToProto gives the role's number on the wire, which is its own.
func RoleToProto(r authz.Role) jobwardv1.Role { return jobwardv1.Role(r) }

// RoleFromProto is the inverse.
func RoleFromProto(r jobwardv1.Role) (authz.Role, bool) {
	if _, ok := jobwardv1.Role_name[int32(r)]; !ok {
		return authz.RoleNone, false
	}
	return authz.Role(r), true
}

// SurfaceToProto gives the surface's number on the wire, which is its own.
func SurfaceToProto(s authz.Surface) jobwardv1.Surface { return jobwardv1.Surface(s) }

// SurfaceFromProto is the inverse.
func SurfaceFromProto(s jobwardv1.Surface) (authz.Surface, bool) {
	if s < 0 || s > jobwardv1.Surface_SURFACE_UNLISTED {
		return authz.SurfaceDefault, false
	}
	return authz.Surface(s), true
}

// VisibilityToProto gives the visibility on the wire.
func VisibilityToProto(v authz.Visibility) jobwardv1.Visibility { return jobwardv1.Visibility(v) + 1 }

// VisibilityFromProto is the inverse; unspecified is private.
func VisibilityFromProto(v jobwardv1.Visibility) (authz.Visibility, bool) {
	return oneLower[authz.Visibility](v, jobwardv1.Visibility_VISIBILITY_PUBLIC)
}

// ProjectStateToProto gives the state of a project or group on the wire.
func ProjectStateToProto(s authz.ProjectState) jobwardv1.ProjectState {
	return jobwardv1.ProjectState(s) + 1
}

// ProjectStateFromProto is the inverse; unspecified is active.
func ProjectStateFromProto(s jobwardv1.ProjectState) (authz.ProjectState, bool) {
	return oneLower[authz.ProjectState](s, jobwardv1.ProjectState_PROJECT_STATE_PENDING_DELETE)
}

// UserStateToProto gives the state of a user on the wire.
func UserStateToProto(s authz.UserState) jobwardv1.UserState { return jobwardv1.UserState(s) + 1 }

// UserStateFromProto is the inverse; unspecified is active.
func UserStateFromProto(s jobwardv1.UserState) (authz.UserState, bool) {
	return oneLower[authz.UserState](s, jobwardv1.UserState_USER_STATE_BLOCKED_PENDING_APPROVAL)
}

// JobStatusToProto gives the status of a job on the wire.
func JobStatusToProto(s authz.JobStatus) jobwardv1.JobStatus { return jobwardv1.JobStatus(s) + 1 }

// JobStatusFromProto is the inverse; unspecified is running.
func JobStatusFromProto(s jobwardv1.JobStatus) (authz.JobStatus, bool) {
	return oneLower[authz.JobStatus](s, jobwardv1.JobStatus_JOB_STATUS_SKIPPED)
}

// FeatureToProto gives the feature on the wire.
func FeatureToProto(f authz.Feature) jobwardv1.Feature { return jobwardv1.Feature(f) + 1 }

// FeatureFromProto is the inverse; unspecified is no feature and reports false.
func FeatureFromProto(f jobwardv1.Feature) (authz.Feature, bool) {
	v, ok := oneLower[authz.Feature](f, jobwardv1.Feature_FEATURE_INFRASTRUCTURE)
	return v, ok && f != jobwardv1.Feature_FEATURE_UNSPECIFIED
}

// FeatureLevelToProto gives the level on the wire.
func FeatureLevelToProto(l authz.FeatureLevel) jobwardv1.FeatureLevel {
	return jobwardv1.FeatureLevel(l) + 1
}

// FeatureLevelFromProto is the inverse; unspecified is enabled.
func FeatureLevelFromProto(l jobwardv1.FeatureLevel) (authz.FeatureLevel, bool) {
	return oneLower[authz.FeatureLevel](l, jobwardv1.FeatureLevel_FEATURE_LEVEL_PUBLIC)
}

// PublicScopeToProto gives the mode on the wire.
func PublicScopeToProto(s authz.PublicScope) jobwardv1.PublicScope {
	return jobwardv1.PublicScope(s) + 1
}

// PublicScopeFromProto is the inverse; unspecified is no mode and reports false.
func PublicScopeFromProto(s jobwardv1.PublicScope) (authz.PublicScope, bool) {
	v, ok := oneLower[authz.PublicScope](s, jobwardv1.PublicScope_PUBLIC_SCOPE_STRICT)
	return v, ok && s != jobwardv1.PublicScope_PUBLIC_SCOPE_UNSPECIFIED
}

// oneLower reads an enum whose numbers are one higher on the wire. UNSPECIFIED is the
// zero value.
func oneLower[T ~uint8, P ~int32](p, last P) (T, bool) {
	if p < 0 || p > last {
		return 0, false
	}
	return T(max(p, 1) - 1), true
}

// ScopeToProto gives the scope on the wire, nil for one that names nothing.
func ScopeToProto(s authz.Scope) *jobwardv1.Scope {
	if s.Kind == authz.ScopeNone {
		return nil
	}
	p := new(jobwardv1.Scope)
	setScope(p, s)
	return p
}

// setScope overwrites p.
func setScope(p *jobwardv1.Scope, s authz.Scope) {
	p.ProjectId, p.GroupId = 0, 0
	switch s.Kind {
	case authz.ScopeProject:
		p.ProjectId = s.ID
	case authz.ScopeGroup:
		p.GroupId = s.ID
	}
}

// ScopeFromProto is the inverse: nil names nothing. It reports false unless p is nil or
// names exactly one thing with an id in range.
func ScopeFromProto(p *jobwardv1.Scope) (authz.Scope, bool) {
	project, group := p.GetProjectId(), p.GetGroupId()
	var s authz.Scope
	switch {
	case p == nil:
		return s, true
	case group == 0:
		s = authz.InProject(authz.ProjectID(project))
	case project == 0:
		s = authz.InGroup(authz.GroupID(group))
	}
	return s, s.Valid()
}

// StampToProto gives a time on the wire, nil for no time.
func StampToProto(s authz.Stamp) *timestamppb.Timestamp {
	if s == 0 {
		return nil
	}
	return timestamppb.New(s.Time())
}

// StampFromProto is the inverse. It reports false for what is not a valid timestamp
// or lies outside the years 1970 to 2261 that a stamp can hold.
func StampFromProto(t *timestamppb.Timestamp) (authz.Stamp, bool) {
	if t == nil {
		return 0, true
	}
	const maxSeconds = math.MaxInt64/int64(time.Second) - 1
	if !t.IsValid() || t.GetSeconds() < 0 || t.GetSeconds() > maxSeconds {
		return 0, false
	}
	return authz.StampOf(t.AsTime()), true
}

// DurationToProto gives a duration on the wire, nil for zero.
func DurationToProto(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
