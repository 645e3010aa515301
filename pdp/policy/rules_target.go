package policy

import (
	"slices"

	"github.com/jobward/jobward/pdp/authz"
)

// findTarget is R11.
func (k *Walk) findTarget() authz.Reason {
	id := k.resolve()
	if id == 0 {
		if k.rec != nil {
			k.sawf("no project is at the path %q", k.req.Target.Path)
		}
		return authz.TargetNotFound
	}
	k.self = id == k.tok.Project
	if !k.self {
		k.key(authz.ProjectKey(id))
	}
	var ok bool
	if k.tgt, ok = k.w.Project(id); !ok {
		if k.rec != nil {
			k.sawf("there is no project %d", id)
		}
		return authz.TargetNotFound
	}
	k.dec.Target = id
	nkeys := len(k.dec.Keys)
	k.tgtGr, k.tgtWorst = k.ancestors(id, k.tgt.State, k.tgtGr)
	if k.self { // R6 noted the same groups
		k.dec.Keys = k.dec.Keys[:nkeys]
	}
	k.frozen = frozen(k.tgt.State)
	for i := range k.tgtGr {
		k.frozen = k.frozen || frozen(k.tgtGr[i].State)
	}
	if k.rec != nil {
		k.sawf("project %d is %s and %s%s%s", id, k.tgt.Visibility, k.tgt.State, above(k.tgt.State, k.tgtWorst), either(k.tgt.Hidden, "; it is hidden", ""))
	}
	if k.tgtWorst == authz.StatePendingDelete || k.tgt.Hidden {
		return authz.TargetNotFound
	}
	k.open = k.tgt.Visibility == authz.Public || (k.tgt.Visibility == authz.Internal && !k.user.External)
	k.exempt = k.open && !k.self && k.w.Instance().PublicScope == authz.ScopeExempt
	return authz.ReasonNone
}

// frozen reports whether a state refuses destruction too. What is being deleted does
// not, so the severest state alone does not tell it (§14).
func frozen(s authz.ProjectState) bool {
	return s == authz.StateArchived || s == authz.StateDeletionScheduled
}

// limitedTarget is R12.
func (k *Walk) limitedTarget() authz.Reason {
	l := k.tok.Limits.Targets
	if k.rec != nil {
		k.sawLimit(l == nil, l)
	}
	if l == nil || slices.Contains(l, authz.InProject(k.dec.Target)) {
		return authz.ReasonNone
	}
	for i := range k.tgtGr {
		if slices.Contains(l, authz.InGroup(k.tgtGr[i].ID)) {
			return authz.ReasonNone
		}
	}
	return authz.LimitedTarget
}

// ownProject is R13.
func (k *Walk) ownProject() authz.Reason {
	if k.rec != nil {
		k.sawf("%s; the target is %s", either(k.perm.OwnProject, "own project only", "any project"), either(k.self, "its own", "another"))
	}
	if k.perm.OwnProject && !k.self {
		return authz.OwnProjectOnly
	}
	return authz.ReasonNone
}

// outbound is R14. It can refuse outright: where it fails the target is private, so
// nothing of it is open.
func (k *Walk) outbound() authz.Reason {
	k.outOK = k.self || !k.src.OutboundOn || k.tgt.Visibility != authz.Private || k.w.Outbound(k.tok.Project, k.dec.Target)
	if k.rec != nil {
		k.sawOutbound()
	}
	// An internal target is private to an external user for everything but this list,
	// which §7.2 binds to the visibility alone.
	if !k.outOK {
		return authz.OutboundNotListed
	}
	return authz.ReasonNone
}

// inbound is R15.
func (k *Walk) inbound() authz.Reason {
	k.inOn = k.tgt.InboundOn || k.w.Instance().EnforceInbound
	if k.self || !k.inOn {
		if k.rec != nil {
			k.sawf("%s", either(k.self, "own project", "the target's list is off"))
		}
		return authz.ReasonNone
	}
	k.listed = k.nearest(authz.InProject(k.tok.Project))
	for i := 0; !k.listed && i < len(k.groups); i++ {
		k.listed = k.nearest(authz.InGroup(k.groups[i].ID))
	}
	if k.rec != nil {
		k.sawInbound()
	}
	if !k.listed && !k.open {
		return authz.InboundNotListed
	}
	return authz.ReasonNone
}

func (k *Walk) nearest(caller authz.Scope) bool {
	e, ok := k.w.Inbound(k.dec.Target, caller)
	if ok {
		k.entry, k.dec.Entry = e, caller
	}
	return ok
}

// inScope is §7.1 with §0.2: the source counts as let in.
func (k *Walk) inScope() bool { return k.self || k.exempt || !k.inOn || k.listed }

// push is R16.
func (k *Walk) push() authz.Reason {
	if k.perm.Action != ActionPush {
		if k.rec != nil {
			k.sawf("no push")
		}
		return authz.ReasonNone
	}
	if k.rec != nil {
		on := either(k.self, k.tgt.PushSelf, k.tgt.PushCross)
		k.sawf("a push from %s; the switch for that is %s", either(k.self, "the project itself", "another project"), either(on, "on", "off"))
	}
	switch {
	case k.self && k.tgt.PushSelf:
		return authz.ReasonNone
	case k.self, !k.tgt.PushCross, !k.inOn:
		return authz.PushDisabled
	case !k.listed:
		return authz.InboundNotListed
	}
	return k.granted()
}

// features is R17. One that is off is told before one that is kept to members,
// because there no role and no entry would help.
func (k *Walk) features() authz.Reason {
	if k.rec != nil {
		k.sawFeatures()
	}
	for _, f := range k.perm.Features {
		if k.tgt.Features[f] == authz.FeatureDisabled {
			k.dec.Feature = f
			return authz.FeatureIsDisabled
		}
	}
	for _, f := range k.perm.Features {
		if k.tgt.Features[f] != authz.FeaturePrivate {
			continue
		}
		if !k.inScope() {
			k.dec.Feature = f
			return authz.FeatureMembersOnly
		}
		k.memberNeed = max(k.memberNeed, membersOnly(f, k.tgt.Visibility))
	}
	return authz.ReasonNone
}

// membersOnly is the least role for a feature kept to members (§8.5).
func membersOnly(f authz.Feature, v authz.Visibility) authz.Role {
	switch f {
	case authz.FeatureMergeRequests, authz.FeatureContainerRegistry, authz.FeaturePackages, authz.FeatureEnvironments:
		return authz.RoleReporter
	case authz.FeatureRepository:
		if v == authz.Private {
			return authz.RoleReporter
		}
	}
	return authz.RoleGuest
}

// role is R18. What is open to everybody asks for no role, unless R17 found a
// feature of it kept to members.
func (k *Walk) role() authz.Reason {
	need, public := k.perm.Role, k.perm.Public
	closed := k.perm.Builds && !k.tgt.PublicBuilds // pipelines are not shown to the public
	if closed {
		need, public = max(need, authz.RoleReporter), false
	}
	switch {
	case public && (k.open || k.packagesForAll()):
		need = authz.RoleNone
	case k.inScope() || !k.open: // not open and not in scope is R15's refusal; this tells the role as well
	case closed && k.perm.Public:
		return authz.PipelinesNotPublic
	default:
		return authz.PublicSetOnly
	}
	need = max(need, k.memberNeed)
	if need == authz.RoleNone {
		k.byOpen = true
		if k.rec != nil {
			k.sawf("needs no role")
		}
		return authz.ReasonNone
	}
	r := k.needRole(need)
	if k.rec != nil {
		k.sawf("needs %s, has %s from %s", need, k.dec.Role, k.dec.RoleScope)
	}
	if r == authz.RoleTooLow && closed && k.dec.Role >= k.perm.Role {
		return authz.PipelinesNotPublic
	}
	return r
}

// packagesForAll is §8.8: packages open to anybody, for a source in scope.
func (k *Walk) packagesForAll() bool {
	return k.w.Instance().AnyoneCanPull && k.inScope() && len(k.perm.Features) == 1 &&
		k.perm.Features[0] == authz.FeaturePackages && k.tgt.Features[authz.FeaturePackages] == authz.FeaturePublic
}

// needRole finds the user's highest role on the target, direct or from a group
// above it, and compares.
func (k *Walk) needRole(need authz.Role) authz.Reason {
	if !k.role_ {
		k.role_ = true
		k.hold(authz.InProject(k.dec.Target))
		for i := range k.tgtGr {
			k.hold(authz.InGroup(k.tgtGr[i].ID))
		}
	}
	switch {
	case k.dec.Role >= need:
		return authz.ReasonNone
	case k.dec.Role < authz.RoleGuest:
		k.dec.Need = need
		return authz.NotMember
	}
	k.dec.Need = need
	return authz.RoleTooLow
}

func (k *Walk) hold(s authz.Scope) {
	if r := k.w.Role(k.tok.User, s); r > k.dec.Role {
		k.dec.Role, k.dec.RoleScope = r, s
	}
}

// targetState is R19. What §14 leaves possible on an archived project is refused
// (§0.8).
func (k *Walk) targetState() authz.Reason {
	a := k.perm.Action
	if k.rec != nil {
		k.sawState()
	}
	switch {
	case a == ActionRead:
		return authz.ReasonNone
	case k.frozen:
		return authz.TargetArchived
	case k.tgtWorst == authz.StateDeletionInProgress && a != ActionDestroy, a == ActionPush && k.tgt.ReadOnly:
		return authz.TargetReadOnly
	}
	return authz.ReasonNone
}

// fineGrained is R20, the steps of §9.2.
func (k *Walk) fineGrained() authz.Reason {
	if why := k.policiesVoid(); why != "" {
		if k.rec != nil {
			k.sawf("not needed: %s", why)
		}
		return authz.ReasonNone
	}
	if !k.listed {
		if k.rec != nil {
			k.sawf("no entry to grant anything")
		}
		return authz.InboundNotListed
	}
	return k.granted()
}

// policiesVoid tells why no fine-grained permission is needed; empty where one is.
func (k *Walk) policiesVoid() string {
	switch {
	case k.surface != authz.SurfaceREST:
		return "they bind over REST only"
	case k.perm.SkipPolicies:
		return "this permission has none"
	case k.self:
		return "own project"
	case k.exempt:
		return "lists do not bind on this target"
	case !k.inOn:
		return "the target's list is off"
	case k.featuresOpen():
		return "what it reads is open to everybody who may see the target"
	}
	return ""
}

// featuresOpen is step 2: all features named for it are open, on an open target.
func (k *Walk) featuresOpen() bool {
	if !k.open || len(k.perm.Exempt) == 0 {
		return false
	}
	for _, f := range k.perm.Exempt {
		if l := k.tgt.Features[f]; l != authz.FeatureEnabled && l != authz.FeaturePublic {
			return false
		}
	}
	return true
}

// granted is steps 6 to 9: the nearest entry alone decides.
func (k *Walk) granted() authz.Reason {
	if k.rec != nil {
		k.sawEntry()
	}
	if k.entry.Default {
		return authz.ReasonNone
	}
	if len(k.perm.Policies) == 0 {
		return authz.PolicyUndeclared
	}
	for i, p := range k.perm.Policies {
		switch {
		case k.entry.grants(p):
		case k.dec.Missing == nil: // the usual case, and no allocation
			k.dec.Missing = k.perm.Policies[i : i+1 : i+1]
		default:
			k.dec.Missing = append(k.dec.Missing, p)
		}
	}
	if k.dec.Missing != nil {
		return authz.PolicyMissing
	}
	return authz.ReasonNone
}

// grants reports whether the entry has the policy, or the admin_ one that includes
// it (§9.2 step 9).
func (e Entry) grants(policy string) bool {
	if slices.Contains(e.Policies, policy) {
		return true
	}
	const read, admin = "read_", "admin_"
	if len(policy) <= len(read) || policy[:len(read)] != read {
		return false
	}
	for _, have := range e.Policies {
		if len(have) == len(policy)+1 && have[:len(admin)] == admin && have[len(admin):] == policy[len(read):] {
			return true
		}
	}
	return false
}
