package sim

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/state"
)

// The world: four groups, six projects, four users. Small, so that what is changed is what
// is asked about.
const (
	numGroups   = 4
	numProjects = 6
	numUsers    = 4
)

var (
	groupNames   = [numGroups + 1]string{"", "acme", "web", "ops", "other"}
	groupParents = [numGroups + 1]authz.GroupID{0, 0, 1, 1, 0}
	projectNames = [numProjects + 1]string{"", "shop", "api", "infra", "lib", "tools", "site"}
	projectHomes = [numProjects + 1]authz.GroupID{0, 2, 2, 3, 4, 1, 4}
)

func admin() engine.Actor { return engine.Actor{Name: "forge", Admin: true} }

func group(id authz.GroupID) *state.Group {
	return &state.Group{ID: id, Parent: groupParents[id], Name: groupNames[id], Visibility: authz.Private}
}

func project(id authz.ProjectID) *state.Project {
	return &state.Project{ID: id, Group: projectHomes[id], Name: projectNames[id], Visibility: authz.Private}
}

func user(id authz.UserID) *state.User {
	return &state.User{ID: id, Name: fmt.Sprint("user", id)}
}

func role(u authz.UserID, s authz.Scope, r authz.Role) engine.Change {
	return engine.Change{Membership: &engine.Membership{User: u, Membership: state.Membership{Scope: s, Role: r}}}
}

// populate makes the world.
func (s *sim) populate(ctx context.Context, e *engine.Engine) error {
	var cs []engine.Change
	for id := range authz.GroupID(numGroups) {
		cs = append(cs, engine.Change{Group: group(id + 1)})
	}
	for id := range authz.ProjectID(numProjects) {
		cs = append(cs, engine.Change{Project: project(id + 1)})
	}
	for id := authz.UserID(1); id <= numUsers; id++ {
		cs = append(cs, engine.Change{User: user(id)},
			role(id, authz.InGroup(1), authz.RoleDeveloper), role(id, authz.InProject(4), authz.RoleDeveloper))
	}
	if _, err := e.Apply(ctx, admin(), engine.ApplyRequest{Changes: cs}); err != nil {
		return err
	}
	for id := authz.ProjectID(1); id <= numProjects; id++ {
		for _, other := range []authz.Scope{authz.InGroup(1), authz.InProject(4)} {
			if other == authz.InProject(id) {
				continue
			}
			if _, _, err := e.AddEntry(ctx, admin(), engine.EntryEdit{
				AllowlistEdit: engine.AllowlistEdit{Project: id}, Other: other, Default: true,
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// question is the n-th question about a token: the same few, so that caches are hit.
func question(t *tokenInfo, n int) authz.Request {
	q := authz.Request{Token: t.digest, Permission: "read_packages"}
	other := 1 + (t.source+authz.ProjectID(t.user))%numProjects
	switch n % 6 {
	case 0:
		q.Target.ID = other
	case 1:
		q.Target.Path = pathOf(1 + (t.source+1)%4)
	case 2:
		q.Target.ID, q.Permission = t.source, "create_package"
	case 3:
		q.Target.ID, q.Surface = other, authz.SurfaceGit
	case 4:
		q.Target.ID, q.Permission = 1+other%numProjects, "download_code"
	case 5:
		q.Target.ID = 1 + (t.source+3)%numProjects
	}
	return q
}

// pathOf is where a project is at the beginning.
func pathOf(id authz.ProjectID) string {
	p := projectNames[id]
	for g := projectHomes[id]; g != 0; g = groupParents[g] {
		p = groupNames[g] + "/" + p
	}
	return p
}

// question gives a request in words.
func (s *sim) question(q authz.Request) string {
	name := fmt.Sprintf("%x", q.Token[:3])
	s.oracle.names.Lock()
	if t := s.oracle.byID[q.Token]; t != nil {
		name = t.name + "(" + string(t.job) + ")"
	}
	s.oracle.names.Unlock()
	at := q.Target.Path
	if q.Target.ID != 0 {
		at = fmt.Sprint("project ", int64(q.Target.ID))
	}
	if q.Surface != 0 {
		at += " over " + q.Surface.String()
	}
	return fmt.Sprintf("%s for %s on %s", name, q.Permission, at)
}

// directoryChange draws one change of the directory. It mostly takes away what is there
// and gives back what is not.
func directoryChange(r *rand.Rand, v *state.View) engine.Change {
	switch r.IntN(7) {
	case 0, 1: // a role
		u := authz.UserID(1 + r.IntN(numUsers))
		s := oneOf(r, authz.InGroup(1), authz.InProject(4), authz.InGroup(2), authz.InProject(authz.ProjectID(1+r.IntN(numProjects))))
		m, _ := v.Members(u)
		for _, held := range m.List {
			if held.Scope == s {
				return engine.Change{DeleteMembership: &engine.MembershipRef{User: u, Scope: s}}
			}
		}
		return role(u, s, oneOf(r, authz.RoleDeveloper, authz.RoleReporter, authz.RoleGuest))
	case 2, 3: // a group moves, or its name changes
		id := oneOf(r, authz.GroupID(2), 3)
		g, _, _ := v.Group(id)
		next := group(id)
		if g != nil && *g == *next {
			next.Parent = oneOf(r, authz.GroupID(0), 4, 1)
			next.Name = oneOf(r, next.Name, "moved")
		}
		return engine.Change{Group: next}
	case 4: // a project moves
		id := authz.ProjectID(1 + r.IntN(numProjects))
		p, _, ok := v.Project(id)
		next := project(id)
		if ok && *p == *next {
			next.Group = authz.GroupID(1 + r.IntN(numGroups))
		}
		return engine.Change{Project: next}
	case 5: // visibility
		id := authz.ProjectID(1 + r.IntN(numProjects))
		p, _, ok := v.Project(id)
		next := project(id)
		if ok && *p == *next {
			next.Visibility = authz.Internal
		}
		return engine.Change{Project: next}
	default: // the state of a group counts for all below it
		id := oneOf(r, authz.GroupID(2), 4)
		g, _, _ := v.Group(id)
		next := group(id)
		if g != nil && g.State == authz.StateActive {
			next = &state.Group{}
			*next = *g
			next.State = authz.StateArchived
		}
		return engine.Change{Group: next}
	}
}
