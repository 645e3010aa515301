package identity

import (
	"net/url"
	"strings"
	"testing"
)

func TestSpiffeID(t *testing.T) {
	for _, id := range []string{"spiffe://forge.example/runner/7", "spiffe://td/a", "spiffe://a_b-c.9/A.b_c-d/..x", "spiffe://td/" + strings.Repeat("a", maxURI-12)} {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := spiffeID(u); got != id || err != nil {
			t.Errorf("spiffeID(%q) = %q, %v", id, got, err)
		}
	}
	for id, want := range map[string]string{
		"https://forge.example/a": "not of the form", "spiffe:/td/a": "not of the form", "spiffe:td/a": "not of the form", "/td/a": "not of the form",
		"spiffe://td": "no path", "spiffe://td/": `segment ""`, "spiffe://td/a/": `segment ""`, "spiffe://td//a": `segment ""`,
		"spiffe://td/a/../b": `segment ".."`, "spiffe://td/./b": `segment "."`, "spiffe://td/a%2Fb": "escape", "spiffe://td/%61": "escape",
		"spiffe://td/a?x": "query", "spiffe://td/a?": "query", "spiffe://td/a#f": "fragment", "spiffe://me@td/a": "user", "spiffe://td:443/a": "':'",
		"spiffe://TD/a": "'T'", "spiffe://td/a*": "'*'", "spiffe://td/a b": "' '", "spiffe://td/ä": "'Ã'",
		"spiffe://td/" + strings.Repeat("a", maxURI-11): "longer than",
	} {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := spiffeID(u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("spiffeID(%.50q) = %q, %v; want an error with %q", id, got, err, want)
		}
	}
}

func TestRules(t *testing.T) {
	r := rules{exact: map[string]RoleSet{}}
	for _, row := range []struct {
		pattern string
		role    Role
	}{
		{"spiffe://td/ci/*", Runner}, {"spiffe://td/ci/special", Admin}, {"spiffe://td/ci/deep/*", Peer},
		{"spiffe://other/*", Service}, {"spiffe://td/sync", Directory},
	} {
		if err := r.add(row.pattern, Roles(row.role)); err != nil {
			t.Fatalf("%s: %v", row.pattern, err)
		}
	}
	for id, want := range map[string]RoleSet{
		"spiffe://td/ci/7": Roles(Runner), "spiffe://td/ci/a/b/c": Roles(Runner), "spiffe://td/ci/special": Roles(Runner, Admin),
		"spiffe://td/ci/deep/x": Roles(Runner, Peer), "spiffe://td/ci/deep": Roles(Runner), "spiffe://other/x": Roles(Service),
		"spiffe://td/sync": Roles(Directory), "spiffe://td/ci": 0, "spiffe://td/cid": 0, "spiffe://td/sync/x": 0, "spiffe://td/ci/special/x": Roles(Runner),
		"spiffe://td.other/x": 0, "spiffe://other.td/x": 0, "spiffe://tda/ci/x": 0, "": 0,
	} {
		if got := r.rolesOf(id); got != want {
			t.Errorf("%s has %v, want %v", id, got, want)
		}
	}
	for pattern, want := range map[string]string{
		"spiffe://td/ci/*": "twice", "spiffe://td/sync": "twice", "spiffe://td/*/x": "in the end only", "spiffe://td/a*": "in the end only",
		"spiffe://*/x": "in the end only", "spiffe://*": "no path", "*": "not of the form", "/*": "not of the form", "spiffe://td": "no path", "spiffe://td/a/": "segment",
		"spiffe://td/a//*": "segment", "spiffe://td/%zz": "not a URI", "SPIFFE://td/a": "spelt", "": "not of the form", "td/a": "not of the form",
		"spiffe://td/../*": "segment", "spiffe://td/a#": "spelt",
	} {
		if err := r.add(pattern, Roles(Admin)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("add(%q): %v; want an error with %q", pattern, err, want)
		}
	}
}
