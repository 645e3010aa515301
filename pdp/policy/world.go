package policy

import "github.com/jobward/jobward/pdp/authz"

// World is the state that a decision reads, all of it at one revision. The answers
// are values; slices in them are read only and good until the decision is made.
// Every lookup that the walk makes has a dependency key (PROTOCOL R15), whether it
// finds something or not.
type World interface {
	// Revision is the point in history that everything below belongs to.
	Revision() authz.Revision
	// Instance gives the settings of the whole installation.
	Instance() Instance
	// Catalogue gives the committed permission catalogue.
	Catalogue() *Catalogue
	// Token finds the job that a digest belongs to, or belonged to before a later
	// token replaced it.
	Token(authz.Digest) (Token, bool)
	// User, Project and Group find records by id.
	User(authz.UserID) (User, bool)
	Project(authz.ProjectID) (Project, bool)
	// ProjectAt resolves a full path.
	ProjectAt(path string) (authz.ProjectID, bool)
	// Ancestors appends the groups above a project, nearest first, to buf.
	Ancestors(id authz.ProjectID, buf []Group) []Group
	// Role gives the user's role held directly on a scope, RoleNone if there is none.
	Role(authz.UserID, authz.Scope) authz.Role
	// Inbound finds the entry for exactly this caller on the target's inbound list.
	Inbound(target authz.ProjectID, caller authz.Scope) (Entry, bool)
	// Outbound reports whether target is on the source's outbound list.
	Outbound(source, target authz.ProjectID) bool
}

// Instance holds the settings of the whole installation that decisions depend on.
type Instance struct {
	// PublicScope says whether allowlists bind on targets open to the user.
	PublicScope authz.PublicScope
	// EnforceInbound puts every project's inbound allowlist in force (SEMANTICS §7.4).
	EnforceInbound bool
	// AnyoneCanPull lets a project open its packages to anybody (§8.8).
	AnyoneCanPull bool
}

// Token is what the state knows about one job token.
type Token struct {
	Job     authz.JobID
	Project authz.ProjectID
	User    authz.UserID
	Status  authz.JobStatus
	Erased  bool
	// Replaced says that the digest asked for is not the job's newest.
	Replaced bool
	// Lapsed says that the heartbeat term was found to have run out; it is final.
	Lapsed bool
	// Issued is the revision that issued the token: what kills at a later one
	// (Project.DeadBefore, User.DeadBefore) kills this token for good (R7).
	Issued authz.Revision
	// Expires is the token's own end. Deadline is the end of its heartbeat term, zero
	// when it has none.
	Expires, Deadline authz.Stamp
	// Limits is what the job asked to be limited to.
	Limits Limits
}

// Limits is a job's wish for less than its user may do. A nil list limits nothing,
// an empty one leaves nothing.
type Limits struct {
	Permissions []authz.Permission
	// Targets are projects, or groups standing for all projects below them.
	Targets []authz.Scope
}

// User is what a decision needs of a user.
type User struct {
	State      authz.UserState
	External   bool
	DeadBefore authz.Revision
}

// Group is one group above a project.
type Group struct {
	ID    authz.GroupID
	State authz.ProjectState
}

// Project is what a decision needs of a project. Features is indexed by
// [authz.Feature].
type Project struct {
	Visibility authz.Visibility
	State      authz.ProjectState
	Features   [authz.NumFeatures]authz.FeatureLevel
	DeadBefore authz.Revision
	// Hidden projects are not found by any job token. ReadOnly ones take no push.
	Hidden, ReadOnly bool
	// PublicBuilds shows pipelines to the public and to guests (§8.7).
	PublicBuilds bool
	// InboundOn and OutboundOn are the project's own switches (§§7.2, 7.4).
	InboundOn, OutboundOn bool
	// PushSelf and PushCross open pushes by job token (§10.4).
	PushSelf, PushCross bool
}

// Entry is one entry of an inbound allowlist.
type Entry struct {
	// Default says that the entry restricts nothing.
	Default bool
	// Policies are the fine-grained permissions granted otherwise, sorted.
	Policies []string
}
