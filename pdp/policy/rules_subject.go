package policy

import (
	"slices"

	"github.com/jobward/jobward/pdp/authz"
)

// token is R1.
func (k *Walk) token() authz.Reason {
	if k.req.Token.IsZero() {
		return authz.TokenMalformed
	}
	var ok bool
	if k.tok, ok = k.w.Token(k.req.Token); !ok {
		if k.req.Token == authz.Nobody { // asked here, where a question about a job does not come by
			return authz.TokenMissing
		}
		// No key: a token is known to nobody before its Issue has committed (R16).
		return authz.TokenUnknown
	}
	k.dec.Job, k.dec.Source, k.dec.User = k.tok.Job, k.tok.Project, k.tok.User
	k.key(authz.TheInstance)
	k.key(authz.JobKey(k.tok.Job))
	if k.rec != nil {
		k.sawf("job %s of project %d, caused by user %d", k.tok.Job, k.tok.Project, k.tok.User)
	}
	return authz.ReasonNone
}

// expiry is R2.
func (k *Walk) expiry() authz.Reason {
	if k.rec != nil {
		k.sawf("the token ends at %s%s", when(k.tok.Expires), either(k.tok.Replaced, ", and a later one replaced it", ""))
	}
	if k.tok.Replaced {
		return authz.TokenReplaced
	}
	if k.tok.Expires != 0 && k.tok.Expires <= k.now {
		return authz.TokenExpired
	}
	return authz.ReasonNone
}

// status is R3.
func (k *Walk) status() authz.Reason {
	if k.rec != nil {
		k.sawf("the job is %s", k.tok.Status)
	}
	if !k.tok.Status.Executing() {
		return authz.JobNotRunning
	}
	return authz.ReasonNone
}

// erased is R4.
func (k *Walk) erased() authz.Reason {
	if k.rec != nil {
		k.sawf("the job is %serased", either(k.tok.Erased, "", "not "))
	}
	if k.tok.Erased {
		return authz.JobErased
	}
	return authz.ReasonNone
}

// heartbeat is R5.
func (k *Walk) heartbeat() authz.Reason {
	if k.rec != nil {
		k.sawHeartbeat()
	}
	if k.tok.Lapsed || (k.tok.Deadline != 0 && k.tok.Deadline <= k.now) {
		return authz.HeartbeatLapsed
	}
	return authz.ReasonNone
}

// source is R6.
func (k *Walk) source() authz.Reason {
	k.key(authz.ProjectKey(k.tok.Project))
	var ok bool
	if k.src, ok = k.w.Project(k.tok.Project); !ok {
		if k.rec != nil {
			k.sawf("there is no project %d", k.tok.Project)
		}
		return authz.SourceGone
	}
	var worst authz.ProjectState
	k.groups, worst = k.ancestors(k.tok.Project, k.src.State, k.groups)
	if k.rec != nil {
		k.sawf("the source is %s%s%s", k.src.State, above(k.src.State, worst), k.killed(k.src.DeadBefore))
	}
	if worst >= authz.StateDeletionInProgress || k.tok.Issued < k.src.DeadBefore {
		return authz.SourceGone
	}
	return authz.ReasonNone
}

// userState is R7. Administrators get nothing extra, so the flag is not even read.
func (k *Walk) userState() authz.Reason {
	k.key(authz.UserKey(k.tok.User))
	var ok bool
	if k.user, ok = k.w.User(k.tok.User); !ok {
		if k.rec != nil {
			k.sawf("there is no user %d", k.tok.User)
		}
		return authz.UserMissing
	}
	if k.rec != nil {
		k.sawf("the user is %s%s%s", k.user.State, either(k.user.External, " and external", ""), k.killed(k.user.DeadBefore))
	}
	switch k.user.State {
	case authz.UserStateActive:
	case authz.UserStateDeactivated:
		return authz.UserDeactivated
	case authz.UserStateBanned:
		return authz.UserBanned
	case authz.UserStateBlockedPendingApproval:
		return authz.UserPendingApproval
	default:
		return authz.UserBlocked
	}
	if k.tok.Issued < k.user.DeadBefore {
		return authz.UserBlocked
	}
	return authz.ReasonNone
}

// permission is R8.
func (k *Walk) permission() authz.Reason {
	var ok bool
	if k.perm, ok = k.w.Catalogue().Permission(k.req.Permission); !ok {
		if k.rec != nil {
			k.sawf("%q is not in the catalogue", k.req.Permission)
		}
		return authz.PermissionUnknown
	}
	k.surface = k.req.Surface
	if k.surface == authz.SurfaceDefault {
		k.surface = k.perm.Surface
	}
	if k.rec != nil {
		k.sawf("%s asked over %s; it belongs to %s", k.req.Permission, k.surface, k.perm.Surface)
	}
	fits := k.surface == authz.SurfacePolicy || k.perm.Surface == authz.SurfacePolicy || k.surface == k.perm.Surface
	closed := k.perm.Closed || k.surface == authz.SurfaceGraphQL || k.surface == authz.SurfaceUnlisted
	if closed || !fits {
		return authz.SurfaceClosed
	}
	if k.surface == authz.SurfaceGit && !k.sourceHasCI() {
		if k.rec != nil {
			k.sawf("%s asked over git, which takes no token of a project that has switched off CI", k.req.Permission)
		}
		return authz.SurfaceClosed
	}
	return authz.ReasonNone
}

// sourceHasCI is §10.1, with §8.6: no builds without a repository.
func (k *Walk) sourceHasCI() bool {
	return k.src.Features[authz.FeatureBuilds] != authz.FeatureDisabled && k.src.Features[authz.FeatureRepository] != authz.FeatureDisabled
}

// limitedPermission is R9.
func (k *Walk) limitedPermission() authz.Reason {
	l := k.tok.Limits.Permissions
	if k.rec != nil {
		k.sawLimit(l == nil, l)
	}
	if l != nil && !slices.Contains(l, k.req.Permission) {
		return authz.LimitedPermission
	}
	return authz.ReasonNone
}

// ownJob is R10. The question is about the job, whatever target comes with it.
func (k *Walk) ownJob() authz.Reason {
	if k.rec != nil {
		k.sawf("%s the job itself", either(k.perm.OwnJob, "a question about", "not about"))
	}
	if !k.perm.OwnJob {
		return authz.ReasonNone
	}
	k.dec.Target = k.tok.Project
	return authz.AllowedOwnJob
}

// resolve gives the target's id, zero if its path leads nowhere, and notes what
// that rests on.
func (k *Walk) resolve() authz.ProjectID {
	if k.req.Target.ID != 0 {
		return k.req.Target.ID
	}
	k.dec.Keys = authz.AppendPathKeys(k.dec.Keys, k.req.Target.Path)
	id, ok := k.w.ProjectAt(k.req.Target.Path)
	if !ok {
		return 0
	}
	return id
}
