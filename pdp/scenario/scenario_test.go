package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

func asJSON(t testing.TB, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// content gives what the world format keeps of records, by key.
func content(t testing.TB, records []state.Record) map[state.Key]string {
	out := map[state.Key]string{}
	for _, r := range records {
		switch r := r.(type) {
		case *state.Death:
		case *state.Catalogue:
			var v any
			if err := json.Unmarshal(r.Document, &v); err != nil {
				t.Fatal(err)
			}
			out[r.Key()] = asJSON(t, v)
		default:
			out[r.Key()] = asJSON(t, r)
		}
	}
	return out
}

func read(text, name string) (out []Scenario, err error) {
	err = Read(strings.NewReader(text), name, func(s Scenario) error { out = append(out, s); return nil })
	return out, err
}

const smallest = `{"id":"a","world":{},"job":{"project":"a/b"},"request":{"target_project":"a/b","permission":"read_project"},"expect":"deny"}`

// TestReadErrors: what is refused while reading, and where the error points to.
func TestReadErrors(t *testing.T) {
	yamlStart := "id: a\nexpect: deny\njob: {project: a/b}\n"
	for _, c := range []struct{ name, text, want string }{
		{"a.jsonl", smallest + "\n" + `{"id":"b","expect":"deny","colour":"red"}`, `a.jsonl:2: unknown field "colour"`},
		{"a.jsonl", "\n\n" + `{"id":"b","expect":"deny","world":{"projects":[{"path":"a/b","hiden":true}]}}`, `a.jsonl:3: unknown field "hiden"`},
		{"a.jsonl", `{"id":"b","expect":"deny","job":{"erased":"yes"}}`, `a.jsonl:1: job.erased: cannot be a string`},
		{"a.jsonl", `{"id":"b"`, `a.jsonl:1: the object does not end on its line`},
		{"a.jsonl", smallest + smallest, `a.jsonl:1: there is something after the object`},
		{"a.jsonl", smallest + `}`, `a.jsonl:1: there is something after the object`},
		{"a.jsonl", `[` + smallest + `]`, `a.jsonl:1: `},
		{"a.jsonl", `{"expect":"deny"}`, `a.jsonl:1: id is missing`},
		{"a.jsonl", `{"id":"b","expect":"maybe"}`, `a.jsonl:1: expect: "maybe" is neither allow nor deny`},
		{"a.jsonl", `{"id":"b"}`, `a.jsonl:1: expect: "" is neither allow nor deny`},
		{"a.jsonl", `{"id":"b","expect":"deny","expect_reason":"mood"}`, `a.jsonl:1: expect_reason: there is no reason "mood"`},
		{"a.jsonl", `{"id":"b","expect":"allow","expect_reason":"role_too_low"}`, `a.jsonl:1: expect_reason: role_too_low is no reason to allow`},
		{"a.yaml", yamlStart + "---\n\n# the second\n" + yamlStart + "colour: red\n", `a.yaml:10: unknown field "colour"`},
		{"a.yaml", yamlStart + "world:\n  projects:\n  - path: a/b\n    hiden: true\n", `a.yaml:7: unknown field "hiden"`},
		{"a.yaml", yamlStart + "expect: allow\n", `a.yaml:4: mapping key "expect" already defined`},
		{"a.yaml", "id: a\nexpect: deny\njob:\n  erased: [1]\n", `a.yaml:4: cannot be a list`},
		{"a.yaml", "id: a\nexpect: deny\njob: {project: [", `a.yaml:3: `},
		{"a.yaml", "id: a\nexpect: deny\njob:\n  erased: {a: b}\n", `a.yaml:4: `},
		{"a.yaml", "id: a\nexpect: deny\nworld:\n  projects:\n  - path: a/b\n    hidden: maybe\n", `a.yaml:6: cannot be a string`},
		{"a.yaml", "- 1\n", `a.yaml:1: `},
		{"a.yaml", "id: &x a\nwhy: *x\n", `a.yaml:1: anchors, aliases`},
		{"a.yaml", "id: a\nwhy: !!str b\n", `a.yaml:2: anchors, aliases`},
		{"a.yaml", "id: " + strings.Repeat("[", 200), `a.yaml:1: more than 100 levels`},
		{"a.yaml", strings.Repeat("- ", 200), `a.yaml:1: more than 100 levels`},
		{"a.yaml", "id: a\nwhy: " + strings.Repeat("%", maxYAMLLine), `a.yaml:2: more than 65536 bytes in a line`},
		{"a.yaml", "id: ]\n", `a.yaml:1: there is a "]" without its beginning`},
		{"a.yaml", "id: a\n" + strings.Repeat("# a comment\n", MaxScenarioBytes/10), `a.yaml:1: more than 1048576 bytes`},
		{"a.jsonl", smallest + "\n" + strings.Repeat(" ", MaxScenarioBytes) + smallest, `a.jsonl:2: more than 1048576 bytes`},
	} {
		_, err := read(c.text, c.name)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.60q: %v, wanted %s", c.text, err, c.want)
		}
	}
}

// TestReadStops: fn's error ends the reading and comes back as it is; a broken reader
// and a file without an end are errors.
func TestReadStops(t *testing.T) {
	enough := errors.New("enough")
	n := 0
	err := Read(strings.NewReader(smallest+"\n"+smallest), "a", func(Scenario) error { n++; return enough })
	if err != enough || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
	err = Read(io.MultiReader(strings.NewReader(smallest+"\n"), broken{}), "a", func(Scenario) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "the disk is on fire") {
		t.Error(err)
	}
	n = 0
	err = Read(&endless{text: smallest + strings.Repeat(" ", 500_000) + "\n"}, "a", func(Scenario) error { n++; return nil })
	if err == nil || !strings.Contains(err.Error(), "more than 67108864 bytes") || n < 100 {
		t.Errorf("%v after %d", err, n)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is on fire") }

// endless repeats a text for ever.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

// TestReadForms: blank lines, comments, marks at the beginning and end of documents,
// the byte order mark, carriage returns, and what tells the form without a name.
func TestReadForms(t *testing.T) {
	doc := "id: a\njob: {project: a/b}\nexpect: deny\n"
	for _, c := range []struct {
		name, text string
		lines      []int
	}{
		{"a", "", nil},
		{"a", "\n\n", nil},
		{"a", "# nothing\n", nil},
		{"a", "---\n...\n---\n", nil},
		{"a", "\n" + smallest + "\r\n\n" + smallest, []int{2, 4}},
		{"a", "\ufeff" + smallest, []int{1}},
		{"a", "\ufeff" + doc, []int{1}},
		{"a", doc, []int{1}},
		{"a", "# first\n" + doc + "---\n" + doc + "...\n\n---\n# last\n" + doc, []int{2, 6, 13}},
		{"a", "--- " + smallest + "\n--- # the same\n" + doc, []int{1, 3}},
		{"a.yaml", smallest + "\n---\n" + doc, []int{1, 3}},
		{"a.yml", strings.ReplaceAll(doc, "\n", "\r\n") + "---\r\n" + doc, []int{1, 5}},
	} {
		got, err := read(c.text, c.name)
		var lines []int
		for _, s := range got {
			lines = append(lines, s.Line)
		}
		if err != nil || !slices.Equal(lines, c.lines) {
			t.Errorf("%q: scenarios at lines %v, %v; wanted %v", c.text, lines, err, c.lines)
		}
	}
}

// TestRecordErrors: what only shows when a world is made of a scenario.
func TestRecordErrors(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"world: {groups: [{path: a/b}]}", `world.groups[0]: the group above it, "a", is not listed`},
		{"world: {groups: [{path: a}, {path: a}]}", `world.groups[1]: "a" is there twice`},
		{"world: {groups: [{path: a, parent: b}]}", `world.groups[0].parent: "b" is not what the path "a" says`},
		{"world: {groups: [{path: a//b}]}", `world.groups[0].path: "a//b" has an empty segment`},
		{"world: {groups: [{path: a" + strings.Repeat("/a", 64) + "}]}", `world.groups[0].path: nested deeper than 64 groups`},
		{"world: {groups: [{path: a, visibility: secret}]}", `world.groups[0].visibility: unknown visibility "secret"`},
		{"world: {groups: [{path: a, state: asleep}]}", `world.groups[0].state: unknown project state "asleep"`},
		{"world: {groups: [{path: a, id: -1}]}", `world.groups[0].id: -1 is out of range`},
		{"world: {groups: [{path: a, id: 3}, {path: b, id: 3}]}", `world.groups[1].id: 3 is there twice`},
		{"world: {projects: [{path: a}]}", `world.projects[0].path: "a" is in no group and no personal namespace`},
		{"world: {projects: [{path: a/b/c}]}", `world.projects[0].path: the group "a/b" is not listed`},
		{"world: {projects: [{path: ''}]}", `world.projects[0].path: "" has an empty segment`},
		{"world: {groups: [{path: a}, {path: a/b}], projects: [{path: a/b}]}", `world.projects[0].path: "a/b" is a group as well`},
		{"world: {projects: [{path: a/b, features: {dance: enabled}}]}", `world.projects[0].features: unknown feature "dance"`},
		{"world: {projects: [{path: a/b, features: {issues: open}}]}", `world.projects[0].features.issues: unknown feature level "open"`},
		{"world: {projects: [{path: a/b, features: {issues: public}}]}", `world.projects[0].features.issues: only packages can be public`},
		{"world: {projects: [{path: a/b, inbound_allow: [{path: a/c}]}]}", `world.projects[0].inbound_allow[0].path: there is no "a/c" of that kind`},
		{"world: {projects: [{path: a/b, inbound_groups: [{path: a/b}]}]}", `world.projects[0].inbound_groups[0].path: there is no "a/b" of that kind`},
		{"world: {projects: [{path: a/b, inbound_allow: [{path: a/b, policies: [fly]}]}]}", `world.projects[0].inbound_allow[0].policies[0]: no entry can grant "fly"`},
		{"world: {projects: [{path: a/b, inbound_allow: [{path: a/b}, {path: a/b}]}]}", `world.projects[0].inbound_allow[1].path: "a/b" is there twice`},
		{"world: {projects: [{path: a/b, outbound: [a/c]}]}", `world.projects[0].outbound[0]: there is no project "a/c"`},
		{"world: {projects: [{path: a/b, outbound: [a/b, a/b]}]}", `world.projects[0].outbound[1]: "a/b" is there twice`},
		{"world: {users: [{name: dev}, {name: dev}]}", `world.users[1]: "dev" is there twice`},
		{"world: {users: [{name: ''}]}", `world.users[0].name is missing`},
		{"world: {users: [{name: dev, state: asleep}]}", `world.users[0].state: unknown user state "asleep"`},
		{"world: {users: [], members: [{user: dev, scope: a, role: guest}]}", `world.members[0].user: "dev" is not on the list of users`},
		{"world: {members: [{user: dev, scope: a, role: guest}]}", `world.members[0].scope: there is no project or group "a"`},
		{"world: {groups: [{path: a}], members: [{user: dev, scope: a, role: king}]}", `world.members[0].role: unknown role "king"`},
		{"world: {groups: [{path: a}], members: [{user: dev, scope: a, role: guest}, {user: dev, scope: a, role: owner}]}", `world.members[1]: dev has a role on "a" already`},
		{"world: {instance: {public_scope: loose}}", `world.instance.public_scope: unknown public_scope "loose"`},
		{"world: {instance: {max_group_entries: -1}}", `world.instance: a limit of entries is negative`},
		{"world: {catalogue: {permissions: [{name: read_project, surface: rest}]}}", `world.catalogue: permission "read_project"`},
		{"job: {}", `job.project is missing`},
		{"job: {project: a/b, state: dancing}", `job.state: unknown job status "dancing"`},
		{"job: {project: a/b, token: gold}", `job.token: unknown kind "gold"`},
		{"job: {project: a/b, heartbeat: loud}", `job.heartbeat: unknown kind "loud"`},
		{"job: {project: a/b, limits: {targets: [a/b]}}", `job.limits.targets[0]: there is no project or group "a/b"`},
		{"job: {project: a/b}\nrequest: {surface: window}", `request.surface: unknown surface "window"`},
	} {
		got, err := read("id: x\nexpect: deny\n"+c.yaml, "f.yaml")
		if err != nil {
			t.Errorf("%s: %v", c.yaml, err)
			continue
		}
		_, _, err = Run(&got[0])
		if want := "f.yaml:1: x: " + c.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", c.yaml, err, want)
		}
		if _, _, _, again := got[0].Records(); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: Records says %v", c.yaml, again)
		}
	}
}

// TestDefaults: what is left out means what the package comment says.
func TestDefaults(t *testing.T) {
	s := must(t, "id: x\nexpect: deny\nworld:\n  projects: [{path: dev/tool}]\njob: {project: dev/tool}\nrequest: {target_project: dev/tool, permission: read_project}\n")
	records, req, now, err := s.Records()
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFacts(records...)
	if err != nil {
		t.Fatal(err)
	}
	i := f.Instance()
	if i.PublicScope != authz.ScopeExempt || i.EnforceInbound || !i.AnyoneCanPull {
		t.Errorf("instance %+v", i)
	}
	id, ok := f.ProjectAt("dev/tool")
	p, _ := f.Project(id)
	if !ok || p.Visibility != authz.Private || p.State != authz.StateActive || !p.InboundOn || p.OutboundOn || !p.PublicBuilds ||
		p.PushSelf || p.PushCross || p.Hidden || p.ReadOnly || p.Features != [authz.NumFeatures]authz.FeatureLevel{} {
		t.Errorf("project %+v", p)
	}
	tok, ok := f.Token(req.Token)
	if !ok || tok.Status != authz.JobRunning || tok.Erased || tok.Expires <= now || tok.Deadline != 0 || tok.Limits.Permissions != nil || tok.Limits.Targets != nil {
		t.Errorf("token %+v", tok)
	}
	u, ok := f.User(tok.User)
	if !ok || u.State != authz.UserStateActive || u.External {
		t.Errorf("user %+v", u)
	}
	if req.Surface != authz.SurfaceDefault || req.Target.Path != "dev/tool" {
		t.Errorf("request %+v", req)
	}
}

func must(t *testing.T, text string) *Scenario {
	t.Helper()
	got, err := read(text, "t.yaml")
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %d scenarios", err, len(got))
	}
	return &got[0]
}

// TestJudge: the phrase for each way to differ.
func TestJudge(t *testing.T) {
	deny := authz.Decision{Reason: authz.NotMember}
	allow := authz.Decision{Allow: true, Reason: authz.AllowedSelf}
	for _, c := range []struct {
		expect, reason string
		d              authz.Decision
		want           string
	}{
		{"deny", "", deny, ""},
		{"allow", "allowed_self", allow, ""},
		{"allow", "", deny, "expected allow, got deny (not_member: the user is no member of the target)"},
		{"deny", "role_too_low", deny, "deny as expected, but for not_member and not for role_too_low"},
		{"deny", "not_member", allow, "expected deny, got allow (allowed_self: the job's own project, and the user's role)"},
	} {
		s := Scenario{Expect: c.expect, ExpectReason: c.reason}
		if got := s.Judge(c.d); got != c.want {
			t.Errorf("%v: %q, wanted %q", c, got, c.want)
		}
	}
}

// TestSample says how many cases the shared sample has, so that a cut file is seen.
func TestSample(t *testing.T) {
	text, err := os.ReadFile("testdata/sample.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(string(text), "sample.jsonl")
	if err != nil || len(got) != 128 {
		t.Errorf("%d cases, %v", len(got), err)
	}
	if want := fmt.Sprint(strings.Count(string(text), "\n")); fmt.Sprint(len(got)) != want {
		t.Errorf("%d cases in %s lines", len(got), want)
	}
}
