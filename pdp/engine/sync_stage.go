package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// staged is a whole directory in little memory: rows without pointers, names in one
// piece of text. After sort the rows are in the order of their ids.
type staged struct {
	text     []byte
	groups   []stagedGroup
	projects []stagedProject
	users    []stagedUser
	roles    []stagedRole
	// places are the groups and projects in the order of their places: group i as i,
	// project i as -1-i.
	places []int32
}

// span is a piece of staged.text: where it begins, and its length in the lower eight
// bits, since no name is longer than MaxName.
type span uint64

type stagedGroup struct {
	id, parent int64
	name       span
	visibility authz.Visibility
	state      authz.ProjectState
}

type stagedProject struct {
	id, group       int64
	namespace, name span
	features        [authz.NumFeatures]authz.FeatureLevel
	visibility      authz.Visibility
	state           authz.ProjectState
	flags           uint8
}

const (
	flagPublicBuilds = 1 << iota
	flagReadOnly
	flagHidden
	flagExternal
	flagAdmin
)

type stagedUser struct {
	id    int64
	name  span
	state authz.UserState
	flags uint8
}

// stagedRole is a membership: the kind of its scope in the highest bits, then the id,
// and the role in the lowest eight.
type stagedRole struct {
	user int64
	at   uint64
}

func packRole(m state.Membership) uint64 {
	return uint64(m.Scope.Kind)<<61 | uint64(m.Scope.ID)<<8 | uint64(m.Role)
}

func (r stagedRole) membership() state.Membership {
	return state.Membership{Scope: r.scope(), Role: authz.Role(r.at & 0xff)}
}

func (r stagedRole) scope() authz.Scope {
	return authz.Scope{Kind: authz.ScopeKind(r.at >> 61), ID: int64(r.at >> 8 & authz.MaxID)}
}

func (w *staged) len() int { return len(w.groups) + len(w.projects) + len(w.users) + len(w.roles) }

func (w *staged) add(c *Change) {
	switch {
	case c.Group != nil:
		g := c.Group
		w.groups = append(w.groups, stagedGroup{int64(g.ID), int64(g.Parent), w.write(g.Name), g.Visibility, g.State})
	case c.Project != nil:
		p := c.Project
		w.projects = append(w.projects, stagedProject{
			id: int64(p.ID), group: int64(p.Group), namespace: w.write(p.Namespace), name: w.write(p.Name),
			features: p.Features, visibility: p.Visibility, state: p.State,
			flags: bitIf(p.PublicBuilds, flagPublicBuilds) | bitIf(p.ReadOnly, flagReadOnly) | bitIf(p.Hidden, flagHidden),
		})
	case c.User != nil:
		u := c.User
		w.users = append(w.users, stagedUser{
			int64(u.ID), w.write(u.Name), u.State, bitIf(u.External, flagExternal) | bitIf(u.Admin, flagAdmin),
		})
	default:
		w.roles = append(w.roles, stagedRole{int64(c.Membership.User), packRole(c.Membership.Membership)})
	}
}

func bitIf(on bool, bit uint8) uint8 {
	if on {
		return bit
	}
	return 0
}

func (w *staged) write(s string) span {
	at := span(len(w.text))<<8 | span(len(s))
	w.text = append(w.text, s...)
	return at
}

func (w *staged) read(s span) string { return string(w.bytes(s)) }

func (w *staged) bytes(s span) []byte { return w.text[s>>8:][:s&0xff] }

func (w *staged) group(i int) *state.Group {
	g := &w.groups[i]
	return &state.Group{
		ID: authz.GroupID(g.id), Parent: authz.GroupID(g.parent), Name: w.read(g.name), Visibility: g.visibility, State: g.state,
	}
}

func (w *staged) project(i int) *state.Project {
	p := &w.projects[i]
	return &state.Project{
		ID: authz.ProjectID(p.id), Group: authz.GroupID(p.group), Namespace: w.read(p.namespace), Name: w.read(p.name),
		Visibility: p.visibility, State: p.state, Features: p.features,
		PublicBuilds: p.flags&flagPublicBuilds != 0, ReadOnly: p.flags&flagReadOnly != 0, Hidden: p.flags&flagHidden != 0,
	}
}

func (w *staged) user(i int) *state.User {
	u := &w.users[i]
	return &state.User{
		ID: authz.UserID(u.id), Name: w.read(u.name), State: u.state,
		External: u.flags&flagExternal != 0, Admin: u.flags&flagAdmin != 0,
	}
}

// rolesOf gives a user's memberships, sorted by scope.
func (w *staged) rolesOf(id int64) []state.Membership {
	i, _ := slices.BinarySearchFunc(w.roles, id, func(r stagedRole, id int64) int { return cmp.Compare(r.user, id) })
	var list []state.Membership
	for ; i < len(w.roles) && w.roles[i].user == id; i++ {
		list = append(list, w.roles[i].membership())
	}
	return list
}

// The indexes of what has an id, -1 if nothing has.

func (w *staged) groupIndex(id int64) int {
	return indexOf(w.groups, id, func(g *stagedGroup) int64 { return g.id })
}

func (w *staged) projectIndex(id int64) int {
	return indexOf(w.projects, id, func(p *stagedProject) int64 { return p.id })
}

func (w *staged) userIndex(id int64) int {
	return indexOf(w.users, id, func(u *stagedUser) int64 { return u.id })
}

func indexOf[T any](rows []T, id int64, idOf func(*T) int64) int {
	lo, hi := 0, len(rows)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if idOf(&rows[mid]) < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(rows) && idOf(&rows[lo]) == id {
		return lo
	}
	return -1
}

func (w *staged) has(s authz.Scope) bool {
	if s.Kind == authz.ScopeGroup {
		return w.groupIndex(s.ID) >= 0
	}
	return w.projectIndex(s.ID) >= 0
}

func (w *staged) sort() {
	slices.SortFunc(w.groups, func(a, b stagedGroup) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(w.projects, func(a, b stagedProject) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(w.users, func(a, b stagedUser) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(w.roles, func(a, b stagedRole) int { return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.at, b.at)) })
	w.places = make([]int32, 0, len(w.groups)+len(w.projects))
	for i := range w.groups {
		w.places = append(w.places, int32(i))
	}
	for i := range w.projects {
		w.places = append(w.places, int32(-1-i))
	}
	slices.SortFunc(w.places, func(a, b int32) int {
		ga, na, ta := w.placeAt(a)
		gb, nb, tb := w.placeAt(b)
		return cmp.Or(cmp.Compare(ga, gb), compareBytes(w, na, nb), compareBytes(w, ta, tb))
	})
}

func compareBytes(w *staged, a, b span) int { return slices.Compare(w.bytes(a), w.bytes(b)) }

// placeAt gives the parts of a place: group, namespace, name.
func (w *staged) placeAt(p int32) (group int64, namespace, name span) {
	if p >= 0 {
		return w.groups[p].parent, 0, w.groups[p].name
	}
	r := &w.projects[-1-p]
	return r.group, r.namespace, r.name
}

func (w *staged) scopeAt(p int32) authz.Scope {
	if p >= 0 {
		return authz.Scope{Kind: authz.ScopeGroup, ID: w.groups[p].id}
	}
	return authz.Scope{Kind: authz.ScopeProject, ID: w.projects[-1-p].id}
}

// occupant finds who is to be in a place, nothing if nobody is.
func (w *staged) occupant(pl place) authz.Scope {
	i, ok := slices.BinarySearchFunc(w.places, pl, func(p int32, pl place) int {
		g, ns, name := w.placeAt(p)
		return cmp.Or(cmp.Compare(g, int64(pl.group)), strings.Compare(w.read(ns), pl.namespace), strings.Compare(w.read(name), pl.name))
	})
	if !ok {
		return authz.Scope{}
	}
	return w.scopeAt(w.places[i])
}

// depth counts a group and those above it; more than MaxDepth stands for a circle, too.
func (w *staged) depth(i int) int {
	depth := 1
	for parent := w.groups[i].parent; parent != 0 && depth <= MaxDepth; depth++ {
		j := w.groupIndex(parent)
		if j < 0 {
			break
		}
		parent = w.groups[j].parent
	}
	return depth
}

// path gives the full path of a project or group.
func (w *staged) path(s authz.Scope) string {
	var names []string
	next := s.ID
	if s.Kind == authz.ScopeProject {
		i := w.projectIndex(s.ID)
		if i < 0 {
			return ""
		}
		names = append(names, w.read(w.projects[i].name))
		if next = w.projects[i].group; next == 0 {
			names = append(names, w.read(w.projects[i].namespace))
		}
	}
	for range MaxDepth {
		i := w.groupIndex(next)
		if i < 0 {
			break
		}
		names, next = append(names, w.read(w.groups[i].name)), w.groups[i].parent
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// check looks at the list as a whole, as draft.check does at a batch.
func (w *staged) check() error {
	var f faults
	for i := range w.groups {
		g := &w.groups[i]
		field := authz.InGroup(authz.GroupID(g.id)).String()
		if i > 0 && w.groups[i-1].id == g.id {
			f.addf(field, "is in the list twice")
		}
		switch {
		case g.parent != 0 && w.groupIndex(g.parent) < 0:
			f.addf(field+".parent_id", "group %d is not in the list", g.parent)
		case w.depth(i) > MaxDepth:
			f.addf(field+".parent_id", "is above itself, or nested deeper than %d groups", MaxDepth)
		}
	}
	for i := range w.projects {
		p := &w.projects[i]
		field := authz.InProject(authz.ProjectID(p.id)).String()
		if i > 0 && w.projects[i-1].id == p.id {
			f.addf(field, "is in the list twice")
		}
		if p.group != 0 && w.groupIndex(p.group) < 0 {
			f.addf(field+".group_id", "group %d is not in the list", p.group)
		}
	}
	for i := range w.users {
		if i > 0 && w.users[i-1].id == w.users[i].id {
			f.addf(userField(authz.UserID(w.users[i].id)), "is in the list twice")
		}
	}
	w.checkRoles(&f)
	w.checkPlaces(&f)
	return f.err()
}

func (w *staged) checkRoles(f *faults) {
	known := int64(0) // a user who is known to be in the list: roles come by user
	for i, r := range w.roles {
		field := "membership of " + userField(authz.UserID(r.user))
		if r.user != known && w.userIndex(r.user) < 0 {
			f.addf(field+".user_id", "user %d is not in the list", r.user)
		}
		known = r.user
		if i > 0 && w.roles[i-1].user == r.user && w.roles[i-1].scope() == r.scope() {
			f.addf(field, "there are two on %s", r.scope())
		}
		if !w.has(r.scope()) {
			f.addf(field+".scope", "%s is not in the list", r.scope())
		}
	}
}

// checkPlaces finds two things with one path, also by way of a personal namespace and a
// group at the top with one name.
func (w *staged) checkPlaces(f *faults) {
	for i := 1; i < len(w.places); i++ {
		g, ns, name := w.placeAt(w.places[i])
		pg, pns, pname := w.placeAt(w.places[i-1])
		if g == pg && compareBytes(w, ns, pns) == 0 && compareBytes(w, name, pname) == 0 {
			f.addf(w.scopeAt(w.places[i]).String()+".name", "%s is called %q in that place already", w.scopeAt(w.places[i-1]), w.read(name))
		}
	}
	for i := range w.projects {
		p := &w.projects[i]
		if p.group != 0 {
			continue
		}
		top := w.occupant(place{name: w.read(p.namespace)})
		if !top.Valid() {
			continue
		}
		if other := w.occupant(place{group: authz.GroupID(top.ID), name: w.read(p.name)}); other.Valid() {
			f.addf(authz.InProject(authz.ProjectID(p.id)).String()+".name", "%s has the path %s already", other, w.path(other))
		}
	}
}

func userField(id authz.UserID) string { return fmt.Sprintf("user %d", id) }
