package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// pages reads a list to its end; between is called after each page.
func pages[T any](t *testing.T, limit int, read func(Page) (Listing[T], error), between func()) (all []T) {
	t.Helper()
	page := Page{Limit: limit}
	for range 10_000 {
		l, err := read(page)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Items) > page.limit() {
			t.Fatalf("a page of %d, the limit is %d", len(l.Items), page.limit())
		}
		all = append(all, l.Items...)
		if l.Next == "" {
			return all
		}
		page.After = l.Next
		if between != nil {
			between()
		}
	}
	t.Fatal("the list has no end")
	return nil
}

func readWorld(t *testing.T) *Engine {
	e := newEngine(t)
	mustApply(t, e, group(1, 0, "acme"), group(2, 1, "sub"), group(3, 1, "more"), group(9, 0, "other"),
		projectIn(10, 1, "app"), projectIn(11, 1, "lib"), projectIn(12, 2, "deep"), personal(13, "sam", "own"),
		user(1), user(2), user(3), Change{User: &state.User{ID: 4, Name: "user1"}},
		role(1, authz.InGroup(1), authz.RoleGuest), role(1, authz.InGroup(2), authz.RoleOwner), role(1, authz.InProject(12), authz.RoleReporter),
		role(2, authz.InGroup(1), authz.RoleMaintainer), role(2, authz.InProject(12), authz.RoleMaintainer),
		role(3, authz.InProject(12), authz.RoleGuest), role(4, authz.InGroup(1), authz.RoleDeveloper))
	return e
}

func TestGet(t *testing.T) {
	e := readWorld(t)
	ctx := t.Context()
	g, err := e.GetGroup(ctx, 2)
	if err != nil || g.Path != "acme/sub" || g.Parent != 1 || g.Changed != 1 {
		t.Errorf("%+v, %v", g, err)
	}
	if at, err := e.GetGroupAt(ctx, "acme/sub"); err != nil || at != g {
		t.Errorf("%+v, %v", at, err)
	}
	p, err := e.GetProject(ctx, authz.Target{ID: 12})
	if err != nil || p.Path != "acme/sub/deep" {
		t.Errorf("%+v, %v", p, err)
	}
	if at, err := e.GetProject(ctx, authz.Target{Path: "acme/sub/deep"}); err != nil || at != p {
		t.Errorf("%+v, %v", at, err)
	}
	if at, err := e.GetProject(ctx, authz.Target{Path: "sam/own"}); err != nil || at.ID != 13 {
		t.Errorf("%+v, %v", at, err)
	}
	if u, err := e.GetUser(ctx, 3); err != nil || u.Name != "user3" || u.Changed != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = e.GetGroup(ctx, 99)
	wantError(t, err, authz.KindNotFound, CodeGroupNotFound)
	_, err = e.GetGroupAt(ctx, "acme/nowhere")
	wantError(t, err, authz.KindNotFound, CodeGroupNotFound)
	for _, at := range []authz.Target{{ID: 99}, {Path: "acme/sub"}, {Path: "acme/Sub/deep"}, {}} {
		_, err = e.GetProject(ctx, at)
		wantError(t, err, authz.KindNotFound, CodeProjectNotFound)
	}
	_, err = e.GetUser(ctx, 99)
	wantError(t, err, authz.KindNotFound, CodeUserNotFound)

	s := e.GetDirectoryStatus(ctx)
	if s.Mark.Revision != 1 || s.Counts[state.KindProject] != 4 || s.Counts[state.KindUser] != 4 || s.Time != e.Now() {
		t.Errorf("%+v", s)
	}
}

func TestLists(t *testing.T) {
	e := readWorld(t)
	ctx := t.Context()
	for limit := range 6 {
		check := func(what string, got, want []int64) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("limit %d, %s: %v, want %v", limit, what, got, want)
			}
		}
		groups := func(in authz.GroupID) (ids []int64) {
			for _, g := range pages(t, limit, func(p Page) (Listing[GroupInfo], error) { return e.ListGroups(ctx, in, p) }, nil) {
				ids = append(ids, int64(g.ID))
			}
			return ids
		}
		projects := func(in authz.GroupID) (ids []int64) {
			for _, p := range pages(t, limit, func(p Page) (Listing[ProjectInfo], error) { return e.ListProjects(ctx, in, p) }, nil) {
				ids = append(ids, int64(p.ID))
			}
			return ids
		}
		users := func(name string) (ids []int64) {
			for _, u := range pages(t, limit, func(p Page) (Listing[UserInfo], error) { return e.ListUsers(ctx, name, p) }, nil) {
				ids = append(ids, int64(u.ID))
			}
			return ids
		}
		check("all groups", groups(0), []int64{1, 2, 3, 9})
		check("groups in a group", groups(1), []int64{2, 3})
		check("groups in an empty one", groups(9), nil)
		check("all projects", projects(0), []int64{10, 11, 12, 13})
		check("projects in a group", projects(1), []int64{10, 11})
		check("projects in one with none", projects(3), nil)
		check("all users", users(""), []int64{1, 2, 3, 4})
		check("users of a name", users("user1"), []int64{1, 4})
		check("users of no name", users("nobody"), nil)
	}
	for _, bad := range []string{"x", "-1", "0", "1.5", "9007199254740992"} {
		_, err := e.ListUsers(ctx, "", Page{After: bad})
		wantError(t, err, authz.KindInvalid, CodeCursorInvalid)
		_, err = e.ListUsers(ctx, "user1", Page{After: bad})
		wantError(t, err, authz.KindInvalid, CodeCursorInvalid)
	}
}

func TestListMembers(t *testing.T) {
	e := readWorld(t)
	ctx := t.Context()
	deep := authz.InProject(12)
	for limit := range 9 {
		for _, c := range []struct {
			q    MemberQuery
			want []string
		}{
			{MemberQuery{Scope: deep}, []string{"1 reporter project 12", "2 maintainer project 12", "3 guest project 12"}},
			{MemberQuery{Scope: deep, Inherited: true}, []string{"1 owner group 2", "2 maintainer project 12", "3 guest project 12", "4 developer group 1"}},
			{MemberQuery{Scope: authz.InGroup(1), Inherited: true}, []string{"1 guest group 1", "2 maintainer group 1", "4 developer group 1"}},
			{MemberQuery{Scope: authz.InGroup(9), Inherited: true}, nil},
			{MemberQuery{Scope: authz.InProject(99), Inherited: true}, nil},
			{MemberQuery{User: 1}, []string{"1 reporter project 12", "1 guest group 1", "1 owner group 2"}},
			{MemberQuery{User: 1, Scope: authz.InGroup(1)}, []string{"1 guest group 1"}},
			{MemberQuery{User: 1, Scope: deep, Inherited: true}, []string{"1 owner group 2"}},
			{MemberQuery{User: 3, Scope: authz.InGroup(1)}, nil},
			{MemberQuery{User: 99}, nil},
			{MemberQuery{}, []string{
				"1 reporter project 12", "1 guest group 1", "1 owner group 2", "2 maintainer project 12", "2 maintainer group 1",
				"3 guest project 12", "4 developer group 1",
			}},
		} {
			var got []string
			for _, m := range pages(t, limit, func(p Page) (Listing[Membership], error) { c.q.Page = p; return e.ListMembers(ctx, c.q) }, nil) {
				got = append(got, fmt.Sprintf("%d %s %s", m.User, m.Role, m.Scope))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("limit %d, %+v:\n got %v\nwant %v", limit, c.q, got, c.want)
			}
		}
	}
	for _, bad := range []string{"x", "1", "1.", "1.1", "1.1.0", "0.1.1", "1.3.1", "1.1.1.1"} {
		_, err := e.ListMembers(ctx, MemberQuery{Page: Page{After: bad}})
		wantError(t, err, authz.KindInvalid, CodeCursorInvalid)
	}
	_, err := e.ListMembers(ctx, MemberQuery{User: -1})
	wantField(t, err, "user_id")
	_, err = e.ListMembers(ctx, MemberQuery{Scope: authz.Scope{Kind: 7, ID: 1}})
	wantField(t, err, "scope")
}

// TestListsUnderChanges: what is there all along is seen exactly once.
func TestListsUnderChanges(t *testing.T) {
	rng := random(t)
	e := newEngine(t)
	var start []Change
	for id := authz.UserID(1); id <= 90; id++ {
		start = append(start, user(id))
	}
	mustApply(t, e, append(start, personal(1, "u", "p"))...)
	for id := authz.UserID(3); id <= 90; id += 3 {
		mustApply(t, e, role(id, authz.InProject(1), authz.RoleGuest))
	}
	churn := func() {
		for range 5 {
			id := authz.UserID(1 + rng.IntN(90))
			switch {
			case id%3 == 0:
			case rng.IntN(2) == 0:
				mustApply(t, e, Change{DeleteUser: id})
			default:
				mustApply(t, e, user(id), role(id, authz.InProject(1), authz.RoleOwner))
			}
		}
	}
	for _, limit := range []int{1, 4, 30} {
		seen := map[authz.UserID]int{}
		for _, u := range pages(t, limit, func(p Page) (Listing[UserInfo], error) { return e.ListUsers(t.Context(), "", p) }, churn) {
			seen[u.ID]++
		}
		members := map[authz.UserID]int{}
		for _, m := range pages(t, limit, func(p Page) (Listing[Membership], error) {
			return e.ListMembers(t.Context(), MemberQuery{Scope: authz.InProject(1), Page: p})
		}, churn) {
			members[m.User]++
		}
		for id := authz.UserID(1); id <= 90; id++ {
			if seen[id] > 1 || members[id] > 1 || (id%3 == 0 && (seen[id] != 1 || members[id] != 1)) {
				t.Errorf("limit %d: user %d was seen %d times, as a member %d times", limit, id, seen[id], members[id])
			}
		}
	}
}
