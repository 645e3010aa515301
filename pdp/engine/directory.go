package engine

import (
	"context"
	"fmt"

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

// ApplyRequest is a batch of 1 to MaxChanges changes, about each record at most once.
// Their order means nothing: a project can come before the group that it is in.
type ApplyRequest struct {
	Changes []Change
	// Expected, where it is not zero, makes the call fail with KindConflict
	// (REVISION_MISMATCH) when a record that it would change was changed after this
	// revision.
	Expected     authz.Revision
	RequestID    string
	ValidateOnly bool
}

// Applied is what became of a batch.
type Applied struct {
	Done
	// Changed counts the changes that made a difference; zero for a repeated call.
	Changed int
}

// DeletionRequest names a project to be deleted.
type DeletionRequest struct {
	Project      authz.ProjectID
	RequestID    string
	ValidateOnly bool
}

// UserStateRequest names a user, and for BlockUser the state to give them.
type UserStateRequest struct {
	User         authz.UserID
	State        authz.UserState
	RequestID    string
	ValidateOnly bool
}

// Writing the directory. Names, parents and emptiness are properties of several
// records at once, which guards on the records changed do not keep: two creations of
// one path touch different keys. So one record, [state.Directory], is put by every change of
// places, existence and memberships, and guarded from before anything else is read: of two
// that were decided on one state only one gets through, whichever PDPs they are at, and the
// other is decided again. Within one PDP a lock of the engine keeps them from trying.
// Reads, decisions, edits of allowlists, blocks and the beginning of a deletion take no
// lock and leave the record alone; guards on the records they read keep them apart from it.
//
// Removing a project or group is one commit. The entries on other lists and the
// memberships that name it mean nothing from then on and are removed after it, a few
// hundred in each commit (cleanUp). If the process dies between the two they stay, still
// without meaning: nothing is ever created under an id before what was left behind under
// it is removed. A clean-up is guarded on the Directory record and does not put it: what it
// removes named something that did not exist, whoever else cleans up at the same time.

// Apply carries out a batch of changes in one commit: all of them or none. Besides bad
// fields (KindInvalid, each violation with the path of the field) it fails with
// KindExists (NAME_TAKEN) and KindPrecondition (GROUP_NOT_EMPTY). What is to be deleted
// and does not exist is deleted already. A batch can call a deletion off and make a user
// active again; their tokens stay dead.
func (e *Engine) Apply(ctx context.Context, by Actor, req ApplyRequest) (Applied, error) {
	if err := checkChanges(req.Changes); err != nil {
		return Applied{}, err
	}
	w := directoryWrite{verb: "apply_changes", by: by, requestID: req.RequestID, validateOnly: req.ValidateOnly, request: req}
	done, d, err := e.write(ctx, w, func(d *draft) error {
		for i := range req.Changes {
			d.stage(&req.Changes[i], fmt.Sprintf("changes[%d]", i))
		}
		return d.expect(req.Expected)
	})
	if err != nil {
		return Applied{}, err
	}
	return Applied{Done: done, Changed: d.changed}, nil
}

// expect compares what is to be changed with an expected revision.
func (d *draft) expect(rev authz.Revision) error {
	if rev == 0 {
		return nil
	}
	for _, k := range d.order {
		if d.guards[k] > rev {
			return authz.Errorf(authz.KindConflict, CodeRevisionMismatch,
				"%s: %v was changed at revision %d, after %d: read it again and decide again", d.fields[k], k, d.guards[k], rev)
		}
	}
	return nil
}

// BeginProjectDeletion makes a project pending delete: nobody reaches it from then on,
// and every token of its jobs is dead for good, by one record however many there are.
// Repeated, it gives the revision that did it (PROTOCOL R6). KindNotFound for a project
// that never was; one that is deleted already counts as begun.
func (e *Engine) BeginProjectDeletion(ctx context.Context, by Actor, req DeletionRequest) (Done, error) {
	w := directoryWrite{
		verb: "begin_project_deletion", by: by, requestID: req.RequestID, validateOnly: req.ValidateOnly, request: req, unlocked: true,
	}
	done, _, err := e.write(ctx, w, func(d *draft) error {
		p, err := d.condemned(req.Project)
		if err != nil || d.before != 0 {
			return err
		}
		next := *p
		next.State = authz.StatePendingDelete
		d.setProject(&next, "project_id")
		if p.State == authz.StatePendingDelete { // and nothing keeps its tokens dead
			d.killProject(req.Project)
		}
		return nil
	})
	return done, err
}

// condemned finds a project to be deleted. When that is behind it, d.before says when.
func (d *draft) condemned(id authz.ProjectID) (*state.Project, error) {
	if !id.Valid() {
		return nil, authz.Invalid("project_id", "must be 1 to %d", authz.MaxID)
	}
	p := d.project(id)
	death, _, died := d.view.DeathOfProject(id)
	switch {
	case p == nil && !died:
		return nil, errUnseen("project_id", authz.InProject(id), 0)
	case died && (p == nil || p.State == authz.StatePendingDelete):
		d.before = death.Before
	}
	return p, nil
}

// FinishProjectDeletion removes a project whose deletion has begun, its allowlist,
// what names it on other lists and the roles held on it. Repeated, it gives the revision
// at which its jobs' tokens died. KindPrecondition (DELETION_NOT_BEGUN) for a project
// that is in use. What comes back later under the same id is another project: nothing
// issued for this one opens anything for it.
func (e *Engine) FinishProjectDeletion(ctx context.Context, by Actor, req DeletionRequest) (Done, error) {
	w := directoryWrite{verb: "finish_project_deletion", by: by, requestID: req.RequestID, validateOnly: req.ValidateOnly, request: req}
	done, _, err := e.write(ctx, w, func(d *draft) error {
		p, err := d.condemned(req.Project)
		if err != nil || p == nil {
			return err
		}
		if p.State < authz.StateDeletionInProgress {
			return authz.Errorf(authz.KindPrecondition, CodeDeletionNotBegun,
				"project %d is %s: begin its deletion before finishing it", req.Project, p.State)
		}
		d.before = 0
		d.deleteProject(req.Project, "project_id")
		return nil
	})
	return done, err
}

// BlockUser gives a user a state in which they may not act: every token of their jobs
// is dead for good, by one record however many there are. Repeated, it gives the revision
// that did it.
func (e *Engine) BlockUser(ctx context.Context, by Actor, req UserStateRequest) (Done, error) {
	if req.State == authz.UserStateActive || req.State > authz.UserStateBlockedPendingApproval {
		return Done{}, authz.Invalid("state", "must be one in which the user may not act, not %s", req.State)
	}
	return e.setUserState(ctx, by, "block_user", req)
}

// UnblockUser makes a user active again. Their old tokens stay dead, those included
// that were issued while they were blocked.
func (e *Engine) UnblockUser(ctx context.Context, by Actor, req UserStateRequest) (Done, error) {
	req.State = authz.UserStateActive
	return e.setUserState(ctx, by, "unblock_user", req)
}

func (e *Engine) setUserState(ctx context.Context, by Actor, verb string, req UserStateRequest) (Done, error) {
	if !req.User.Valid() {
		return Done{}, authz.Invalid("user_id", "must be 1 to %d", authz.MaxID)
	}
	w := directoryWrite{verb: verb, by: by, requestID: req.RequestID, validateOnly: req.ValidateOnly, request: req, unlocked: true}
	done, _, err := e.write(ctx, w, func(d *draft) error {
		u := d.user(req.User)
		if u == nil {
			return authz.Errorf(authz.KindNotFound, CodeUserNotFound, "user %d does not exist", req.User)
		}
		if u.State == req.State {
			if death, _, died := d.view.DeathOfUser(req.User); died && u.State != authz.UserStateActive {
				d.before = death.Before
			} else if u.State != authz.UserStateActive { // and nothing keeps their tokens dead
				d.killUser(req.User)
			}
			return nil
		}
		next := *u
		next.State = req.State
		d.setUser(&next, "user_id")
		return nil
	})
	return done, err
}
