package engine

import (
	"fmt"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Changes of the directory in words, for the audit log and for what a synchronisation
// would do. Of the two versions of a record one can be nil; path is the full path.

func groupWords(old, g *state.Group, path string) string {
	switch {
	case g == nil:
		return "remove " + named(authz.InGroup(old.ID), path)
	case old == nil:
		return "create " + named(authz.InGroup(g.ID), path) + ": " + join(g.Visibility, g.State)
	}
	var w differences
	w.of("parent", old.Parent, g.Parent)
	w.of("name", old.Name, g.Name)
	w.of("visibility", old.Visibility, g.Visibility)
	w.of("state", old.State, g.State)
	return "change " + named(authz.InGroup(g.ID), path) + ": " + w.String()
}

func projectWords(old, p *state.Project, path string) string {
	switch {
	case p == nil:
		return "remove " + named(authz.InProject(old.ID), path)
	case old == nil:
		return "create " + named(authz.InProject(p.ID), path) + ": " + join(p.Visibility, p.State)
	}
	var w differences
	w.of("group", old.Group, p.Group)
	w.of("namespace", old.Namespace, p.Namespace)
	w.of("name", old.Name, p.Name)
	w.of("visibility", old.Visibility, p.Visibility)
	w.of("state", old.State, p.State)
	for i := range p.Features {
		w.of(authz.Feature(i).String(), old.Features[i], p.Features[i])
	}
	w.of("public builds", old.PublicBuilds, p.PublicBuilds)
	w.of("read-only", old.ReadOnly, p.ReadOnly)
	w.of("hidden", old.Hidden, p.Hidden)
	return "change " + named(authz.InProject(p.ID), path) + ": " + w.String()
}

func userWords(old, u *state.User) string {
	switch {
	case u == nil:
		return fmt.Sprintf("remove user %d (%s)", old.ID, old.Name)
	case old == nil:
		return fmt.Sprintf("create user %d (%s): %s", u.ID, u.Name, u.State)
	}
	var w differences
	w.of("name", old.Name, u.Name)
	w.of("state", old.State, u.State)
	w.of("external", old.External, u.External)
	w.of("admin", old.Admin, u.Admin)
	return fmt.Sprintf("change user %d (%s): %s", u.ID, u.Name, w.String())
}

// roleWords tells of a role given, changed or, with RoleNone, taken.
func roleWords(user authz.UserID, s authz.Scope, path string, old, role authz.Role) string {
	where := named(s, path)
	switch {
	case role == authz.RoleNone:
		return fmt.Sprintf("remove user %d from %s, was %s", user, where, old)
	case old == authz.RoleNone:
		return fmt.Sprintf("make user %d %s of %s", user, role, where)
	}
	return fmt.Sprintf("make user %d %s of %s, was %s", user, role, where, old)
}

func named(s authz.Scope, path string) string {
	if path == "" {
		return s.String()
	}
	return fmt.Sprintf("%s (%s)", s, path)
}

func join(v authz.Visibility, st authz.ProjectState) string {
	if st == authz.StateActive {
		return v.String()
	}
	return v.String() + ", " + st.String()
}

// differences collects the fields that differ.
type differences []string

func (w *differences) of(field string, old, now any) {
	if old != now {
		*w = append(*w, fmt.Sprintf("%s %v to %v", field, old, now))
	}
}

func (w differences) String() string { return strings.Join(w, ", ") }
