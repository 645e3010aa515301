package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// GroupInfo is a group as readers see it.
type GroupInfo struct {
	state.Group
	// Path is the full path.
	Path string
	// Changed is the revision that last changed the record.
	Changed authz.Revision
}

// ProjectInfo is a project as readers see it.
type ProjectInfo struct {
	state.Project
	Path    string
	Changed authz.Revision
}

// UserInfo is a user as readers see it.
type UserInfo struct {
	state.User
	Changed authz.Revision
}

// Member is somebody with a role on a scope.
type Member struct {
	User authz.UserID
	Role authz.Role
	// Scope is where the role is held: the one asked for, or a group above it.
	Scope authz.Scope
}

// Listing is a piece of a list of T.
type Listing[T any] struct {
	Items []T
	// Next is the [Page.After] of the next page, empty at the end.
	Next string
	// Revision is the point in history that the page was read at.
	Revision authz.Revision
}

// DirectoryStatus tells where the history stands and how much there is.
type DirectoryStatus struct {
	Mark                                 state.Mark
	Time                                 authz.Stamp
	Groups, Projects, Users, Memberships int
	// Allowlists counts projects with settings or entries of their own, Jobs the job
	// records kept, ended ones included.
	Allowlists, Jobs int
}

// GetDirectoryStatus tells where the directory stands. A full synchronisation reads it
// before it takes its list, and gives Mark.Revision as [SyncOptions.AsOf].
func (e *Engine) GetDirectoryStatus(context.Context) DirectoryStatus {
	return DirectoryStatus{}
}

// GetGroup finds a group by id.
func (e *Engine) GetGroup(_ context.Context, id authz.GroupID) (GroupInfo, error) {
	return GroupInfo{}, nil
}

// GetGroupAt finds a group by its full path.
func (e *Engine) GetGroupAt(_ context.Context, path string) (GroupInfo, error) {
	return GroupInfo{}, nil
}

// ListGroups lists all groups by id.
func (e *Engine) ListGroups(_ context.Context, page Page) (Listing[GroupInfo], error) {
	return Listing[GroupInfo]{}, nil
}

// GetProject finds a project by id, or by its full path when the id is zero.
func (e *Engine) GetProject(_ context.Context, at authz.Target) (ProjectInfo, error) {
	return ProjectInfo{}, nil
}

// ListProjects lists all projects by id.
func (e *Engine) ListProjects(_ context.Context, page Page) (Listing[ProjectInfo], error) {
	return Listing[ProjectInfo]{}, nil
}

// GetUser finds a user by id.
func (e *Engine) GetUser(_ context.Context, id authz.UserID) (UserInfo, error) {
	return UserInfo{}, nil
}

// ListUsers lists all users by id.
func (e *Engine) ListUsers(_ context.Context, page Page) (Listing[UserInfo], error) {
	return Listing[UserInfo]{}, nil
}

// ListMembers lists who has a role on a scope, by user id.
func (e *Engine) ListMembers(_ context.Context, scope authz.Scope, inherited bool, page Page) (Listing[Member], error) {
	return Listing[Member]{}, nil
}

// ListUserMemberships lists where a user has a role, by scope, projects first.
func (e *Engine) ListUserMemberships(_ context.Context, user authz.UserID, page Page) (Listing[Member], error) {
	return Listing[Member]{}, nil
}
