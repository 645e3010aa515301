package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 takes a new one")

// random gives a generator whose seed is printed when the test fails.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("run again with -seed=%d", s)
		}
	})
	return rand.New(rand.NewPCG(s, 1))
}

// forge is the actor that syncs, sam a user who can do nothing by itself.
func forge() Actor { return Actor{Name: "forge"} }

// newEngine starts an engine on a store of its own that holds the records.
func newEngine(t *testing.T, records ...state.Record) *Engine {
	t.Helper()
	return startEngine(t, storeOf(t, records...), newHandClock(noon()))
}

func storeOf(t *testing.T, records ...state.Record) *memstore.Store {
	t.Helper()
	st := memstore.New()
	if err := st.Attach(t.Context(), state.NewView()); err != nil {
		t.Fatal(err)
	}
	for len(records) > 0 {
		n := min(len(records), 2000)
		if _, err := st.Commit(t.Context(), state.Batch{Puts: records[:n]}); err != nil {
			t.Fatal(err)
		}
		records = records[n:]
	}
	return st.Reopen()
}

// world is a directory as a list.
type world struct {
	groups   map[authz.GroupID]*state.Group
	projects map[authz.ProjectID]*state.Project
	users    map[authz.UserID]*state.User
	roles    map[MembershipRef]authz.Role
}

func emptyWorld() *world {
	return &world{map[authz.GroupID]*state.Group{}, map[authz.ProjectID]*state.Project{}, map[authz.UserID]*state.User{}, map[MembershipRef]authz.Role{}}
}

func (w *world) changes() (list []Change) {
	for _, g := range w.groups {
		list = append(list, Change{Group: new(*g)})
	}
	for _, p := range w.projects {
		list = append(list, Change{Project: new(*p)})
	}
	for _, u := range w.users {
		list = append(list, Change{User: new(*u)})
	}
	for ref, role := range w.roles {
		list = append(list, Change{Membership: &Membership{ref.User, state.Membership{Scope: ref.Scope, Role: role}}})
	}
	return list
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// randomWorld makes a small directory. Names are few, so that two worlds made this way
// want the same places for different things.
func randomWorld(rng *rand.Rand) *world {
	w := emptyWorld()
	taken := map[string]bool{}
	paths := map[authz.GroupID]string{0: ""}
	depth := map[authz.GroupID]int{0: 0}
	for range rng.IntN(12) {
		id := authz.GroupID(1 + rng.IntN(14))
		parent := pick(rng, append(slices.Sorted(maps.Keys(w.groups)), 0)...)
		name := pick(rng, "a", "b", "c", "d")
		path := strings.TrimPrefix(paths[parent]+"/"+name, "/")
		if w.groups[id] != nil || taken[path] || depth[parent] >= 5 {
			continue
		}
		taken[path], paths[id], depth[id] = true, path, depth[parent]+1
		w.groups[id] = &state.Group{
			ID: id, Parent: parent, Name: name,
			Visibility: pick(rng, authz.Private, authz.Internal, authz.Public), State: pick(rng, authz.StateActive, authz.StateActive, authz.StateArchived),
		}
	}
	for range rng.IntN(20) {
		p := randomProject(rng)
		if len(w.groups) > 0 && rng.IntN(4) > 0 {
			p.Group = pick(rng, slices.Sorted(maps.Keys(w.groups))...)
		} else {
			p.Namespace = pick(rng, "a", "b", "u")
		}
		path := p.Namespace + paths[p.Group] + "/" + p.Name
		if w.projects[p.ID] != nil || taken[path] {
			continue
		}
		taken[path], w.projects[p.ID] = true, p
	}
	for range rng.IntN(6) {
		id := authz.UserID(1 + rng.IntN(6))
		w.users[id] = &state.User{
			ID: id, Name: pick(rng, "ann", "bob"), State: pick(rng, authz.UserStateActive, authz.UserStateActive, authz.UserStateBlocked, authz.UserStateBanned),
			External: rng.IntN(3) == 0, Admin: rng.IntN(4) == 0,
		}
	}
	w.randomRoles(rng)
	return w
}

func randomProject(rng *rand.Rand) *state.Project {
	p := &state.Project{
		ID: authz.ProjectID(1 + rng.IntN(20)), Name: pick(rng, "a", "b", "x", "y"),
		Visibility:   pick(rng, authz.Private, authz.Internal, authz.Public),
		State:        pick(rng, authz.StateActive, authz.StateActive, authz.StateArchived, authz.StateDeletionScheduled, authz.StatePendingDelete),
		PublicBuilds: rng.IntN(2) == 0, ReadOnly: rng.IntN(4) == 0, Hidden: rng.IntN(4) == 0,
	}
	p.Features[authz.FeaturePackages] = pick(rng, authz.FeatureEnabled, authz.FeaturePrivate, authz.FeatureDisabled, authz.FeaturePublic)
	return p
}

func (w *world) randomRoles(rng *rand.Rand) {
	for range rng.IntN(25) {
		if len(w.users) == 0 {
			return
		}
		ref := MembershipRef{User: pick(rng, slices.Sorted(maps.Keys(w.users))...)}
		switch {
		case rng.IntN(2) == 0 && len(w.groups) > 0:
			ref.Scope = authz.InGroup(pick(rng, slices.Sorted(maps.Keys(w.groups))...))
		case len(w.projects) > 0:
			ref.Scope = authz.InProject(pick(rng, slices.Sorted(maps.Keys(w.projects))...))
		default:
			continue
		}
		w.roles[ref] = pick(rng, authz.RoleMinimal, authz.RoleGuest, authz.RoleDeveloper, authz.RoleMaintainer, authz.RoleOwner)
	}
}

func mustSync(t *testing.T, e *Engine, opt SyncOptions, tweak func(*Sync), list []Change) Diff {
	t.Helper()
	diff, err := runSync(t.Context(), e, opt, tweak, list)
	if err != nil {
		t.Fatalf("sync: %v", err)
	}
	return diff
}

func runSync(ctx context.Context, e *Engine, opt SyncOptions, tweak func(*Sync), list []Change) (Diff, error) {
	s, err := e.BeginSync(forge(), opt)
	if err != nil {
		return Diff{}, err
	}
	if tweak != nil {
		tweak(s)
	}
	for _, c := range list {
		if err := s.Add(c); err != nil {
			return Diff{}, err
		}
	}
	return s.Finish(ctx)
}

// holding reads the directory back from the view.
func holding(e *Engine) *world {
	w := emptyWorld()
	for _, g := range e.view.Groups(0, 1<<20) {
		w.groups[g.ID] = g
	}
	for _, p := range e.view.Projects(0, 1<<20) {
		w.projects[p.ID] = p
	}
	for _, u := range e.view.Users(0, 1<<20) {
		w.users[u.ID] = u
	}
	for id := authz.UserID(1); id <= 100; id++ {
		m, _ := e.view.Members(id)
		for _, held := range m.List {
			w.roles[MembershipRef{id, held.Scope}] = held.Role
		}
	}
	return w
}

// sameWorld compares two directories; deleting, where it is not nil, are projects that
// may be further in their deletion.
func sameWorld(t *testing.T, got, want *world) {
	t.Helper()
	equal := func(what string, ok bool, got, want any) {
		t.Helper()
		if !ok {
			t.Errorf("%s:\n got %v\nwant %v", what, got, want)
		}
	}
	deref := func(w *world) (g map[authz.GroupID]state.Group, p map[authz.ProjectID]state.Project, u map[authz.UserID]state.User) {
		g, p, u = map[authz.GroupID]state.Group{}, map[authz.ProjectID]state.Project{}, map[authz.UserID]state.User{}
		for id, r := range w.groups {
			g[id] = *r
		}
		for id, r := range w.projects {
			p[id] = *r
		}
		for id, r := range w.users {
			u[id] = *r
		}
		return g, p, u
	}
	g, p, u := deref(got)
	wg, wp, wu := deref(want)
	equal("groups", maps.Equal(g, wg), g, wg)
	equal("projects", maps.Equal(p, wp), p, wp)
	equal("users", maps.Equal(u, wu), u, wu)
	equal("roles", maps.Equal(got.roles, want.roles), got.roles, want.roles)
}

// watched calls after for each commit of a store.
type watched struct {
	state.Store
	after func()
	fail  func() error
}

func (s *watched) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return 0, err
		}
	}
	rev, err := s.Store.Commit(ctx, b)
	if err == nil && s.after != nil {
		s.after()
	}
	return rev, err
}

// standing is what somebody can be or reach in a directory.
type standing struct {
	roles      map[[2]int64]authz.Role // by user and project
	paths      map[string]authz.ProjectID
	chains     map[authz.ProjectID]string
	visibility map[authz.ProjectID]authz.Visibility
	active     map[authz.UserID]bool
}

func standingOf(e *Engine) standing {
	s := standing{map[[2]int64]authz.Role{}, map[string]authz.ProjectID{}, map[authz.ProjectID]string{}, map[authz.ProjectID]authz.Visibility{}, map[authz.UserID]bool{}}
	for _, p := range e.view.Projects(0, 1<<20) {
		path, ok := e.view.PathOf(p.ID)
		if ok {
			s.paths[path] = p.ID
		}
		s.chains[p.ID], s.visibility[p.ID] = fmt.Sprint(e.above(authz.InProject(p.ID))), p.Visibility
		for u := authz.UserID(1); u <= 6; u++ {
			if role, _ := e.view.RoleOf(u, p.ID); role >= authz.RoleGuest {
				s.roles[[2]int64{int64(u), int64(p.ID)}] = role
			}
		}
	}
	for _, u := range e.view.Users(0, 1<<20) {
		s.active[u.ID] = u.State == authz.UserStateActive
	}
	return s
}

// within asserts that nothing in s is more than in a or b.
func (s standing) within(t *testing.T, a, b standing) {
	t.Helper()
	for k, role := range s.roles {
		if role > max(a.roles[k], b.roles[k]) {
			t.Errorf("user %d was %s of project %d on the way, %s before, %s after", k[0], role, k[1], a.roles[k], b.roles[k])
		}
	}
	for path, id := range s.paths {
		if id != a.paths[path] && id != b.paths[path] && !strings.Contains(path, parked) {
			t.Errorf("%s led to project %d on the way, to %d before, to %d after", path, id, a.paths[path], b.paths[path])
		}
	}
	for id, chain := range s.chains {
		if chain != a.chains[id] && chain != b.chains[id] {
			t.Errorf("project %d was below %s on the way, %s before, %s after", id, chain, a.chains[id], b.chains[id])
		}
		if s.visibility[id] > max(a.visibility[id], b.visibility[id]) {
			t.Errorf("project %d was %s on the way", id, s.visibility[id])
		}
	}
	for id, active := range s.active {
		if active && !a.active[id] && !b.active[id] {
			t.Errorf("user %d was active on the way", id)
		}
	}
}

// TestSyncMakesEqual: a synchronisation makes any directory equal to any list, does
// nothing the second time, tells the difference before, and on the way nobody has more
// than before or after.
func TestSyncMakesEqual(t *testing.T) {
	rng := random(t)
	for range 300 {
		before, after := randomWorld(rng), randomWorld(rng)
		for id, p := range after.projects { // what is being deleted stays so: see TestSyncLeavesDeletionsAlone
			if old := before.projects[id]; old != nil && old.State >= authz.StateDeletionInProgress && p.State < authz.StateDeletionInProgress {
				old.State = authz.StateActive
			}
		}
		clock := newHandClock(noon())
		st := &watched{Store: memstore.New()}
		e := startEngine(t, st, clock)
		mustSync(t, e, SyncOptions{}, nil, before.changes())
		sameWorld(t, holding(e), before)
		addRandomEntries(t, rng, e, before)

		plan := mustSync(t, e, SyncOptions{ValidateOnly: true}, nil, after.changes())
		sameWorld(t, holding(e), before)
		was, on := standingOf(e), []standing{}
		st.after = func() { on = append(on, standingOf(e)) }
		small := rng.IntN(2) == 0
		diff := mustSync(t, e, SyncOptions{}, func(s *Sync) {
			if small {
				s.chunk = 1 + rng.IntN(3)
			}
		}, after.changes())
		st.after = nil
		sameWorld(t, holding(e), after)
		for _, s := range on {
			s.within(t, was, standingOf(e))
		}
		if plan.Groups != diff.Groups || plan.Projects != diff.Projects || plan.Users != diff.Users || plan.Memberships != diff.Memberships || !slices.Equal(plan.Lines, diff.Lines) {
			t.Errorf("planned %+v\n    did %+v", plan, diff)
		}
		checkNoLeftovers(t, e)
		rev := e.view.Mark().Revision
		again := mustSync(t, e, SyncOptions{}, nil, after.changes())
		if again.Commits != 0 || e.view.Mark().Revision != rev || len(again.Lines) != 0 {
			t.Errorf("the second time: %+v", again)
		}
		if t.Failed() {
			return
		}
	}
}

// addRandomEntries puts entries on lists that name projects and groups.
func addRandomEntries(t *testing.T, rng *rand.Rand, e *Engine, w *world) {
	t.Helper()
	projects := slices.Sorted(maps.Keys(w.projects))
	groups := slices.Sorted(maps.Keys(w.groups))
	var b state.Batch
	for _, owner := range projects {
		a := state.DefaultAllowlist(owner)
		for _, p := range projects {
			if p != owner && rng.IntN(3) == 0 {
				a.Inbound = append(a.Inbound, state.Entry{Caller: authz.InProject(p), Entry: policy.Entry{Default: true}})
			}
			if p != owner && rng.IntN(3) == 0 {
				a.Outbound = append(a.Outbound, p)
			}
		}
		for _, g := range groups {
			if rng.IntN(3) == 0 {
				a.Inbound = append(a.Inbound, state.Entry{Caller: authz.InGroup(g), Entry: policy.Entry{Policies: []string{"read_jobs"}}})
			}
		}
		b.Puts = append(b.Puts, a)
	}
	if len(b.Puts) == 0 {
		return
	}
	if _, err := e.store.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// checkNoLeftovers asserts that no list and no role names what does not exist.
func checkNoLeftovers(t *testing.T, e *Engine) {
	t.Helper()
	exists := func(s authz.Scope) bool {
		if s.Kind == authz.ScopeGroup {
			_, _, ok := e.view.Group(authz.GroupID(s.ID))
			return ok
		}
		_, _, ok := e.view.Project(authz.ProjectID(s.ID))
		return ok
	}
	for id := int64(1); id <= 30; id++ {
		for _, s := range []authz.Scope{authz.InProject(authz.ProjectID(id)), authz.InGroup(authz.GroupID(id))} {
			if exists(s) {
				continue
			}
			if on := e.view.ListedOn(s, 0, 10); len(on) > 0 {
				t.Errorf("%s is gone and on the lists of %v", s, on)
			}
			if of := e.view.MembersOf(s, 0, 10); len(of) > 0 {
				t.Errorf("%s is gone and has members %v", s, of)
			}
			if s.Kind == authz.ScopeProject {
				if from := e.view.OutboundFrom(authz.ProjectID(id), 0, 10); len(from) > 0 {
					t.Errorf("%s is gone and on the outbound lists of %v", s, from)
				}
				if _, rev := e.view.Allowlist(authz.ProjectID(id)); rev != 0 {
					t.Errorf("%s is gone and has an allowlist", s)
				}
			}
		}
	}
}

// TestSyncSplitMoves: a list that moves more than fits one commit gets there, too.
func TestSyncSplitMoves(t *testing.T) {
	rng := random(t)
	for range 300 {
		before, after := randomWorld(rng), randomWorld(rng)
		for _, w := range []*world{before, after} {
			for _, p := range w.projects {
				p.State = authz.StateActive
			}
		}
		e := newEngine(t)
		mustSync(t, e, SyncOptions{}, nil, before.changes())
		mustSync(t, e, SyncOptions{}, func(s *Sync) { s.moves, s.chunk = 0, 1+rng.IntN(3) }, after.changes())
		sameWorld(t, holding(e), after)
		if t.Failed() {
			return
		}
	}
}

var errBroken = errors.New("the test said so")

// TestSyncGoesOn: a synchronisation that fails anywhere is completed by running it
// again with the same list.
func TestSyncGoesOn(t *testing.T) {
	rng := random(t)
	for round := range 200 {
		before, after := randomWorld(rng), randomWorld(rng)
		for _, w := range []*world{before, after} {
			for _, p := range w.projects {
				p.State = authz.StateActive
			}
		}
		st := &watched{Store: memstore.New()}
		e := startEngine(t, st, newHandClock(noon()))
		mustSync(t, e, SyncOptions{}, nil, before.changes())
		opt := SyncOptions{}
		if round%2 == 0 {
			opt.AsOf = e.view.Mark().Revision
		}
		left := rng.IntN(12)
		st.fail = func() error {
			if left--; left < 0 {
				return errBroken
			}
			return nil
		}
		chunk := func(s *Sync) { s.chunk = 2 }
		if _, err := runSync(t.Context(), e, opt, chunk, after.changes()); err != nil && !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		st.fail = nil
		mustSync(t, e, opt, chunk, after.changes())
		sameWorld(t, holding(e), after)
		if t.Failed() {
			return
		}
	}
}
