package state_test

import (
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// TestListsThatShouldNotBe takes lists that break the promise of their records, to be
// sorted and to name nothing twice: they must neither open more than they say nor
// leave anything behind.
func TestListsThatShouldNotBe(t *testing.T) {
	v := state.NewView()
	two, one := authz.InProject(2), authz.InProject(1)
	members := &state.Members{User: 1, List: []state.Membership{
		{Scope: two, Role: authz.RoleOwner}, {Scope: one, Role: authz.RoleGuest}, {Scope: two, Role: authz.RoleReporter},
	}}
	list := state.DefaultAllowlist(3)
	list.Inbound = []state.Entry{{Caller: two, Entry: policy.Entry{Default: true}}, {Caller: one}, {Caller: one}}
	list.Outbound = []authz.ProjectID{5, 4, 5}
	v.Apply([]state.Change{{Revision: 1, Puts: []state.Record{&state.Project{ID: 2}, &state.Project{ID: 1}, members, list}}})
	if role, _ := v.RoleOf(1, 2); role != authz.RoleReporter {
		t.Errorf("of two roles on a project %s counts, want the lower one", role)
	}
	if role, _ := v.RoleOf(1, 1); role != authz.RoleGuest {
		t.Errorf("the role behind another is %s, want guest", role)
	}
	same(t, "members", v.MembersOf(two, 0, 10), []state.Member{{User: 1, Role: authz.RoleReporter}})
	same(t, "listed on", v.ListedOn(one, 0, 10), []authz.ProjectID{3})
	same(t, "outbound", v.OutboundFrom(5, 0, 10), []authz.ProjectID{3})

	members = &state.Members{User: 1, List: members.List[:1]}
	v.Apply([]state.Change{{Revision: 2, Puts: []state.Record{members}}})
	same(t, "members", v.MembersOf(two, 0, 10), []state.Member{{User: 1, Role: authz.RoleOwner}})
	v.Apply([]state.Change{{Revision: 3, Deletes: []state.Key{
		members.Key(), list.Key(), state.ProjectKey(1), state.ProjectKey(2),
	}}})
	same(t, "in use", v.InUse(), map[string]int{})
}

// TestCatalogueInForce checks that an extension counts from its commit on, that one
// that cannot be read leaves the last in force and says so, and that deleting it brings
// back what is built in.
func TestCatalogueInForce(t *testing.T) {
	v := state.NewView()
	has := func() bool {
		_, ok := v.Catalogue().Permission("read_cakes")
		return ok
	}
	put := func(rev authz.Revision, doc string) {
		v.Apply([]state.Change{{Revision: rev, Puts: []state.Record{&state.Catalogue{Document: []byte(doc)}}}})
	}
	if has() || v.CatalogueError() != nil {
		t.Fatal("an empty view has an extension")
	}
	put(1, `{"permissions": [{"name": "read_cakes", "surface": "rest", "role": "guest"}]}`)
	if !has() || v.CatalogueError() != nil {
		t.Errorf("the extension is not in force: %v", v.CatalogueError())
	}
	put(2, `{"permissions": [{"name": "read_cakes"`)
	if !has() || v.CatalogueError() == nil {
		t.Errorf("a broken extension: the one before is in force: %t, the error is %v", has(), v.CatalogueError())
	}
	if r, rev, ok := v.CatalogueRecord(); !ok || rev != 2 || len(r.Document) == 0 {
		t.Errorf("the record is %v at %d, %t", r, rev, ok)
	}
	v.Apply([]state.Change{{Revision: 3, Deletes: []state.Key{state.CatalogueKey()}}})
	if has() || v.CatalogueError() != nil {
		t.Error("the extension outlived its record")
	}
}

// TestPersonalNamespaces resolves paths where a personal namespace has the name of a
// group: each project is found by its own path, and the group's wins where both have
// one.
func TestPersonalNamespaces(t *testing.T) {
	v := state.NewView()
	v.Apply([]state.Change{{Revision: 1, Puts: []state.Record{
		&state.Project{ID: 1, Namespace: "dev", Name: "mine"},
		&state.Project{ID: 2, Namespace: "dev", Name: "both"},
		&state.Project{ID: 3, Group: 7, Name: "both"}, // before its group is there
		&state.Project{ID: 4, Group: 7, Name: "ours"},
	}}})
	at := func(path string, want authz.ProjectID) {
		t.Helper()
		if id, ok := v.ProjectAt(path); id != want || ok != (want != 0) {
			t.Errorf("at %q: project %d, want %d", path, id, want)
		}
	}
	at("dev/mine", 1)
	at("dev/both", 2)
	at("dev/ours", 0)
	v.Apply([]state.Change{{Revision: 2, Puts: []state.Record{&state.Group{ID: 7, Name: "dev"}}}})
	at("dev/mine", 1)
	at("dev/both", 3)
	at("dev/ours", 4)
	at("Dev/ours", 0)
	at("dev", 0)
	at("/dev/ours", 0)
	at("dev/ours/", 0)
	at("dev//ours", 0)
	v.Apply([]state.Change{{Revision: 3, Puts: []state.Record{&state.Group{ID: 7, Parent: 8, Name: "new"}, &state.Group{ID: 8, Name: "top"}}}})
	at("dev/both", 2)
	at("top/new/ours", 4)
}
