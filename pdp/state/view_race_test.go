package state_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// TestReadersSeeWholeChanges has one writer move a world between two states, in each
// of which a question is allowed, though in no mixture of them: either the target is
// public, or it is private and the user a member. Readers ask all the time; beside the
// answer, what they got must not change in their hands.
func TestReadersSeeWholeChanges(t *testing.T) {
	v := state.NewView()
	digest := numberedDigest(1)
	puts := func(n int) []state.Record {
		target := &state.Project{ID: 2, Group: 1, Name: fmt.Sprintf("target-%d", n), Visibility: authz.Public}
		members := &state.Members{User: 1}
		if n%2 == 1 {
			target.Visibility = authz.Private
			members.List = []state.Membership{{Scope: authz.InProject(2), Role: authz.RoleDeveloper}}
		}
		list := state.DefaultAllowlist(2)
		list.Inbound = []state.Entry{{Caller: authz.InGroup(1), Entry: policy.Entry{Default: true}}}
		return []state.Record{
			target, members, list,
			&state.Job{ID: "the-job", Digest: digest, Project: 1, User: 1, Ref: fmt.Sprintf("ref-%d", n), Runner: "r", Term: 1000},
			&state.Job{ID: authz.JobID(fmt.Sprintf("other-%d", n)), Digest: numberedDigest(n + 2)},
		}
	}
	first := append(puts(0), &state.Group{ID: 1, Name: "group"}, &state.User{ID: 1, Name: "user"},
		&state.Project{ID: 1, Group: 1, Name: "source"})
	v.Apply([]state.Change{{Revision: 1, Puts: first}})

	var stop atomic.Bool
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			var k policy.Walk
			last := authz.Revision(0)
			for !stop.Load() {
				d := v.Decide(&k, authz.Request{Token: digest, Target: authz.Target{ID: 2}, Permission: "read_repository"}, 10)
				if !d.Allow || d.Job != "the-job" {
					t.Errorf("revision %d: job %q: %v", d.Revision, d.Job, d.Reason)
					return
				}
				if d.Revision < last {
					t.Errorf("revision %d came after %d", d.Revision, last)
					return
				}
				last = d.Revision
				readSome(t, v, i)
			}
		})
	}
	const changes = 3000
	for n := 1; n <= changes; n++ {
		c := state.Change{Revision: authz.Revision(n + 1), Puts: puts(n)}
		if n > 50 {
			c.Deletes = []state.Key{state.JobKey(authz.JobID(fmt.Sprintf("other-%d", n-50)))}
		}
		v.Apply([]state.Change{c})
	}
	stop.Store(true)
	readers.Wait()
	if got := v.Mark().Revision; got != changes+1 {
		t.Errorf("the view is at revision %d, want %d", got, changes+1)
	}
}

// readSome makes a reader use the other ways in.
func readSome(t *testing.T, v *state.View, reader int) {
	switch reader {
	case 0:
		for _, j := range v.Jobs("", state.JobFilter{Alive: true}, 20) {
			if len(j.ID) < 7 {
				t.Errorf("a job is called %q", j.ID)
			}
		}
	case 1:
		if path, _ := v.PathOf(2); len(path) < len("group/target-0") || path[:13] != "group/target-" {
			t.Errorf("the target's path is %q", path)
		}
		v.MembersOf(authz.InProject(2), 0, 5)
	case 2:
		v.Outdated(5, 10)
		v.LapsedJobs(20, 10)
	case 3:
		if _, rev := v.Allowlist(2); rev == 0 {
			t.Error("the target has no allowlist")
		}
		v.Counts()
	}
}
