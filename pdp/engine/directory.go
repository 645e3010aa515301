package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Bounds of the directory.
const (
	// MaxChanges is how many changes one Apply can make.
	MaxChanges = 1000
	// MaxName is the longest name in bytes.
	MaxName = 255
	// MaxDepth is how many groups can be nested, the one at the top included.
	MaxDepth = 20
)

// Change is one change of the directory. Exactly one field is set. A record given is
// the engine's from then on.
type Change struct {
	// Group, Project and User create a record or replace the one with the same id.
	Group   *state.Group
	Project *state.Project
	User    *state.User
	// Membership gives a user a role on a project or group, in place of the one held
	// there.
	Membership *Membership

	// The deletions. What is not there is deleted already.
	DeleteGroup      authz.GroupID
	DeleteProject    authz.ProjectID
	DeleteUser       authz.UserID
	DeleteMembership *MembershipRef
}

// Membership is a user's role on a scope.
type Membership struct {
	User authz.UserID
	state.Membership
}

// MembershipRef names a membership.
type MembershipRef struct {
	User  authz.UserID
	Scope authz.Scope
}

// ApplyRequest is a batch of at most MaxChanges changes, about each record at most once.
type ApplyRequest struct {
	Changes      []Change
	RequestID    string
	ValidateOnly bool
}

// Apply carries out a batch of changes in one commit.
func (e *Engine) Apply(ctx context.Context, by Actor, req ApplyRequest) (Done, error) {
	return Done{}, nil
}

// DeletionRequest names a project to be deleted.
type DeletionRequest struct {
	Project      authz.ProjectID
	RequestID    string
	ValidateOnly bool
}

// BeginProjectDeletion makes a project pending delete.
func (e *Engine) BeginProjectDeletion(ctx context.Context, by Actor, req DeletionRequest) (Done, error) {
	return Done{}, nil
}

// FinishProjectDeletion removes a project whose deletion has begun.
func (e *Engine) FinishProjectDeletion(ctx context.Context, by Actor, req DeletionRequest) (Done, error) {
	return Done{}, nil
}

// UserStateRequest names a user, and for BlockUser the state to give them.
type UserStateRequest struct {
	User         authz.UserID
	State        authz.UserState
	RequestID    string
	ValidateOnly bool
}

// BlockUser makes a user inactive.
func (e *Engine) BlockUser(ctx context.Context, by Actor, req UserStateRequest) (Done, error) {
	return Done{}, nil
}

// UnblockUser makes a user active again.
func (e *Engine) UnblockUser(ctx context.Context, by Actor, req UserStateRequest) (Done, error) {
	return Done{}, nil
}
