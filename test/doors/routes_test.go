package doors

import (
	"regexp"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/sidecar/route"
)

// TestRoutesPermissions: every permission that a built-in route asks for is in the built-in catalogue, with the route's surface, and a route asks
// with a token only for what a token can open.
func TestRoutesPermissions(t *testing.T) {
	catalogue := policy.Builtin()
	asked := map[authz.Permission]bool{}
	for _, r := range route.Builtin().Routes() {
		asked[r.Permission] = true
		p, ok := catalogue.Permission(r.Permission)
		switch {
		case !ok:
			t.Errorf("%s asks for %s, which the catalogue does not have", r.Name, r.Permission)
		case p.Surface != r.Surface:
			t.Errorf("%s asks for %s through %s; the catalogue has it on %s", r.Name, r.Permission, r.Surface, p.Surface)
		case p.Closed != (r.Carriers == 0):
			t.Errorf("%s asks for %s, closed %t, and has the carriers %s", r.Name, r.Permission, p.Closed, r.Carriers)
		case p.OwnJob != (r.Target == route.OwnJob || r.Target == route.ThatJob) && !p.Closed:
			t.Errorf("%s asks for %s, of the own job %t, with the target %s", r.Name, r.Permission, p.OwnJob, r.Target)
		case p.OwnProject != (r.Style == route.Own):
			t.Errorf("%s asks for %s, own project only %t, and its refusals look like %s", r.Name, r.Permission, p.OwnProject, r.Style)
		}
	}
	for _, p := range catalogue.Permissions() {
		// A bare question has no route, and the registry asks for itself (sidecar/registry).
		if !asked[p.Name] && p.Surface != authz.SurfacePolicy && p.Surface != authz.SurfaceRegistry {
			t.Errorf("no route asks for %s", p.Name)
		}
	}
}

// TestRoutesActions: what a method does and what its permission does go together, but for the POSTs that read and the GET that needs
// administration (SEMANTICS §20).
func TestRoutesActions(t *testing.T) {
	catalogue := policy.Builtin()
	for _, r := range route.Builtin().Routes() {
		p, ok := catalogue.Permission(r.Permission)
		if !ok || p.Closed || p.OwnJob || r.Surface == authz.SurfaceGit {
			continue
		}
		method := r.Name[:3]
		if method == "GET" && p.Action != policy.ActionRead && p.Name != "admin_badges" || method == "PUT" && p.Action != policy.ActionWrite ||
			method == "DEL" && p.Action == policy.ActionRead {
			t.Errorf("%s asks for %s", r.Name, r.Permission)
		}
		if method == "POS" && p.Action != policy.ActionWrite && p.Name != "read_packages" {
			t.Errorf("%s asks for %s", r.Name, r.Permission)
		}
	}
}

// TestRoutesOverridden: frameworks let a POST say in a form field _method that it is another request, which no door can see behind a token in a header. On
// the routes of the REST API that changes nothing: no other method at the path of a POST asks for another permission.
func TestRoutesOverridden(t *testing.T) {
	table := route.Builtin()
	optional, parameter := regexp.MustCompile(`\([^)]*\)`), regexp.MustCompile(`[:*]([a-z_]+)(<[^>]*>)?`)
	posts := 0
	for _, r := range table.Routes() {
		pattern, ok := strings.CutPrefix(r.Name, "POST ")
		if !ok || r.Surface == authz.SurfaceGit || r.Carriers == 0 {
			continue
		}
		for _, text := range []string{optional.ReplaceAllString(pattern, ""), strings.NewReplacer("(", "", ")", "").Replace(pattern)} {
			path := parameter.ReplaceAllStringFunc(text, func(p string) string {
				if p == ":package_username" {
					return "a+b"
				}
				return "7"
			})
			if _, err := table.Match(&route.Request{Method: "POST", Path: path}); err != nil {
				t.Errorf("%s does not match %s: %v", r.Name, path, err)
			}
			posts++
			for _, method := range []string{"PUT", "PATCH", "DELETE"} {
				if m, err := table.Match(&route.Request{Method: method, Path: path}); err == nil && m.Route.Permission != r.Permission {
					t.Errorf("%s could be served as %s, which asks for %s and not for %s", r.Name, m.Route.Name, m.Route.Permission, r.Permission)
				}
			}
		}
	}
	if posts < 50 {
		t.Errorf("only %d paths were tried", posts)
	}
}
