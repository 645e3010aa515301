package state_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// How many ids of each kind a random history uses: few, so that they meet.
const (
	someGroups   = 9
	someProjects = 9
	someUsers    = 5
	someJobs     = 12
	someRunners  = 3
	someRequests = 6
)

// chronicle makes random histories: records in any order, that refer to what is not
// there, go and come back.
type chronicle struct {
	*rand.Rand
	tokens uint64                       // given out so far
	digest map[authz.JobID]authz.Digest // newest of each job
	old    []authz.Digest
	rev    authz.Revision
	wild   bool // groups may form circles, names may repeat
}

func newChronicle(r *rand.Rand, wild bool) *chronicle {
	return &chronicle{Rand: r, digest: make(map[authz.JobID]authz.Digest), wild: wild}
}

func pick[T any](c *chronicle, vals ...T) T { return vals[c.IntN(len(vals))] }

func (c *chronicle) name() string { return pick(c, "a", "b", "c", "a name as long as any") }

func (c *chronicle) stamp() authz.Stamp { return authz.Stamp(c.IntN(1000) + 1) }

func (c *chronicle) projectID() authz.ProjectID { return authz.ProjectID(c.IntN(someProjects) + 1) }
func (c *chronicle) groupID() authz.GroupID     { return authz.GroupID(c.IntN(someGroups) + 1) }
func (c *chronicle) userID() authz.UserID       { return authz.UserID(c.IntN(someUsers) + 1) }

func jobID(n int) authz.JobID { return authz.JobID(fmt.Sprintf("job-%d", n)) }

func runnerName(n int) string { return pickName("runner", n) }

func pickName(what string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%d", what, n)
}

func (c *chronicle) scope() authz.Scope {
	if c.IntN(2) == 0 {
		return authz.InProject(c.projectID())
	}
	return authz.InGroup(c.groupID())
}

func (c *chronicle) scopes(n int) []authz.Scope {
	var s []authz.Scope
	for range c.IntN(n + 1) {
		s = append(s, c.scope())
	}
	slices.SortFunc(s, compareScopes)
	return slices.Compact(s)
}

// change is the next one: some puts, some deletes, no key twice.
func (c *chronicle) change() state.Change {
	c.rev++
	out := state.Change{Revision: c.rev, Stamp: c.stamp()}
	seen := make(map[state.Key]bool)
	for range c.IntN(6) + 1 {
		r := c.record()
		if seen[r.Key()] {
			continue
		}
		seen[r.Key()] = true
		out.Keys = append(out.Keys, r.Key())
		if c.IntN(3) == 0 {
			out.Deletes = append(out.Deletes, r.Key())
		} else {
			out.Puts = append(out.Puts, r)
		}
	}
	return out
}

func (c *chronicle) record() state.Record {
	switch c.IntN(14) {
	case 0:
		return &state.Instance{
			Instance:          policy.Instance{PublicScope: pick(c, authz.ScopeExempt, authz.ScopeStrict), EnforceInbound: c.IntN(2) == 0},
			MaxProjectEntries: c.IntN(300),
		}
	case 1, 2:
		return c.group()
	case 3, 4:
		return c.project()
	case 5:
		return &state.User{
			ID: c.userID(), Name: c.name(), External: c.IntN(4) == 0, Admin: c.IntN(2) == 0,
			State: pick(c, authz.UserStateActive, authz.UserStateActive, authz.UserStateBlocked),
		}
	case 6:
		m := &state.Members{User: c.userID()}
		for _, s := range c.scopes(8) {
			m.List = append(m.List, state.Membership{Scope: s, Role: pick(c, authz.RoleGuest, authz.RoleDeveloper, authz.RoleOwner)})
		}
		return m
	case 7, 8:
		return c.allowlist()
	case 9, 10:
		return c.job()
	case 11:
		if len(c.old) == 0 {
			return c.record()
		}
		return &state.Replaced{Digest: c.old[c.IntN(len(c.old))], Job: jobID(c.IntN(someJobs)), At: c.stamp()}
	case 12:
		if c.IntN(2) == 0 {
			return &state.Death{Project: c.projectID(), Before: c.rev, At: c.stamp()}
		}
		return &state.Death{User: c.userID(), Before: c.rev, At: c.stamp()}
	default:
		if c.IntN(10) == 0 {
			return &state.Leases{Longest: time.Second, Out: c.IntN(2) == 0, Epoch: 1}
		}
		if c.IntN(10) == 0 {
			return &state.Directory{}
		}
		if c.IntN(2) == 0 {
			return &state.Runner{ID: runnerName(1 + c.IntN(someRunners)), Beat: c.stamp()}
		}
		return &state.Request{ID: pickName("request", 1+c.IntN(someRequests)), Fingerprint: c.Uint64(), Done: c.rev, At: c.stamp()}
	}
}

func (c *chronicle) group() *state.Group {
	g := &state.Group{
		ID: c.groupID(), Name: c.name(), Visibility: pick(c, authz.Private, authz.Public),
		State: pick(c, authz.StateActive, authz.StateActive, authz.StateArchived, authz.StatePendingDelete),
	}
	if c.wild {
		g.Parent = authz.GroupID(c.IntN(someGroups + 1))
		return g
	}
	g.Parent = authz.GroupID(c.IntN(int(g.ID)))
	g.Name = fmt.Sprintf("%s%d", g.Name, g.ID)
	return g
}

func (c *chronicle) project() *state.Project {
	p := &state.Project{
		ID: c.projectID(), Name: c.name(), Visibility: pick(c, authz.Private, authz.Internal, authz.Public),
		State:        pick(c, authz.StateActive, authz.StateActive, authz.StateActive, authz.StateDeletionInProgress),
		PublicBuilds: c.IntN(2) == 0, ReadOnly: c.IntN(4) == 0, Hidden: c.IntN(8) == 0,
	}
	p.Features[c.IntN(authz.NumFeatures)] = pick(c, authz.FeaturePrivate, authz.FeatureDisabled)
	if c.IntN(3) == 0 {
		p.Namespace = pick(c, "a", "b", "dev", "")
	} else {
		p.Group = c.groupID()
	}
	if !c.wild {
		p.Name = fmt.Sprintf("%s%d", p.Name, p.ID)
	}
	return p
}

func (c *chronicle) allowlist() *state.Allowlist {
	a := &state.Allowlist{
		Project: c.projectID(), InboundOn: c.IntN(2) == 0, OutboundOn: c.IntN(2) == 0, PushSelf: c.IntN(2) == 0, PushCross: c.IntN(2) == 0,
	}
	for _, s := range c.scopes(6) {
		e := state.Entry{Caller: s, Autopopulated: c.IntN(2) == 0}
		e.Default = c.IntN(2) == 0
		if !e.Default {
			e.Policies = pick(c, []string{}, []string{"read_packages"}, []string{"read_packages", "read_repositories"})
		}
		a.Inbound = append(a.Inbound, e)
	}
	for range c.IntN(4) {
		a.Outbound = append(a.Outbound, c.projectID())
	}
	slices.Sort(a.Outbound)
	a.Outbound = slices.Compact(a.Outbound)
	return a
}

func (c *chronicle) job() *state.Job {
	j := &state.Job{
		ID: jobID(c.IntN(someJobs)), Project: authz.ProjectID(c.IntN(someProjects + 1)), User: authz.UserID(c.IntN(someUsers + 1)),
		Pipeline: c.Int64N(100), Ref: pick(c, "", "main", "a/branch"), Issued: authz.Revision(c.IntN(int(c.rev) + 1)),
		IssuedAt: c.stamp(), Expires: pick(c, 0, c.stamp(), 5000), Erased: c.IntN(10) == 0, Lapsed: c.IntN(10) == 0,
		Status: pick(c, authz.JobRunning, authz.JobRunning, authz.JobCanceling, authz.JobSuccess),
	}
	if c.IntN(2) == 0 {
		j.Runner = runnerName(c.IntN(someRunners + 1))
		j.Term = pick(c, 0, 10, 100, time.Duration(1+c.IntN(300)))
	}
	if c.IntN(4) == 0 {
		j.Ended, j.EndedAt = c.rev, c.stamp()
	}
	switch c.IntN(4) {
	case 0:
		j.Limits.Permissions = pick(c, []authz.Permission{}, []authz.Permission{"read_packages"})
	case 1:
		j.Limits.Targets = pick(c, []authz.Scope{}, []authz.Scope{authz.InProject(1), authz.InGroup(2)})
	}
	if d, ok := c.digest[j.ID]; ok && c.IntN(2) == 0 {
		j.Digest = d
	} else if c.IntN(8) > 0 {
		if ok {
			c.old = append(c.old, d)
		}
		c.tokens++
		j.Digest[0], j.Digest[1], j.Digest[31] = byte(c.tokens), byte(c.tokens>>8), 1
		c.digest[j.ID] = j.Digest
	}
	return j
}
