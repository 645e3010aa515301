// Package worlds makes worlds of any size for tests and benchmarks: the records in
// the order that a store keeps them, and questions about them that reach every part
// of a decision. The same [World] value gives the same world, without holding it.
package worlds

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// World says how large a world is. Ids are 1 to the number of the kind.
type World struct {
	Groups int
	// Depth is how deep groups are nested; all depths are equally frequent.
	Depth    int
	Projects int
	Users    int
	// Memberships and Entries of inbound lists are spread evenly over users and projects.
	Memberships, Entries int
	// Jobs are all alive. Every second one lives by its runner's heartbeat.
	Jobs, Runners int
	Seed          uint64
}

// W is the world of the figures: it fits into processor caches, mostly.
func W() World {
	return World{
		Groups: 1000, Depth: 8, Projects: 10_000, Users: 10_000, Memberships: 100_000, Entries: 50_000, Jobs: 50_000, Runners: 500,
	}
}

// X is the large world of the figures.
func X() World {
	return World{
		Groups: 100_000, Depth: 8, Projects: 1_000_000, Users: 1_000_000, Memberships: 10_000_000, Entries: 5_000_000, Jobs: 1_000_000, Runners: 10_000,
	}
}

// Now is the time in every world: the jobs have begun and not ended.
const Now = authz.Stamp(1_800_000_000_000_000_000)

// Revision is the revision that every record was last changed by.
const Revision authz.Revision = 1000

// pick gives a number from 0 to n-1 that depends on what it is for.
func (w World) pick(n, what, id, i int) int {
	x := w.Seed
	for _, y := range [3]int{what, id, i} {
		x = (x ^ uint64(y)) * 0x9e3779b97f4a7c15
		x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
		x ^= x >> 32
	}
	return int(x % uint64(n))
}

// What numbers are picked for.
const (
	ofGroup = iota
	ofProject
	ofUser
	ofMember
	ofEntry
	ofOffset
	ofJob
	ofQuestion
)

// Records calls fn for every record of the world, by kind and then by id.
func (w World) Records(fn func(state.Record)) {
	for id := 1; id <= w.Groups; id++ {
		fn(w.group(id))
	}
	for id := 1; id <= w.Projects; id++ {
		fn(w.project(id))
	}
	for id := 1; id <= w.Users; id++ {
		fn(&state.User{ID: authz.UserID(id), Name: "user-" + strconv.Itoa(id), External: w.pick(20, ofUser, id, 0) == 0})
	}
	for id := 1; id <= w.Users; id++ {
		fn(w.members(id))
	}
	for id := 1; id <= w.Projects; id++ {
		fn(w.allowlist(id))
	}
	for n := range w.Jobs {
		fn(w.Job(n))
	}
	for n := range w.Runners {
		fn(&state.Runner{ID: runner(n), Beat: Now - authz.Stamp(10*time.Second)})
	}
}

// Load gives the world to a sink as a store does.
func (w World) Load(sink state.Sink) {
	sink.Reset()
	w.Records(func(r state.Record) { sink.Load(r, Revision) })
	sink.Loaded(state.Mark{Epoch: state.Epoch{Counter: 1}, Revision: Revision}, Now)
}

// group nests by id: level l has the ids that give l modulo the depth.
func (w World) group(id int) *state.Group {
	g := &state.Group{ID: authz.GroupID(id), Name: "group-" + strconv.Itoa(id)}
	if level := (id - 1) % w.Depth; level > 0 {
		above := (w.Groups-level)/w.Depth + 1 // groups on the level above
		g.Parent = authz.GroupID(w.pick(above, ofGroup, id, 0)*w.Depth + level)
	}
	return g
}

func (w World) groupOf(project int) authz.GroupID {
	return authz.GroupID(1 + w.pick(w.Groups, ofProject, project, 0))
}

func (w World) project(id int) *state.Project {
	p := &state.Project{
		ID: authz.ProjectID(id), Group: w.groupOf(id), Name: "project-" + strconv.Itoa(id),
		PublicBuilds: w.pick(2, ofProject, id, 1) == 0,
	}
	switch w.pick(10, ofProject, id, 2) {
	case 0:
		p.Visibility = authz.Public
	case 1, 2:
		p.Visibility = authz.Internal
	}
	if w.pick(10, ofProject, id, 3) == 0 {
		p.Features[w.pick(authz.NumFeatures, ofProject, id, 4)] = authz.FeaturePrivate
	}
	return p
}

// offset is how far a project is from the one that its i-th entry lets in.
func (w World) offset(i int) int { return 1 + w.pick(w.Projects-1, ofOffset, i, 0) }

// lister is the project whose i-th entry lets a project, or its group, in.
func (w World) lister(project, i int) int { return 1 + (project-1+w.Projects-w.offset(i))%w.Projects }

func (w World) entries() int { return w.Entries / w.Projects }

// home is the project that a user's jobs run in.
func (w World) home(user int) int { return 1 + w.pick(w.Projects, ofUser, user, 1) }

// members puts every user in their home, in one project that lists it, and in others.
func (w World) members(user int) *state.Members {
	roles := [...]authz.Role{authz.RoleReporter, authz.RoleDeveloper, authz.RoleMaintainer, authz.RoleOwner}
	scopes := []authz.Scope{authz.InProject(authz.ProjectID(w.home(user)))}
	if w.entries() > 0 {
		scopes = append(scopes, authz.InProject(authz.ProjectID(w.lister(w.home(user), 0))))
	}
	for i := len(scopes); i < w.Memberships/w.Users; i++ {
		if w.pick(4, ofMember, user, i) == 0 {
			scopes = append(scopes, authz.InGroup(authz.GroupID(1+w.pick(w.Groups, ofMember, user, -i))))
		} else {
			scopes = append(scopes, authz.InProject(authz.ProjectID(1+w.pick(w.Projects, ofMember, user, -i))))
		}
	}
	slices.SortFunc(scopes, compareScopes)
	scopes = slices.Compact(scopes)
	m := &state.Members{User: authz.UserID(user), List: make([]state.Membership, len(scopes))}
	for i, s := range scopes {
		m.List[i] = state.Membership{Scope: s, Role: roles[w.pick(len(roles), ofMember, user, 1000+i)]}
	}
	return m
}

func compareScopes(a, b authz.Scope) int {
	if a.Kind != b.Kind {
		return int(a.Kind) - int(b.Kind)
	}
	return int(a.ID - b.ID)
}

// allowlist lets in other projects, every fourth by its group, and restricts every
// fourth entry.
func (w World) allowlist(project int) *state.Allowlist {
	policies := []string{"read_deployments", "read_environments", "read_jobs", "read_packages", "read_pipelines", "read_releases", "read_repositories"}
	a := state.DefaultAllowlist(authz.ProjectID(project))
	a.PushSelf = w.pick(2, ofEntry, project, -1) == 0
	for i := range w.entries() {
		caller := 1 + (project-1+w.offset(i))%w.Projects
		e := state.Entry{Caller: authz.InProject(authz.ProjectID(caller)), Entry: policy.Entry{Default: true}}
		if w.pick(4, ofEntry, project, i) == 0 {
			e.Caller = authz.InGroup(w.groupOf(caller))
		}
		if n := w.pick(4*len(policies), ofEntry, project, 1000+i); n < len(policies) {
			e.Entry = policy.Entry{Policies: policies[:n+1]}
		}
		a.Inbound = append(a.Inbound, e)
	}
	slices.SortFunc(a.Inbound, func(a, b state.Entry) int { return compareScopes(a.Caller, b.Caller) })
	a.Inbound = slices.CompactFunc(a.Inbound, func(a, b state.Entry) bool { return a.Caller == b.Caller })
	return a
}

// digits gives n with leading zeros, so that names sort as numbers do.
func digits(n, width int) string {
	const zeros = "0000000000000"
	s := strconv.Itoa(n)
	return zeros[:max(0, width-len(s))] + s
}

func runner(n int) string { return "runner-" + digits(n, 6) }

// JobID names the n-th job, in 20 bytes.
func JobID(n int) authz.JobID { return authz.JobID("gitlab-" + digits(n, 13)) }

// Digest is that of the n-th job's token.
func (w World) Digest(n int) authz.Digest {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], w.Seed)
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	return sha256.Sum256(b[:])
}

func (w World) jobUser(n int) int { return 1 + w.pick(w.Users, ofJob, n, 0) }

// Job is the n-th job, counted from 0.
func (w World) Job(n int) *state.Job {
	user := w.jobUser(n)
	j := &state.Job{
		ID: JobID(n), Digest: w.Digest(n), Project: authz.ProjectID(w.home(user)), User: authz.UserID(user),
		Pipeline: int64(n / 10), Ref: "feature/" + strconv.Itoa(1000+w.pick(9000, ofJob, n, 1)),
		Runner: runner(w.pick(w.Runners, ofJob, n, 2)), Issued: Revision - 1,
		IssuedAt: Now - authz.Stamp(time.Minute), Expires: Now + authz.Stamp(time.Hour), Status: authz.JobRunning,
	}
	if n%2 == 0 {
		j.Term = 90 * time.Second
	}
	return j
}

// Question is the n-th of an endless row: a job and what it asks. Three in ten are
// about the job's own project, four about one that lists it and has its user as a
// member, two about one that only lists it, one about any.
func (w World) Question(n int) authz.Request {
	permissions := [...]authz.Permission{
		"read_project", "read_repository", "download_code", "read_packages", "create_package", "read_job_artifacts", "pull_image", "read_releases",
	}
	job := w.pick(w.Jobs, ofQuestion, n, 0)
	home := w.home(w.jobUser(job))
	target := home
	switch kind := w.pick(10, ofQuestion, n, 1); {
	case kind < 3:
	case kind < 7 && w.entries() > 0:
		target = w.lister(home, 0)
	case kind < 9 && w.entries() > 1:
		target = w.lister(home, 1+w.pick(w.entries()-1, ofQuestion, n, 2))
	default:
		target = 1 + w.pick(w.Projects, ofQuestion, n, 3)
	}
	return authz.Request{
		Token: w.Digest(job), Target: authz.Target{ID: authz.ProjectID(target)},
		Permission: permissions[w.pick(len(permissions), ofQuestion, n, 4)],
	}
}
