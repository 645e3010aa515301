package policy_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// TestCatalogueTable compares the built-in catalogue with the table that the naive
// evaluator was given, row by row: both were typed from SEMANTICS §8.4.
func TestCatalogueTable(t *testing.T) {
	c := policy.Builtin()
	table := nTable()
	for _, p := range c.Permissions() {
		row, ok := table[string(p.Name)]
		if !ok {
			t.Errorf("%s is not in the table", p.Name)
			continue
		}
		exempt := slices.Sorted(slices.Values(row.exempt))
		got := nPerm{
			surface: p.Surface.String(), action: []string{"read", "write", "destroy", "push"}[p.Action], role: p.Role.String(), public: p.Public,
			builds: p.Builds, own: p.OwnProject, skip: p.SkipPolicies, policies: p.Policies,
		}
		for _, f := range p.Features {
			got.features = append(got.features, f.String())
		}
		for _, f := range p.Exempt {
			got.exempt = append(got.exempt, f.String())
		}
		slices.Sort(got.exempt)
		row.exempt, row.policies = exempt, slices.Sorted(slices.Values(row.policies))
		if p.Closed || p.OwnJob { // nothing else is looked at then
			row.action, got.action, row.role, got.role = "", "", "", ""
		}
		if !slices.Equal(slices.Sorted(slices.Values(row.features)), slices.Sorted(slices.Values(got.features))) {
			t.Errorf("%s: features %v, in the table %v", p.Name, got.features, row.features)
		}
		if row.features, got.features = nil, nil; fmt.Sprint(row) != fmt.Sprint(got) {
			t.Errorf("%s is\n%+v, in the table\n%+v", p.Name, got, row)
		}
		if p.Closed != (row.surface == "unlisted" || row.surface == "graphql") || p.OwnJob != (p.Name == "read_own_job") {
			t.Errorf("%s: closed %t, own job %t", p.Name, p.Closed, p.OwnJob)
		}
	}
	if n := len(c.Permissions()); n != len(table)-5 { // less those of the extension
		t.Errorf("%d permissions, %d in the table", n, len(table)-5)
	}
	// §9.5, with the newest ones; the deprecated read_containers and admin_containers can
	// no longer be assigned.
	want := strings.Fields(`admin_badges admin_deployments admin_environments admin_jobs admin_packages admin_pipelines admin_releases
		admin_repositories admin_secure_files admin_terraform_state read_badges read_deployments read_environments read_jobs
		read_merge_requests read_packages read_pipelines read_releases read_repositories read_secure_files read_terraform_state read_work_items`)
	if got := c.Policies(); !slices.Equal(got, want) {
		t.Errorf("policies %v", got)
	}
	if !c.HasPolicy("read_jobs") || c.HasPolicy("read_containers") || c.HasPolicy("") {
		t.Error("HasPolicy")
	}
	if _, ok := c.Permission("fly"); ok {
		t.Error("fly is a permission")
	}
}

// TestCatalogueGolden prints the catalogue as a table that a person can review.
func TestCatalogueGolden(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-27s %-9s %-8s %-11s %-26s %-45s %s\n", "permission", "surface", "action", "least role", "flags", "features (* those that, open, exempt it, §9.6)", "policies")
	for _, p := range policy.Builtin().Permissions() {
		var flags, features []string
		for _, f := range []struct {
			on   bool
			name string
		}{
			{p.Public, "public"}, {p.Builds, "public_builds"}, {p.OwnProject, "own_project"}, {p.OwnJob, "own_job"},
			{p.SkipPolicies, "skip_policies"}, {p.Closed, "closed"},
		} {
			if f.on {
				flags = append(flags, f.name)
			}
		}
		for _, f := range p.Features {
			name := f.String()
			if slices.Contains(p.Exempt, f) {
				name += "*"
			}
			features = append(features, name)
		}
		for _, f := range p.Exempt {
			if !slices.Contains(p.Features, f) {
				features = append(features, "("+f.String()+"*)")
			}
		}
		line := fmt.Sprintf("%-27s %-9s %-8s %-11s %-26s %-45s %s", p.Name, p.Surface, []string{"read", "write", "destroy", "push"}[p.Action], p.Role,
			strings.Join(flags, " "), strings.Join(features, " "), strings.Join(p.Policies, " "))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	const file = "testdata/catalogue.txt"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%v; the catalogue is now\n%s", err, b.String())
	}
}

// TestExtend: documents of an operator, good and bad, and what the errors say.
func TestExtend(t *testing.T) {
	one := func(fields string) string { return `{"permissions":[{"name":"fly",` + fields + `}]}` }
	for _, c := range []struct{ doc, want string }{
		{``, ``},
		{`{}`, ``},
		{`{"policies":["read_wiki"]}`, ``},
		{`{"policies":["read_jobs"]}`, ``}, // there already: nothing new
		{one(`"surface":"rest","role":"guest"`), ``},
		{one(`"surface":"rest"`), ``}, // role owner, for who leaves it out
		{one(`"surface":"rest","role":"planner","public":true,"features":["issues"],"exempt_features":["issues"],"policies":["read_work_items"]`), ``},
		{one(`"surface":"git","action":"push","role":"developer"`), ``},
		{one(`"surface":"graphql","closed":true,"role":"none"`), ``},
		{one(`"surface":"rest","own_job":true,"role":"none","skip_policies":true`), ``},

		{`[]`, `not the JSON it should be`},
		{`{"permissions":`, `not the JSON it should be`},
		{`{} {}`, `something after its JSON object`},
		{`{}}`, `something after its JSON object`},
		{`{"colour":1}`, `unknown field "colour"`},
		{one(`"surface":"rest","rôle":"guest"`), `unknown field "rôle"`},
		{`{"policies":["Read Wiki"]}`, `policy "Read Wiki": names are`},
		{`{"policies":[""]}`, `policy "": names are`},
		{`{"permissions":[{"name":"","surface":"rest"}]}`, `permission "": names are`},
		{`{"permissions":[{"name":"` + strings.Repeat("a", 65) + `","surface":"rest"}]}`, `names are 1 to 64`},
		{`{"permissions":[{"name":"read_project","surface":"rest"}]}`, `permission "read_project": there is one of this name already`},
		{`{"permissions":[{"name":"fly","surface":"rest"},{"name":"fly","surface":"rest"}]}`, `there is one of this name already`},
		{one(`"role":"guest"`), `unknown surface ""`},
		{one(`"surface":"default"`), `surface must name a kind of door`},
		{one(`"surface":"window"`), `unknown surface "window"`},
		{one(`"surface":"rest","role":"king"`), `unknown role "king"`},
		{one(`"surface":"rest","role":"minimal"`), `opens the permission to everybody`},
		{one(`"surface":"rest","action":"sing"`), `unknown action "sing"`},
		{one(`"surface":"rest","features":["dance"]`), `unknown feature "dance"`},
		{one(`"surface":"rest","features":["issues","issues"]`), `feature issues is named twice`},
		{one(`"surface":"rest","exempt_features":["dance"]`), `unknown feature "dance"`},
		{one(`"surface":"rest","policies":["read_air"]`), `needs the policy "read_air"`},
		{one(`"surface":"rest","policies":["read_jobs","read_jobs"]`), `names a policy twice`},
		{one(`"surface":"rest","policies":["read_jobs"],"skip_policies":true`), `contradict each other`},
		{one(`"surface":"rest","policies":["a","b","c","d","e","f","g","h","i"]`), `needs more than 8 policies`},
		{one(`"surface":"rest","action":"write","public":true`), `action write cannot be public`},
		{one(`"surface":"rest","action":"destroy","exempt_features":["issues"]`), `action destroy cannot be public`},
		{one(`"surface":"unlisted"`), `surface unlisted takes no job token`},
		{one(`"surface":"graphql"`), `surface graphql takes no job token`},
		{`{"permissions":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","surface":"rest"},`, 2001), ",") + `]}`, `more than 2000 permissions`},
		{strings.Repeat(" ", policy.MaxCatalogueBytes) + `{}`, `the limit is`},
	} {
		got, err := policy.Extend([]byte(c.doc))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%.80s: %v", c.doc, err)
		case c.want == "":
			unchanged(t, got)
		case err == nil || !strings.Contains(err.Error(), c.want):
			t.Errorf("%.80s: %v, wanted %s", c.doc, err, c.want)
		}
	}
}

// unchanged checks that everything built in is as it was.
func unchanged(t *testing.T, c *policy.Catalogue) {
	t.Helper()
	for _, p := range policy.Builtin().Permissions() {
		if q, ok := c.Permission(p.Name); !ok || !reflect.DeepEqual(p, q) {
			t.Errorf("%s was %+v and is %+v", p.Name, p, q)
		}
	}
	for _, p := range policy.Builtin().Policies() {
		if !c.HasPolicy(p) {
			t.Errorf("the policy %s is gone", p)
		}
	}
}

// FuzzExtend: no document makes a panic, changes what is built in, or gets in a
// permission that anybody has who is not asked for anything.
func FuzzExtend(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `{"policies":["a"],"permissions":[{"name":"x","surface":"rest","action":"write","role":"guest","policies":["a"],"features":["issues"]}]}`,
		`{"permissions":[{"name":"x","surface":"policy","role":"guest","public":true,"public_builds":true,"exempt_features":["builds"]}]}`,
		`{"permissions":[{"name":"x","surface":"graphql","closed":true}]}{`, `{"permissions":[{"NAME":"x","surface":"rest"}]}`,
	} {
		f.Add([]byte(s))
	}
	builtin := len(policy.Builtin().Permissions())
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := policy.Extend(doc)
		if err != nil {
			if c != nil || len(err.Error()) > 4096+2*len(doc) {
				t.Errorf("%v with an error of %d bytes", c, len(err.Error()))
			}
			return
		}
		if len(c.Permissions()) > builtin {
			unchanged(t, c)
		}
		for _, p := range c.Permissions() {
			switch {
			case p.Role < authz.RoleGuest && !p.OwnJob && !p.Closed:
				t.Errorf("%+v asks for no role", p)
			case p.Action != policy.ActionRead && (p.Public || len(p.Exempt) > 0):
				t.Errorf("%+v is open and changes its target", p)
			case len(p.Features) > authz.NumFeatures || len(p.Exempt) > authz.NumFeatures || len(p.Policies) > 8:
				t.Errorf("%+v makes a decision slow", p)
			}
		}
	})
}
