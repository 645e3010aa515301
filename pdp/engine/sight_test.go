package engine

import (
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// TestSight: who sees which projects and groups (SEMANTICS §16), and that what is hidden is
// answered like what does not exist.
func TestSight(t *testing.T) {
	e := newListTest(t, &state.User{ID: 77, Name: "zoe"}).e
	ctx := t.Context()
	for _, c := range []struct {
		project authz.ProjectID
		by      authz.UserID
		sees    bool
		role    authz.Role
	}{
		{app, max_, true, authz.RoleMaintainer}, {app, dev, true, authz.RoleDeveloper}, {app, out, false, 0}, {secret, max_, false, 0},
		{guested, max_, true, authz.RoleGuest}, {open, out, true, 0}, {inside, out, true, 0}, {inside, ext, false, 0},
		{condemned, max_, false, 0}, {hidden, max_, false, 0}, {minimal, max_, false, 0}, {9999, max_, false, 0}, {0, max_, false, 0}, {-1, max_, false, 0},
	} {
		by := Actor{Name: "test", User: c.by}
		got, err := e.SeeProject(ctx, by, authz.Target{ID: c.project})
		if c.project == 0 {
			got, err = e.SeeProject(ctx, by, authz.Target{Path: "no/such"})
		}
		if c.sees != (err == nil) || err == nil && (got.ID != c.project || got.Role != c.role) || err != nil && authz.KindOf(err) != authz.KindNotFound {
			t.Errorf("project %d, user %d: %+v, %v", c.project, c.by, got, err)
		}
		if !c.sees {
			continue
		}
		if same, err := e.SeeProject(ctx, by, authz.Target{Path: got.Path}); err != nil || same.ID != c.project {
			t.Errorf("project %d by its path %s: %+v, %v", c.project, got.Path, same, err)
		}
	}
	for group, sees := range map[authz.GroupID]bool{acme: true, team: true, closed: false, openTeam: true, inTeam: true, partly: true, 999: false, 0: false} {
		if _, err := e.SeeGroup(ctx, Actor{Name: "test", User: max_}, group); sees != (err == nil) {
			t.Errorf("group %d: %v", group, err)
		}
	}
	if _, err := e.SeeProject(ctx, Actor{Name: "test", User: gone}, authz.Target{ID: app}); authz.KindOf(err) != authz.KindForbidden {
		t.Errorf("a blocked user: %v", err)
	}
	if u, err := e.GetUserNamed(ctx, "zoe"); err != nil || u.ID != 77 {
		t.Errorf("zoe: %+v, %v", u, err)
	}
	for _, name := range []string{"", "nobody"} {
		if _, err := e.GetUserNamed(ctx, name); authz.KindOf(err) != authz.KindNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}
