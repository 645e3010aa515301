package state

import "github.com/jobward/jobward/pdp/authz"

func (v *View) findGroup(id int64) uint32 {
	p := v.groupIDs.probe(v.hashID(id))
	for {
		row := p.next()
		if row == 0 || v.groups.at(row).id == id {
			return row
		}
	}
}

// needGroup finds or makes the row of an id.
func (v *View) needGroup(id int64) uint32 {
	row := v.findGroup(id)
	if row == 0 {
		row = v.groups.add()
		v.groupRest.add() // gives the same
		v.groups.at(row).id = id
		v.groupIDs.insert(v.hashID(id), row)
	}
	return row
}

// holdGroup counts one more child of a group that may not exist yet; none for zero.
func (v *View) holdGroup(id authz.GroupID) uint32 {
	if id == 0 {
		return 0
	}
	row := v.needGroup(int64(id))
	v.groupRest.at(row).refs++
	return row
}

func (v *View) letGroupGo(row uint32) {
	if row != 0 {
		v.groupRest.at(row).refs--
		v.tidyGroup(row)
	}
}

// tidyGroup releases a row that nothing needs.
func (v *View) tidyGroup(row uint32) {
	if g := v.groups.at(row); !g.exists && v.groupRest.at(row).refs == 0 {
		v.groupIDs.remove(v.hashID(g.id), row)
		v.groups.release(row)
		v.groupRest.release(row)
	}
}

func (v *View) putGroup(r *Group, mod authz.Revision) {
	row := v.needGroup(int64(r.ID))
	parent := v.holdGroup(r.Parent) // before the old one is let go
	g, rest := v.groups.at(row), v.groupRest.at(row)
	if !g.exists {
		v.counts[KindGroup]++
		v.groupOrder.insert(pair{uint64(r.ID), uint64(row)})
	} else {
		v.displaceGroup(row)
	}
	v.text.set(owner{textGroupName, row}, r.Name)
	g.exists, g.parent, g.state = true, parent, r.State
	rest.mod, rest.visibility = mod, r.Visibility
	v.groupNames.insert(v.hashName(parent, r.Name), row)
	v.children.insert(pair{uint64(r.Parent), scopeKey(authz.InGroup(r.ID))})
}

func (v *View) deleteGroup(id int64) {
	row := v.findGroup(id)
	if row == 0 || !v.groups.at(row).exists {
		return
	}
	v.counts[KindGroup]--
	v.groupOrder.remove(pair{uint64(id), uint64(row)})
	v.displaceGroup(row)
	v.text.set(owner{textGroupName, row}, "")
	g, rest := v.groups.at(row), v.groupRest.at(row)
	g.exists, g.state = false, 0
	rest.mod, rest.visibility = 0, 0
	v.tidyGroup(row)
}

// displaceGroup takes a group out of where it is: its name, and its parent.
func (v *View) displaceGroup(row uint32) {
	g := v.groups.at(row)
	v.groupNames.remove(v.hashName(g.parent, v.text.get(v.groupRest.at(row).name)), row)
	v.children.remove(pair{uint64(v.groupID(g.parent)), scopeKey(authz.InGroup(authz.GroupID(g.id)))})
	parent := g.parent
	g.parent = 0
	v.letGroupGo(parent)
}

// groupID gives the id of a row, zero for none.
func (v *View) groupID(row uint32) authz.GroupID {
	if row == 0 {
		return 0
	}
	return authz.GroupID(v.groups.at(row).id)
}

// Group gives a group and the revision that last changed it.
func (v *View) Group(id authz.GroupID) (*Group, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findGroup(int64(id))
	if row == 0 || !v.groups.at(row).exists {
		return nil, 0, false
	}
	return v.group(row), v.groupRest.at(row).mod, true
}

func (v *View) group(row uint32) *Group {
	g, rest := v.groups.at(row), v.groupRest.at(row)
	return &Group{
		ID: authz.GroupID(g.id), Parent: v.groupID(g.parent), Name: v.text.get(rest.name),
		Visibility: rest.visibility, State: g.state,
	}
}

// Groups gives up to limit groups with ids above after, in order.
func (v *View) Groups(after authz.GroupID, limit int) []*Group {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var page []*Group
	v.groupOrder.scan(pair{uint64(after) + 1, 0}, func(p pair) bool {
		if len(page) < limit {
			page = append(page, v.group(uint32(p.lo)))
		}
		return len(page) < limit
	})
	return page
}

// HasChildren reports whether a group or project is directly in a group.
func (v *View) HasChildren(id authz.GroupID) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.children.has(uint64(id))
}

// Children gives up to limit of the projects and groups directly in a group that come
// after a scope, projects first, by id. For the zero group these are the groups at the
// top.
func (v *View) Children(id authz.GroupID, after authz.Scope, limit int) []authz.Scope {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var page []authz.Scope
	v.children.scan(pair{uint64(id), scopeKey(after) + 1}, func(p pair) bool {
		if p.hi != uint64(id) || len(page) >= limit {
			return false
		}
		page = append(page, scopeOf(p.lo))
		return true
	})
	return page
}
