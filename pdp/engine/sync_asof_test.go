package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// listOf is the list that a forge takes of what the engine holds.
func listOf(e *Engine) []Change { return holding(e).changes() }

// TestSyncLeavesYoungerAlone: what was changed after the list was taken stays as it is,
// whatever the list says, and is counted.
func TestSyncLeavesYoungerAlone(t *testing.T) {
	app, tool := authz.InProject(1), authz.InProject(2)
	start := []Change{
		group(1, 0, "acme"), group(2, 1, "old"), projectIn(1, 1, "app"), projectIn(2, 1, "tool"), projectIn(3, 1, "lib"),
		user(1), user(2), user(3), user(4), role(1, app, authz.RoleOwner), role(2, app, authz.RoleOwner), role(2, tool, authz.RoleGuest), role(4, app, authz.RoleGuest),
	}
	for _, c := range []struct {
		name    string
		after   func(*Engine) error // what happens after the list was taken
		count   func(Diff) int
		younger int
	}{
		{"blocked user", func(e *Engine) error {
			_, err := e.BlockUser(t.Context(), forge(), UserStateRequest{User: 1, State: authz.UserStateBlocked})
			return err
		}, func(d Diff) int { return d.Users.Younger }, 1},
		{"deletion begun", func(e *Engine) error {
			_, err := e.BeginProjectDeletion(t.Context(), forge(), DeletionRequest{Project: 1})
			return err
		}, func(d Diff) int { return d.Projects.Younger }, 1},
		{"project removed", apply(Change{DeleteProject: 1}), func(d Diff) int { return d.Projects.Younger }, 1},
		{"its memberships", apply(Change{DeleteProject: 1}), func(d Diff) int { return d.Memberships.Younger }, 3},
		{"user removed", apply(Change{DeleteUser: 2}), func(d Diff) int { return d.Users.Younger }, 1},
		{"their memberships", apply(Change{DeleteUser: 2}), func(d Diff) int { return d.Memberships.Younger }, 2},
		{"role lowered", apply(role(1, app, authz.RoleGuest)), func(d Diff) int { return d.Memberships.Younger }, 1},
		{"last role taken", apply(Change{DeleteMembership: &MembershipRef{4, app}}), func(d Diff) int { return d.Memberships.Younger }, 1},
		{"created project", apply(projectIn(9, 1, "new")), func(d Diff) int { return d.Projects.Younger }, 1},
		{"created group", apply(group(9, 1, "new")), func(d Diff) int { return d.Groups.Younger }, 1},
		{"created user", apply(user(9)), func(d Diff) int { return d.Users.Younger }, 1},
		{"moved project", apply(projectIn(1, 2, "app")), func(d Diff) int { return d.Projects.Younger }, 1},
		{"renamed group", apply(group(1, 0, "corp")), func(d Diff) int { return d.Groups.Younger }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t)
			mustApply(t, e, start...)
			list, asOf := listOf(e), e.GetDirectoryStatus(t.Context()).Mark.Revision
			if err := c.after(e); err != nil {
				t.Fatal(err)
			}
			want := holding(e)
			plan := mustSync(t, e, SyncOptions{AsOf: asOf, ValidateOnly: true}, nil, list)
			diff := mustSync(t, e, SyncOptions{AsOf: asOf}, nil, list)
			sameWorld(t, holding(e), want)
			if c.count(diff) != c.younger || c.count(plan) != c.younger || diff.Commits != 0 {
				t.Errorf("%+v", diff)
			}
			// A list taken afterwards counts again.
			list = append(listOf(e), user(77))
			diff = mustSync(t, e, SyncOptions{AsOf: e.view.Mark().Revision}, nil, list)
			if diff.Users.Created != 1 || diff.Commits != 1 {
				t.Errorf("a fresh list: %+v", diff)
			}
		})
	}
}

func apply(changes ...Change) func(*Engine) error {
	return func(e *Engine) error {
		_, err := e.Apply(context.Background(), forge(), ApplyRequest{Changes: changes})
		return err
	}
}

// TestSyncWithoutAsOf overrides everything but a deletion under way, and kills again
// what it brings back.
func TestSyncWithoutAsOf(t *testing.T) {
	e := newEngine(t)
	mustApply(t, e, personal(1, "u", "app"), personal(2, "u", "lib"), user(1), user(2))
	list := listOf(e)
	for _, f := range []func(*Engine) error{
		func(e *Engine) error {
			_, err := e.BeginProjectDeletion(t.Context(), forge(), DeletionRequest{Project: 1})
			return err
		},
		func(e *Engine) error {
			_, err := e.BlockUser(t.Context(), forge(), UserStateRequest{User: 1, State: authz.UserStateBanned})
			return err
		},
		apply(Change{DeleteProject: 2}, Change{DeleteUser: 2}),
	} {
		if err := f(e); err != nil {
			t.Fatal(err)
		}
	}
	diff := mustSync(t, e, SyncOptions{}, nil, list)
	if diff.Projects != (DiffCount{Created: 1, Younger: 1}) || diff.Users != (DiffCount{Created: 1, Updated: 1}) {
		t.Errorf("%+v", diff)
	}
	for id := authz.UserID(1); id <= 2; id++ {
		if d, _, ok := e.view.DeathOfUser(id); !ok || d.Before < diff.Revision-5 {
			t.Errorf("user %d came back without a death: %+v", id, d)
		}
	}
	// A list without the project ends the deletion.
	diff = mustSync(t, e, SyncOptions{}, nil, []Change{personal(2, "u", "lib"), user(1), user(2)})
	if diff.Projects != (DiffCount{Removed: 1, Unchanged: 1}) {
		t.Errorf("%+v", diff)
	}
}

// TestSyncLeavesListsAlone: lists of projects that stay, jobs and settings are none of
// its business.
func TestSyncLeavesListsAlone(t *testing.T) {
	a := &state.Allowlist{Project: 1, PushSelf: true, Inbound: []state.Entry{{Caller: authz.InGroup(7), Entry: policy.Entry{Default: true}}}}
	e := newEngine(t, &state.Project{ID: 1, Namespace: "u", Name: "app"}, &state.Group{ID: 7, Name: "g"}, &state.User{ID: 1, Name: "u"}, a)
	d := mustIssue(t, e, issue1("job"))
	_, rev := e.view.Allowlist(1)
	mustSync(t, e, SyncOptions{}, nil, []Change{personal(1, "u", "renamed"), group(7, 0, "g"), user(1)})
	if got, now := e.view.Allowlist(1); now != rev || !got.PushSelf || len(got.Inbound) != 1 {
		t.Errorf("%+v at %d, was at %d", got, now, rev)
	}
	wantReason(t, e, ask(d, "read_own_job", 1), authz.AllowedOwnJob)
}

func TestSyncRefusesBadLists(t *testing.T) {
	e := newEngine(t)
	mustApply(t, e, user(1))
	for _, c := range []struct {
		name  string
		field string
		list  []Change
	}{
		{"parent", "group 1.parent_id", []Change{group(1, 2, "a")}},
		{"circle", "group 1.parent_id", []Change{group(1, 2, "a"), group(2, 1, "b")}},
		{"self", "group 1.parent_id", []Change{group(1, 1, "a")}},
		{"home", "project 1.group_id", []Change{projectIn(1, 2, "a")}},
		{"user", "membership of user 5.user_id", []Change{personal(1, "u", "a"), role(5, authz.InProject(1), authz.RoleGuest)}},
		{"scope", "membership of user 1.scope", []Change{user(1), role(1, authz.InProject(1), authz.RoleGuest)}},
		{"group twice", "group 1", []Change{group(1, 0, "a"), group(1, 0, "b")}},
		{"project twice", "project 1", []Change{personal(1, "u", "a"), personal(1, "u", "b")}},
		{"user twice", "user 1", []Change{user(1), user(1)}},
		{"role twice", "membership of user 1", []Change{user(1), group(1, 0, "a"), role(1, authz.InGroup(1), authz.RoleGuest), role(1, authz.InGroup(1), authz.RoleOwner)}},
		{"path twice", "project 2.name", []Change{personal(1, "u", "a"), personal(2, "u", "a")}},
		{"group and project", "project 2.name", []Change{group(9, 0, "g"), group(1, 9, "a"), projectIn(2, 9, "a")}},
		{"path by way of a namespace", "project 2.name", []Change{group(1, 0, "u"), projectIn(1, 1, "a"), personal(2, "u", "a")}},
		{"bad name", "group 1.name", []Change{group(1, 0, "a/b")}},
		{"bad role", "membership of user 1.role", []Change{role(1, authz.InGroup(1), 3)}},
		{"bad user", "user 0.user_id", []Change{user(0)}},
		{"bad project", "project 1.namespace", []Change{projectIn(1, 0, "a")}},
		{"a deletion", "record", []Change{{DeleteUser: 1}}},
		{"nothing", "record", []Change{{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := runSync(t.Context(), e, SyncOptions{}, nil, c.list)
			wantError(t, err, authz.KindInvalid, CodeInvalidField)
			wantField(t, err, c.field)
		})
	}
	var deep []Change
	for id := authz.GroupID(1); id <= MaxDepth+1; id++ {
		deep = append(deep, group(id, id-1, "g"))
	}
	_, err := runSync(t.Context(), e, SyncOptions{}, nil, deep)
	wantField(t, err, fmt.Sprintf("group %d.parent_id", MaxDepth+1))
	_, err = runSync(t.Context(), e, SyncOptions{AsOf: 2}, nil, nil)
	wantError(t, err, authz.KindInvalid, CodeSyncAhead)
	_, err = runSync(t.Context(), e, SyncOptions{MaxRecords: 1}, nil, []Change{user(1), user(2)})
	wantError(t, err, authz.KindExhausted, CodeSyncFull)
	if e.view.Mark().Revision != 1 {
		t.Error("something was committed")
	}
	s, err := e.BeginSync(forge(), SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Finish(t.Context())
	wantError(t, err, authz.KindPrecondition, CodeSyncDone)
	wantError(t, s.Add(user(1)), authz.KindPrecondition, CodeSyncDone)
}

// TestSyncOvertaken: a change that comes between and leaves the rest of the list
// without a place ends the synchronisation, in a valid directory, and a fresh list
// goes through.
func TestSyncOvertaken(t *testing.T) {
	st := &watched{Store: storeOf(t, &state.Group{ID: 1, Name: "acme"}, &state.User{ID: 1, Name: "a"}, &state.User{ID: 2, Name: "b"})}
	e := startEngine(t, st, newHandClock(noon()))
	s, err := e.BeginSync(forge(), SyncOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Change{group(1, 0, "acme"), projectIn(9, 1, "app"), {User: &state.User{ID: 1, Name: "a"}}} {
		if err := s.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	// The other change comes right after the commit that removes user 2.
	st.after = func() {
		st.after = nil
		b := state.Batch{Puts: []state.Record{&state.Project{ID: 5, Group: 1, Name: "app"}}}
		if _, err := st.Store.Commit(t.Context(), b); err != nil {
			t.Error(err)
		}
	}
	diff, err := s.Finish(t.Context())
	wantError(t, err, authz.KindConflict, CodeSyncOvertaken)
	if err != nil && !strings.Contains(err.Error(), "project 5") {
		t.Errorf("the error does not say why: %v", err)
	}
	if diff.Commits != 1 {
		t.Errorf("%+v", diff)
	}
	mustSync(t, e, SyncOptions{}, nil, []Change{group(1, 0, "acme"), projectIn(5, 1, "app"), projectIn(9, 1, "other"), user(1)})
}

// TestSyncSaysWhat: the lines name what is done, what takes away first.
func TestSyncSaysWhat(t *testing.T) {
	e := newEngine(t)
	mustApply(t, e, group(1, 0, "acme"), projectIn(1, 1, "app"), projectIn(2, 1, "lib"), user(1), role(1, authz.InProject(1), authz.RoleOwner))
	diff := mustSync(t, e, SyncOptions{ValidateOnly: true}, nil, []Change{
		group(1, 0, "corp"), group(2, 1, "new"), projectIn(2, 2, "lib"), {User: &state.User{ID: 1, Name: "user1", State: authz.UserStateBanned}},
		role(1, authz.InGroup(2), authz.RoleDeveloper),
	})
	want := []string{
		"remove project 1 (acme/app)",
		"change user 1 (user1): state active to banned",
		"remove user 1 from project 1 (acme/app), was owner",
		"change project 2 (corp/new/lib): group 1 to 2",
		"change group 1 (corp): name acme to corp",
		"create group 2 (corp/new): private",
		"make user 1 developer of group 2 (corp/new)",
	}
	if got := strings.Join(diff.Lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	var many []Change
	for id := authz.UserID(1); id <= 3*MaxDiffLines; id++ {
		many = append(many, user(id))
	}
	if diff = mustSync(t, e, SyncOptions{ValidateOnly: true}, nil, many); len(diff.Lines) != MaxDiffLines || diff.Lines[0] != "remove project 1 (acme/app)" {
		t.Errorf("%d lines, the first is %s", len(diff.Lines), diff.Lines[0])
	}
}

// TestBlocksDoNotWaitForSyncs: a block and a deletion that come while a synchronisation
// runs go through at once, in the middle of one of its commits, and win, whenever that
// is.
func TestBlocksDoNotWaitForSyncs(t *testing.T) {
	rng := random(t)
	for at := range 20 {
		st := &watched{Store: memstore.New()}
		e := startEngine(t, st, newHandClock(noon()))
		mustApply(t, e, user(1), user(2), group(1, 0, "g"), projectIn(1, 1, "p"), personal(2, "u", "q"))
		left, blocking := at, false
		st.fail = func() error { // the draft is made, and its commit is about to be
			if left--; left >= 0 || blocking {
				return nil
			}
			blocking, st.fail = true, nil
			if _, err := e.BlockUser(t.Context(), forge(), UserStateRequest{User: 1, State: authz.UserStateBanned}); err != nil {
				t.Error(err)
			}
			if _, err := e.BeginProjectDeletion(t.Context(), forge(), DeletionRequest{Project: 1}); err != nil {
				t.Error(err)
			}
			return nil
		}
		opt := SyncOptions{}
		if rng.IntN(2) == 0 {
			opt.AsOf = e.view.Mark().Revision
		}
		list := []Change{
			{User: &state.User{ID: 1, Name: "new", Admin: true}}, {User: &state.User{ID: 3, Name: "c"}},
			group(2, 0, "h"), group(3, 2, "i"), projectIn(1, 3, "moved"), projectIn(5, 2, "r"), role(1, authz.InProject(1), authz.RoleOwner),
		}
		mustSync(t, e, opt, func(s *Sync) { s.chunk = 1 }, list)
		if blocking {
			u, _, _ := e.view.User(1)
			p, _, _ := e.view.Project(1)
			if u.State != authz.UserStateBanned || p.State != authz.StatePendingDelete {
				t.Errorf("before commit %d: the user is %s, the project %s", at, u.State, p.State)
			}
		}
		st.fail = nil
	}
}
