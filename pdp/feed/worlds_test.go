package feed

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

var (
	seed        = flag.Uint64("seed", 0, "seed of the random worlds; 0 takes one from the clock")
	comparisons = flag.Int("comparisons", 1_200_000, "cached answers to compare with fresh ones")
	fieldWorlds = flag.Int("worlds", 30, "random worlds at least in which every field is changed")
)

// fewer gives an eighth of n, at least one, under the race detector, which makes
// everything as much slower and finds nothing more in a thousand worlds than in a hundred.
func fewer(n int) int {
	info, _ := debug.ReadBuildInfo()
	if info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return max(n/8, 1)
	}
	return n
}

// gen makes worlds of records in which most fields matter to some question, and changes
// of them. Names and ids are few, so that what moves meets what was there before.
type gen struct {
	*rand.Rand
	recs map[state.Key]state.Record
}

func newGen(t testing.TB) *gen {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -seed %d", s)
	return &gen{Rand: rand.New(rand.NewPCG(s, 2))}
}

const (
	someGroups   = 5
	someProjects = 6
	someUsers    = 3
	someJobs     = 4
)

var names = []string{"acme", "app", "apps", "lib"}

func pick[T any](g *gen, from ...T) T { return from[g.IntN(len(from))] }

func (g *gen) chance(percent int) bool { return g.IntN(100) < percent }

func digestOf(n int) authz.Digest { return authz.Digest{byte(n + 1), 7} }

// noon is the time of all decisions.
var noon = authz.StampOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

// world makes a new one.
func (g *gen) world() []state.Record {
	g.recs = map[state.Key]state.Record{}
	put := func(r state.Record) { g.recs[r.Key()] = r }
	for i := range someGroups {
		r := &state.Group{ID: authz.GroupID(i + 1), Name: names[i%len(names)], Parent: authz.GroupID(g.IntN(i + 1)), State: some(g, authz.StateActive, authz.StateArchived)}
		put(r)
	}
	for i := range someProjects {
		id := authz.ProjectID(i + 1)
		p := &state.Project{ID: id, Group: authz.GroupID(g.IntN(someGroups + 1)), Name: pick(g, names...), PublicBuilds: g.chance(70)}
		if p.Group == 0 {
			p.Namespace = pick(g, names...)
		}
		p.Visibility = pick(g, authz.Private, authz.Internal, authz.Public)
		p.State = some(g, authz.StateActive, authz.StateArchived, authz.StateDeletionInProgress)
		p.ReadOnly, p.Hidden = g.chance(10), g.chance(5)
		for f := range p.Features {
			p.Features[f] = authz.FeatureLevel(some(g, 0, 1, 2, 3))
		}
		if g.chance(30) {
			p.Features[authz.FeaturePackages] = authz.FeaturePublic
		}
		put(p)
		if g.chance(80) {
			put(g.allowlist(id))
		}
		if g.chance(10) {
			put(&state.Death{Project: id, Before: authz.Revision(g.IntN(4))})
		}
	}
	for i := range someUsers {
		id := authz.UserID(i + 1)
		put(&state.User{ID: id, Name: fmt.Sprint("user", i), State: some(g, authz.UserStateActive, authz.UserStateBlocked), External: g.chance(25)})
		m := &state.Members{User: id}
		for range g.IntN(6) {
			m.List = append(m.List, state.Membership{Scope: g.scope(), Role: g.role()})
		}
		m.List = sorted(m.List, func(m state.Membership) authz.Scope { return m.Scope })
		put(m)
		if g.chance(10) {
			put(&state.Death{User: id, Before: authz.Revision(g.IntN(4))})
		}
	}
	for i := range someJobs {
		j := &state.Job{
			ID: authz.JobID(fmt.Sprint("job", i)), Digest: digestOf(i), Project: g.projectID(), User: authz.UserID(1 + g.IntN(someUsers)),
			Issued: authz.Revision(1 + g.IntN(3)), IssuedAt: noon - 1000, Expires: noon + 1_000_000,
		}
		if g.chance(20) {
			j.Limits = policy.Limits{Permissions: []authz.Permission{g.permission(), g.permission(), g.permission()}, Targets: []authz.Scope{g.scope(), g.scope()}}
		}
		if g.chance(20) {
			j.Runner, j.Term = "runner", 700 // since its beat, and not since the job was issued
			if g.chance(50) {
				j.Runner, j.Term = "silent", 1500
			}
		}
		put(j)
		put(&state.Replaced{Digest: digestOf(100 + i), Job: j.ID})
	}
	put(&state.Instance{Instance: policy.Instance{PublicScope: authz.PublicScope(g.IntN(2)), EnforceInbound: g.chance(20), AnyoneCanPull: g.chance(60)}})
	if g.chance(50) {
		put(g.catalogue())
	}
	put(&state.Runner{ID: "runner", Beat: noon - 500})
	put(&state.Request{ID: "a/b", Fingerprint: 7})
	return g.all()
}

// some gives the first as a rule.
func some[T any](g *gen, of ...T) T {
	if g.chance(88) {
		return of[0]
	}
	return pick(g, of...)
}

func (g *gen) catalogue() *state.Catalogue {
	return &state.Catalogue{Document: fmt.Appendf(nil,
		`{"policies":["read_wiki"],"permissions":[{"name":"read_wiki","surface":"rest","role":%q,"policies":["read_wiki"]}]}`, pick(g, "guest", "reporter", "owner"))}
}

func (g *gen) allowlist(id authz.ProjectID) *state.Allowlist {
	a := &state.Allowlist{Project: id, InboundOn: g.chance(75), OutboundOn: g.chance(20), PushSelf: g.chance(50), PushCross: g.chance(50)}
	for range g.IntN(5) {
		a.Inbound = append(a.Inbound, g.entry())
	}
	a.Inbound = sorted(a.Inbound, func(e state.Entry) authz.Scope { return e.Caller })
	for range g.IntN(4) {
		a.Outbound = append(a.Outbound, g.projectID())
	}
	slices.Sort(a.Outbound)
	a.Outbound = slices.Compact(a.Outbound)
	return a
}

func (g *gen) entry() state.Entry {
	e := state.Entry{Caller: g.scope(), Entry: policy.Entry{Default: g.chance(50)}}
	if !e.Default {
		e.Policies = []string{pick(g, "read_packages", "admin_packages", "read_releases", "read_jobs", "read_wiki")}
	}
	return e
}

// sorted orders a list by scope and keeps one of each.
func sorted[T any](list []T, of func(T) authz.Scope) []T {
	at := func(x T) int64 { return int64(of(x).Kind)<<56 | of(x).ID }
	slices.SortStableFunc(list, func(a, b T) int { return int(at(a) - at(b)) })
	return slices.CompactFunc(list, func(a, b T) bool { return of(a) == of(b) })
}

func (g *gen) role() authz.Role {
	return pick(g, authz.RoleMinimal, authz.RoleGuest, authz.RoleReporter, authz.RoleDeveloper, authz.RoleMaintainer, authz.RoleOwner)
}

func (g *gen) projectID() authz.ProjectID { return authz.ProjectID(1 + g.IntN(someProjects)) }

func (g *gen) scope() authz.Scope {
	if g.chance(50) {
		return authz.InProject(g.projectID())
	}
	return authz.InGroup(authz.GroupID(1 + g.IntN(someGroups)))
}

var permissions = func() (all []authz.Permission) {
	for _, p := range policy.Builtin().Permissions() {
		all = append(all, p.Name)
	}
	return append(all, "read_wiki", "read_wiki", "no_such_thing")
}()

func (g *gen) permission() authz.Permission {
	if g.chance(25) {
		return pick[authz.Permission](g, "read_packages", "push_code")
	}
	return pick(g, permissions...)
}

// all gives the records by key, so that a seed gives the same run again.
func (g *gen) all() []state.Record {
	var out []state.Record
	for _, r := range g.recs {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b state.Record) int { return strings.Compare(string(a.Key()), string(b.Key())) })
	return out
}

func (g *gen) any() state.Record {
	all := g.all()
	return all[g.IntN(len(all))]
}

// path is one that leads somewhere, led somewhere, or may lead somewhere.
func (g *gen) path() string {
	if g.chance(60) {
		p, _ := g.recs[state.ProjectKey(g.projectID())].(*state.Project)
		if p != nil {
			return g.pathOf(p)
		}
	}
	path := pick(g, names...)
	for range 1 + g.IntN(3) {
		path += "/" + pick(g, names...)
	}
	return path
}

func (g *gen) pathOf(rec state.Record) string {
	switch r := rec.(type) {
	case *state.Group:
		if r.Parent == 0 {
			return r.Name
		}
		return g.pathOf(g.recs[state.GroupKey(r.Parent)]) + "/" + r.Name
	case *state.Project:
		if r.Group == 0 {
			return r.Namespace + "/" + r.Name
		}
		return g.pathOf(g.recs[state.GroupKey(r.Group)]) + "/" + r.Name
	}
	return "nowhere"
}

func (g *gen) question() authz.Request {
	r := authz.Request{Token: digestOf(g.IntN(someJobs)), Permission: g.permission()}
	if g.chance(3) {
		r.Token = digestOf(100 + g.IntN(someJobs))
	}
	switch n := g.IntN(100); {
	case n < 20:
		if j, ok := g.recs[state.JobKey("job0")].(*state.Job); ok { // its own project
			r.Token, r.Target.ID = j.Digest, j.Project
		}
	case n < 60:
		r.Target.ID = g.projectID()
	case n < 95:
		r.Target.Path = g.path()
	}
	if g.chance(15) {
		r.Token = authz.Nobody
	}
	return r
}

// fits reports whether the engine would let a record be beside the others: every group
// that something is in exists, no group is above itself, and no digest belongs to two
// jobs.
func (g *gen) fits(rec state.Record) bool {
	switch r := rec.(type) {
	case *state.Group:
		for up := r.Parent; up != 0; {
			above, _ := g.recs[state.GroupKey(up)].(*state.Group)
			if above == nil || up == r.ID {
				return false
			}
			up = above.Parent
		}
	case *state.Project:
		return r.Group == 0 || g.recs[state.GroupKey(r.Group)] != nil
	case *state.Job:
		for _, o := range g.recs {
			if j, ok := o.(*state.Job); ok && j.ID != r.ID && j.Digest == r.Digest {
				return false
			}
		}
		return !r.Digest.IsZero()
	}
	return true
}

// empty reports whether a record may be deleted: nothing is in it.
func (g *gen) empty(k state.Key) bool {
	for _, rec := range g.recs {
		switch r := rec.(type) {
		case *state.Group:
			if r.Parent != 0 && state.GroupKey(r.Parent) == k {
				return false
			}
		case *state.Project:
			if r.Group != 0 && state.GroupKey(r.Group) == k {
				return false
			}
		}
	}
	return true
}

// leaf is one place in a record that can be changed.
type leaf struct {
	name string // Kind.Field.Field
	at   reflect.Value
}

// leaves lists the places of a record: every field of every struct in it, lists as one.
func leaves(name string, v reflect.Value) (out []leaf) {
	if v.Kind() != reflect.Struct {
		return []leaf{{name, v}}
	}
	for i := range v.NumField() {
		sub := name + "." + v.Type().Field(i).Name
		if v.Type().Field(i).Anonymous {
			sub = name
		}
		out = append(out, leaves(sub, v.Field(i))...)
	}
	return out
}

// clone copies a record as deep as change goes.
func clone(rec state.Record) state.Record {
	c := reflect.New(reflect.TypeOf(rec).Elem())
	c.Elem().Set(reflect.ValueOf(rec).Elem())
	return c.Interface().(state.Record)
}

// change sets a place to something else of its type. A type that it does not know fails
// the test: say here what it can be.
func (g *gen) change(t testing.TB, l leaf) {
	v := l.at
	set := func(x any) { v.Set(reflect.ValueOf(x).Convert(v.Type())) }
	switch old := v.Interface().(type) {
	case bool:
		set(!old)
	case authz.GroupID, authz.ProjectID, authz.UserID:
		set(g.IntN(7))
	case authz.JobID:
		set(fmt.Sprint("job", g.IntN(someJobs)))
	case string:
		set(pick(g, names...))
	case authz.Visibility:
		set(g.IntN(3))
	case authz.ProjectState, authz.UserState:
		set(g.IntN(5))
	case authz.JobStatus:
		set(g.IntN(13))
	case authz.PublicScope:
		set(g.IntN(2))
	case [authz.NumFeatures]authz.FeatureLevel:
		old[g.IntN(len(old))] = authz.FeatureLevel(g.IntN(4))
		set(old)
	case authz.Digest:
		set(digestOf(200 + g.IntN(4)))
	case authz.Revision:
		set(g.IntN(5))
	case authz.Stamp:
		set(noon + authz.Stamp(g.IntN(5000)) - 2500)
	case time.Duration:
		set(time.Duration(g.IntN(2000)))
	case int, int64, uint64:
		set(g.IntN(100))
	case []byte:
		set(g.catalogue().Document)
	case []state.Membership:
		s := state.Membership{Scope: g.scope(), Role: g.role()}
		had := slices.ContainsFunc(old, func(m state.Membership) bool { return m.Scope == s.Scope })
		list := slices.DeleteFunc(slices.Clone(old), func(m state.Membership) bool { return m.Scope == s.Scope })
		if !had || g.chance(60) {
			list = append(list, s)
		}
		set(sorted(list, func(m state.Membership) authz.Scope { return m.Scope }))
	case []state.Entry:
		e := g.entry()
		had := slices.ContainsFunc(old, func(o state.Entry) bool { return o.Caller == e.Caller })
		list := slices.DeleteFunc(slices.Clone(old), func(o state.Entry) bool { return o.Caller == e.Caller })
		if !had || g.chance(60) {
			list = append(list, e)
		}
		set(sorted(list, func(e state.Entry) authz.Scope { return e.Caller }))
	case []authz.ProjectID:
		id := g.projectID()
		list := slices.DeleteFunc(slices.Clone(old), func(o authz.ProjectID) bool { return o == id })
		if len(list) == len(old) {
			list = append(list, id)
		}
		slices.Sort(list)
		set(list)
	case []authz.Permission:
		set(pick(g, nil, []authz.Permission{g.permission(), g.permission()}))
	case []authz.Scope:
		set(pick(g, nil, []authz.Scope{g.scope()}))
	case state.SealKey:
		set(state.SealKey{byte(g.IntN(256))})
	default:
		t.Fatalf("%s is a %v: say in this test what else it can be", l.name, v.Type())
	}
}
