package engine

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// The parts of changes, short.

func group(id, parent authz.GroupID, name string) Change {
	return Change{Group: &state.Group{ID: id, Parent: parent, Name: name}}
}

func projectIn(id authz.ProjectID, in authz.GroupID, name string) Change {
	return Change{Project: &state.Project{ID: id, Group: in, Name: name, PublicBuilds: true}}
}

func personal(id authz.ProjectID, namespace, name string) Change {
	return Change{Project: &state.Project{ID: id, Namespace: namespace, Name: name}}
}

func user(id authz.UserID) Change {
	return Change{User: &state.User{ID: id, Name: fmt.Sprintf("user%d", id)}}
}

func role(user authz.UserID, s authz.Scope, r authz.Role) Change {
	return Change{Membership: &Membership{user, state.Membership{Scope: s, Role: r}}}
}

func mustApply(t *testing.T, e *Engine, changes ...Change) Applied {
	t.Helper()
	done, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: changes})
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return done
}

// wantError asserts the kind and code of an error.
func wantError(t *testing.T, err error, kind authz.Kind, code string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %s", code)
	} else if authz.KindOf(err) != kind || codeOf(err) != code {
		t.Errorf("error %q of kind %d, code %s; want kind %d, code %s", err, authz.KindOf(err), codeOf(err), kind, code)
	}
}

func wantField(t *testing.T, err error, field string) {
	t.Helper()
	var e *authz.Error
	if !errors.As(err, &e) || !slices.ContainsFunc(e.Violations, func(v authz.Violation) bool { return v.Field == field }) {
		t.Errorf("error %v names no field %s", err, field)
		if e != nil {
			t.Logf("violations: %v", e.Violations)
		}
	}
}

// TestApplyRefusesBadFields: every bad field is named as the API spells it, and
// nothing happens.
func TestApplyRefusesBadFields(t *testing.T) {
	e := newEngine(t)
	long := strings.Repeat("n", MaxName+1)
	proj := func(edit func(*state.Project)) Change {
		p := &state.Project{ID: 1, Namespace: "u", Name: "p"}
		edit(p)
		return Change{Project: p}
	}
	for _, c := range []struct {
		name   string
		change Change
		field  string
	}{
		{"nothing", Change{}, "changes[0]"},
		{"two things", Change{DeleteGroup: 1, DeleteUser: 1}, "changes[0]"},
		{"group id zero", group(0, 0, "a"), "changes[0].set_group.group_id"},
		{"group id huge", group(authz.MaxID+1, 0, "a"), "changes[0].set_group.group_id"},
		{"parent negative", group(1, -1, "a"), "changes[0].set_group.parent_id"},
		{"parent missing", group(1, 9, "a"), "changes[0].set_group.parent_id"},
		{"own parent", group(1, 1, "a"), "changes[0].set_group.parent_id"},
		{"no name", group(1, 0, ""), "changes[0].set_group.name"},
		{"long name", group(1, 0, long), "changes[0].set_group.name"},
		{"slash", group(1, 0, "a/b"), "changes[0].set_group.name"},
		{"dot", group(1, 0, "."), "changes[0].set_group.name"},
		{"dots", group(1, 0, ".."), "changes[0].set_group.name"},
		{"control", group(1, 0, "a\nb"), "changes[0].set_group.name"},
		{"delete", group(1, 0, "a\u007fb"), "changes[0].set_group.name"},
		{"high control", group(1, 0, "a\u0085b"), "changes[0].set_group.name"},
		{"not UTF-8", group(1, 0, "a\xff"), "changes[0].set_group.name"},
		{"reserved", group(1, 0, parked+"1"), "changes[0].set_group.name"},
		{"group visibility", Change{Group: &state.Group{ID: 1, Name: "a", Visibility: 3}}, "changes[0].set_group.visibility"},
		{"group state", Change{Group: &state.Group{ID: 1, Name: "a", State: authz.StatePendingDelete}}, "changes[0].set_group.state"},
		{"project id", proj(func(p *state.Project) { p.ID = 0 }), "changes[0].set_project.project_id"},
		{"nowhere", proj(func(p *state.Project) { p.Namespace = "" }), "changes[0].set_project.namespace"},
		{"two homes", proj(func(p *state.Project) { p.Group = 1 }), "changes[0].set_project.namespace"},
		{"namespace", proj(func(p *state.Project) { p.Namespace = "a/b" }), "changes[0].set_project.namespace"},
		{"group missing", projectIn(1, 5, "p"), "changes[0].set_project.group_id"},
		{"project name", proj(func(p *state.Project) { p.Name = "x/y" }), "changes[0].set_project.name"},
		{"project visibility", proj(func(p *state.Project) { p.Visibility = 9 }), "changes[0].set_project.visibility"},
		{"project state", proj(func(p *state.Project) { p.State = 9 }), "changes[0].set_project.state"},
		{"level", proj(func(p *state.Project) { p.Features[0] = 9 }), "changes[0].set_project.features"},
		{"public level", proj(func(p *state.Project) { p.Features[authz.FeatureIssues] = authz.FeaturePublic }), "changes[0].set_project.features"},
		{"user id", user(-1), "changes[0].set_user.user_id"},
		{"user name", Change{User: &state.User{ID: 1}}, "changes[0].set_user.name"},
		{"user state", Change{User: &state.User{ID: 1, Name: "u", State: 9}}, "changes[0].set_user.state"},
		{"member of nobody", role(0, authz.InProject(1), authz.RoleGuest), "changes[0].set_membership.user_id"},
		{"member of nothing", role(1, authz.Scope{}, authz.RoleGuest), "changes[0].set_membership.scope"},
		{"no role", role(1, authz.InProject(1), authz.RoleNone), "changes[0].set_membership.role"},
		{"odd role", role(1, authz.InProject(1), 41), "changes[0].set_membership.role"},
		{"unknown member", role(1, authz.InProject(1), authz.RoleGuest), "changes[0].set_membership.user_id"},
		{"unknown scope", role(1, authz.InProject(1), authz.RoleGuest), "changes[0].set_membership.scope"},
		{"remove group", Change{DeleteGroup: -1}, "changes[0].remove_group_id"},
		{"remove project", Change{DeleteProject: authz.MaxID + 1}, "changes[0].remove_project_id"},
		{"remove user", Change{DeleteUser: -5}, "changes[0].remove_user_id"},
		{"remove membership", Change{DeleteMembership: &MembershipRef{}}, "changes[0].remove_membership.user_id"},
		{"remove membership of nothing", Change{DeleteMembership: &MembershipRef{User: 1}}, "changes[0].remove_membership.scope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{c.change, user(7)}})
			wantError(t, err, authz.KindInvalid, CodeInvalidField)
			wantField(t, err, c.field)
			if rev := e.view.Mark().Revision; rev != 0 {
				t.Errorf("something was committed: revision %d", rev)
			}
		})
	}
	_, err := e.Apply(t.Context(), forge(), ApplyRequest{})
	wantField(t, err, "changes")
	_, err = e.Apply(t.Context(), forge(), ApplyRequest{Changes: slices.Repeat([]Change{user(1)}, MaxChanges+1)})
	wantField(t, err, "changes")
	_, err = e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{user(1), {DeleteUser: 1}}})
	wantField(t, err, "changes[1]")
}

// TestApplyOrderIsFree: what a change needs can come after it in the batch.
func TestApplyOrderIsFree(t *testing.T) {
	e := newEngine(t)
	done := mustApply(t, e, role(1, authz.InGroup(2), authz.RoleOwner), projectIn(1, 2, "app"), group(2, 1, "sub"), group(1, 0, "acme"), user(1))
	if done.Changed != 5 || done.Revision != 1 {
		t.Errorf("%+v", done)
	}
	p, err := e.GetProject(t.Context(), authz.Target{Path: "acme/sub/app"})
	if err != nil || p.ID != 1 || p.Path != "acme/sub/app" || p.Changed != 1 {
		t.Errorf("project %+v, %v", p, err)
	}
	if r, from := e.view.RoleOf(1, 1); r != authz.RoleOwner || from != authz.InGroup(2) {
		t.Errorf("role %s from %s", r, from)
	}
	// And the other way round, down to nothing.
	mustApply(t, e, Change{DeleteGroup: 1}, Change{DeleteGroup: 2}, Change{DeleteProject: 1}, Change{DeleteUser: 1})
	sameWorld(t, holding(e), emptyWorld())
	checkNoLeftovers(t, e)
	if again := mustApply(t, e, Change{DeleteGroup: 1}, Change{DeleteUser: 1}); again.Changed != 0 || again.Revision != e.view.Mark().Revision {
		t.Errorf("deleting what is deleted: %+v", again)
	}
}

// TestApplyIsAtomic: one bad change among many, and none happens.
func TestApplyIsAtomic(t *testing.T) {
	e := newEngine(t)
	var changes []Change
	for id := range authz.UserID(MaxChanges - 1) {
		changes = append(changes, user(id+1))
	}
	_, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: append(changes, projectIn(1, 1, "p"))})
	wantField(t, err, fmt.Sprintf("changes[%d].set_project.group_id", MaxChanges-1))
	sameWorld(t, holding(e), emptyWorld())
	if done := mustApply(t, e, append(changes, group(1, 0, "g"))...); done.Changed != MaxChanges {
		t.Errorf("changed %d", done.Changed)
	}
}

func TestApplyNames(t *testing.T) {
	start := []Change{
		group(1, 0, "acme"), group(2, 1, "sub"), group(3, 0, "dev"), projectIn(1, 1, "app"), projectIn(2, 3, "tool"), personal(3, "sam", "x"),
		projectIn(4, 3, "x"),
	}
	for _, c := range []struct {
		name    string
		changes []Change
		ok      bool
	}{
		{"project by project", []Change{projectIn(9, 1, "app")}, false},
		{"project by group", []Change{projectIn(9, 1, "sub")}, false},
		{"group by project", []Change{group(9, 1, "app")}, false},
		{"group by group at the top", []Change{group(9, 0, "acme")}, false},
		{"two in one batch", []Change{projectIn(8, 1, "n"), projectIn(9, 1, "n")}, false},
		{"two kinds in one batch", []Change{projectIn(8, 1, "n"), group(9, 1, "n")}, false},
		{"another group", []Change{projectIn(9, 2, "app")}, true},
		{"other case", []Change{projectIn(9, 1, "App")}, true},
		{"same again", []Change{projectIn(1, 1, "app")}, true},
		{"swap", []Change{projectIn(1, 1, "sub"), group(2, 1, "app")}, true},
		{"place of one that goes", []Change{{DeleteProject: 1}, projectIn(9, 1, "app")}, true},
		{"place of one that moves", []Change{projectIn(1, 2, "app"), projectIn(9, 1, "app")}, true},
		{"moves onto another", []Change{projectIn(2, 1, "app")}, false},
		{"personal", []Change{personal(9, "sam", "x")}, false},
		{"path by way of a namespace", []Change{personal(9, "dev", "tool")}, false},
		{"other path in such a namespace", []Change{personal(9, "dev", "other")}, true},
		{"group with the name of a namespace", []Change{group(9, 0, "sam")}, true},
		{"and with its project", []Change{group(9, 0, "sam"), projectIn(9, 9, "x")}, false},
		{"group renamed onto a namespace", []Change{group(3, 0, "sam")}, false},
		{"but for what leaves it", []Change{group(3, 0, "sam"), projectIn(4, 2, "x")}, true},
		{"and what comes", []Change{group(3, 0, "sam"), projectIn(4, 2, "x"), projectIn(1, 3, "x")}, false},
		{"group renamed with what is in it", []Change{personal(9, "new", "tool"), group(3, 0, "new")}, false},
		{"into a group that has been renamed", []Change{group(1, 0, "corp"), projectIn(9, 1, "app")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			mustApply(t, e, start...)
			_, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: c.changes})
			if !c.ok {
				wantError(t, err, authz.KindExists, CodeNameTaken)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestConcurrentNames: of many who want one path, one gets it.
func TestConcurrentNames(t *testing.T) {
	st := &watched{Store: memstore.New()}
	st.fail = func() error { // between a check and its commit others get a chance
		for range 100 {
			runtime.Gosched()
		}
		return nil
	}
	e := startEngine(t, st, newHandClock(noon()))
	mustApply(t, e, group(1, 0, "acme"))
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{projectIn(authz.ProjectID(i+1), 1, "app")}})
		})
	}
	wg.Wait()
	got := 0
	for _, err := range errs {
		if err == nil {
			got++
		} else {
			wantError(t, err, authz.KindExists, CodeNameTaken)
		}
	}
	if got != 1 || len(e.view.Projects(0, 100)) != 1 {
		t.Errorf("%d got the path", got)
	}
}

func TestApplyTree(t *testing.T) {
	e := newEngine(t)
	chain := []Change{group(1, 0, "g")}
	for id := authz.GroupID(2); id <= MaxDepth; id++ {
		chain = append(chain, group(id, id-1, "g"))
	}
	mustApply(t, e, chain...)
	mustApply(t, e, projectIn(1, MaxDepth, "deep"), group(50, 0, "other"), group(51, 50, "x"), group(52, 51, "y"))

	refuse := func(what, field string, changes ...Change) {
		t.Helper()
		_, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: changes})
		t.Log(what, err)
		wantError(t, err, authz.KindInvalid, CodeInvalidField)
		wantField(t, err, field)
	}
	refuse("one deeper", "changes[0].set_group.parent_id", group(21, MaxDepth, "g"))
	refuse("all one down", "changes[0].set_group.parent_id", group(1, 50, "g"))
	refuse("what is below", "changes[0].set_group.parent_id", group(50, MaxDepth-1, "other"))
	refuse("what is below, touched", "changes[0].set_group.parent_id", group(51, 50, "renamed"), group(50, MaxDepth-1, "other"))
	refuse("circle", "changes[0].set_group.parent_id", group(1, 3, "g"))
	refuse("circle of two", "changes[0].set_group.parent_id", group(50, 52, "other"))
	mustApply(t, e, group(52, 50, "y"), group(51, 52, "x")) // turns the two around
	if path, _ := e.view.GroupPath(51); path != "other/y/x" {
		t.Errorf("path %s", path)
	}

	_, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{{DeleteGroup: MaxDepth}}})
	wantError(t, err, authz.KindPrecondition, CodeGroupNotEmpty)
	_, err = e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{{DeleteGroup: 50}}})
	wantError(t, err, authz.KindPrecondition, CodeGroupNotEmpty)
	refuse("moved into one that goes", "changes[1].set_project.group_id", Change{DeleteGroup: 51}, projectIn(1, 51, "deep"))
	mustApply(t, e, Change{DeleteGroup: MaxDepth}, projectIn(1, 50, "saved"))
}

func TestApplyMemberships(t *testing.T) {
	e := newEngine(t)
	mustApply(t, e, group(1, 0, "acme"), projectIn(1, 1, "app"), projectIn(2, 1, "lib"), user(1), user(2))
	app, lib, acme := authz.InProject(1), authz.InProject(2), authz.InGroup(1)
	mustApply(t, e, role(1, acme, authz.RoleGuest), role(1, lib, authz.RoleDeveloper), role(1, app, authz.RoleOwner))
	m, _ := e.view.Members(1)
	want := []state.Membership{{Scope: app, Role: authz.RoleOwner}, {Scope: lib, Role: authz.RoleDeveloper}, {Scope: acme, Role: authz.RoleGuest}}
	if !slices.Equal(m.List, want) {
		t.Errorf("members %v", m.List)
	}
	if done := mustApply(t, e, role(1, app, authz.RoleOwner)); done.Changed != 0 {
		t.Errorf("the same again: %+v", done)
	}
	done := mustApply(t, e, role(1, app, authz.RoleReporter), Change{DeleteMembership: &MembershipRef{1, lib}}, Change{DeleteMembership: &MembershipRef{2, lib}})
	if done.Changed != 2 {
		t.Errorf("changed %d", done.Changed)
	}
	mustApply(t, e, Change{DeleteUser: 1})
	if m, _ := e.view.Members(1); len(m.List) != 0 {
		t.Errorf("a deleted user keeps %v", m.List)
	}
	_, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{role(2, app, authz.RoleGuest), {DeleteUser: 2}}})
	wantField(t, err, "changes[0].set_membership.user_id")
	_, err = e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{role(2, app, authz.RoleGuest), {DeleteProject: 1}}})
	wantField(t, err, "changes[0].set_membership.scope")
}

func TestApplyValidateOnlyAndExpected(t *testing.T) {
	e := newEngine(t)
	rev := mustApply(t, e, user(1)).Revision
	done, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{user(2), group(1, 0, "g")}, ValidateOnly: true, RequestID: "v"})
	if err != nil || done.Changed != 2 || done.Revision != rev || e.view.Mark().Revision != rev {
		t.Errorf("%+v, %v", done, err)
	}
	_, err = e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{projectIn(1, 1, "p")}, ValidateOnly: true})
	wantError(t, err, authz.KindInvalid, CodeInvalidField)

	mustApply(t, e, user(2))
	renamed := Change{User: &state.User{ID: 1, Name: "new"}}
	if _, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{renamed}, Expected: rev}); err != nil {
		t.Error("a change of others is no conflict:", err)
	}
	_, err = e.Apply(t.Context(), forge(), ApplyRequest{Changes: []Change{{DeleteUser: 1}}, Expected: rev})
	wantError(t, err, authz.KindConflict, CodeRevisionMismatch)
}

// TestDeletedLeavesNothing: with a project or group goes everything that names it,
// however much that is, and a new one under its id starts from nothing.
func TestDeletedLeavesNothing(t *testing.T) {
	for _, finish := range []bool{false, true} {
		e := newEngine(t)
		mustApply(t, e, group(1, 0, "g"), group(2, 0, "h"), projectIn(1, 1, "p"))
		const n = 700 // more than one cleanUp commit takes
		var b state.Batch
		for i := range n {
			id := authz.ProjectID(100 + i)
			b.Puts = append(b.Puts, &state.Project{ID: id, Namespace: "u", Name: fmt.Sprint("p", i)}, &state.Allowlist{
				Project: id, InboundOn: true, Outbound: []authz.ProjectID{1, 100}, Inbound: []state.Entry{
					{Caller: authz.InProject(1), Entry: policy.Entry{Default: true}}, {Caller: authz.InGroup(2), Entry: policy.Entry{Default: true}},
				},
			}, &state.User{ID: authz.UserID(i + 1), Name: "u"}, &state.Members{User: authz.UserID(i + 1), List: []state.Membership{
				{Scope: authz.InProject(1), Role: authz.RoleOwner}, {Scope: authz.InProject(100), Role: authz.RoleGuest}, {Scope: authz.InGroup(2), Role: authz.RoleOwner},
			}})
		}
		b.Puts = append(b.Puts, &state.Allowlist{Project: 1, PushCross: true})
		if _, err := e.store.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if finish {
			for _, f := range []func() (Done, error){
				func() (Done, error) { return e.BeginProjectDeletion(t.Context(), forge(), DeletionRequest{Project: 1}) },
				func() (Done, error) {
					return e.FinishProjectDeletion(t.Context(), forge(), DeletionRequest{Project: 1})
				},
			} {
				if _, err := f(); err != nil {
					t.Fatal(err)
				}
			}
			mustApply(t, e, Change{DeleteGroup: 2})
		} else {
			mustApply(t, e, Change{DeleteProject: 1}, Change{DeleteGroup: 2})
		}
		checkNoLeftovers(t, e)
		if a, _ := e.view.Allowlist(150); len(a.Inbound) != 0 || !slices.Equal(a.Outbound, []authz.ProjectID{100}) || !a.InboundOn {
			t.Errorf("another list is %+v", a)
		}
		if m, _ := e.view.Members(50); len(m.List) != 1 {
			t.Errorf("another user has %v", m.List)
		}
		mustApply(t, e, projectIn(1, 1, "p"))
		if a, rev := e.view.Allowlist(1); rev != 0 || a.PushCross {
			t.Errorf("the new project begins with %+v", a)
		}
	}
}

// TestCreationFindsLeftovers: a removal that was cut off before its clean-up gives
// nothing to what is created under the id later.
func TestCreationFindsLeftovers(t *testing.T) {
	e := newEngine(t,
		&state.User{ID: 1, Name: "u"}, &state.Project{ID: 2, Namespace: "u", Name: "x"},
		&state.Members{User: 1, List: []state.Membership{{Scope: authz.InProject(1), Role: authz.RoleOwner}, {Scope: authz.InGroup(1), Role: authz.RoleOwner}}},
		&state.Allowlist{Project: 1, PushSelf: true},
		&state.Allowlist{Project: 2, InboundOn: true, Outbound: []authz.ProjectID{1}, Inbound: []state.Entry{
			{Caller: authz.InProject(1), Entry: policy.Entry{Default: true}}, {Caller: authz.InGroup(1), Entry: policy.Entry{Default: true}},
		}},
	)
	mustApply(t, e, personal(1, "u", "y"), role(1, authz.InProject(1), authz.RoleGuest), group(1, 0, "g"))
	if m, _ := e.view.Members(1); !slices.Equal(m.List, []state.Membership{{Scope: authz.InProject(1), Role: authz.RoleGuest}}) {
		t.Errorf("roles %v", m.List)
	}
	a, _ := e.view.Allowlist(2)
	if len(a.Inbound) != 0 || len(a.Outbound) != 0 {
		t.Errorf("list %+v", a)
	}
	if _, rev := e.view.Allowlist(1); rev != 0 {
		t.Error("the allowlist is that of the project before")
	}
}

func TestUrgency(t *testing.T) {
	e := newEngine(t)
	mustApply(t, e, group(1, 0, "g"), projectIn(1, 1, "p"), user(1), role(1, authz.InGroup(1), authz.RoleOwner))
	urgent := func(changes ...Change) bool {
		d := e.newDraft(true)
		for i := range changes {
			d.stage(&changes[i], "c")
		}
		return d.batch().Urgent
	}
	for _, c := range []struct {
		name    string
		urgent  bool
		changes []Change
	}{
		{"nothing given", true, []Change{{DeleteProject: 1}, {DeleteUser: 1}, {DeleteMembership: &MembershipRef{1, authz.InGroup(1)}}}},
		{"lower role", true, []Change{role(1, authz.InGroup(1), authz.RoleGuest)}},
		{"blocked", true, []Change{{User: &state.User{ID: 1, Name: "user1", State: authz.UserStateBanned}}}},
		{"archived", true, []Change{{Group: &state.Group{ID: 1, Name: "g", State: authz.StateArchived}}}},
		{"deleting", true, []Change{{Project: &state.Project{ID: 1, Group: 1, Name: "p", PublicBuilds: true, State: authz.StatePendingDelete}}}},
		{"a user", false, []Change{user(2)}},
		{"a rename", false, []Change{group(1, 0, "h")}},
		{"a role", false, []Change{role(1, authz.InProject(1), authz.RoleGuest)}},
		{"one of both", false, []Change{{DeleteProject: 1}, user(2)}},
		{"public", false, []Change{{Project: &state.Project{ID: 1, Group: 1, Name: "p", PublicBuilds: true, Visibility: authz.Public}}}},
	} {
		if got := urgent(c.changes...); got != c.urgent {
			t.Errorf("%s: urgent %t", c.name, got)
		}
	}
}
