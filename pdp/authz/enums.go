package authz

import (
	"fmt"
	"strings"
)

// Role is a user's role on a project or group. Roles are ordered: a higher
// number may do what a lower one may (SEMANTICS §8.4).
type Role uint8

// The roles. Minimal access counts as none.
const (
	RoleNone            Role = 0
	RoleMinimal         Role = 5
	RoleGuest           Role = 10
	RolePlanner         Role = 15
	RoleReporter        Role = 20
	RoleSecurityManager Role = 25
	RoleDeveloper       Role = 30
	RoleMaintainer      Role = 40
	RoleOwner           Role = 50
)

// Visibility says who may see a project or group without being a member.
type Visibility uint8

// The visibilities: members; every user who is not external; everybody.
const (
	Private Visibility = iota
	Internal
	Public
)

// ProjectState is where a project or group is in its life (SEMANTICS §14). The
// order is that of severity: the state that counts for a project is the highest
// of its own and those of the groups above it.
type ProjectState uint8

// The states of a project or group.
const (
	StateActive ProjectState = iota
	StateArchived
	StateDeletionScheduled
	StateDeletionInProgress
	StatePendingDelete
)

// UserState says whether a user may act at all (SEMANTICS §6.2).
type UserState uint8

// The states of a user. Only an active one may act.
const (
	UserStateActive UserState = iota
	UserStateBlocked
	UserStateDeactivated
	UserStateBanned
	UserStateBlockedPendingApproval
)

// JobStatus is a CI job's status. Running and canceling are the executing ones
// (SEMANTICS §5.2); a token opens nothing in any other.
type JobStatus uint8

// The statuses of a job.
const (
	JobRunning JobStatus = iota
	JobCanceling
	JobCreated
	JobWaitingForResource
	JobPreparing
	JobWaitingForCallback
	JobPending
	JobManual
	JobScheduled
	JobSuccess
	JobFailed
	JobCanceled
	JobSkipped
)

// Executing reports whether a token of a job in this status can be alive.
func (s JobStatus) Executing() bool { return s == JobRunning || s == JobCanceling }

// Finished reports whether the status is final.
func (s JobStatus) Finished() bool { return s >= JobSuccess }

// Feature is a part of a project that can be switched off or kept to members
// (SEMANTICS §8.5).
type Feature uint8

// The features.
const (
	FeatureRepository Feature = iota
	FeatureBuilds
	FeaturePackages
	FeatureContainerRegistry
	FeatureEnvironments
	FeatureReleases
	FeatureMergeRequests
	FeatureIssues
	FeatureInfrastructure
	NumFeatures int = iota
)

// FeatureLevel says to whom a feature is open.
type FeatureLevel uint8

// The levels of a feature: everybody who sees the project (the default), members
// only, nobody, and, for packages, anybody at all.
const (
	FeatureEnabled FeatureLevel = iota
	FeaturePrivate
	FeatureDisabled
	FeaturePublic
)

// PublicScope says whether allowlists bind on public and internal targets
// (SEMANTICS §0.2).
type PublicScope uint8

// The two modes: lists do not apply to targets that are open to the user (the
// default), or an unlisted caller is left with the public set.
const (
	ScopeExempt PublicScope = iota
	ScopeStrict
)

// Surface is the kind of door a question came through.
type Surface uint8

// The surfaces. SurfaceDefault takes the one that the permission belongs to;
// SurfacePolicy is a bare question without a route; SurfaceUnlisted is a route
// that takes no job token.
const (
	SurfaceDefault Surface = iota
	SurfacePolicy
	SurfaceREST
	SurfaceGit
	SurfaceRegistry
	SurfaceGraphQL
	SurfaceUnlisted
)

var (
	roleNames = map[Role]string{
		RoleNone: "none", RoleMinimal: "minimal", RoleGuest: "guest", RolePlanner: "planner", RoleReporter: "reporter",
		RoleSecurityManager: "security_manager", RoleDeveloper: "developer", RoleMaintainer: "maintainer", RoleOwner: "owner",
	}
	visibilityNames   = []string{"private", "internal", "public"}
	projectStateNames = []string{"active", "archived", "deletion_scheduled", "deletion_in_progress", "pending_delete"}
	userStateNames    = []string{"active", "blocked", "deactivated", "banned", "blocked_pending_approval"}
	jobStatusNames    = []string{
		"running", "canceling", "created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending",
		"manual", "scheduled", "success", "failed", "canceled", "skipped",
	}
	featureNames = []string{
		"repository", "builds", "packages", "container_registry", "environments", "releases", "merge_requests", "issues", "infrastructure",
	}
	featureLevelNames = []string{"enabled", "private", "disabled", "public"}
	publicScopeNames  = []string{"exempt", "strict"}
	surfaceNames      = []string{"default", "policy", "rest", "git", "registry", "graphql", "unlisted"}
)

// The String methods give the names that scenario files, settings and reports use.

// String gives the role's name.
func (r Role) String() string {
	if n, ok := roleNames[r]; ok {
		return n
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// String gives the visibility's name.
func (v Visibility) String() string { return nameOf(visibilityNames, v) }

// String gives the state's name.
func (s ProjectState) String() string { return nameOf(projectStateNames, s) }

// String gives the state's name.
func (s UserState) String() string { return nameOf(userStateNames, s) }

// String gives the status's name.
func (s JobStatus) String() string { return nameOf(jobStatusNames, s) }

// String gives the feature's name.
func (f Feature) String() string { return nameOf(featureNames, f) }

// String gives the level's name.
func (l FeatureLevel) String() string { return nameOf(featureLevelNames, l) }

// String gives the mode's name.
func (s PublicScope) String() string { return nameOf(publicScopeNames, s) }

// String gives the surface's name.
func (s Surface) String() string { return nameOf(surfaceNames, s) }

// The Parse functions are the inverses; their errors list what is accepted.

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	for r, n := range roleNames {
		if n == s {
			return r, nil
		}
	}
	return 0, fmt.Errorf("unknown role %q: use minimal, guest, planner, reporter, security_manager, developer, maintainer or owner", s)
}

// ParseVisibility reads a visibility's name.
func ParseVisibility(s string) (Visibility, error) {
	return parse[Visibility](visibilityNames, "visibility", s)
}

// ParseProjectState reads the name of a project's or group's state.
func ParseProjectState(s string) (ProjectState, error) {
	return parse[ProjectState](projectStateNames, "project state", s)
}

// ParseUserState reads the name of a user's state.
func ParseUserState(s string) (UserState, error) {
	return parse[UserState](userStateNames, "user state", s)
}

// ParseJobStatus reads a job status's name.
func ParseJobStatus(s string) (JobStatus, error) {
	return parse[JobStatus](jobStatusNames, "job status", s)
}

// ParseFeature reads a feature's name.
func ParseFeature(s string) (Feature, error) { return parse[Feature](featureNames, "feature", s) }

// ParseFeatureLevel reads a feature level's name.
func ParseFeatureLevel(s string) (FeatureLevel, error) {
	return parse[FeatureLevel](featureLevelNames, "feature level", s)
}

// ParsePublicScope reads a mode's name.
func ParsePublicScope(s string) (PublicScope, error) {
	return parse[PublicScope](publicScopeNames, "public_scope", s)
}

// ParseSurface reads a surface's name.
func ParseSurface(s string) (Surface, error) { return parse[Surface](surfaceNames, "surface", s) }

func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("unknown(%d)", uint8(v))
}

func parse[T ~uint8](names []string, what, s string) (T, error) {
	for i, n := range names {
		if n == s {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q: use %s", what, s, strings.Join(names, ", "))
}
