package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// events reads the whole log, newest first, in pages.
func events(t *testing.T, e *Engine, q EventQuery) (all []audit.Event, pages int) {
	t.Helper()
	for pages = 1; ; pages++ {
		page, err := e.ListEvents(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, pages
		}
		if pages > 1000 {
			t.Fatal("the log has no end")
		}
		q.Page.After = page.Next
	}
}

// TestEveryChangeIsInTheLog: each verb that changes something writes one event in its
// commit, with who, for whom, what, and the revision; what changes nothing or is refused
// writes none.
func TestEveryChangeIsInTheLog(t *testing.T) {
	l := newListTest(t)
	ctx, e := t.Context(), l.e
	edit := AllowlistEdit{Project: app}
	l.logged([]logged{
		{"settings",
			func() (Done, error) {
				_, d, err := e.UpdateAllowlist(ctx, as(max_), AllowlistSettings{AllowlistEdit: edit, InboundOn: new(false), PushSelf: new(true)})
				return d, err
			},
			audit.Event{Actor: "forge", OnBehalf: max_, Verb: "update_settings", Target: app, Detail: "inbound off, push_self on"}},
		{"add project",
			func() (Done, error) {
				_, d, err := l.add(as(max_), onApp(Inbound, authz.InProject(open)))
				return d, err
			},
			audit.Event{Actor: "forge", OnBehalf: max_, Verb: "add_entry", Source: open, Target: app, Detail: "project 12 (u/p12) let in: default permissions"}},
		{"add group",
			func() (Done, error) {
				r := onApp(Inbound, authz.InGroup(team))
				r.Default, r.Policies = false, []string{"read_jobs", "admin_jobs"}
				_, d, err := l.add(as(max_), r)
				return d, err
			},
			audit.Event{Actor: "forge", OnBehalf: max_, Verb: "add_entry", Target: app, Detail: "group 2 (g2) let in: admin_jobs read_jobs"}},
		{"update",
			func() (Done, error) {
				_, d, err := e.UpdateEntry(ctx, as(max_), onApp(Inbound, authz.InGroup(team)))
				return d, err
			},
			audit.Event{Actor: "forge", OnBehalf: max_, Verb: "update_entry", Target: app, Detail: "group 2 (g2) changed: admin_jobs read_jobs to default permissions"}},
		{"add outbound",
			func() (Done, error) {
				_, d, err := l.add(as(max_), onApp(Outbound, authz.InProject(mine)))
				return d, err
			},
			audit.Event{Actor: "forge", OnBehalf: max_, Verb: "add_entry", Source: app, Target: mine, Detail: "project 17 (u/p17) made reachable"}},
		{"remove",
			func() (Done, error) {
				return e.RemoveEntry(ctx, admin(), EntryRemoval{AllowlistEdit: edit, Other: authz.InProject(open)})
			},
			audit.Event{Actor: "root", Verb: "remove_entry", Source: open, Target: app, Detail: "project 12 (u/p12) no longer let in: had default permissions"}},
	})
	before, _ := events(t, e, EventQuery{})
	_, _, _ = l.add(as(dev), onApp(Inbound, authz.InProject(open)))
	_, _, _ = e.UpdateAllowlist(ctx, as(max_), AllowlistSettings{AllowlistEdit: edit, PushSelf: new(true)})
	mustApply(t, e, group(acme, 0, "g1"))
	if after, _ := events(t, e, EventQuery{}); len(after) != len(before) {
		t.Errorf("nothing happened, and %d events tell of it", len(after)-len(before))
	}
}

// TestEveryOtherChangeIsInTheLog does the same for the instance and the directory.
func TestEveryOtherChangeIsInTheLog(t *testing.T) {
	l := newListTest(t)
	ctx, e := t.Context(), l.e
	l.logged([]logged{
		{"instance",
			func() (Done, error) {
				_, d, err := e.UpdateInstance(ctx, admin(), InstanceEdit{EnforceInbound: new(true)})
				return d, err
			},
			audit.Event{Actor: "root", Verb: "update_instance_settings", Detail: "enforce_inbound false to true"}},
		{"catalogue",
			func() (Done, error) {
				_, d, err := e.UpdateCatalogue(ctx, admin(), CatalogueEdit{Document: []byte(`{"policies": ["x"]}`)})
				return d, err
			},
			audit.Event{Actor: "root", Verb: "update_catalogue", Detail: fmt.Sprintf("extension of 19 bytes, %d permissions in all", len(e.GetCatalogue(ctx).Effective.Permissions()))}},
		{"block",
			func() (Done, error) {
				return e.BlockUser(ctx, forge(), UserStateRequest{User: out, State: authz.UserStateBanned})
			},
			audit.Event{Actor: "forge", Verb: "block_user", User: out, Detail: "change user 3 (user3): state active to banned"}},
		{"unblock",
			func() (Done, error) { return e.UnblockUser(ctx, forge(), UserStateRequest{User: out}) },
			audit.Event{Actor: "forge", Verb: "unblock_user", User: out, Detail: "change user 3 (user3): state banned to active"}},
		{"begin",
			func() (Done, error) { return e.BeginProjectDeletion(ctx, forge(), DeletionRequest{Project: secret}) },
			audit.Event{Actor: "forge", Verb: "begin_project_deletion", Target: secret, Detail: "change project 10 (u/p10): state active to pending_delete"}},
		{"finish",
			func() (Done, error) { return e.FinishProjectDeletion(ctx, forge(), DeletionRequest{Project: secret}) },
			audit.Event{Actor: "forge", Verb: "finish_project_deletion", Target: secret, Detail: "remove project 10 (u/p10)"}},
		{"role",
			func() (Done, error) {
				return mustApply(t, e, role(out, authz.InProject(open), authz.RoleOwner)).Done, nil
			},
			audit.Event{Actor: "forge", Verb: "apply_changes", Target: open, User: out, Detail: "make user 3 owner of project 12 (u/p12)"}},
		{"group",
			func() (Done, error) { return mustApply(t, e, group(40, acme, "new")).Done, nil },
			audit.Event{Actor: "forge", Verb: "apply_changes", Detail: "create group 40 (g1/new): private"}},
		{"sync",
			func() (Done, error) {
				d := mustSync(t, e, SyncOptions{}, nil, append(listOf(e), user(90), user(91)))
				return Done{Revision: d.Revision}, nil
			},
			audit.Event{Actor: "forge", Verb: "sync_world", Count: 2, Detail: "give"}},
	})
}

// logged is a call and the one event that it has to leave.
type logged struct {
	name string
	call func() (Done, error)
	want audit.Event
}

func (l *listTest) logged(calls []logged) {
	t, e := l.t, l.e
	t.Helper()
	for _, c := range calls {
		before, _ := events(t, e, EventQuery{})
		done, err := c.call()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		after, _ := events(t, e, EventQuery{})
		if len(after) != len(before)+1 {
			t.Errorf("%s: %d events", c.name, len(after)-len(before))
			continue
		}
		c.want.Time, c.want.Revision = e.Now(), done.Revision
		if c.want.Count == 0 {
			c.want.Count = 1
		}
		if after[0] != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, after[0], c.want)
		}
	}
}

func TestListEvents(t *testing.T) {
	clock := newHandClock(noon())
	e := startEngine(t, storeOf(t), clock)
	start := e.Now()
	for i := range 30 {
		clock.advance(time.Second)
		name := Actor{Name: fmt.Sprint("caller-", i%3)}
		if _, err := e.Apply(t.Context(), name, ApplyRequest{Changes: []Change{user(authz.UserID(i + 1))}}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(s int) authz.Stamp { return start.Add(time.Duration(s) * time.Second) }
	users := func(q EventQuery) (ids []authz.UserID) {
		list, _ := events(t, e, q)
		for _, ev := range list {
			ids = append(ids, ev.User)
		}
		return ids
	}
	var all []authz.UserID
	for id := authz.UserID(30); id > 0; id-- {
		all = append(all, id)
	}
	for _, limit := range []int{0, 1, 7, 29, 30, 31} {
		if got := users(EventQuery{Page: Page{Limit: limit}}); !slices.Equal(got, all) {
			t.Errorf("limit %d: %v", limit, got)
		}
		if got := users(EventQuery{Filter: audit.Filter{Actor: "caller-1"}, Page: Page{Limit: limit}}); len(got) != 10 || got[0] != 29 {
			t.Errorf("limit %d, one caller: %v", limit, got)
		}
	}
	if got := users(EventQuery{From: at(10), To: at(13)}); !slices.Equal(got, []authz.UserID{12, 11, 10}) {
		t.Errorf("a span: %v", got)
	}
	if got := users(EventQuery{From: at(29)}); !slices.Equal(got, []authz.UserID{30, 29}) {
		t.Errorf("an open span: %v", got)
	}
	if got := users(EventQuery{Filter: audit.Filter{User: 5}, To: at(5)}); len(got) != 0 {
		t.Errorf("a span before: %v", got)
	}
	_, err := e.ListEvents(t.Context(), EventQuery{From: at(3), To: at(3)})
	wantField(t, err, "end_time")
	_, err = e.ListEvents(t.Context(), EventQuery{Page: Page{After: "nonsense"}})
	if authz.KindOf(err) != authz.KindInvalid {
		t.Errorf("a bad cursor: %v", err)
	}
}

// TestListEventsIsBounded: a filter that matches nearly nothing costs no more than a
// bounded look for each page.
func TestListEventsIsBounded(t *testing.T) {
	e := newEngine(t)
	put := func(n int, verb string) {
		for n > 0 {
			b := state.Batch{Stamp: e.Now()}
			for range min(n, 5000) {
				b.Events = append(b.Events, state.Event{Stamp: e.Now(), Data: audit.Event{Time: e.Now(), Verb: verb}.Encode()})
			}
			if _, err := e.store.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			n -= len(b.Events)
		}
	}
	put(1, "rare")
	put(2*scanEvents, "usual")
	page, err := e.ListEvents(t.Context(), EventQuery{Filter: audit.Filter{Verb: "rare"}})
	if err != nil || len(page.Items) != 0 || page.Next == "" {
		t.Errorf("%d events, next %q, %v", len(page.Items), page.Next, err)
	}
	if all, pages := events(t, e, EventQuery{Filter: audit.Filter{Verb: "rare"}}); len(all) != 1 || pages != 3 {
		t.Errorf("%d events in %d pages", len(all), pages)
	}
}

func TestAuditRetention(t *testing.T) {
	clock := newHandClock(noon())
	e := startEngine(t, storeOf(t), clock)
	mustApply(t, e, user(1))
	clock.advance(e.opt.AuditRetention - time.Second)
	mustApply(t, e, user(2))
	clock.advance(2 * time.Second)
	if err := e.pruneAudit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, _ := events(t, e, EventQuery{}); len(all) != 1 || all[0].User != 2 {
		t.Errorf("kept %+v", all)
	}
}

// TestDenialsAreInTheLog: a decision shows with the revision it was judged at.
func TestDenialsAreInTheLog(t *testing.T) {
	e := newEngine(t, tokenWorld()...)
	d := mustIssue(t, e, issue1("job"))
	req := ask(d, "read_releases", 2)
	dec, err := e.Check(t.Context(), req)
	if err != nil || dec.Allow {
		t.Fatal(dec, err)
	}
	e.Record(Actor{Name: "git"}, &req, &dec, "id-1")
	e.Record(Actor{Name: "git"}, &req, &dec, "id-2")
	mustApply(t, e, user(9))
	if err := e.audit.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, _ := events(t, e, EventQuery{Filter: audit.Filter{Denials: true, Project: 2}})
	if len(all) != 1 || all[0].Count != 2 || all[0].Revision != dec.Revision || all[0].Reason != dec.Reason.String() || all[0].Decision != "id-2" || all[0].Job != "job" {
		t.Errorf("%+v", all)
	}
	changes, _ := events(t, e, EventQuery{Filter: audit.Filter{Changes: true}})
	for _, ev := range changes {
		if ev.Verb == audit.VerbCheck || strings.Contains(ev.Detail, "jobt-") {
			t.Errorf("%+v", ev)
		}
	}
}
