package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// world has project 1 at a/b/x, 2 at a/y and 3 in the namespace dev.
func world(t *testing.T) *Facts {
	t.Helper()
	f, err := NewFacts(
		&state.Group{ID: 1, Name: "a"}, &state.Group{ID: 2, Parent: 1, Name: "b", State: authz.StateArchived},
		&state.Project{ID: 1, Group: 2, Name: "x"}, &state.Project{ID: 2, Group: 1, Name: "y"}, &state.Project{ID: 3, Namespace: "dev", Name: "x"},
	)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *Facts) at(path string) authz.ProjectID { id, _ := f.ProjectAt(path); return id }

// TestFactsPaths: paths follow moves and renames, of what is at them and of what is above.
func TestFactsPaths(t *testing.T) {
	f := world(t)
	want := func(path string, id authz.ProjectID) {
		t.Helper()
		if got := f.at(path); got != id {
			t.Errorf("%q leads to %d, not %d", path, got, id)
		}
	}
	want("a/b/x", 1)
	want("a/y", 2)
	want("dev/x", 3)
	for _, nowhere := range []string{"", "x", "a", "a/b", "a/x", "b/x", "dev", "dev/y", "a/b/x/", "/a/y", "a//y", "dev/dev/x"} {
		want(nowhere, 0)
	}
	put := func(r state.Record) {
		t.Helper()
		if err := f.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	put(&state.Group{ID: 2, Name: "b"}) // b moves to the top
	want("a/b/x", 0)
	want("b/x", 1)
	put(&state.Project{ID: 1, Group: 1, Name: "y"}) // 1 and 2 swap places
	put(&state.Project{ID: 2, Group: 2, Name: "x"})
	want("a/y", 1)
	want("b/x", 2)
	f.Delete(state.ProjectKey(1))
	want("a/y", 0)
	f.Delete(state.GroupKey(2))
	want("b/x", 0)
	if len(f.All()) != 3 {
		t.Errorf("%d records are left", len(f.All()))
	}
}

// TestFactsAncestors: nearest first, with their states; none in a personal namespace.
func TestFactsAncestors(t *testing.T) {
	f := world(t)
	if got := f.Ancestors(1, nil); len(got) != 2 || got[0] != (policy.Group{ID: 2, State: authz.StateArchived}) || got[1].ID != 1 {
		t.Errorf("%v", got)
	}
	if got := f.Ancestors(3, nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := f.Ancestors(9, nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestFactsToken: the newest digest, a replaced one, none, and the heartbeat.
func TestFactsToken(t *testing.T) {
	f := world(t)
	job := &state.Job{ID: "j", Digest: authz.Digest{1}, IssuedAt: 100, Runner: "r", Term: 50}
	for _, r := range []state.Record{job, &state.Replaced{Digest: authz.Digest{2}, Job: "j"}, &state.Replaced{Digest: authz.Digest{3}, Job: "gone"}} {
		if err := f.Put(r); err != nil {
			t.Fatal(err)
		}
	}
	if tok, ok := f.Token(authz.Digest{1}); !ok || tok.Replaced || tok.Job != "j" || tok.Deadline != 150 {
		t.Errorf("%+v %t", tok, ok)
	}
	if tok, ok := f.Token(authz.Digest{2}); !ok || !tok.Replaced || tok.Job != "j" {
		t.Errorf("%+v %t", tok, ok)
	}
	for _, d := range []authz.Digest{{}, {3}, {4}} {
		if tok, ok := f.Token(d); ok {
			t.Errorf("%v is known: %+v", d, tok)
		}
	}
	if err := f.Put(&state.Runner{ID: "r", Beat: 120}); err != nil {
		t.Fatal(err)
	}
	if tok, _ := f.Token(authz.Digest{1}); tok.Deadline != authz.Stamp(170*time.Nanosecond) {
		t.Errorf("%v", tok.Deadline)
	}
	if err := f.Put(&state.Job{ID: "j", Digest: authz.Digest{5}}); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Token(authz.Digest{1}); ok {
		t.Error("the old digest still leads to the job")
	}
}

// TestFactsCatalogue: a catalogue that does not hold changes nothing; one that goes
// leaves the built-in one.
func TestFactsCatalogue(t *testing.T) {
	f := world(t)
	has := func() bool { _, ok := f.Catalogue().Permission("fly"); return ok }
	if err := f.Put(&state.Catalogue{Document: []byte(`{"permissions":[{"name":"fly"}]}`)}); err == nil || has() {
		t.Errorf("%v, %t", err, has())
	}
	if err := f.Put(&state.Catalogue{Document: []byte(`{"permissions":[{"name":"fly","surface":"rest","role":"guest"}]}`)}); err != nil || !has() {
		t.Errorf("%v, %t", err, has())
	}
	f.Delete(state.CatalogueKey())
	if has() {
		t.Error("the extension is still there")
	}
}

// TestFromRecordsErrors: what cannot be given a path, and what is passed over.
func TestFromRecordsErrors(t *testing.T) {
	for _, c := range []struct {
		records []state.Record
		want    string
	}{
		{[]state.Record{&state.Group{ID: 1, Parent: 2, Name: "a"}}, "group 2 is missing"},
		{[]state.Record{&state.Group{ID: 1, Parent: 2, Name: "a"}, &state.Group{ID: 2, Parent: 1, Name: "b"}}, "is above itself"},
		{[]state.Record{&state.Project{ID: 4, Group: 9, Name: "a"}}, "project 4: group 9 is missing"},
		{[]state.Record{&state.Catalogue{Document: []byte("{")}}, "catalogue: "},
	} {
		if _, err := FromRecords(c.records); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, wanted %q", err, c.want)
		}
	}
	w, err := FromRecords([]state.Record{
		&state.Project{ID: 1, Namespace: "dev", Name: "x", PublicBuilds: true}, &state.User{ID: 1, Name: "dev"},
		&state.Allowlist{Project: 1, InboundOn: true, Inbound: []state.Entry{{Caller: authz.InGroup(7)}}, Outbound: []authz.ProjectID{8}},
		&state.Allowlist{Project: 5}, &state.Members{User: 1, List: []state.Membership{{Scope: authz.InGroup(7), Role: authz.RoleOwner}}},
		&state.Members{User: 6, List: []state.Membership{{Scope: authz.InProject(1), Role: authz.RoleOwner}}},
		&state.Job{ID: "j"}, &state.Death{Project: 1}, &state.Runner{ID: "r"},
	})
	if got := asJSON(t, w); err != nil || got != `{"projects":[{"id":1,"path":"dev/x"}],"users":[{"id":1,"name":"dev"}]}` {
		t.Errorf("%v, %s", err, got)
	}
}
