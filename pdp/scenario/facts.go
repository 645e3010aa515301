package scenario

import (
	"cmp"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// Facts is a [policy.World] over records in plain maps: for tests, and for running
// scenarios in process. It is not safe for concurrent use.
type Facts struct {
	// At is the revision that the world says it is at.
	At authz.Revision

	catalogue *policy.Catalogue
	records   map[state.Key]state.Record
	digests   map[authz.Digest]authz.JobID
	groups    map[place]authz.GroupID
	projects  map[place]authz.ProjectID
}

// place is where a name stands: below a group, or in a personal namespace, or, with
// neither, at the top.
type place struct {
	group     authz.GroupID
	namespace string
	name      string
}

// NewFacts makes a world of the records given.
func NewFacts(records ...state.Record) (*Facts, error) {
	f := &Facts{
		catalogue: policy.Builtin(), records: map[state.Key]state.Record{}, digests: map[authz.Digest]authz.JobID{},
		groups: map[place]authz.GroupID{}, projects: map[place]authz.ProjectID{},
	}
	for _, r := range records {
		if err := f.Put(r); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Put stores a record in place of the one with its key. It fails only for a catalogue
// that does not hold.
func (f *Facts) Put(r state.Record) error {
	if c, ok := r.(*state.Catalogue); ok {
		cat, err := policy.Extend(c.Document)
		if err != nil {
			return err
		}
		f.catalogue = cat
	}
	f.forget(r.Key())
	f.records[r.Key()] = r
	switch r := r.(type) {
	case *state.Group:
		f.groups[place{group: r.Parent, name: r.Name}] = r.ID
	case *state.Project:
		f.projects[place{r.Group, r.Namespace, r.Name}] = r.ID
	case *state.Job:
		if !r.Digest.IsZero() {
			f.digests[r.Digest] = r.ID
		}
	}
	return nil
}

// Delete removes a record, if it is there.
func (f *Facts) Delete(k state.Key) {
	f.forget(k)
	delete(f.records, k)
	if k.Kind() == state.KindCatalogue {
		f.catalogue = policy.Builtin()
	}
}

// forget takes the record at k out of the indexes.
func (f *Facts) forget(k state.Key) {
	switch r := f.records[k].(type) {
	case *state.Group:
		release(f.groups, place{group: r.Parent, name: r.Name}, r.ID)
	case *state.Project:
		release(f.projects, place{r.Group, r.Namespace, r.Name}, r.ID)
	case *state.Job:
		release(f.digests, r.Digest, r.ID)
	}
}

// release deletes at[k] unless somebody else has taken it, as when two projects swap
// their names.
func release[K, V comparable](at map[K]V, k K, v V) {
	if at[k] == v {
		delete(at, k)
	}
}

// Get gives the record at k, nil if there is none.
func (f *Facts) Get(k state.Key) state.Record { return f.records[k] }

// All gives every record, sorted by key.
func (f *Facts) All() []state.Record {
	out := make([]state.Record, 0, len(f.records))
	for _, r := range f.records {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b state.Record) int { return cmp.Compare(a.Key(), b.Key()) })
	return out
}

// The methods that follow are those of policy.World.

// Revision gives At.
func (f *Facts) Revision() authz.Revision { return f.At }

// Instance gives the settings, those of [state.DefaultInstance] if there is no record.
func (f *Facts) Instance() policy.Instance {
	if r, ok := f.records[state.InstanceKey()].(*state.Instance); ok {
		return r.Instance
	}
	return state.DefaultInstance().Instance
}

// Catalogue gives the built-in catalogue, extended by the record if there is one.
func (f *Facts) Catalogue() *policy.Catalogue { return f.catalogue }

// Token finds the job of a digest.
func (f *Facts) Token(d authz.Digest) (policy.Token, bool) {
	id, ok := f.digests[d]
	replaced := false
	if !ok {
		var r *state.Replaced
		if r, replaced = f.records[state.ReplacedKey(d)].(*state.Replaced); !replaced {
			return policy.Token{}, false
		}
		id = r.Job
	}
	j, ok := f.records[state.JobKey(id)].(*state.Job)
	if !ok {
		return policy.Token{}, false
	}
	t := policy.Token{
		Job: j.ID, Project: j.Project, User: j.User, Status: j.Status, Erased: j.Erased, Replaced: replaced,
		Lapsed: j.Lapsed, Issued: j.Issued, Expires: j.Expires, Limits: j.Limits,
	}
	if j.Term != 0 {
		beat := j.IssuedAt
		if r, ok := f.records[state.RunnerKey(j.Runner)].(*state.Runner); ok {
			beat = max(beat, r.Beat)
		}
		t.Deadline = beat.Add(j.Term)
	}
	return t, true
}

// User finds a user.
func (f *Facts) User(id authz.UserID) (policy.User, bool) {
	r, ok := f.records[state.UserKey(id)].(*state.User)
	if !ok {
		return policy.User{}, false
	}
	return policy.User{State: r.State, External: r.External, DeadBefore: f.death(state.UserDeathKey(id))}, true
}

// Project finds a project.
func (f *Facts) Project(id authz.ProjectID) (policy.Project, bool) {
	r, ok := f.records[state.ProjectKey(id)].(*state.Project)
	if !ok {
		return policy.Project{}, false
	}
	a := f.allowlist(id)
	return policy.Project{
		Visibility: r.Visibility, State: r.State, Features: r.Features, DeadBefore: f.death(state.ProjectDeathKey(id)),
		Hidden: r.Hidden, ReadOnly: r.ReadOnly, PublicBuilds: r.PublicBuilds,
		InboundOn: a.InboundOn, OutboundOn: a.OutboundOn, PushSelf: a.PushSelf, PushCross: a.PushCross,
	}, true
}

func (f *Facts) death(k state.Key) authz.Revision {
	if d, ok := f.records[k].(*state.Death); ok {
		return d.Before
	}
	return 0
}

func (f *Facts) allowlist(id authz.ProjectID) *state.Allowlist {
	if a, ok := f.records[state.AllowlistKey(id)].(*state.Allowlist); ok {
		return a
	}
	return state.DefaultAllowlist(id)
}

// ProjectAt resolves a full path.
func (f *Facts) ProjectAt(path string) (authz.ProjectID, bool) {
	dirs, name := split(path)
	if len(dirs) == 1 {
		if id, ok := f.projects[place{namespace: dirs[0], name: name}]; ok {
			return id, true
		}
	}
	var group authz.GroupID
	for _, dir := range dirs {
		id, ok := f.groups[place{group: group, name: dir}]
		if !ok {
			return 0, false
		}
		group = id
	}
	if group == 0 {
		return 0, false
	}
	id, ok := f.projects[place{group: group, name: name}]
	return id, ok
}

// Ancestors appends the groups above a project, nearest first.
func (f *Facts) Ancestors(id authz.ProjectID, buf []policy.Group) []policy.Group {
	p, ok := f.records[state.ProjectKey(id)].(*state.Project)
	if !ok {
		return buf
	}
	for g := p.Group; g != 0 && len(buf) < state.MaxGroupDepth; {
		r, ok := f.records[state.GroupKey(g)].(*state.Group)
		if !ok {
			break
		}
		buf = append(buf, policy.Group{ID: r.ID, State: r.State})
		g = r.Parent
	}
	return buf
}

// Role gives the role held directly on a scope.
func (f *Facts) Role(user authz.UserID, scope authz.Scope) authz.Role {
	if r, ok := f.records[state.MembersKey(user)].(*state.Members); ok {
		for _, m := range r.List {
			if m.Scope == scope {
				return m.Role
			}
		}
	}
	return authz.RoleNone
}

// Inbound finds the entry for exactly this caller.
func (f *Facts) Inbound(target authz.ProjectID, caller authz.Scope) (policy.Entry, bool) {
	for _, e := range f.allowlist(target).Inbound {
		if e.Caller == caller {
			return e.Entry, true
		}
	}
	return policy.Entry{}, false
}

// Outbound reports whether target is on the source's outbound list.
func (f *Facts) Outbound(source, target authz.ProjectID) bool {
	return slices.Contains(f.allowlist(source).Outbound, target)
}
