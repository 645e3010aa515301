package engine

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// place is where a name stands: below a group, in a personal namespace, or, with
// neither, at the top.
type place struct {
	group     authz.GroupID
	namespace string
	name      string
}

// placeOf gives the place of a group or project.
func placeOf(rec state.Record) place {
	switch r := rec.(type) {
	case *state.Group:
		return place{group: r.Parent, name: r.Name}
	case *state.Project:
		return place{r.Group, r.Namespace, r.Name}
	}
	return place{}
}

// check looks at the directory as it will be: every parent and scope exists, no group
// is above itself or too deep, every path leads to one thing, what is deleted was
// empty. What the draft does not touch was right before, so only what it touches is
// looked at, and what depends on that.
func (d *draft) check() error {
	var f faults
	d.taken = map[place]authz.Scope{}
	for _, k := range d.order {
		if s := scopeOf(d.puts[k]); s.Valid() {
			pl := placeOf(d.puts[k])
			if other, ok := d.taken[pl]; ok {
				return errNameTaken(d.fields[k], pl, other)
			}
			d.taken[pl] = s
		}
	}
	for _, k := range d.order {
		switch r := d.puts[k].(type) {
		case *state.Group:
			d.checkAbove(&f, r)
		case *state.Project:
			if r.Group != 0 && d.groupNow(r.Group) == nil {
				f.addf(d.fields[k]+".group_id", "group %d does not exist, or will not after this", r.Group)
			}
		}
	}
	for _, g := range d.granted {
		if d.userNow(g.user) == nil {
			f.addf(g.field+".user_id", "user %d does not exist, or will not after this", g.user)
		}
		if !d.exists(g.scope) {
			f.addf(g.field+".scope", "%s does not exist, or will not after this", g.scope)
		}
	}
	if err := f.err(); err != nil {
		return err
	}
	return d.checkPlaces()
}

func (d *draft) checkPlaces() error {
	for _, s := range d.gone {
		if s.Kind == authz.ScopeGroup {
			if err := d.checkEmpty(authz.GroupID(s.ID)); err != nil {
				return err
			}
		}
	}
	for _, k := range d.order {
		rec := d.puts[k]
		s := scopeOf(rec)
		if !s.Valid() {
			continue
		}
		if err := d.checkPlace(d.fields[k], s, placeOf(rec)); err != nil {
			return err
		}
		if g, ok := rec.(*state.Group); ok {
			if err := d.checkTop(d.fields[k], g); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkAbove walks up from a group: its parent exists, and the top is not too far.
func (d *draft) checkAbove(f *faults, g *state.Group) {
	field := d.fields[g.Key()] + ".parent_id"
	if g.Parent != 0 && d.groupNow(g.Parent) == nil {
		f.addf(field, "group %d does not exist, or will not after this", g.Parent)
		return
	}
	depth := 1
	for at := g; at != nil && at.Parent != 0; depth++ {
		if at.Parent == g.ID {
			f.addf(field, "group %d would be above itself", g.ID)
			return
		}
		if depth >= state.MaxGroupDepth || (depth >= MaxDepth && !d.trusted) {
			f.addf(field, "group %d would be nested deeper than %d groups", g.ID, MaxDepth)
			return
		}
		at = d.groupNow(at.Parent)
	}
	if d.trusted || depth <= d.depthBefore(g.ID) {
		return
	}
	if id := d.tooDeep(g.ID, depth); id != 0 {
		f.addf(field, "group %d below it would be nested deeper than %d groups", id, MaxDepth)
	}
}

// depthBefore is how deep a group is in the view; for a new one, as deep as can be,
// since there is nothing below it.
func (d *draft) depthBefore(id authz.GroupID) int {
	if _, _, ok := d.view.Group(id); !ok {
		return MaxDepth
	}
	chain, _ := (&reading{view: d.view, guards: map[state.Key]authz.Revision{}}).above(authz.InGroup(id))
	return len(chain)
}

// tooDeep finds a group below one, at most MaxDepth levels down, that would be too
// deep. Those that the draft touches are looked at by themselves. It costs a look at
// every group below, which only moving a group downward pays.
func (d *draft) tooDeep(id authz.GroupID, depth int) authz.GroupID {
	for after := authz.InProject(authz.MaxID); ; {
		page := d.view.Children(id, after, MaxPage)
		for _, s := range page {
			child := authz.GroupID(s.ID)
			if _, touched := d.puts[state.GroupKey(child)]; touched {
				continue
			}
			if depth+1 > MaxDepth {
				return child
			}
			if deep := d.tooDeep(child, depth+1); deep != 0 {
				return deep
			}
		}
		if len(page) < MaxPage {
			return 0
		}
		after = page[len(page)-1]
	}
}

// checkEmpty asserts that a deleted group holds nothing any more. What the draft puts
// into it has been found to lack its parent.
func (d *draft) checkEmpty(group authz.GroupID) error {
	s := d.firstIn(group)
	if !s.Valid() {
		return nil
	}
	return authz.Errorf(authz.KindPrecondition, CodeGroupNotEmpty,
		"%s: group %d still has %s in it: move or remove it first", d.fields[state.GroupKey(group)], group, s)
}

// firstIn finds something that stays in a group, of what is in it now.
func (d *draft) firstIn(group authz.GroupID) authz.Scope {
	for after := (authz.Scope{}); ; {
		page := d.view.Children(group, after, MaxPage)
		for _, s := range page {
			if d.exists(s) && d.within(s) == group {
				return s
			}
		}
		if len(page) < MaxPage {
			return authz.Scope{}
		}
		after = page[len(page)-1]
	}
}

// within gives the group that a project or group will be directly in.
func (d *draft) within(s authz.Scope) authz.GroupID {
	if s.Kind == authz.ScopeGroup {
		return d.groupNow(authz.GroupID(s.ID)).Parent
	}
	return d.projectNow(authz.ProjectID(s.ID)).Group
}

// checkPlace asserts that nobody else will be in the place, or have its path.
func (d *draft) checkPlace(field string, s authz.Scope, pl place) error {
	if other := d.clash(s, pl); other.Valid() {
		return errNameTaken(field, pl, other)
	}
	return nil
}

// clash finds somebody else who will be in a place, or have its path by way of a
// personal namespace and a group at the top with one name.
func (d *draft) clash(s authz.Scope, pl place) authz.Scope {
	twin := pl
	switch {
	case pl.namespace != "":
		if top := d.occupant(place{name: pl.namespace}, s); top.Valid() {
			twin = place{group: authz.GroupID(top.ID), name: pl.name}
		}
	case pl.group != 0:
		if g := d.groupNow(pl.group); g != nil && g.Parent == 0 {
			twin = place{namespace: g.Name, name: pl.name}
		}
	}
	for _, at := range []place{pl, twin} {
		if other := d.occupant(at, s); other.Valid() {
			return other
		}
	}
	return authz.Scope{}
}

// checkTop asserts that what is in a group at the top that is new there, or has a new
// name, has no path that a project in a personal namespace has.
func (d *draft) checkTop(field string, g *state.Group) error {
	old, _, ok := d.view.Group(g.ID)
	if g.Parent != 0 || !ok || (old.Parent == 0 && old.Name == g.Name) {
		return nil
	}
	for after := (authz.Scope{}); ; {
		page := d.view.Children(g.ID, after, MaxPage)
		for _, s := range page {
			if !d.exists(s) || d.within(s) != g.ID {
				continue
			}
			name := ""
			if s.Kind == authz.ScopeGroup {
				name = d.groupNow(authz.GroupID(s.ID)).Name
			} else {
				name = d.projectNow(authz.ProjectID(s.ID)).Name
			}
			pl := place{namespace: g.Name, name: name}
			if other := d.occupant(pl, s); other.Valid() {
				return errNameTaken(field, pl, other)
			}
		}
		if len(page) < MaxPage {
			return nil
		}
		after = page[len(page)-1]
	}
}

// occupant finds who else than who will be in a place, nothing if nobody will.
func (d *draft) occupant(pl place, who authz.Scope) authz.Scope {
	if s, ok := d.taken[pl]; ok && s != who {
		return s
	}
	s := occupantOf(d.view, pl)
	if _, touched := d.puts[keyOf(s)]; touched || s == who {
		return authz.Scope{} // touched: it leaves, or is in taken
	}
	return s
}

// occupantOf finds who is in a place now.
func occupantOf(v *state.View, pl place) authz.Scope {
	path := pl.name
	if pl.namespace != "" {
		path = pl.namespace + "/" + path
	} else if pl.group != 0 {
		above, ok := v.GroupPath(pl.group)
		if !ok {
			return authz.Scope{}
		}
		path = above + "/" + path
	}
	if id, ok := v.ProjectAt(path); ok {
		if p, _, ok := v.Project(id); ok && placeOf(p) == pl {
			return authz.InProject(id)
		}
	}
	if id, ok := v.GroupAt(path); ok {
		if g, _, ok := v.Group(id); ok && placeOf(g) == pl {
			return authz.InGroup(id)
		}
	}
	return authz.Scope{}
}

// scopeOf gives a group or project as a scope, and nothing for other records.
func scopeOf(rec state.Record) authz.Scope {
	switch r := rec.(type) {
	case *state.Group:
		return authz.InGroup(r.ID)
	case *state.Project:
		return authz.InProject(r.ID)
	}
	return authz.Scope{}
}

func keyOf(s authz.Scope) state.Key {
	if s.Kind == authz.ScopeGroup {
		return state.GroupKey(authz.GroupID(s.ID))
	}
	return state.ProjectKey(authz.ProjectID(s.ID))
}

func errNameTaken(field string, pl place, other authz.Scope) error {
	e := authz.Errorf(authz.KindExists, CodeNameTaken, "%s.name: %s is called %q in that place already", field, other, pl.name)
	e.Violations = []authz.Violation{{Field: field + ".name", Message: other.String() + " has this path"}}
	return e
}
