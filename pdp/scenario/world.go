package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// Records gives the records of the world, in an order in which each only refers to
// those before it, and the ids that the names got. Errors name the field.
func (w *World) Records() ([]state.Record, *Index, error) { return w.records() }

// records makes sure that the users of these names exist when there is no list of users.
func (w *World) records(users ...string) ([]state.Record, *Index, error) {
	document, catalogue, err := w.catalogue()
	if err != nil {
		return nil, nil, err
	}
	b := builder{w: w, users: w.everybody(users), catalogue: catalogue}
	if document != nil {
		b.records = append(b.records, &state.Catalogue{Document: document})
	}
	for _, step := range []func() error{b.number, b.instance, b.groups, b.projects, b.allowlists, b.addUsers, b.members} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return b.records, &b.ix, nil
}

// everybody gives the users: those listed, or, when there is no list, these and all who
// are members of something.
func (w *World) everybody(names []string) []User {
	if w.Users != nil {
		return w.Users
	}
	for _, m := range w.Members {
		names = append(names, m.User)
	}
	var users []User
	for _, name := range names {
		if !slices.ContainsFunc(users, func(u User) bool { return u.Name == name }) {
			users = append(users, User{Name: name})
		}
	}
	return users
}

type builder struct {
	w         *World
	users     []User
	catalogue *policy.Catalogue
	ix        Index
	records   []state.Record
}

func (b *builder) add(r state.Record) { b.records = append(b.records, r) }

func (b *builder) number() (err error) {
	b.ix.Groups, err = number("groups", len(b.w.Groups), func(i int) (authz.GroupID, string) { return b.w.Groups[i].ID, b.w.Groups[i].Path })
	if err != nil {
		return err
	}
	b.ix.Projects, err = number("projects", len(b.w.Projects), func(i int) (authz.ProjectID, string) { return b.w.Projects[i].ID, b.w.Projects[i].Path })
	if err != nil {
		return err
	}
	b.ix.Users, err = number("users", len(b.users), func(i int) (authz.UserID, string) { return b.users[i].ID, b.users[i].Name })
	return err
}

func (b *builder) instance() error {
	i := &b.w.Instance
	scope, err := parse("instance.public_scope", i.PublicScope, authz.ScopeExempt, authz.ParsePublicScope)
	if err != nil {
		return err
	}
	if i.MaxProjectEntries < 0 || i.MaxGroupEntries < 0 {
		return fmt.Errorf("instance: a limit of entries is negative")
	}
	r := state.DefaultInstance()
	r.PublicScope, r.EnforceInbound = scope, i.EnforceInbound
	if i.AnyoneCanPull != nil {
		r.AnyoneCanPull = *i.AnyoneCanPull
	}
	r.MaxProjectEntries = cmp.Or(i.MaxProjectEntries, r.MaxProjectEntries)
	r.MaxGroupEntries = cmp.Or(i.MaxGroupEntries, r.MaxGroupEntries)
	b.add(&r)
	return nil
}

// groups adds those near the top first, whatever the order of the file.
func (b *builder) groups() error {
	order := make([]int, len(b.w.Groups))
	for i := range order {
		order[i] = i
	}
	depth := func(i int) int { return strings.Count(b.w.Groups[i].Path, "/") }
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(depth(i), depth(j)) })
	for _, i := range order {
		g, field := &b.w.Groups[i], fmt.Sprintf("groups[%d]", i)
		if err := checkPath(g.Path); err != nil {
			return fmt.Errorf("%s.path: %w", field, err)
		}
		if depth(i) >= state.MaxGroupDepth {
			return fmt.Errorf("%s.path: nested deeper than %d groups", field, state.MaxGroupDepth)
		}
		if g.Parent != nil && *g.Parent != above(g.Path) {
			return fmt.Errorf("%s.parent: %q is not what the path %q says", field, *g.Parent, g.Path)
		}
		r := &state.Group{ID: b.ix.Groups[g.Path]}
		if up := above(g.Path); up != "" {
			if r.Parent = b.ix.Groups[up]; r.Parent == 0 {
				return fmt.Errorf("%s: the group above it, %q, is not listed", field, up)
			}
		}
		_, r.Name = split(g.Path)
		var err error
		if r.Visibility, err = parse(field+".visibility", g.Visibility, authz.Private, authz.ParseVisibility); err != nil {
			return err
		}
		if r.State, err = parse(field+".state", g.State, authz.StateActive, authz.ParseProjectState); err != nil {
			return err
		}
		b.add(r)
	}
	return nil
}

func checkPath(path string) error {
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" {
			return fmt.Errorf("%q has an empty segment", path)
		}
	}
	return nil
}

func (b *builder) projects() error {
	for i := range b.w.Projects {
		p, field := &b.w.Projects[i], fmt.Sprintf("projects[%d]", i)
		if err := checkPath(p.Path); err != nil {
			return fmt.Errorf("%s.path: %w", field, err)
		}
		if _, ok := b.ix.Groups[p.Path]; ok {
			return fmt.Errorf("%s.path: %q is a group as well", field, p.Path)
		}
		id := b.ix.Projects[p.Path]
		r := &state.Project{ID: id, PublicBuilds: p.PublicBuilds == nil || *p.PublicBuilds, ReadOnly: p.ReadOnly, Hidden: p.Hidden}
		_, r.Name = split(p.Path)
		switch up := above(p.Path); {
		case up == "":
			return fmt.Errorf("%s.path: %q is in no group and no personal namespace", field, p.Path)
		case b.ix.Groups[up] != 0:
			r.Group = b.ix.Groups[up]
		case strings.Contains(up, "/"):
			return fmt.Errorf("%s.path: the group %q is not listed", field, up)
		default:
			r.Namespace = up
		}
		var err error
		if r.Visibility, err = parse(field+".visibility", p.Visibility, authz.Private, authz.ParseVisibility); err != nil {
			return err
		}
		if r.State, err = parse(field+".state", p.State, authz.StateActive, authz.ParseProjectState); err != nil {
			return err
		}
		for name, level := range p.Features {
			f, err := authz.ParseFeature(name)
			if err != nil {
				return fmt.Errorf("%s.features: %w", field, err)
			}
			if r.Features[f], err = parse(field+".features."+name, level, authz.FeatureEnabled, authz.ParseFeatureLevel); err != nil {
				return err
			}
			if r.Features[f] == authz.FeaturePublic && f != authz.FeaturePackages {
				return fmt.Errorf("%s.features.%s: only packages can be public", field, name)
			}
		}
		b.add(r)
		if p.Killed {
			b.add(&state.Death{Project: id, Before: killedAt})
		}
	}
	return nil
}

// allowlists adds those that differ from what a project has without one.
func (b *builder) allowlists() error {
	for i := range b.w.Projects {
		p, field := &b.w.Projects[i], fmt.Sprintf("projects[%d]", i)
		a := &state.Allowlist{
			Project: b.ix.Projects[p.Path], InboundOn: p.InboundEnabled == nil || *p.InboundEnabled, OutboundOn: p.OutboundEnabled,
			PushSelf: p.PushSelf, PushCross: p.PushCross,
		}
		for _, list := range []struct {
			field   string
			entries []Entry
			scope   func(path string) (authz.Scope, bool)
		}{
			{"inbound_allow", p.InboundAllow, func(s string) (authz.Scope, bool) { id, ok := b.ix.Projects[s]; return authz.InProject(id), ok }},
			{"inbound_groups", p.InboundGroups, func(s string) (authz.Scope, bool) { id, ok := b.ix.Groups[s]; return authz.InGroup(id), ok }},
		} {
			for j, e := range list.entries {
				r, err := b.entry(e, list.scope)
				if err != nil {
					return fmt.Errorf("%s.%s[%d]%w", field, list.field, j, err)
				}
				if slices.ContainsFunc(a.Inbound, func(o state.Entry) bool { return o.Caller == r.Caller }) {
					return fmt.Errorf("%s.%s[%d].path: %q is there twice", field, list.field, j, e.Path)
				}
				a.Inbound = append(a.Inbound, r)
			}
		}
		for j, path := range p.Outbound {
			id, ok := b.ix.Projects[path]
			if !ok {
				return fmt.Errorf("%s.outbound[%d]: there is no project %q", field, j, path)
			}
			if slices.Contains(a.Outbound, id) {
				return fmt.Errorf("%s.outbound[%d]: %q is there twice", field, j, path)
			}
			a.Outbound = append(a.Outbound, id)
		}
		a.Inbound = sorted(a.Inbound, func(e state.Entry) authz.Scope { return e.Caller })
		slices.Sort(a.Outbound)
		if !a.InboundOn || a.OutboundOn || a.PushSelf || a.PushCross || len(a.Inbound)+len(a.Outbound) > 0 {
			b.add(a)
		}
	}
	return nil
}

func (b *builder) entry(e Entry, scope func(string) (authz.Scope, bool)) (state.Entry, error) {
	caller, ok := scope(e.Path)
	if !ok {
		return state.Entry{}, fmt.Errorf(".path: there is no %q of that kind", e.Path)
	}
	out := state.Entry{Caller: caller, Autopopulated: e.Autopopulated}
	if e.Policies == nil {
		out.Default = true
		return out, nil
	}
	for i, name := range e.Policies {
		if !b.catalogue.HasPolicy(name) {
			return state.Entry{}, fmt.Errorf(".policies[%d]: no entry can grant %q", i, name)
		}
	}
	out.Policies = slices.Clone(e.Policies)
	slices.Sort(out.Policies)
	out.Policies = slices.Compact(out.Policies)
	return out, nil
}

func (b *builder) addUsers() error {
	for i, u := range b.users {
		st, err := parse(fmt.Sprintf("users[%d].state", i), u.State, authz.UserStateActive, authz.ParseUserState)
		if err != nil {
			return err
		}
		if u.Name == "" {
			return fmt.Errorf("users[%d].name is missing", i)
		}
		id := b.ix.Users[u.Name]
		b.add(&state.User{ID: id, Name: u.Name, State: st, External: u.External, Admin: u.Admin})
		if u.Killed {
			b.add(&state.Death{User: id, Before: killedAt})
		}
	}
	return nil
}

func (b *builder) members() error {
	lists := map[authz.UserID][]state.Membership{}
	for i, m := range b.w.Members {
		field := fmt.Sprintf("members[%d]", i)
		user, ok := b.ix.Users[m.User]
		if !ok {
			return fmt.Errorf("%s.user: %q is not on the list of users", field, m.User)
		}
		scope, ok := b.ix.Scope(m.Scope)
		if !ok {
			return fmt.Errorf("%s.scope: there is no project or group %q", field, m.Scope)
		}
		role, err := authz.ParseRole(m.Role)
		if err != nil {
			return fmt.Errorf("%s.role: %w", field, err)
		}
		if slices.ContainsFunc(lists[user], func(o state.Membership) bool { return o.Scope == scope }) {
			return fmt.Errorf("%s: %s has a role on %q already", field, m.User, m.Scope)
		}
		lists[user] = append(lists[user], state.Membership{Scope: scope, Role: role})
	}
	for _, u := range b.users {
		id := b.ix.Users[u.Name]
		if len(lists[id]) > 0 {
			b.add(&state.Members{User: id, List: sorted(lists[id], func(m state.Membership) authz.Scope { return m.Scope })})
		}
	}
	return nil
}
