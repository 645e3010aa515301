package route_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/route"
)

// TestGolden asks with one request for each reading of each route of the built-in table. Projects are named by number and by path in turn.
func TestGolden(t *testing.T) {
	var b bytes.Buffer
	table := route.Builtin()
	names := map[string]bool{}
	examples := builtinNaive(t).rows
	for i, row := range examples {
		path, _, _ := strings.Cut(row.example(i), "?")
		r := &route.Request{Method: row.method, Path: path, Query: row.query}
		m, err := table.Match(r)
		if err != nil {
			t.Errorf("%s %s?%s: %v", r.Method, r.Path, r.Query, err)
			continue
		}
		if m.Route.Name != row.name {
			t.Errorf("%s %s is %s", r.Method, r.Path, m.Route.Name)
		}
		names[m.Route.Name] = true
		if r.Method == "GET" {
			head := *r
			head.Method = "HEAD"
			if h, err := table.Match(&head); err != nil || h != m {
				t.Errorf("HEAD %s: %+v, %v", r.Path, h, err)
			}
		}
		if r.Query != "" {
			path += "?" + r.Query
		}
		fmt.Fprintf(&b, "%-6s %s\n       %s %s, %s, carriers %s, style %s\n", r.Method, path, m.Route.Permission, m.Route.Surface, where(m), m.Route.Carriers, m.Route.Style)
	}
	for _, rt := range table.Routes() {
		if !names[rt.Name] {
			t.Errorf("no example found %s", rt.Name)
		}
	}
	if len(names) != len(table.Routes()) {
		t.Errorf("%d names for %d routes", len(names), len(table.Routes()))
	}
	golden(t, "routes.golden", b.Bytes())
}

func where(m route.Match) string {
	switch m.Route.Target {
	case route.InPath:
		if m.Target.ID != 0 {
			return fmt.Sprintf("project %d", m.Target.ID)
		}
		return "project " + m.Target.Path
	case route.ThatJob:
		return "job " + string(m.Job)
	}
	return m.Route.Target.String()
}

// example gives a path that the row matches. Of what several rows need, it is what clients send.
func (r *naiveRow) example(i int) string {
	_, pattern, _ := strings.Cut(r.re.String(), "^")
	pattern = strings.TrimSuffix(pattern, "$")
	// The groups of the expression are (sep[^sep]+…), in order: put an example in the place of each.
	for _, g := range r.groups {
		open := strings.Index(pattern, "("+sep)
		many := strings.Index(pattern, "((?:")
		one := "(" + sep + "[^" + sep + "]+"
		isMany := many >= 0 && (open < 0 || many < open)
		if isMany {
			open, one = many, "((?:"+sep+"[^"+sep+"]+)+"
		}
		end := open + len(one)
		closing := end + strings.IndexByte(pattern[end:], ')')
		pattern = pattern[:open] + sep + g.example(i, isMany) + pattern[end:closing] + pattern[closing+1:]
	}
	return strings.ReplaceAll(strings.ReplaceAll(pattern, `\`, ""), sep, "/")
}

func (g *naiveGroup) example(i int, many bool) string {
	switch {
	case g.kind == "id":
		return []string{"42", "acme%2Fplatform%2Flib%2Ego"}[i%2]
	case g.kind == "plus":
		return "acme+platform+lib"
	case g.kind == "name" && many:
		return "platform/lib"
	case g.kind == "name":
		return "acme"
	case g.kind == "number" || g.kind == "job":
		return "7"
	case g.encoded && many:
		return "@acme%2Flib"
	case g.encoded:
		return "feature%2Fx"
	case many:
		return "a/b%20c"
	}
	return strings.ReplaceAll(g.name, "_", "-")
}

// TestSeed: the requests of the seed's own examples, and what clients are known to send.
func TestSeed(t *testing.T) {
	table := route.Builtin()
	for _, c := range []struct {
		method, path, query string
		permission          authz.Permission
		target              authz.Target
	}{
		{"GET", "/api/v4/projects/1/jobs/artifacts/main/download", "job=test&job_token=x", "read_job_artifacts", authz.Target{ID: 1}},
		{"POST", "/api/v4/projects/1234/trigger/pipeline", "", "trigger_pipeline", authz.Target{ID: 1234}},
		{"GET", "/acme/hidden.git/info/refs", "service=git-upload-pack", "download_code", authz.Target{Path: "acme/hidden"}},
		{"HEAD", "/acme/hidden.git/info/refs", "service=git-receive-pack", "push_code", authz.Target{Path: "acme/hidden"}},
		{"POST", "/a/b/c/d.git/git-receive-pack", "", "push_code", authz.Target{Path: "a/b/c/d"}},
		{"POST", "/a/b.x.git/git-upload-pack", "", "download_code", authz.Target{Path: "a/b.x"}},
		{"GET", "/a/api/v2.git/info/refs", "service=git%2Dupload%2Dpack&x=", "download_code", authz.Target{Path: "a/api/v2"}},
		// As the seed writes it: without .git. Another case is another name.
		{"GET", "/acme/lib/info/refs", "service=git-upload-pack", "download_code", authz.Target{Path: "acme/lib"}},
		{"POST", "/acme/lib/git-receive-pack", "", "push_code", authz.Target{Path: "acme/lib"}},
		{"POST", "/acme/lib.GIT/git-upload-pack", "", "download_code", authz.Target{Path: "acme/lib.GIT"}},
		// Names that are words of the table elsewhere.
		{"POST", "/info/refs.git/git-upload-pack", "", "download_code", authz.Target{Path: "info/refs"}},
		{"GET", "/a/info/lfs/objects.git/info/lfs/objects/0", "", "download_code", authz.Target{Path: "a/info/lfs/objects"}},
		{"PUT", "/a/b.git/gitlab-lfs/objects/0/1/authorize", "", "push_code", authz.Target{Path: "a/b"}},
		// client-go escapes the dot, npm the slash, with small letters.
		{"GET", "/api/v4/projects/acme%2Flib%2Ego/releases/v1%2E0", "", "read_releases", authz.Target{Path: "acme/lib.go"}},
		{"GET", "/api/v4/projects/7/packages/npm/@acme%2flib", "", "read_packages", authz.Target{ID: 7}},
		{"GET", "/api/v4/projects/7/packages/npm/@acme/lib/-/@acme/lib-1.0.0.tgz", "", "read_packages", authz.Target{ID: 7}},
		{"PUT", "/api/v4/projects/7/packages/npm/@acme%2flib", "", "create_package", authz.Target{ID: 7}},
		{"GET", "/api/v4/projects/7/packages/pypi/simple/lib/", "", "read_packages", authz.Target{ID: 7}},
		{"GET", "/api/v4/projects/7/packages/go/example.com/!acme/lib/@v/v1.0.0.info", "", "read_packages", authz.Target{ID: 7}},
		{"PUT", "/api/v4/projects/9007199254740991/packages/generic/a/1/b%2541", "", "", authz.Target{}},
		{"PUT", "/api/v4/projects/9007199254740991/packages/generic/a/1/100%25.txt", "", "create_package", authz.Target{ID: authz.MaxID}},
		{"GET", "/api/v4/packages/conan/v1/conans/lib/1.0/acme+platform+lib/stable", "", "read_packages", authz.Target{Path: "acme/platform/lib"}},
		{"GET", "/api/v4/packages/conan/v1/conans/lib/1.0/acme%2Blib/stable", "", "read_packages", authz.Target{Path: "acme/lib"}},
		{"GET", "/api/v4/packages/conan/v1/conans/lib/1.0/acme/stable", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/7/variables/KEY", "", "read_variables", authz.Target{ID: 7}},
		// Not served.
		{"GET", "/acme/lib.git/info/refs", "", "", authz.Target{}},
		{"GET", "/acme/lib.git/info/refs", "service=git-upload-archive", "", authz.Target{}},
		{"GET", "/acme/lib.git/HEAD", "", "", authz.Target{}},
		{"GET", "/lib.git/info/refs", "service=git-upload-pack", "", authz.Target{}},
		{"GET", "/lib/info/refs", "service=git-upload-pack", "", authz.Target{}},
		{"GET", "/acme/lib/info/refs", "", "", authz.Target{}},
		{"POST", "/api/acme.git/git-upload-pack", "", "", authz.Target{}},
		{"POST", "/acme/-/lib.git/git-upload-pack", "", "", authz.Target{}},
		{"POST", "/acme/a.git/b.git/git-upload-pack", "", "", authz.Target{}},
		{"POST", "/acme/.git/git-upload-pack", "", "", authz.Target{}},
		{"get", "/api/v4/job", "", "", authz.Target{}},
		{"OPTIONS", "/api/v4/job", "", "", authz.Target{}},
		{"GET", "/API/v4/job", "", "", authz.Target{}},
		{"GET", "/api/v4/job/", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/0/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/007/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/9007199254740992/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/99999999999999999999/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/-1/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/+1/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/%2B1/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/1e3/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/acme/packages", "", "", authz.Target{}},
		{"GET", "/api/v4/projects/acme%2Fl%C3%AFb/packages", "", "", authz.Target{}},
		{"GET", "/jwt/auth", "service=x", "", authz.Target{}},
		{"GET", "/", "", "", authz.Target{}},
	} {
		m, err := table.Match(&route.Request{Method: c.method, Path: c.path, Query: c.query})
		switch {
		case c.permission == "" && err == nil:
			t.Errorf("%s %s?%s: %s", c.method, c.path, c.query, m.Route.Name)
		case c.permission != "" && (err != nil || m.Route.Permission != c.permission || m.Target != c.target):
			t.Errorf("%s %s?%s: %+v, %v", c.method, c.path, c.query, m, err)
		}
	}
}
