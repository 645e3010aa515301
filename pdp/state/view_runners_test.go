package state_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// TestManyJobsOfOneRunner ends, revives and deletes jobs that share a runner and a
// term, so that they leave the runner's list from its middle and both its ends.
func TestManyJobsOfOneRunner(t *testing.T) {
	r, v := newRand(t), state.NewView()
	alive := make(map[authz.JobID]bool)
	for n := range 3000 {
		id := jobID(r.IntN(20))
		c := state.Change{Revision: authz.Revision(n + 1)}
		j := &state.Job{ID: id, Digest: numberedDigest(n), Runner: "r", Term: 10 * time.Second, IssuedAt: 1}
		switch r.IntN(3) {
		case 0:
			c.Puts, alive[id] = []state.Record{j}, true
		case 1:
			j.Status = authz.JobSuccess
			c.Puts = []state.Record{j}
			delete(alive, id)
		case 2:
			c.Deletes = []state.Key{state.JobKey(id)}
			delete(alive, id)
		}
		v.Apply([]state.Change{c})
		var got []authz.JobID
		for _, j := range v.RunnerJobs("r") {
			got = append(got, j.ID)
		}
		slices.Sort(got)
		if want := slices.Sorted(maps.Keys(alive)); !slices.Equal(got, want) {
			t.Fatalf("after %d changes: got %v, want %v", n+1, got, want)
		}
		if lapsed := v.LapsedJobs(authz.Stamp(time.Minute), 100); len(lapsed) != len(alive) {
			t.Fatalf("after %d changes: %d have lapsed, want %d", n+1, len(lapsed), len(alive))
		}
	}
}
