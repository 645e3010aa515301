package engine

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// The cast: project 1 (app, private, in acme) is the owner of the lists; max maintains
// it, dev develops it, out is nobody there and ext is an external user.
const (
	app authz.ProjectID = 1

	max_ authz.UserID = 1
	dev  authz.UserID = 2
	out  authz.UserID = 3
	ext  authz.UserID = 4
	gone authz.UserID = 5 // blocked, and maintainer of app

	secret    authz.ProjectID = 10 // private, max is no member
	guested   authz.ProjectID = 11 // private, max is guest
	open      authz.ProjectID = 12 // public
	inside    authz.ProjectID = 13 // internal, max is no member
	condemned authz.ProjectID = 14 // public and pending delete
	hidden    authz.ProjectID = 15 // public and hidden
	minimal   authz.ProjectID = 16 // private, max has minimal access
	mine      authz.ProjectID = 17 // private, max maintains it
	inherited authz.ProjectID = 18 // private, in group team, where max is guest

	acme     authz.GroupID = 1 // private, max maintains app in it
	team     authz.GroupID = 2 // private, max is guest
	closed   authz.GroupID = 3 // private, max is nobody there
	openTeam authz.GroupID = 4 // public
	inTeam   authz.GroupID = 5 // internal
	partly   authz.GroupID = 6 // private, max is guest of a project in its subgroup
	sub      authz.GroupID = 7 // the subgroup
)

func listWorld() (records []state.Record) {
	project := func(id authz.ProjectID, in authz.GroupID, v authz.Visibility, edit ...func(*state.Project)) {
		p := &state.Project{ID: id, Group: in, Name: fmt.Sprint("p", id), Visibility: v}
		if in == 0 {
			p.Namespace = "u"
		}
		for _, f := range edit {
			f(p)
		}
		records = append(records, p)
	}
	group := func(id, in authz.GroupID, v authz.Visibility) {
		records = append(records, &state.Group{ID: id, Parent: in, Name: fmt.Sprint("g", id), Visibility: v})
	}
	group(acme, 0, authz.Private)
	group(team, 0, authz.Private)
	group(closed, 0, authz.Private)
	group(openTeam, 0, authz.Public)
	group(inTeam, 0, authz.Internal)
	group(partly, 0, authz.Private)
	group(sub, partly, authz.Private)
	project(app, acme, authz.Private)
	project(secret, 0, authz.Private)
	project(guested, 0, authz.Private)
	project(open, 0, authz.Public)
	project(inside, 0, authz.Internal)
	project(condemned, 0, authz.Public, func(p *state.Project) { p.State = authz.StatePendingDelete })
	project(hidden, 0, authz.Public, func(p *state.Project) { p.Hidden = true })
	project(minimal, 0, authz.Private)
	project(mine, 0, authz.Private)
	project(inherited, team, authz.Private)
	project(30, sub, authz.Private)
	member := func(id authz.UserID, u state.User, roles ...state.Membership) {
		u.ID, u.Name = id, fmt.Sprint("user", id)
		slices.SortFunc(roles, func(a, b state.Membership) int { return compareScopes(a.Scope, b.Scope) })
		records = append(records, &u, &state.Members{User: id, List: roles})
	}
	on := func(p authz.ProjectID, r authz.Role) state.Membership {
		return state.Membership{Scope: authz.InProject(p), Role: r}
	}
	in := func(g authz.GroupID, r authz.Role) state.Membership {
		return state.Membership{Scope: authz.InGroup(g), Role: r}
	}
	member(max_, state.User{}, in(acme, authz.RoleMaintainer), on(guested, authz.RoleGuest), on(minimal, authz.RoleMinimal),
		on(mine, authz.RoleMaintainer), in(team, authz.RoleGuest), on(30, authz.RoleGuest))
	member(dev, state.User{}, on(app, authz.RoleDeveloper), on(open, authz.RoleMaintainer))
	member(out, state.User{})
	member(ext, state.User{External: true}, on(app, authz.RoleMaintainer))
	member(gone, state.User{State: authz.UserStateBlocked}, on(app, authz.RoleOwner))
	return records
}

func as(id authz.UserID) Actor { return Actor{Name: "forge", User: id} }
func admin() Actor             { return Actor{Name: "root", Admin: true} }

func onApp(d Direction, other authz.Scope) EntryEdit {
	return EntryEdit{AllowlistEdit: AllowlistEdit{Project: app}, Direction: d, Other: other, Default: d == Inbound}
}

func (l *listTest) add(by Actor, req EntryEdit) (Entry, Done, error) {
	return l.e.AddEntry(l.t.Context(), by, req)
}

func (l *listTest) remove(by Actor, d Direction, other authz.Scope) error {
	_, err := l.e.RemoveEntry(l.t.Context(), by, EntryRemoval{AllowlistEdit: AllowlistEdit{Project: app}, Direction: d, Other: other})
	return err
}

type listTest struct {
	t *testing.T
	e *Engine
}

func newListTest(t *testing.T, more ...state.Record) *listTest {
	return &listTest{t, newEngine(t, append(listWorld(), more...)...)}
}

// full gives an allowlist of app with so many entries, of ids from 1000 on, and what
// they name.
func full(projects, groups, outbound int) (records []state.Record) {
	a := state.DefaultAllowlist(app)
	for i := range projects {
		a.Inbound = append(a.Inbound, state.Entry{Caller: authz.InProject(authz.ProjectID(1000 + i)), Entry: policy.Entry{Default: true}})
	}
	for i := range groups {
		a.Inbound = append(a.Inbound, state.Entry{Caller: authz.InGroup(authz.GroupID(1000 + i)), Entry: policy.Entry{Default: true}})
	}
	for i := range outbound {
		a.Outbound = append(a.Outbound, authz.ProjectID(1000+i))
	}
	return append(records, a)
}

// TestEditingCases is the paragraph "Editing cases for tests" of SEMANTICS §16, case by
// case. Codes there are those of GitLab's REST; here they are the kinds behind them.
func TestEditingCases(t *testing.T) {
	t.Run("developer adds", func(t *testing.T) { // → 403
		l := newListTest(t)
		_, _, err := l.add(as(dev), onApp(Inbound, authz.InProject(open)))
		wantError(t, err, authz.KindForbidden, CodeNotMaintainer)
	})
	t.Run("maintainer adds a private project he cannot see", func(t *testing.T) { // → as not existing
		l := newListTest(t)
		_, _, unseen := l.add(as(max_), onApp(Inbound, authz.InProject(secret)))
		wantError(t, unseen, authz.KindNotFound, CodeProjectNotFound)
		_, _, missing := l.add(as(max_), onApp(Inbound, authz.InProject(99)))
		wantError(t, missing, authz.KindNotFound, CodeProjectNotFound)
		if got, want := unseen.Error(), missing.Error(); got != replaceID(want, "99", "10") {
			t.Errorf("the answers differ:\n%s\n%s", got, want)
		}
	})
	t.Run("maintainer who is guest in the private project adds", func(t *testing.T) { // → ok
		l := newListTest(t)
		if _, _, err := l.add(as(max_), onApp(Inbound, authz.InProject(guested))); err != nil {
			t.Error(err)
		}
	})
	t.Run("adds a public project without membership", func(t *testing.T) { // → ok
		l := newListTest(t)
		if _, _, err := l.add(as(max_), onApp(Inbound, authz.InProject(open))); err != nil {
			t.Error(err)
		}
	})
	t.Run("adds twice", func(t *testing.T) { // → 400
		l := newListTest(t)
		for _, s := range []authz.Scope{authz.InProject(open), authz.InGroup(openTeam)} {
			if _, _, err := l.add(as(max_), onApp(Inbound, s)); err != nil {
				t.Fatal(err)
			}
			_, _, err := l.add(as(max_), onApp(Inbound, s))
			wantError(t, err, authz.KindExists, CodeEntryExists)
		}
	})
	t.Run("adds self, removes self", func(t *testing.T) { // → 400
		l := newListTest(t)
		for _, d := range []Direction{Inbound, Outbound} {
			_, _, err := l.add(as(max_), onApp(d, authz.InProject(app)))
			wantError(t, err, authz.KindInvalid, CodeSelfEntry)
			wantError(t, l.remove(as(max_), d, authz.InProject(app)), authz.KindInvalid, CodeSelfEntry)
		}
	})
}

// TestEditingCasesOfLimits is the rest of that paragraph.
func TestEditingCasesOfLimits(t *testing.T) {
	t.Run("200th entry, 201st", func(t *testing.T) { // → ok, 400
		l := newListTest(t, full(199, 199, 199)...)
		for _, c := range []struct {
			d            Direction
			fits, spills authz.Scope
		}{
			{Inbound, authz.InProject(open), authz.InProject(mine)},
			{Inbound, authz.InGroup(openTeam), authz.InGroup(team)},
			{Outbound, authz.InProject(mine), authz.InProject(open)},
		} {
			by := as(max_)
			if c.d == Outbound {
				by = admin()
			}
			if _, _, err := l.add(by, onApp(c.d, c.fits)); err != nil {
				t.Errorf("the 200th: %v", err)
			}
			_, _, err := l.add(by, onApp(c.d, c.spills))
			wantError(t, err, authz.KindPrecondition, CodeListFull)
		}
		// 200 projects + 200 groups → ok
		info, err := l.e.GetAllowlist(t.Context(), as(max_), app)
		if err != nil || info.InboundProjects != 200 || info.InboundGroups != 200 || info.OutboundProjects != 200 {
			t.Errorf("%+v, %v", info, err)
		}
	})
	t.Run("removes an entry whose project he can no longer see", func(t *testing.T) { // → ok
		l := newListTest(t, &state.Allowlist{Project: app, Inbound: []state.Entry{{Caller: authz.InProject(secret)}, {Caller: authz.InProject(99)}}})
		for _, id := range []authz.ProjectID{secret, 99} {
			if err := l.remove(as(max_), Inbound, authz.InProject(id)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("switches while the instance enforces", func(t *testing.T) { // false → 400, true → 204
		in := state.DefaultInstance()
		in.EnforceInbound = true
		l := newListTest(t, &in)
		for _, by := range []Actor{as(max_), admin()} {
			_, _, err := l.e.UpdateAllowlist(t.Context(), by, AllowlistSettings{AllowlistEdit: AllowlistEdit{Project: app}, InboundOn: new(false)})
			wantError(t, err, authz.KindPrecondition, CodeInboundEnforced)
		}
		info, _, err := l.e.UpdateAllowlist(t.Context(), as(max_), AllowlistSettings{AllowlistEdit: AllowlistEdit{Project: app}, InboundOn: new(true)})
		if err != nil || !info.InboundOn || !info.Enforced {
			t.Errorf("%+v, %v", info, err)
		}
	})
}

// replaceID puts another id into an error's words.
func replaceID(s, old, now string) string {
	out := ""
	for i := 0; i < len(s); i++ {
		if i+len(old) <= len(s) && s[i:i+len(old)] == old {
			out, i = out+now, i+len(old)-1
			continue
		}
		out += s[i : i+1]
	}
	return out
}

// TestWhoMayBeNamed: what an editor has to be on the other side (§16, first table).
func TestWhoMayBeNamed(t *testing.T) {
	for _, c := range []struct {
		by    authz.UserID
		d     Direction
		other authz.Scope
		kind  authz.Kind
		code  string // empty: allowed
	}{
		{max_, Inbound, authz.InProject(open), 0, ""},
		{max_, Inbound, authz.InProject(guested), 0, ""},
		{max_, Inbound, authz.InProject(mine), 0, ""},
		{max_, Inbound, authz.InProject(inherited), 0, ""},
		{max_, Inbound, authz.InProject(secret), authz.KindNotFound, CodeProjectNotFound},
		{max_, Inbound, authz.InProject(minimal), authz.KindNotFound, CodeProjectNotFound},
		{max_, Inbound, authz.InProject(inside), authz.KindNotFound, CodeProjectNotFound}, // internal: guest needed
		{max_, Inbound, authz.InProject(condemned), authz.KindNotFound, CodeProjectNotFound},
		{max_, Inbound, authz.InProject(hidden), authz.KindNotFound, CodeProjectNotFound},
		{max_, Inbound, authz.InProject(999), authz.KindNotFound, CodeProjectNotFound},
		{max_, Inbound, authz.InGroup(acme), 0, ""}, // its own group is like any other
		{max_, Inbound, authz.InGroup(team), 0, ""},
		{max_, Inbound, authz.InGroup(openTeam), 0, ""},
		{max_, Inbound, authz.InGroup(inTeam), 0, ""},
		{max_, Inbound, authz.InGroup(partly), 0, ""}, // a member of something below reads the group
		{max_, Inbound, authz.InGroup(sub), 0, ""},
		{max_, Inbound, authz.InGroup(closed), authz.KindNotFound, CodeGroupNotFound},
		{max_, Inbound, authz.InGroup(999), authz.KindNotFound, CodeGroupNotFound},
		{ext, Inbound, authz.InGroup(openTeam), 0, ""},
		{ext, Inbound, authz.InGroup(inTeam), authz.KindNotFound, CodeGroupNotFound},
		{ext, Inbound, authz.InProject(open), 0, ""},
		{max_, Outbound, authz.InProject(mine), 0, ""},
		{max_, Outbound, authz.InProject(guested), authz.KindForbidden, CodeNotMaintainer},
		{max_, Outbound, authz.InProject(open), authz.KindForbidden, CodeNotMaintainer},
		{max_, Outbound, authz.InProject(inside), authz.KindForbidden, CodeNotMaintainer},
		{ext, Outbound, authz.InProject(inside), authz.KindNotFound, CodeProjectNotFound},
		{max_, Outbound, authz.InProject(secret), authz.KindNotFound, CodeProjectNotFound},
		{dev, Outbound, authz.InProject(open), authz.KindForbidden, CodeNotMaintainer},
		{out, Inbound, authz.InProject(open), authz.KindNotFound, CodeProjectNotFound}, // does not see app
		{gone, Inbound, authz.InProject(open), authz.KindForbidden, CodeUserNotActive},
		{999, Inbound, authz.InProject(open), authz.KindForbidden, CodeUserNotActive},
		{0, Inbound, authz.InProject(open), authz.KindForbidden, CodeUserRequired},
	} {
		l := newListTest(t)
		_, _, err := l.add(as(c.by), onApp(c.d, c.other))
		switch {
		case c.code != "":
			t.Logf("user %d, %s %s: %v", c.by, c.d, c.other, err)
			wantError(t, err, c.kind, c.code)
			if _, rev := l.e.view.Allowlist(app); rev != 0 {
				t.Error("something was committed")
			}
		case err != nil:
			t.Errorf("user %d, %s %s: %v", c.by, c.d, c.other, err)
		}
	}
	l := newListTest(t)
	for _, s := range []authz.Scope{authz.InProject(secret), authz.InGroup(closed), authz.InProject(hidden)} {
		if _, _, err := l.add(admin(), onApp(Inbound, s)); err != nil {
			t.Errorf("admin, %s: %v", s, err)
		}
	}
	_, _, err := l.add(admin(), onApp(Inbound, authz.InProject(999)))
	wantError(t, err, authz.KindNotFound, CodeProjectNotFound)
}

// TestListsNeedAMaintainer: every call about the lists of app is refused to whoever is
// no maintainer, and the owner is not given away to whoever does not see it.
func TestListsNeedAMaintainer(t *testing.T) {
	l := newListTest(t, &state.Allowlist{Project: app, Inbound: []state.Entry{{Caller: authz.InProject(open)}}})
	ctx, e := t.Context(), l.e
	edit := AllowlistEdit{Project: app}
	for name, call := range map[string]func(Actor) error{
		"get": func(by Actor) error { _, err := e.GetAllowlist(ctx, by, app); return err },
		"settings": func(by Actor) error {
			_, _, err := e.UpdateAllowlist(ctx, by, AllowlistSettings{AllowlistEdit: edit, PushSelf: new(true)})
			return err
		},
		"add": func(by Actor) error { _, _, err := l.add(by, onApp(Inbound, authz.InProject(guested))); return err },
		"update": func(by Actor) error {
			_, _, err := e.UpdateEntry(ctx, by, onApp(Inbound, authz.InProject(open)))
			return err
		},
		"remove":   func(by Actor) error { return l.remove(by, Inbound, authz.InProject(open)) },
		"entries":  func(by Actor) error { _, err := e.ListEntries(ctx, by, EntryQuery{Project: app}); return err },
		"listings": func(by Actor) error { _, err := e.ListListings(ctx, by, ListingQuery{Project: app}); return err },
	} {
		wantError(t, call(as(dev)), authz.KindForbidden, CodeNotMaintainer)
		wantError(t, call(as(out)), authz.KindNotFound, CodeProjectNotFound)
		wantError(t, call(as(gone)), authz.KindForbidden, CodeUserNotActive)
		wantError(t, call(as(0)), authz.KindForbidden, CodeUserRequired)
		if t.Failed() {
			t.Fatal("in ", name)
		}
	}
}

func TestEntries(t *testing.T) {
	l := newListTest(t)
	ctx := t.Context()
	fine := onApp(Inbound, authz.InProject(open))
	fine.Default, fine.Policies = false, []string{"read_packages", "admin_jobs", "read_packages"}
	en, done, err := l.add(as(max_), fine)
	if err != nil || en.Default || !slices.Equal(en.Policies, []string{"admin_jobs", "read_packages"}) || en.OwnerPath != "g1/p1" || en.OtherPath != "u/p12" {
		t.Fatalf("%+v, %v", en, err)
	}
	a, rev := l.e.view.Allowlist(app)
	if rev != done.Revision || !a.InboundOn || len(a.Inbound) != 1 || !slices.Equal(a.Inbound[0].Policies, en.Policies) {
		t.Errorf("stored %+v at %d", a, rev)
	}
	nothing := fine
	nothing.Policies = nil
	if en, _, err = l.e.UpdateEntry(ctx, as(max_), nothing); err != nil || en.Default || len(en.Policies) != 0 {
		t.Errorf("%+v, %v", en, err)
	}
	head := l.e.view.Mark().Revision
	if _, done, err = l.e.UpdateEntry(ctx, as(max_), nothing); err != nil || done.Revision != head {
		t.Errorf("the same again: %+v, %v", done, err)
	}
	for _, c := range []struct {
		field string
		code  string
		edit  func(*EntryEdit)
	}{
		{"entry.policies[1]", CodePolicyUnknown, func(r *EntryEdit) { r.Policies = []string{"read_jobs", "READ_JOBS"} }},
		{"entry.policies", CodeInvalidField, func(r *EntryEdit) { r.Default, r.Policies = true, []string{"read_jobs"} }},
		{"entry.policies", CodeInvalidField, func(r *EntryEdit) { r.Policies = slices.Repeat([]string{"read_jobs"}, MaxEntryPolicies+1) }},
		{"entry.scope", CodeInvalidField, func(r *EntryEdit) { r.Other = authz.Scope{} }},
		{"entry.scope", CodeInvalidField, func(r *EntryEdit) { r.Other.ID = -1 }},
		{"project_id", CodeInvalidField, func(r *EntryEdit) { r.Project = 0 }},
		{"direction", CodeInvalidField, func(r *EntryEdit) { r.Direction = 2 }},
	} {
		req := fine
		c.edit(&req)
		_, _, err := l.add(as(max_), req)
		wantError(t, err, authz.KindInvalid, c.code)
		wantField(t, err, c.field)
		_, _, err = l.e.UpdateEntry(ctx, as(max_), req)
		wantField(t, err, c.field)
	}
	outbound := onApp(Outbound, authz.InGroup(team))
	_, _, err = l.add(as(max_), outbound)
	wantField(t, err, "entry.scope")
	outbound.Other, outbound.Default = authz.InProject(mine), true
	_, _, err = l.add(as(max_), outbound)
	wantField(t, err, "entry.policies")
	_, _, err = l.e.UpdateEntry(ctx, as(max_), outbound)
	wantField(t, err, "direction")
	for _, d := range []Direction{Inbound, Outbound} {
		wantError(t, l.remove(as(max_), d, authz.InProject(mine)), authz.KindNotFound, CodeEntryNotFound)
	}
	_, _, err = l.e.UpdateEntry(ctx, as(max_), onApp(Inbound, authz.InProject(mine)))
	wantError(t, err, authz.KindNotFound, CodeEntryNotFound)
}

// TestEditingWhileOff: the lists can be edited while the switches are off (§16).
func TestEditingWhileOff(t *testing.T) {
	l := newListTest(t)
	info, done, err := l.e.UpdateAllowlist(t.Context(), as(max_), AllowlistSettings{
		AllowlistEdit: AllowlistEdit{Project: app}, InboundOn: new(false), OutboundOn: new(true), PushSelf: new(true), PushCross: new(true),
	})
	if err != nil || info.InboundOn || !info.OutboundOn || !info.PushSelf || !info.PushCross || info.Changed != done.Revision {
		t.Fatalf("%+v, %+v, %v", info, done, err)
	}
	if _, _, err := l.add(as(max_), onApp(Inbound, authz.InProject(open))); err != nil {
		t.Error(err)
	}
	got, err := l.e.GetAllowlist(t.Context(), as(max_), app)
	if err != nil || got.InboundOn || !got.PushCross || got.InboundProjects != 1 || got.Changed <= done.Revision || got.MaxGroups != 200 {
		t.Errorf("%+v, %v", got, err)
	}
	_, _, err = l.e.UpdateAllowlist(t.Context(), as(max_), AllowlistSettings{AllowlistEdit: AllowlistEdit{Project: app}})
	wantError(t, err, authz.KindInvalid, CodeInvalidField)
}

// TestTwoEditorsAtTheLimit: of many who add the 200th entry at once, one does.
func TestTwoEditorsAtTheLimit(t *testing.T) {
	var more []state.Record
	for i := range 8 {
		more = append(more, &state.Project{ID: authz.ProjectID(500 + i), Namespace: "v", Name: fmt.Sprint(i), Visibility: authz.Public})
	}
	l := newListTest(t, append(more, full(199, 0, 0)...)...)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, _, errs[i] = l.e.AddEntry(t.Context(), as(max_), onApp(Inbound, authz.InProject(authz.ProjectID(500+i))))
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else {
			wantError(t, err, authz.KindPrecondition, CodeListFull)
		}
	}
	if a, _ := l.e.view.Allowlist(app); done != 1 || len(a.Inbound) != 200 {
		t.Errorf("%d of 8 got in, the list has %d", done, len(a.Inbound))
	}
}

// TestRightsLostMeanwhile: an edit is judged by what holds when it is committed.
func TestRightsLostMeanwhile(t *testing.T) {
	st := &watched{Store: storeOf(t, listWorld()...)}
	e := startEngine(t, st, newHandClock(noon()))
	first := true
	st.fail = func() error { // between the reading of the first try and its commit
		if first {
			first = false
			b := state.Batch{Puts: []state.Record{&state.Members{User: max_}}}
			if _, err := st.Store.Commit(t.Context(), b); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	_, _, err := e.AddEntry(t.Context(), as(max_), onApp(Inbound, authz.InProject(open)))
	wantError(t, err, authz.KindNotFound, CodeProjectNotFound)
}

func TestExpectedRevision(t *testing.T) {
	l := newListTest(t)
	never, wrong := authz.Revision(0), authz.Revision(1)
	req := onApp(Inbound, authz.InProject(open))
	req.Expected = &wrong
	_, _, err := l.add(as(max_), req)
	wantError(t, err, authz.KindConflict, CodeRevisionMismatch)
	req.Expected = &never
	_, done, err := l.add(as(max_), req)
	if err != nil {
		t.Fatal(err)
	}
	settings := AllowlistSettings{AllowlistEdit: AllowlistEdit{Project: app, Expected: &never}, PushSelf: new(true)}
	_, _, err = l.e.UpdateAllowlist(t.Context(), as(max_), settings)
	wantError(t, err, authz.KindConflict, CodeRevisionMismatch)
	settings.Expected = &done.Revision
	if _, _, err := l.e.UpdateAllowlist(t.Context(), as(max_), settings); err != nil {
		t.Error(err)
	}
}

func TestAllowlistValidateOnly(t *testing.T) {
	l := newListTest(t, full(200, 0, 0)...)
	rev := l.e.view.Mark().Revision
	req := onApp(Inbound, authz.InProject(open))
	req.ValidateOnly, req.RequestID = true, "v"
	_, _, err := l.add(as(max_), req)
	wantError(t, err, authz.KindPrecondition, CodeListFull)
	req.Other = authz.InGroup(team)
	if _, done, err := l.add(as(max_), req); err != nil || done.Revision != rev {
		t.Errorf("%+v, %v", done, err)
	}
	info, _, err := l.e.UpdateAllowlist(t.Context(), as(max_), AllowlistSettings{AllowlistEdit: AllowlistEdit{Project: app, ValidateOnly: true}, InboundOn: new(false)})
	if err != nil || info.InboundOn {
		t.Errorf("%+v, %v", info, err)
	}
	if got := l.e.view.Mark().Revision; got != rev {
		t.Errorf("validating committed revision %d", got)
	}
}

// TestAllowlistUrgency: what only takes rights away goes through when space is short;
// taking away a fine-grained entry can give more than it takes (§9.3).
func TestAllowlistUrgency(t *testing.T) {
	l := newListTest(t, &state.Allowlist{Project: app, InboundOn: true, Outbound: []authz.ProjectID{mine}, Inbound: []state.Entry{
		{Caller: authz.InProject(open)}, {Caller: authz.InGroup(team), Entry: policy.Entry{Default: true}},
	}})
	st := &watched{Store: l.e.store}
	l.e.store = &urgent{st, t}
	for _, ok := range []error{
		l.remove(as(max_), Inbound, authz.InGroup(team)),
		l.remove(as(max_), Outbound, authz.InProject(mine)),
		l.set(AllowlistSettings{OutboundOn: new(true)}),
	} {
		if ok != nil {
			t.Error(ok)
		}
	}
	for _, no := range []error{
		l.remove(as(max_), Inbound, authz.InProject(open)),
		l.set(AllowlistSettings{OutboundOn: new(false)}),
		l.set(AllowlistSettings{InboundOn: new(false)}),
		l.set(AllowlistSettings{PushSelf: new(true), OutboundOn: new(true)}),
	} {
		if no == nil || authz.KindOf(no) != authz.KindExhausted {
			t.Errorf("went through: %v", no)
		}
	}
}

func (l *listTest) set(s AllowlistSettings) error {
	s.Project = app
	_, _, err := l.e.UpdateAllowlist(l.t.Context(), as(max_), s)
	return err
}
