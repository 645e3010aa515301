package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// urgent is a store with a full disk.
type urgent struct {
	*watched
	t *testing.T
}

func (s *urgent) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	if !b.Urgent {
		return 0, authz.Errorf(authz.KindExhausted, "DISK_LOW", "the disk is full")
	}
	return s.watched.Commit(ctx, b)
}

// allEntries reads a list page by page; between is called after each page.
func (l *listTest) allEntries(q EntryQuery, between func()) (all []Entry) {
	l.t.Helper()
	for range 1000 {
		page, err := l.e.ListEntries(l.t.Context(), as(max_), q)
		if err != nil {
			l.t.Fatal(err)
		}
		if len(page.Items) > q.Page.limit() {
			l.t.Fatalf("a page of %d", len(page.Items))
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all
		}
		q.Page.After = page.Next
		if between != nil {
			between()
		}
	}
	l.t.Fatal("the list has no end")
	return nil
}

func others(list []Entry) (out []string) {
	for _, en := range list {
		s := en.Other.String()
		if en.Implied {
			s += " (implied)"
		}
		out = append(out, s)
	}
	return out
}

func TestListEntries(t *testing.T) {
	l := newListTest(t, &state.Allowlist{Project: app, Outbound: []authz.ProjectID{secret, open}, Inbound: []state.Entry{
		{Caller: authz.InProject(secret), Entry: policy.Entry{Default: true}}, {Caller: authz.InProject(open), Entry: policy.Entry{Policies: []string{"read_jobs"}}},
		{Caller: authz.InProject(99), Autopopulated: true}, {Caller: authz.InGroup(team)}, {Caller: authz.InGroup(closed)},
	}})
	all := []string{"project 1 (implied)", "project 10", "project 12", "project 99", "group 2", "group 3"}
	for limit := range 8 {
		for _, c := range []struct {
			q    EntryQuery
			want []string
		}{
			{EntryQuery{}, all},
			{EntryQuery{Kind: authz.ScopeProject}, all[:4]},
			{EntryQuery{Kind: authz.ScopeGroup}, all[4:]},
			{EntryQuery{Direction: Outbound}, []string{"project 10", "project 12"}},
			{EntryQuery{Direction: Outbound, Kind: authz.ScopeGroup}, nil},
		} {
			c.q.Project, c.q.Page.Limit = app, limit
			if got := others(l.allEntries(c.q, nil)); !slices.Equal(got, c.want) {
				t.Errorf("limit %d: %v, want %v", limit, got, c.want)
			}
		}
	}
	page, err := l.e.ListEntries(t.Context(), as(max_), EntryQuery{Project: app})
	if err != nil || page.Changed == 0 {
		t.Fatal(page, err)
	}
	// The path of what the user may not see is not told.
	for i, want := range []string{"g1/p1", "", "u/p12", "", "g2", ""} {
		if got := page.Items[i]; got.OtherPath != want || got.OwnerPath != "g1/p1" {
			t.Errorf("entry %d has paths %q and %q", i, got.OtherPath, got.OwnerPath)
		}
	}
	if !page.Items[3].Autopopulated || !page.Items[0].Default || !slices.Equal(page.Items[2].Policies, []string{"read_jobs"}) {
		t.Errorf("%+v", page.Items)
	}
	for _, bad := range []string{"x", "1", "1.", "1.0", "3.5", "0.5", "1.-1", "-1.5", "257.1", "1.9007199254740992", "99999999999999999999.1"} {
		_, err := l.e.ListEntries(t.Context(), as(max_), EntryQuery{Project: app, Page: Page{After: bad}})
		wantError(t, err, authz.KindInvalid, CodeCursorInvalid)
	}
}

// TestPagesUnderChanges: what is on the list all along is seen exactly once, whatever
// comes and goes between two pages.
func TestPagesUnderChanges(t *testing.T) {
	rng := random(t)
	l := newListTest(t)
	put := func(ids []int) {
		a := state.DefaultAllowlist(app)
		for _, id := range ids {
			a.Inbound = append(a.Inbound, state.Entry{Caller: authz.InProject(authz.ProjectID(100 + id))})
		}
		if _, err := l.e.store.Commit(t.Context(), state.Batch{Puts: []state.Record{a}}); err != nil {
			t.Fatal(err)
		}
	}
	some := func() (ids []int) { // every third always, others as it comes
		for id := range 60 {
			if id%3 == 0 || rng.IntN(2) == 0 {
				ids = append(ids, id)
			}
		}
		return ids
	}
	put(some())
	got := l.allEntries(EntryQuery{Project: app, Page: Page{Limit: 4}}, func() { put(some()) })
	seen := map[authz.Scope]int{}
	for _, en := range got {
		seen[en.Other]++
	}
	for id := range 60 {
		n := seen[authz.InProject(authz.ProjectID(100+id))]
		if n > 1 || (id%3 == 0 && n != 1) {
			t.Errorf("entry %d was seen %d times", id, n)
		}
	}
	if !got[0].Implied || seen[authz.InProject(app)] != 1 {
		t.Error("the implied entry is missing or twice")
	}
}

// TestListListings: the lists that let a project in, by itself or by a group above it,
// and those that name it as reachable; what the user may not see is left out.
func TestListListings(t *testing.T) {
	byApp, byAcme := authz.InProject(app), authz.InGroup(acme)
	list := func(owner authz.ProjectID, callers ...authz.Scope) state.Record {
		a := state.DefaultAllowlist(owner)
		for _, c := range callers {
			a.Inbound = append(a.Inbound, state.Entry{Caller: c, Entry: policy.Entry{Policies: []string{fmt.Sprint("read_", c.Kind)}}})
		}
		return a
	}
	outbound := state.DefaultAllowlist(open)
	outbound.Outbound = []authz.ProjectID{app}
	outbound.Inbound = []state.Entry{{Caller: byApp}}
	outboundSecret := state.DefaultAllowlist(secret)
	outboundSecret.Outbound = []authz.ProjectID{app}
	outboundSecret.Inbound = []state.Entry{{Caller: byApp}}
	l := newListTest(t, list(guested, byApp, byAcme), outbound, outboundSecret, list(mine, byAcme), list(inherited, authz.InProject(mine), authz.InGroup(team)))
	for limit := 1; limit < 6; limit++ {
		for _, c := range []struct {
			d    Direction
			want []string
		}{
			{Inbound, []string{"11: project 1", "11: group 1", "12: project 1", "17: group 1"}},
			{Outbound, []string{"12: project 1"}},
		} {
			var got []string
			q := ListingQuery{Project: app, Direction: c.d, Page: Page{Limit: limit}}
			for range 100 {
				page, err := l.e.ListListings(t.Context(), as(max_), q)
				if err != nil || len(page.Items) > limit {
					t.Fatal(page, err)
				}
				for _, en := range page.Items {
					if en.OwnerPath == "" {
						t.Errorf("no path of the owner: %+v", en)
					}
					got = append(got, fmt.Sprintf("%d: %s", en.Owner, en.Other))
				}
				if q.Page.After = page.Next; page.Next == "" {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("limit %d, %s: %v, want %v", limit, c.d, got, c.want)
			}
		}
	}
	page, err := l.e.ListListings(t.Context(), admin(), ListingQuery{Project: app})
	if err != nil || len(page.Items) != 5 {
		t.Errorf("the administrator sees %+v, %v", page.Items, err)
	}
	_, err = l.e.ListListings(t.Context(), as(max_), ListingQuery{Project: app, Page: Page{After: "-3.1"}})
	wantError(t, err, authz.KindInvalid, CodeCursorInvalid)
}
