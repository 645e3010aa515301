package state

import (
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// Paths are not stored: a name is indexed below its group, so moving or renaming a
// group changes the paths of everything in it at the cost of one row.

// groupNamed finds the group with a name directly in a group, or at the top for 0.
func (v *View) groupNamed(parent uint32, name string) uint32 {
	found := uint32(0)
	for p := v.groupNames.probe(v.hashName(parent, name)); ; {
		row := p.next()
		if row == 0 {
			return found
		}
		g := v.groups.at(row)
		if g.parent == parent && v.text.get(v.groupRest.at(row).name) == name && (found == 0 || g.id < v.groups.at(found).id) {
			found = row
		}
	}
}

// groupAt finds the group at a full path.
func (v *View) groupAt(path string) uint32 {
	group := uint32(0)
	for range MaxGroupDepth {
		name, rest, more := strings.Cut(path, "/")
		if group = v.groupNamed(group, name); group == 0 || !more {
			return group
		}
		path = rest
	}
	return 0
}

// projectAt finds the project at a full path: in the group at the path above it, or
// else in the personal namespace of that name.
func (v *View) projectAt(path string) uint32 {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return 0
	}
	above, name := path[:i], path[i+1:]
	if group := v.groupAt(above); group != 0 {
		row := v.lowest(v.hashName(group, name), func(p *projectRow) bool {
			return p.group == group && v.text.get(p.name) == name
		})
		if row != 0 {
			return row
		}
	}
	return v.lowest(v.hashPersonal(above, name), func(p *projectRow) bool {
		return p.group == 0 && v.text.get(p.name) == name && v.text.get(p.space) == above
	})
}

// lowest finds the project with the lowest id among those with a hash that fit.
func (v *View) lowest(hash uint32, fits func(*projectRow) bool) uint32 {
	found := uint32(0)
	for p := v.projectNames.probe(hash); ; {
		row := p.next()
		if row == 0 {
			return found
		}
		r := v.projects.at(row)
		if fits(r) && (found == 0 || r.id < v.projects.at(found).id) {
			found = row
		}
	}
}

// ProjectAt gives the project at a full path, compared byte by byte.
func (v *View) ProjectAt(path string) (authz.ProjectID, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.projectAt(path)
	return v.projectID(row), row != 0
}

// GroupAt gives the group at a full path, compared byte by byte.
func (v *View) GroupAt(path string) (authz.GroupID, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.groupAt(path)
	return v.groupID(row), row != 0
}

// PathOf gives the full path of a project. One that does not exist has none, nor has
// one below a group that does not exist.
func (v *View) PathOf(id authz.ProjectID) (string, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findProject(int64(id))
	if row == 0 || v.projects.at(row).mod == 0 {
		return "", false
	}
	p := v.projects.at(row)
	above := v.text.get(p.space)
	if p.group != 0 {
		above, _ = v.groupPath(p.group)
	}
	if above == "" {
		return "", false
	}
	return above + "/" + v.text.get(p.name), true
}

// GroupPath gives the full path of a group.
func (v *View) GroupPath(id authz.GroupID) (string, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.groupPath(v.findGroup(int64(id)))
}

func (v *View) groupPath(row uint32) (string, bool) {
	var names []string
	for range MaxGroupDepth {
		if row == 0 || !v.groups.at(row).exists {
			return "", false
		}
		names = append(names, v.text.get(v.groupRest.at(row).name))
		if row = v.groups.at(row).parent; row == 0 {
			for i, j := 0, len(names)-1; i < j; i, j = i+1, j-1 {
				names[i], names[j] = names[j], names[i]
			}
			return strings.Join(names, "/"), true
		}
	}
	return "", false
}
