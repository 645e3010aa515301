package state_test

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// model is the view written the obvious way: all records in one map, every question
// answered by looking through them.
type model struct {
	rev   authz.Revision
	stamp authz.Stamp
	recs  map[state.Key]state.Record
	mods  map[state.Key]authz.Revision
}

var _ policy.World = (*model)(nil)

func newModel() *model {
	return &model{recs: make(map[state.Key]state.Record), mods: make(map[state.Key]authz.Revision)}
}

func (m *model) apply(c state.Change) {
	for _, r := range c.Puts {
		m.recs[r.Key()], m.mods[r.Key()] = r, c.Revision
	}
	for _, k := range c.Deletes {
		delete(m.recs, k)
		delete(m.mods, k)
	}
	m.rev, m.stamp = c.Revision, max(m.stamp, c.Stamp)
}

// get finds the record of a type at a key.
func get[R state.Record](m *model, k state.Key) (R, bool) {
	r, ok := m.recs[k].(R)
	return r, ok
}

// all gives the records of a type by key.
func all[R state.Record](m *model) []R {
	var rs []R
	for _, k := range slices.Sorted(maps.Keys(m.recs)) {
		if r, ok := m.recs[k].(R); ok {
			rs = append(rs, r)
		}
	}
	return rs
}

func (m *model) Revision() authz.Revision { return m.rev }

func (m *model) instance() *state.Instance {
	if r, ok := get[*state.Instance](m, state.InstanceKey()); ok {
		return r
	}
	d := state.DefaultInstance()
	return &d
}

func (m *model) Instance() policy.Instance { return m.instance().Instance }

var builtin = policy.Builtin()

func (m *model) Catalogue() *policy.Catalogue { return builtin }

func (m *model) jobByDigest(d authz.Digest) (j *state.Job, replaced bool) {
	for _, j := range all[*state.Job](m) {
		if j.Digest == d && !d.IsZero() {
			return j, false
		}
	}
	if r, ok := get[*state.Replaced](m, state.ReplacedKey(d)); ok {
		j, _ := get[*state.Job](m, state.JobKey(r.Job))
		return j, true
	}
	return nil, false
}

func (m *model) deadline(j *state.Job) authz.Stamp {
	if j.Term == 0 {
		return 0
	}
	from := j.IssuedAt
	if r, ok := get[*state.Runner](m, state.RunnerKey(j.Runner)); ok {
		from = max(from, r.Beat)
	}
	return from.Add(j.Term)
}

func (m *model) Token(d authz.Digest) (policy.Token, bool) {
	j, replaced := m.jobByDigest(d)
	if j == nil {
		return policy.Token{}, false
	}
	return policy.Token{
		Job: j.ID, Project: j.Project, User: j.User, Status: j.Status, Erased: j.Erased, Replaced: replaced, Lapsed: j.Lapsed,
		Issued: j.Issued, Expires: j.Expires, Deadline: m.deadline(j), Limits: j.Limits,
	}, true
}

func (m *model) User(id authz.UserID) (policy.User, bool) {
	u, ok := get[*state.User](m, state.UserKey(id))
	if !ok {
		return policy.User{}, false
	}
	out := policy.User{State: u.State, External: u.External}
	if d, ok := get[*state.Death](m, state.UserDeathKey(id)); ok {
		out.DeadBefore = d.Before
	}
	return out, true
}

func (m *model) allowlist(id authz.ProjectID) *state.Allowlist {
	if a, ok := get[*state.Allowlist](m, state.AllowlistKey(id)); ok {
		return a
	}
	return state.DefaultAllowlist(id)
}

func (m *model) Project(id authz.ProjectID) (policy.Project, bool) {
	p, ok := get[*state.Project](m, state.ProjectKey(id))
	if !ok {
		return policy.Project{}, false
	}
	a := m.allowlist(id)
	out := policy.Project{
		Visibility: p.Visibility, State: p.State, Features: p.Features, Hidden: p.Hidden, ReadOnly: p.ReadOnly,
		PublicBuilds: p.PublicBuilds, InboundOn: a.InboundOn, OutboundOn: a.OutboundOn, PushSelf: a.PushSelf, PushCross: a.PushCross,
	}
	if d, ok := get[*state.Death](m, state.ProjectDeathKey(id)); ok {
		out.DeadBefore = d.Before
	}
	return out, true
}

// chain gives the groups from id upward, and whether it ends at the top.
func (m *model) chain(id authz.GroupID) (groups []*state.Group, whole bool) {
	for range state.MaxGroupDepth {
		g, ok := get[*state.Group](m, state.GroupKey(id))
		if !ok {
			return groups, false
		}
		groups = append(groups, g)
		if id = g.Parent; id == 0 {
			return groups, true
		}
	}
	return groups, false
}

func (m *model) Ancestors(id authz.ProjectID, buf []policy.Group) []policy.Group {
	if p, ok := get[*state.Project](m, state.ProjectKey(id)); ok && p.Group != 0 {
		groups, _ := m.chain(p.Group)
		for _, g := range groups {
			buf = append(buf, policy.Group{ID: g.ID, State: g.State})
		}
	}
	return buf
}

func (m *model) Role(user authz.UserID, scope authz.Scope) authz.Role {
	if r, ok := get[*state.Members](m, state.MembersKey(user)); ok {
		for _, s := range r.List {
			if s.Scope == scope {
				return s.Role
			}
		}
	}
	return authz.RoleNone
}

func (m *model) Inbound(target authz.ProjectID, caller authz.Scope) (policy.Entry, bool) {
	for _, e := range m.allowlist(target).Inbound {
		if e.Caller == caller {
			return e.Entry, true
		}
	}
	return policy.Entry{}, false
}

func (m *model) Outbound(source, target authz.ProjectID) bool {
	return slices.Contains(m.allowlist(source).Outbound, target)
}

func (m *model) groupAt(path string) authz.GroupID {
	at := authz.GroupID(0)
	for name := range strings.SplitSeq(path, "/") {
		i := slices.IndexFunc(all[*state.Group](m), func(g *state.Group) bool { return g.Parent == at && g.Name == name })
		if i < 0 {
			return 0
		}
		at = all[*state.Group](m)[i].ID
	}
	return at
}

func (m *model) ProjectAt(path string) (authz.ProjectID, bool) {
	i := strings.LastIndex(path, "/")
	if i <= 0 {
		return 0, false
	}
	above, name := path[:i], path[i+1:]
	if g := m.groupAt(above); g != 0 {
		for _, p := range all[*state.Project](m) {
			if p.Group == g && p.Name == name {
				return p.ID, true
			}
		}
	}
	for _, p := range all[*state.Project](m) {
		if p.Group == 0 && p.Namespace == above && p.Name == name {
			return p.ID, true
		}
	}
	return 0, false
}

func (m *model) groupPath(id authz.GroupID) (string, bool) {
	groups, whole := m.chain(id)
	if !whole {
		return "", false
	}
	path := ""
	for _, g := range groups {
		path = "/" + g.Name + path
	}
	return path[1:], true
}

func (m *model) pathOf(id authz.ProjectID) (string, bool) {
	p, ok := get[*state.Project](m, state.ProjectKey(id))
	if !ok {
		return "", false
	}
	above, ok := p.Namespace, p.Namespace != ""
	if p.Group != 0 {
		above, ok = m.groupPath(p.Group)
	}
	if !ok {
		return "", false
	}
	return above + "/" + p.Name, true
}

// roleOf gives the highest role on a scope and the groups from one upward, and where it
// comes from.
func (m *model) roleOf(user authz.UserID, own authz.Scope, group authz.GroupID) (authz.Role, authz.Scope) {
	scopes := []authz.Scope{own}
	groups, _ := m.chain(group)
	for _, g := range groups {
		scopes = append(scopes, authz.InGroup(g.ID))
	}
	best := authz.Scope{}
	for _, s := range scopes {
		if r := m.Role(user, s); r > m.Role(user, best) {
			best = s
		}
	}
	return m.Role(user, best), best
}

func (m *model) membersOf(scope authz.Scope) []state.Member {
	var out []state.Member
	for _, r := range all[*state.Members](m) {
		if i := slices.IndexFunc(r.List, func(s state.Membership) bool { return s.Scope == scope }); i >= 0 {
			out = append(out, state.Member{User: r.User, Role: r.List[i].Role})
		}
	}
	return out
}

// lists gives the projects whose allowlist fits.
func (m *model) lists(fits func(*state.Allowlist) bool) []authz.ProjectID {
	var ids []authz.ProjectID
	for _, a := range all[*state.Allowlist](m) {
		if fits(a) {
			ids = append(ids, a.Project)
		}
	}
	return ids
}

func (m *model) children(id authz.GroupID) []authz.Scope {
	var scopes []authz.Scope
	for _, g := range all[*state.Group](m) {
		if g.Parent == id {
			scopes = append(scopes, authz.InGroup(g.ID))
		}
	}
	for _, p := range all[*state.Project](m) {
		if id != 0 && p.Group == id {
			scopes = append(scopes, authz.InProject(p.ID))
		}
	}
	slices.SortFunc(scopes, compareScopes)
	return scopes
}

func compareScopes(a, b authz.Scope) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

// jobs gives the ids, sorted, of the jobs that fit.
func (m *model) jobs(fits func(*state.Job) bool) []authz.JobID {
	var ids []authz.JobID
	for _, j := range all[*state.Job](m) {
		if fits(j) {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

func (m *model) outdated(before authz.Stamp) []state.Guard {
	var out []state.Guard
	for _, k := range slices.Sorted(maps.Keys(m.recs)) {
		old := false
		switch r := m.recs[k].(type) {
		case *state.Job:
			if r.Ended != 0 {
				old = r.EndedAt < before
			} else {
				old = r.Expires != 0 && r.Expires < before
			}
		case *state.Replaced:
			old = r.At < before
		case *state.Request:
			old = r.At < before
		}
		if old {
			out = append(out, state.Guard{Key: k, Revision: m.mods[k]})
		}
	}
	return out
}
