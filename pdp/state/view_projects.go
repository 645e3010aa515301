package state

import "github.com/jobward/jobward/pdp/authz"

func (v *View) findProject(id int64) uint32 {
	p := v.projectIDs.probe(v.hashID(id))
	for {
		row := p.next()
		if row == 0 || v.projects.at(row).id == id {
			return row
		}
	}
}

// needProject finds or makes the row of an id.
func (v *View) needProject(id int64) uint32 {
	row := v.findProject(id)
	if row == 0 {
		row = v.projects.add()
		v.projects.at(row).id = id
		v.projectIDs.insert(v.hashID(id), row)
	}
	return row
}

// projectAfter is userAfter for projects and their allowlists.
func (v *View) projectAfter(row uint32, id int64) uint32 {
	for i := row + 1; i <= row+nearRows && i < v.projects.next; i++ {
		if v.projects.at(i).id == id {
			return i
		}
	}
	return 0
}

// tidyProject releases a row that nothing needs.
func (v *View) tidyProject(row uint32) {
	if p := v.projects.at(row); p.mod == 0 && p.listMod == 0 && p.refs == 0 {
		v.projectIDs.remove(v.hashID(p.id), row)
		v.projects.release(row)
	}
}

func (v *View) putProject(r *Project, mod authz.Revision) {
	row := v.needProject(int64(r.ID))
	group := v.holdGroup(r.Group) // before the old one is let go
	p := v.projects.at(row)
	if p.mod == 0 {
		v.counts[KindProject]++
		v.projectOrder.insert(pair{uint64(r.ID), uint64(row)})
	} else {
		v.displaceProject(row)
	}
	v.text.set(owner{textProjectName, row}, r.Name)
	v.text.set(owner{textProjectSpace, row}, r.Namespace)
	p.mod, p.group, p.visibility, p.state, p.features = mod, group, r.Visibility, r.State, r.Features
	set(&p.flags, projectPublicBuilds, r.PublicBuilds)
	set(&p.flags, projectReadOnly, r.ReadOnly)
	set(&p.flags, projectHidden, r.Hidden)
	set(&p.flags, projectDead, v.findDeath(p.id) != 0)
	v.projectNames.insert(v.projectHash(row), row)
	if group != 0 {
		v.children.insert(pair{uint64(r.Group), scopeKey(authz.InProject(r.ID))})
	}
}

func (v *View) deleteProject(id int64) {
	row := v.findProject(id)
	if row == 0 || v.projects.at(row).mod == 0 {
		return
	}
	v.counts[KindProject]--
	v.projectOrder.remove(pair{uint64(id), uint64(row)})
	v.displaceProject(row)
	v.text.set(owner{textProjectName, row}, "")
	v.text.set(owner{textProjectSpace, row}, "")
	p := v.projects.at(row)
	p.mod, p.visibility, p.state, p.features = 0, 0, 0, [authz.NumFeatures]authz.FeatureLevel{}
	p.flags &= projectList
	v.tidyProject(row)
}

// displaceProject takes a project out of where it is: its name, and its group.
func (v *View) displaceProject(row uint32) {
	p := v.projects.at(row)
	v.projectNames.remove(v.projectHash(row), row)
	if group := p.group; group != 0 {
		v.children.remove(pair{uint64(v.groupID(group)), scopeKey(authz.InProject(authz.ProjectID(p.id)))})
		p.group = 0
		v.letGroupGo(group)
	}
}

// projectHash is the hash that a project's name is indexed by.
func (v *View) projectHash(row uint32) uint32 {
	p := v.projects.at(row)
	if p.group != 0 {
		return v.hashName(p.group, v.text.get(p.name))
	}
	return v.hashPersonal(v.text.get(p.space), v.text.get(p.name))
}

// Project gives a project and the revision that last changed it.
func (v *View) Project(id authz.ProjectID) (*Project, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findProject(int64(id))
	if row == 0 || v.projects.at(row).mod == 0 {
		return nil, 0, false
	}
	return v.project(row), v.projects.at(row).mod, true
}

func (v *View) project(row uint32) *Project {
	p := v.projects.at(row)
	return &Project{
		ID: authz.ProjectID(p.id), Group: v.groupID(p.group), Namespace: v.text.get(p.space), Name: v.text.get(p.name),
		Visibility: p.visibility, State: p.state, Features: p.features,
		PublicBuilds: p.flags&projectPublicBuilds != 0, ReadOnly: p.flags&projectReadOnly != 0, Hidden: p.flags&projectHidden != 0,
	}
}

// Projects gives up to limit projects with ids above after, in order.
func (v *View) Projects(after authz.ProjectID, limit int) []*Project {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var page []*Project
	v.projectOrder.scan(pair{uint64(after) + 1, 0}, func(p pair) bool {
		if len(page) < limit {
			page = append(page, v.project(uint32(p.lo)))
		}
		return len(page) < limit
	})
	return page
}
