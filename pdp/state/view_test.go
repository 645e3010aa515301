package state_test

import (
	"flag"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

var histories = flag.Int("histories", 60, "how many random histories the view is held against its model for")

// TestViewAgreesWithTheModel runs random histories through the view and the model and
// compares everything that can be asked. Half of the records come as a snapshot.
func TestViewAgreesWithTheModel(t *testing.T) {
	r := newRand(t)
	for i := range *histories {
		c, m, v := newChronicle(r, i%2 == 0), newModel(), state.NewView()
		for range r.IntN(40) {
			m.apply(c.change())
		}
		load(r, v, m)
		compare(t, c, v, m)
		for range 12 {
			changes := make([]state.Change, 1+r.IntN(3))
			for i := range changes {
				changes[i] = c.change()
				m.apply(changes[i])
			}
			v.Apply(changes)
			compare(t, c, v, m)
			if t.Failed() {
				t.Fatalf("after history %d, revision %d", i, m.rev)
			}
		}
		same(t, "in use, against a view made of what is left", v.InUse(), fresh(r, m).InUse())
		load(r, v, m)
		compare(t, c, v, m)
		forget(r, v, m)
		same(t, "in use when everything is deleted", v.InUse(), map[string]int{})
		compare(t, c, v, m)
	}
}

func fresh(r *rand.Rand, m *model) *state.View {
	v := state.NewView()
	load(r, v, m)
	return v
}

// forget deletes everything, in random order.
func forget(r *rand.Rand, v *state.View, m *model) {
	c := state.Change{Revision: m.rev + 1}
	for k := range m.recs {
		c.Deletes = append(c.Deletes, k)
	}
	slices.Sort(c.Deletes)
	r.Shuffle(len(c.Deletes), func(i, j int) { c.Deletes[i], c.Deletes[j] = c.Deletes[j], c.Deletes[i] })
	v.Apply([]state.Change{c})
	m.apply(c)
}

// load gives the view everything that the model holds, in random order.
func load(r *rand.Rand, v *state.View, m *model) {
	v.Reset()
	keys := make([]state.Key, 0, len(m.recs))
	for k := range m.recs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	for _, k := range keys {
		v.Load(m.recs[k], m.mods[k])
	}
	v.Loaded(state.Mark{Revision: m.rev}, m.stamp)
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// stored is what reading a record gives: the record, the revision, whether it is there.
type stored struct {
	rec state.Record
	rev authz.Revision
	ok  bool
}

func read[R state.Record](rec R, rev authz.Revision, ok bool) stored {
	if !ok {
		return stored{nil, rev, false}
	}
	return stored{rec, rev, true}
}

func (m *model) read(k state.Key) stored {
	r, ok := m.recs[k]
	return stored{r, m.mods[k], ok}
}

func compare(t *testing.T, c *chronicle, v *state.View, m *model) {
	t.Helper()
	same(t, "mark", v.Mark(), state.Mark{Revision: m.rev})
	same(t, "stamp", v.Stamp(), m.stamp)
	var counts [state.NumKinds]int
	for k := range m.recs {
		counts[k.Kind()]++
	}
	same(t, "counts", v.Counts(), counts)
	inst, rev := v.Instance()
	same(t, "instance", inst, m.instance())
	same(t, "instance's revision", rev, m.mods[state.InstanceKey()])
	leases, rev := v.Leases()
	same(t, "leases", read(leases, rev, leases != nil), m.read(state.LeasesKey()))
	same(t, "directory's revision", v.DirectoryChanged(), m.mods[state.DirectoryKey()])
	for _, d := range c.old {
		was, _ := m.recs[state.ReplacedKey(d)].(*state.Replaced)
		job, ok := v.JobReplaced(d)
		if ok != (was != nil) || ok && job != was.Job {
			t.Errorf("digest %x was that of job %q (%v), and the model has %+v", d[:4], job, ok, was)
		}
	}
	compareWorlds(t, c, v, m)
	compareGroups(t, c, v, m)
	compareProjects(t, c, v, m)
	compareUsers(t, c, v, m)
	compareJobs(t, c, v, m)
	compareRunners(t, c, v, m)
	for n := range someRequests + 2 {
		id := pickName("request", n)
		same(t, "request", read(v.Request(id)), m.read(state.RequestKey(id)))
	}
	before := c.stamp()
	same(t, "outdated", outdated(v, before, 1+c.IntN(5)), m.outdated(before))
}

// outdated collects what pages of a size give, until one is not full. Nothing is
// deleted in between, so later pages may begin again from the start.
func outdated(v *state.View, before authz.Stamp, limit int) []state.Guard {
	all := v.Outdated(before, 1<<20)
	slices.SortFunc(all, func(a, b state.Guard) int { return compareKeys(a.Key, b.Key) })
	some := v.Outdated(before, limit)
	if len(some) != min(limit, len(all)) {
		return some
	}
	for _, g := range some {
		if !slices.Contains(all, g) {
			return some
		}
	}
	return all
}

func compareKeys(a, b state.Key) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// compareWorlds asks both as policy.World, through decisions.
func compareWorlds(t *testing.T, c *chronicle, v *state.View, m *model) {
	t.Helper()
	var kv, km policy.Walk
	permissions := builtin.Permissions()
	for range 40 {
		req := authz.Request{Permission: permissions[c.IntN(len(permissions))].Name}
		if ds := c.digests(); len(ds) > 0 && c.IntN(10) > 0 {
			req.Token = ds[c.IntN(len(ds))]
		} else {
			req.Token[5] = byte(c.IntN(3))
		}
		if c.IntN(2) == 0 {
			req.Target.ID = authz.ProjectID(c.IntN(someProjects + 2))
		} else {
			req.Target.Path = c.path(m)
		}
		now := c.stamp()
		same(t, "decision", v.Decide(&kv, req, now), km.Decide(m, req, now))
		d, steps := v.Explain(&kv, req, now)
		md, msteps := km.Explain(m, req, now)
		same(t, "explained decision", d, md)
		same(t, "explanation", steps, msteps)
	}
}

func (c *chronicle) digests() []authz.Digest {
	ds := slices.Clone(c.old)
	for n := range someJobs {
		if d, ok := c.digest[jobID(n)]; ok {
			ds = append(ds, d)
		}
	}
	return ds
}

// path is one that may lead somewhere.
func (c *chronicle) path(m *model) string {
	path, _ := m.pathOf(c.projectID())
	if c.IntN(3) > 0 {
		return path
	}
	for range c.IntN(4) {
		path += pick(c, "/", "a", "b/", "a/b", "dev/c")
	}
	return path
}

func compareGroups(t *testing.T, c *chronicle, v *state.View, m *model) {
	t.Helper()
	for id := authz.GroupID(0); id <= someGroups+1; id++ {
		same(t, "group", read(v.Group(id)), m.read(state.GroupKey(id)))
		path, ok := v.GroupPath(id)
		mpath, mok := m.groupPath(id)
		same(t, "group's path", []any{path, ok}, []any{mpath, mok})
		want := m.children(id)
		same(t, "has children", v.HasChildren(id), len(want) > 0)
		var got []authz.Scope
		for after := (authz.Scope{}); ; after = got[len(got)-1] {
			page := v.Children(id, after, 2)
			got = append(got, page...)
			if len(page) < 2 {
				break
			}
		}
		same(t, "children", got, want)
	}
	for range 10 {
		path := c.path(m)
		id, ok := v.GroupAt(path)
		want := m.groupAt(path)
		same(t, "group at "+path, []any{id, ok}, []any{want, want != 0})
	}
	var got []*state.Group
	for after, limit := authz.GroupID(0), 1+c.IntN(4); ; after = got[len(got)-1].ID {
		page := v.Groups(after, limit)
		got = append(got, page...)
		if len(page) < limit {
			break
		}
	}
	same(t, "groups", got, all[*state.Group](m))
}

func compareProjects(t *testing.T, c *chronicle, v *state.View, m *model) {
	t.Helper()
	for id := authz.ProjectID(0); id <= someProjects+1; id++ {
		same(t, "project", read(v.Project(id)), m.read(state.ProjectKey(id)))
		same(t, "project's death", read(v.DeathOfProject(id)), m.read(state.ProjectDeathKey(id)))
		path, ok := v.PathOf(id)
		mpath, mok := m.pathOf(id)
		same(t, "path", []any{path, ok}, []any{mpath, mok})
		a, rev := v.Allowlist(id)
		same(t, "allowlist", a, m.allowlist(id))
		same(t, "allowlist's revision", rev, m.mods[state.AllowlistKey(id)])
		limit := 1 + c.IntN(3)
		same(t, "outbound from", collect(limit, func(after authz.ProjectID) []authz.ProjectID {
			return v.OutboundFrom(id, after, limit)
		}), m.lists(func(a *state.Allowlist) bool { return slices.Contains(a.Outbound, id) }))
	}
	for range 10 {
		path, scope, limit := c.path(m), c.scope(), 1+c.IntN(3)
		id, ok := v.ProjectAt(path)
		mid, mok := m.ProjectAt(path)
		same(t, "project at "+path, []any{id, ok}, []any{mid, mok})
		same(t, "listed on", collect(limit, func(after authz.ProjectID) []authz.ProjectID {
			return v.ListedOn(scope, after, limit)
		}), m.lists(func(a *state.Allowlist) bool {
			return slices.ContainsFunc(a.Inbound, func(e state.Entry) bool { return e.Caller == scope })
		}))
	}
	var got []*state.Project
	for after, limit := authz.ProjectID(0), 1+c.IntN(4); ; after = got[len(got)-1].ID {
		page := v.Projects(after, limit)
		got = append(got, page...)
		if len(page) < limit {
			break
		}
	}
	same(t, "projects", got, all[*state.Project](m))
}

// collect goes through pages of ids.
func collect[ID ~int64](limit int, next func(after ID) []ID) []ID {
	var ids []ID
	for after := ID(0); ; after = ids[len(ids)-1] {
		page := next(after)
		ids = append(ids, page...)
		if len(page) < limit {
			return ids
		}
	}
}

func compareUsers(t *testing.T, c *chronicle, v *state.View, m *model) {
	t.Helper()
	for id := authz.UserID(0); id <= someUsers+1; id++ {
		same(t, "user", read(v.User(id)), m.read(state.UserKey(id)))
		same(t, "user's death", read(v.DeathOfUser(id)), m.read(state.UserDeathKey(id)))
		list, rev := v.Members(id)
		want, ok := get[*state.Members](m, state.MembersKey(id))
		if !ok {
			want = &state.Members{User: id}
		}
		same(t, "members", list, want)
		same(t, "members' revision", rev, m.mods[state.MembersKey(id)])
		p, g := c.projectID(), c.groupID()
		role, from := v.RoleOf(id, p)
		mrole, mfrom := authz.RoleNone, authz.Scope{}
		if r, ok := get[*state.Project](m, state.ProjectKey(p)); ok {
			mrole, mfrom = m.roleOf(id, authz.InProject(p), r.Group)
		}
		same(t, "role", []any{role, from}, []any{mrole, mfrom})
		role, from = v.RoleOfGroup(id, g)
		mrole, mfrom = m.roleOf(id, authz.Scope{}, g)
		same(t, "role on a group", []any{role, from}, []any{mrole, mfrom})
	}
	for range 5 {
		scope, limit := c.scope(), 1+c.IntN(3)
		var got []state.Member
		for after := authz.UserID(0); ; after = got[len(got)-1].User {
			page := v.MembersOf(scope, after, limit)
			got = append(got, page...)
			if len(page) < limit {
				break
			}
		}
		same(t, "members of", got, m.membersOf(scope))
	}
	var got []*state.User
	for after, limit := authz.UserID(0), 1+c.IntN(4); ; after = got[len(got)-1].ID {
		page := v.Users(after, limit)
		got = append(got, page...)
		if len(page) < limit {
			break
		}
	}
	same(t, "users", got, all[*state.User](m))
}

func compareJobs(t *testing.T, c *chronicle, v *state.View, m *model) {
	t.Helper()
	for n := range someJobs + 1 {
		same(t, "job", read(v.Job(jobID(n))), m.read(state.JobKey(jobID(n))))
	}
	for _, d := range c.digests() {
		j, _ := m.jobByDigest(d)
		want := stored{}
		if j != nil {
			want = m.read(state.JobKey(j.ID))
		}
		same(t, "job of a digest", read(v.JobByDigest(d)), want)
	}
	f := state.JobFilter{Alive: c.IntN(2) == 0}
	switch c.IntN(4) {
	case 0:
		f.Project = c.projectID()
	case 1:
		f.User = c.userID()
	case 2:
		f.Runner = runnerName(c.IntN(someRunners + 1))
	}
	var got []authz.JobID
	for after, limit := authz.JobID(""), 1+c.IntN(4); ; after = got[len(got)-1] {
		page := v.Jobs(after, f, limit)
		for _, j := range page {
			got = append(got, j.ID)
			same(t, "listed job", stored{j, m.mods[j.Key()], true}, m.read(j.Key()))
		}
		if len(page) < limit {
			break
		}
	}
	slices.Sort(got)
	same(t, "jobs", got, m.jobs(func(j *state.Job) bool {
		return (f.Project == 0 || j.Project == f.Project) && (f.User == 0 || j.User == f.User) &&
			(f.Runner == "" || j.Runner == f.Runner) && (!f.Alive || j.Alive())
	}))
}

func compareRunners(t *testing.T, c *chronicle, v *state.View, m *model) {
	t.Helper()
	beats := func(j *state.Job) bool { return j.Term > 0 && j.Alive() }
	runners := make(map[string]bool)
	for n := range someRunners + 2 {
		id := runnerName(n)
		same(t, "runner", read(v.Runner(id)), m.read(state.RunnerKey(id)))
		var got []authz.JobID
		for _, j := range v.RunnerJobs(id) {
			got = append(got, j.ID)
		}
		slices.Sort(got)
		want := m.jobs(func(j *state.Job) bool { return beats(j) && j.Runner == id })
		same(t, "jobs of runner "+id, got, want)
		if len(want) > 0 {
			runners[id] = true
		}
	}
	same(t, "number of heartbeat runners", len(v.HeartbeatRunners()), len(runners))
	for _, id := range v.HeartbeatRunners() {
		same(t, "is a heartbeat runner", runners[id], true)
	}
	now := c.stamp()
	want := m.jobs(func(j *state.Job) bool { return beats(j) && m.deadline(j) <= now })
	got := v.LapsedJobs(now, 1000)
	slices.Sort(got)
	same(t, "lapsed jobs", got, want)
	same(t, "some lapsed jobs", len(v.LapsedJobs(now, 2)), min(2, len(want)))
}
