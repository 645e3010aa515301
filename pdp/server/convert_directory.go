package server

import (
	"encoding/hex"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

func groupToProto(g engine.GroupInfo) *jobwardv1.Group {
	return &jobwardv1.Group{
		GroupId: int64(g.ID), ParentId: int64(g.Parent), Name: g.Name, Visibility: wire.VisibilityToProto(g.Visibility),
		State: wire.ProjectStateToProto(g.State), FullPath: g.Path, Revision: uint64(g.Changed),
	}
}

func groupFromProto(r *reader, m *jobwardv1.Group) *state.Group {
	return &state.Group{
		ID: authz.GroupID(m.GetGroupId()), Parent: authz.GroupID(m.GetParentId()), Name: m.GetName(),
		Visibility: read(r, "visibility", wire.VisibilityFromProto, m.GetVisibility()),
		State:      read(r, "state", wire.ProjectStateFromProto, m.GetState()),
	}
}

func projectToProto(p engine.ProjectInfo) *jobwardv1.Project {
	m := &jobwardv1.Project{
		ProjectId: int64(p.ID), GroupId: int64(p.Group), Namespace: p.Namespace, Name: p.Name,
		Visibility: wire.VisibilityToProto(p.Visibility), State: wire.ProjectStateToProto(p.State),
		PublicBuilds: p.PublicBuilds, ReadOnly: p.ReadOnly, Hidden: p.Hidden, FullPath: p.Path, Revision: uint64(p.Changed),
	}
	for f, level := range p.Features {
		if level != authz.FeatureEnabled {
			m.Features = append(m.Features, &jobwardv1.FeatureSetting{
				Feature: wire.FeatureToProto(authz.Feature(f)), Level: wire.FeatureLevelToProto(level),
			})
		}
	}
	return m
}

func projectFromProto(r *reader, m *jobwardv1.Project) *state.Project {
	p := &state.Project{
		ID: authz.ProjectID(m.GetProjectId()), Group: authz.GroupID(m.GetGroupId()), Namespace: m.GetNamespace(), Name: m.GetName(),
		Visibility:   read(r, "visibility", wire.VisibilityFromProto, m.GetVisibility()),
		State:        read(r, "state", wire.ProjectStateFromProto, m.GetState()),
		PublicBuilds: m.GetPublicBuilds(), ReadOnly: m.GetReadOnly(), Hidden: m.GetHidden(),
	}
	var set [authz.NumFeatures]bool
	for _, fs := range m.GetFeatures() {
		f := read(r, "features", wire.FeatureFromProto, fs.GetFeature())
		if set[f] {
			r.fail("features", "must name each feature at most once")
		}
		set[f], p.Features[f] = true, read(r, "features", wire.FeatureLevelFromProto, fs.GetLevel())
	}
	return p
}

func userToProto(u engine.UserInfo) *jobwardv1.User {
	return &jobwardv1.User{
		UserId: int64(u.ID), Name: u.Name, State: wire.UserStateToProto(u.State), External: u.External, Admin: u.Admin,
		Revision: uint64(u.Changed),
	}
}

func userFromProto(r *reader, m *jobwardv1.User) *state.User {
	return &state.User{
		ID: authz.UserID(m.GetUserId()), Name: m.GetName(), External: m.GetExternal(), Admin: m.GetAdmin(),
		State: read(r, "state", wire.UserStateFromProto, m.GetState()),
	}
}

func membershipToProto(m engine.Membership) *jobwardv1.Membership {
	return &jobwardv1.Membership{UserId: int64(m.User), Scope: wire.ScopeToProto(m.Scope), Role: wire.RoleToProto(m.Role)}
}

func membershipFromProto(r *reader, m *jobwardv1.Membership) *engine.Membership {
	return &engine.Membership{User: authz.UserID(m.GetUserId()), Membership: state.Membership{
		Scope: read(r, "scope", wire.ScopeFromProto, m.GetScope()), Role: read(r, "role", wire.RoleFromProto, m.GetRole()),
	}}
}

// changeFromProto reads one change of a batch; field is its path, for errors.
func changeFromProto(m *jobwardv1.Change, field string) (c engine.Change, err error) {
	r := &reader{}
	in := func(name string) *reader { r.field = field + "." + name + "."; return r }
	switch ch := m.GetChange().(type) {
	case *jobwardv1.Change_SetGroup:
		c.Group = groupFromProto(in("set_group"), ch.SetGroup)
	case *jobwardv1.Change_RemoveGroupId:
		c.DeleteGroup = authz.GroupID(ch.RemoveGroupId)
	case *jobwardv1.Change_SetProject:
		c.Project = projectFromProto(in("set_project"), ch.SetProject)
	case *jobwardv1.Change_RemoveProjectId:
		c.DeleteProject = authz.ProjectID(ch.RemoveProjectId)
	case *jobwardv1.Change_SetUser:
		c.User = userFromProto(in("set_user"), ch.SetUser)
	case *jobwardv1.Change_RemoveUserId:
		c.DeleteUser = authz.UserID(ch.RemoveUserId)
	case *jobwardv1.Change_SetMembership:
		c.Membership = membershipFromProto(in("set_membership"), ch.SetMembership)
	case *jobwardv1.Change_RemoveMembership:
		scope := read(in("remove_membership"), "scope", wire.ScopeFromProto, ch.RemoveMembership.GetScope())
		c.DeleteMembership = &engine.MembershipRef{User: authz.UserID(ch.RemoveMembership.GetUserId()), Scope: scope}
	default:
		return c, authz.Invalid(field, "must say what is changed")
	}
	return c, r.err
}

func differenceToProto(d engine.DiffCount) *jobwardv1.Difference {
	return &jobwardv1.Difference{
		Created: int64(d.Created), Updated: int64(d.Updated), Removed: int64(d.Removed), Younger: int64(d.Younger), Unchanged: int64(d.Unchanged),
	}
}

func directionFromProto(d jobwardv1.Direction) (engine.Direction, bool) {
	switch d {
	case jobwardv1.Direction_DIRECTION_INBOUND:
		return engine.Inbound, true
	case jobwardv1.Direction_DIRECTION_OUTBOUND:
		return engine.Outbound, true
	}
	return engine.Inbound, false
}

func settingsToProto(a engine.AllowlistInfo) *jobwardv1.AllowlistSettings {
	return &jobwardv1.AllowlistSettings{
		InboundEnabled: a.InboundOn, OutboundEnabled: a.OutboundOn, PushSelf: a.PushSelf, PushCross: a.PushCross,
		InboundEffective: a.InboundOn || a.Enforced,
	}
}

func entryToProto(e engine.Entry) *jobwardv1.AllowlistEntry {
	m := &jobwardv1.AllowlistEntry{
		Scope: wire.ScopeToProto(e.Other), Autopopulated: e.Autopopulated, FullPath: e.OtherPath, Implied: e.Implied,
	}
	if e.Direction == engine.Inbound { // an outbound entry grants nothing by itself
		m.DefaultPermissions, m.Policies = e.Default, e.Policies
	}
	return m
}

// entryFromProto reads the entry to be added or changed; its output-only fields mean
// nothing here.
func entryFromProto(edit engine.AllowlistEdit, d jobwardv1.Direction, m *jobwardv1.AllowlistEntry) (engine.EntryEdit, error) {
	r := &reader{}
	e := engine.EntryEdit{
		AllowlistEdit: edit, Direction: read(r, "direction", directionFromProto, d), Other: read(r, "entry.scope", wire.ScopeFromProto, m.GetScope()),
		Default: m.GetDefaultPermissions(), Policies: m.GetPolicies(),
	}
	return e, r.err
}

func instanceToProto(in engine.InstanceInfo) *jobwardv1.InstanceSettings {
	return &jobwardv1.InstanceSettings{
		PublicScope: wire.PublicScopeToProto(in.PublicScope), EnforceInbound: in.EnforceInbound, AnyoneCanPull: in.AnyoneCanPull,
		MaxProjectEntries: int32(in.MaxProjectEntries), MaxGroupEntries: int32(in.MaxGroupEntries),
	}
}

func instanceFromProto(m *jobwardv1.UpdateInstanceSettingsRequest) (engine.InstanceEdit, error) {
	r := &reader{}
	edit := engine.InstanceEdit{
		EnforceInbound: m.EnforceInbound, AnyoneCanPull: m.AnyoneCanPull,
		MaxProjectEntries: number(m.MaxProjectEntries), MaxGroupEntries: number(m.MaxGroupEntries),
		Expected: expected(m.ExpectedRevision), RequestID: m.GetRequestId(), ValidateOnly: m.GetValidateOnly(),
	}
	if m.PublicScope != nil {
		s := read(r, "public_scope", wire.PublicScopeFromProto, m.GetPublicScope())
		edit.PublicScope = &s
	}
	return edit, r.err
}

func number(n *int32) *int {
	if n == nil {
		return nil
	}
	i := int(*n)
	return &i
}

func permissionToProto(p *policy.Permission) *jobwardv1.Permission {
	m := &jobwardv1.Permission{
		Name: string(p.Name), Surface: wire.SurfaceToProto(p.Surface), Action: jobwardv1.Action(p.Action) + 1, Role: wire.RoleToProto(p.Role),
		Public: p.Public, OwnProject: p.OwnProject, OwnJob: p.OwnJob, PublicBuilds: p.Builds, SkipPolicies: p.SkipPolicies,
		Policies: p.Policies, Closed: p.Closed,
	}
	for _, f := range p.Features {
		m.Features = append(m.Features, wire.FeatureToProto(f))
	}
	for _, f := range p.Exempt {
		m.ExemptFeatures = append(m.ExemptFeatures, wire.FeatureToProto(f))
	}
	return m
}

// statusToProto tells where the history is and how much there is; what concerns the
// process the caller adds.
func statusToProto(s engine.DirectoryStatus) *jobwardv1.GetStatusResponse {
	count := func(k state.Kind) int64 { return int64(s.Counts[k]) }
	return &jobwardv1.GetStatusResponse{
		EpochCounter: s.Mark.Epoch.Counter, EpochId: hex.EncodeToString(s.Mark.Epoch.ID[:]), Revision: uint64(s.Mark.Revision),
		PdpTime: wire.StampToProto(s.Time), Groups: count(state.KindGroup), Projects: count(state.KindProject), Users: count(state.KindUser),
		Members: count(state.KindMembers), Allowlists: count(state.KindAllowlist), Jobs: count(state.KindJob),
	}
}
