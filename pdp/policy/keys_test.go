package policy_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/pdp/state"
)

// TestKeysComplete changes any one thing of a random world (P9, as far as policy goes).
// When the answer to a question is another afterwards, the answer before must have
// rested on a key that the change emits (PROTOCOL R15): a cache that drops exactly
// what rests on emitted keys is never wrong.
//
// Two things are no changes here: a token that becomes known by its Issue (unknown
// rests on no key, PROTOCOL R16), and the passing of time and a KeepAlive (ValidFor
// bounds the answer, PROTOCOL R12).
func TestKeysComplete(t *testing.T) {
	g := generator(t)
	type tally struct{ tried, changed int }
	tallies := map[string]*tally{}
	for range max(1, *worlds/15) {
		tb := load(t, g.world())
		for range 10 {
			// More of what few questions depend on, so that every change below matters to some.
			j, r := g.question(&tb.w, append(tb.names, "read_pipelines", "read_job_artifacts", "read_pipelines", "push_code", "push_code", "push_code"))
			if g.chance(20) {
				r.TargetProject = pick(g, "acme/nothing", "dev/nothing", "acme/lib/nothing", "ghost/lib", "ghost/app", "ghost/apps", "ghost/x")
			}
			req := tb.ask(t, j, r)
			if g.chance(40) {
				req.Target = authz.Target{ID: authz.ProjectID(1 + g.IntN(9))}
			}
			before := policy.Decide(tb.facts, req, tb.now)
			if before.Reason == authz.TokenUnknown || before.Reason == authz.TokenMalformed {
				continue
			}
			for range 60 {
				m := &mutant{gen: g, facts: tb.facts, t: t, about: before, path: r.TargetProject}
				c := changes()[g.IntN(len(changes()))]
				c.make(m)
				after := policy.Decide(tb.facts, req, tb.now)
				if tallies[c.name] == nil {
					tallies[c.name] = &tally{}
				}
				tallies[c.name].tried++
				if !same(before, after) {
					tallies[c.name].changed++
					if !slices.ContainsFunc(m.emitted, func(k authz.Key) bool { return slices.Contains(before.Keys, k) }) {
						t.Fatalf("%s changed %s to %s and emitted %v; the answer rested on %v\n%s\n%v",
							c.name, before.Reason, after.Reason, m.emitted, before.Keys, asJSON(asScenario(0, &tb.w, j, r)), req)
					}
				}
				m.undo()
				if again := policy.Decide(tb.facts, req, tb.now); !same(before, again) {
					t.Fatalf("%s was not undone: %+v is now %+v", c.name, before, again)
				}
			}
		}
	}
	for _, c := range changes() {
		n := tallies[c.name]
		if n == nil || n.changed == 0 {
			if *worlds < 3000 {
				continue // too few to say
			}
			t.Errorf("%s never changed an answer, so it shows nothing: %+v", c.name, n)
			continue
		}
		t.Logf("%7d of %7d changed the answer: %s", n.changed, n.tried, c.name)
	}
}

// same compares all that a cache would give out.
func same(a, b authz.Decision) bool {
	a.Keys, b.Keys, a.ValidFor, b.ValidFor = nil, nil, 0, 0
	return reflect.DeepEqual(a, b)
}

// mutant is a world with one thing changed, and how to take it back.
type mutant struct {
	gen
	t       testing.TB
	facts   *scenario.Facts
	about   authz.Decision
	path    string // the target asked for, if by path
	emitted []authz.Key
	undos   []func()
}

func (m *mutant) undo() {
	for _, u := range slices.Backward(m.undos) {
		u()
	}
}

// put stores a record, or deletes the one at key for a nil one, and emits what the
// commit of that change would emit.
func (m *mutant) put(key state.Key, rec state.Record) {
	old := m.facts.Get(key)
	oldPath := pathOf(m.facts, old)
	m.store(key, rec)
	m.undos = append(m.undos, func() { m.store(key, old) })
	m.emit(old, rec, oldPath)
}

func (m *mutant) store(key state.Key, rec state.Record) {
	if rec == nil {
		m.facts.Delete(key)
	} else if err := m.facts.Put(rec); err != nil {
		m.t.Fatal(err)
	}
}

// emit gives the keys of a change: of the thing itself, and, where a path now leads
// elsewhere, of the path before and after.
func (m *mutant) emit(old, rec state.Record, oldPath string) {
	some := rec
	if some == nil {
		some = old
	}
	if some == nil {
		return
	}
	add := func(k authz.Key) { m.emitted = append(m.emitted, k) }
	switch r := some.(type) {
	case *state.Instance, *state.Catalogue:
		add(authz.TheInstance)
	case *state.Project:
		add(authz.ProjectKey(r.ID))
	case *state.Allowlist:
		add(authz.ProjectKey(r.Project))
	case *state.Group:
		add(authz.GroupKey(r.ID))
	case *state.User:
		add(authz.UserKey(r.ID))
	case *state.Members:
		add(authz.UserKey(r.User))
	case *state.Job:
		add(authz.JobKey(r.ID))
	case *state.Replaced:
		add(authz.JobKey(r.Job))
	case *state.Death:
		if r.User != 0 {
			add(authz.UserKey(r.User))
		} else {
			add(authz.ProjectKey(r.Project))
		}
	default:
		m.t.Fatalf("what does a change of %T emit?", some)
	}
	if newPath := pathOf(m.facts, rec); newPath != oldPath {
		for _, p := range []string{oldPath, newPath} {
			if p != "" {
				add(authz.PathKey(p))
			}
		}
	}
}

// pathOf gives the full path of a group or project, "" for anything else.
func pathOf(f *scenario.Facts, rec state.Record) string {
	switch r := rec.(type) {
	case *state.Group:
		if r.Parent == 0 {
			return r.Name
		}
		return pathOf(f, f.Get(state.GroupKey(r.Parent))) + "/" + r.Name
	case *state.Project:
		if r.Group == 0 {
			return r.Namespace + "/" + r.Name
		}
		return pathOf(f, f.Get(state.GroupKey(r.Group))) + "/" + r.Name
	}
	return ""
}

// free reports whether nothing is at a path yet.
func (m *mutant) free(path string) bool {
	for _, r := range m.facts.All() {
		if pathOf(m.facts, r) == path {
			return false
		}
	}
	return true
}

// project gives the id of one that the answer is about, or any.
func (m *mutant) project() authz.ProjectID {
	return pick(m.gen, m.about.Source, m.about.Target, authz.ProjectID(1+m.IntN(8)))
}

// groups gives all groups.
func (m *mutant) groups() (out []*state.Group) {
	for _, r := range m.facts.All() {
		if g, ok := r.(*state.Group); ok {
			out = append(out, g)
		}
	}
	return out
}

// changeProject changes a copy of a project, if it is there.
func (m *mutant) changeProject(change func(*state.Project)) {
	if r, ok := m.facts.Get(state.ProjectKey(m.project())).(*state.Project); ok {
		c := *r
		if change(&c); m.free(pathOf(m.facts, &c)) || pathOf(m.facts, &c) == pathOf(m.facts, r) {
			m.put(c.Key(), &c)
		}
	}
}

// changeGroup changes a copy of a group.
func (m *mutant) changeGroup(change func(*state.Group)) {
	all := m.groups()
	if len(all) == 0 {
		return
	}
	c := *all[m.IntN(len(all))]
	was := pathOf(m.facts, &c)
	change(&c)
	for up := c.Parent; up != 0; { // not below itself
		if up == c.ID {
			return
		}
		up = m.facts.Get(state.GroupKey(up)).(*state.Group).Parent
	}
	if now := pathOf(m.facts, &c); now == was || m.free(now) {
		m.put(c.Key(), &c)
	}
}

func (m *mutant) changeAllowlist(change func(*state.Allowlist)) {
	id := m.project()
	c := state.DefaultAllowlist(id)
	if r, ok := m.facts.Get(state.AllowlistKey(id)).(*state.Allowlist); ok {
		copied := *r
		copied.Inbound, copied.Outbound = slices.Clone(r.Inbound), slices.Clone(r.Outbound)
		c = &copied
	}
	change(c)
	m.put(c.Key(), c)
}

func (m *mutant) changeJob(change func(*state.Job)) {
	c := *m.facts.Get(state.JobKey(scenario.JobID)).(*state.Job)
	change(&c)
	m.put(c.Key(), &c)
}

// scope gives a project or group, there or not.
func (m *mutant) scope() authz.Scope {
	if m.chance(50) {
		return authz.InProject(m.project())
	}
	return authz.InGroup(authz.GroupID(1 + m.IntN(9)))
}

func (m *mutant) name(usual string) string { return pick(m.gen, usual, "app", "apps", "lib", "x") }
