package state_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// heap gives the bytes in use after everything dead is collected.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func numberedDigest(n int) authz.Digest {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// liveJob is a token as they usually are: an id of 20 bytes, a ref of 12.
func liveJob(n, projects, users int) *state.Job {
	return &state.Job{
		ID: authz.JobID(fmt.Sprintf("gitlab-%013d", n)), Digest: numberedDigest(n),
		Project: authz.ProjectID(1 + n%projects), User: authz.UserID(1 + n*7%users), Pipeline: int64(n / 10),
		Ref: fmt.Sprintf("feature/%04d", n%10_000), Runner: fmt.Sprintf("runner-%d", n%100), Term: time.Minute,
		Issued: 5, IssuedAt: 100, Expires: 1 << 40,
		Limits: policy.Limits{Permissions: []authz.Permission{"read_packages", "read_repository"}},
	}
}

// TestBytesPerRecord keeps the budgets: 256 bytes for a live token, 48 for a
// membership with its reverse index, 170 for a project. The numbers of records are
// those for which the indexes have just grown and are at their emptiest.
func TestBytesPerRecord(t *testing.T) {
	const groups, projects, users, members, jobs = 1000, 60_000, 30_000, 10, 60_000
	v := state.NewView()
	v.Reset()
	measure := func(what string, n, budget int, load func()) {
		t.Helper()
		before := heap()
		load()
		per := (heap() - before) / n
		t.Logf("%-10s %4d bytes of %d", what, per, budget)
		if per > budget {
			t.Errorf("a %s costs %d bytes, the budget is %d", what, per, budget)
		}
	}
	measure("group", groups, 1000, func() {
		for id := authz.GroupID(1); id <= groups; id++ {
			v.Load(&state.Group{ID: id, Parent: id / 2, Name: fmt.Sprintf("group-%d", id)}, 1)
		}
		v.Loaded(state.Mark{Revision: 1}, 1)
	})
	revision := authz.Revision(1)
	apply := func(rec state.Record) {
		revision++
		v.Apply([]state.Change{{Revision: revision, Puts: []state.Record{rec}}})
	}
	measure("project", projects, 170, func() {
		for id := authz.ProjectID(1); id <= projects; id++ {
			apply(&state.Project{ID: id, Group: authz.GroupID(1 + id%groups), Name: fmt.Sprintf("project-%d", id)})
		}
	})
	measure("user", users, 170, func() {
		for id := authz.UserID(1); id <= users; id++ {
			apply(&state.User{ID: id, Name: fmt.Sprintf("user-%d", id)})
		}
	})
	measure("membership", users*members, 48, func() {
		for id := authz.UserID(1); id <= users; id++ {
			m := &state.Members{User: id}
			for i := range members {
				at := authz.ProjectID(1 + (int(id)*31+i*7919)%projects)
				m.List = append(m.List, state.Membership{Scope: authz.InProject(at), Role: authz.RoleDeveloper})
			}
			apply(m)
		}
	})
	measure("live token", jobs, 256, func() {
		for n := range jobs {
			apply(liveJob(n, projects, users))
		}
	})
	runtime.KeepAlive(v)
}

// TestChurnLeavesNothing replaces everything that comes and goes ten times over, and
// wants the memory of the first round to be enough for the last.
func TestChurnLeavesNothing(t *testing.T) {
	const live, users = 8000, 800
	v := state.NewView()
	revision := authz.Revision(0)
	apply := func(puts []state.Record, deletes []state.Key) {
		revision++
		v.Apply([]state.Change{{Revision: revision, Puts: puts, Deletes: deletes}})
	}
	round := func(r int) {
		for n := r * live; n < (r+1)*live; n++ {
			j := liveJob(n, 500, users)
			j.Limits.Targets = []authz.Scope{authz.InProject(authz.ProjectID(n))} // its own
			j.Project = authz.ProjectID(n)                                        // not there
			j.Runner = fmt.Sprintf("runner-%d", n)
			puts := []state.Record{
				j, &state.Runner{ID: j.Runner, Beat: 5}, &state.Request{ID: fmt.Sprintf("ci/%d", n)},
				&state.Replaced{Digest: numberedDigest(-n), Job: j.ID},
			}
			var deletes []state.Key
			if n >= live {
				old := n - live
				id := liveJob(old, 500, users).ID
				deletes = []state.Key{
					state.JobKey(id), state.RunnerKey(fmt.Sprintf("runner-%d", old)),
					state.RequestKey(fmt.Sprintf("ci/%d", old)), state.ReplacedKey(numberedDigest(-old)),
				}
			}
			apply(puts, deletes)
			if n%10 == 0 {
				apply([]state.Record{churnMembers(n, users), churnAllowlist(n)}, nil)
			}
		}
	}
	for r := range 3 {
		round(r)
	}
	early, counts := heap(), v.Counts()
	for r := 3; r < 13; r++ {
		round(r)
	}
	late := heap()
	t.Logf("%d KiB after 3 rounds, %d KiB after 13", early>>10, late>>10)
	if late > early+early/10 {
		t.Errorf("memory went from %d to %d bytes", early, late)
	}
	if got := v.Counts(); got != counts {
		t.Errorf("records by kind went from %v to %v", counts, got)
	}
	runtime.KeepAlive(v)
}

// churnMembers and churnAllowlist make lists whose length and contents change from one
// time to the next.
func churnMembers(n, users int) *state.Members {
	m := &state.Members{User: authz.UserID(1 + n/10%users)}
	for i := range 1 + n/7%12 {
		s := authz.InProject(authz.ProjectID(1 + n%97 + 100*i))
		m.List = append(m.List, state.Membership{Scope: s, Role: authz.RoleGuest})
	}
	return m
}

func churnAllowlist(n int) *state.Allowlist {
	a := state.DefaultAllowlist(authz.ProjectID(1 + n/10%500))
	for i := range 1 + n/3%9 {
		s := authz.InGroup(authz.GroupID(1 + n%89 + 100*i))
		p := policy.Entry{Policies: []string{fmt.Sprintf("read_%d", n%1000)}}
		a.Inbound = append(a.Inbound, state.Entry{Caller: s, Entry: p})
		a.Outbound = append(a.Outbound, authz.ProjectID(1+n%83+100*i))
	}
	return a
}
