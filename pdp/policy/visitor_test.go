package policy_test

import (
	"slices"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// TestVisitor asks about nobody in a world that gives a token beside "not found" (R1): it
// must not be looked at. Project 2 is public, 1 is not.
func TestVisitor(t *testing.T) {
	var err error
	s := newStill()
	s.projects[2].Visibility = authz.Public
	s.catalogue, err = policy.Extend([]byte(`{"policies": [], "permissions": [
		{"name": "own_wiki", "surface": "rest", "role": "guest", "public": true, "own_project": true},
		{"name": "job_wiki", "surface": "rest", "role": "guest", "public": true, "own_job": true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	one, two := authz.Target{ID: 1}, authz.Target{Path: "a/b/target"}
	ofTwo := append(authz.AppendPathKeys([]authz.Key{authz.TheInstance}, two.Path), authz.ProjectKey(2), authz.GroupKey(4))
	var walk policy.Walk
	for _, c := range []struct {
		target     authz.Target
		permission authz.Permission
		surface    authz.Surface
		want       authz.Reason
		keys       []authz.Key
	}{
		{two, "read_packages", authz.SurfaceDefault, authz.AllowedOpen, ofTwo},
		{two, "download_code", authz.SurfaceDefault, authz.AllowedOpen, ofTwo}, // R8: of no project without CI
		{two, "create_package", authz.SurfaceDefault, authz.TokenMissing, ofTwo},
		{two, "own_wiki", authz.SurfaceDefault, authz.TokenMissing, ofTwo},                          // R13
		{two, "job_wiki", authz.SurfaceDefault, authz.TokenMissing, []authz.Key{authz.TheInstance}}, // R10
		{two, "read_own_job", authz.SurfaceDefault, authz.TokenMissing, []authz.Key{authz.TheInstance}},
		{one, "read_packages", authz.SurfaceDefault, authz.TokenMissing, []authz.Key{authz.TheInstance, authz.ProjectKey(1), authz.GroupKey(3), authz.GroupKey(4)}},
		{authz.Target{ID: 9}, "read_packages", authz.SurfaceDefault, authz.TokenMissing, []authz.Key{authz.TheInstance, authz.ProjectKey(9)}},
		{two, "fly", authz.SurfaceDefault, authz.PermissionUnknown, []authz.Key{authz.TheInstance}},
		{two, "read_packages", authz.SurfaceGit, authz.SurfaceClosed, []authz.Key{authz.TheInstance}},
	} {
		req := authz.Request{Token: authz.Nobody, Target: c.target, Permission: c.permission, Surface: c.surface}
		d := walk.Decide(s, req, 1)
		keys := slices.Clone(d.Keys)
		if d.Reason != c.want || !slices.Equal(keys, c.keys) {
			t.Errorf("%s on %v: %s, rests on %v, wanted %s on %v", c.permission, c.target, d.Reason, keys, c.want, c.keys)
		}
		if wrong := promised(d); wrong != "" || d.ValidFor != authz.VisitorTerm {
			t.Errorf("%s on %v: %s: %+v", c.permission, c.target, wrong, d)
		}
		if n := testing.AllocsPerRun(100, func() { walk.Decide(s, req, 1) }); n != 0 {
			t.Errorf("%s on %v takes %v allocations", c.permission, c.target, n)
		}
	}
	// A token that is known is its job's, whatever its digest.
	s = newStill()
	if d := policy.Decide(s, still1(), 1); d.Reason != authz.AllowedListed {
		t.Errorf("%s", d.Reason)
	}
}
