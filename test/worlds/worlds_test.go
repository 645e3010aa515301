package worlds_test

import (
	"reflect"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/test/worlds"
)

func small() worlds.World {
	return worlds.World{Groups: 37, Depth: 8, Projects: 200, Users: 100, Memberships: 1000, Entries: 1000, Jobs: 500, Runners: 12, Seed: 3}
}

// TestRecordsComeInOrder checks what a store would give: keys ascending, every id in
// the world, and the same again the second time.
func TestRecordsComeInOrder(t *testing.T) {
	w := small()
	var first []state.Record
	w.Records(func(r state.Record) {
		if n := len(first); n > 0 && first[n-1].Key() >= r.Key() {
			t.Fatalf("%v comes after %v", r.Key(), first[n-1].Key())
		}
		first = append(first, r)
	})
	i := 0
	w.Records(func(r state.Record) {
		if !reflect.DeepEqual(r, first[i]) {
			t.Fatalf("the second time, %v is %+v, it was %+v", r.Key(), r, first[i])
		}
		i++
	})
	v := state.NewView()
	w.Load(v)
	want := [state.NumKinds]int{
		state.KindGroup: w.Groups, state.KindProject: w.Projects, state.KindUser: w.Users, state.KindMembers: w.Users,
		state.KindAllowlist: w.Projects, state.KindJob: w.Jobs, state.KindRunner: w.Runners,
	}
	if got := v.Counts(); got != want {
		t.Errorf("the view has %v, want %v", got, want)
	}
	deepest := 0
	for id := range authz.ProjectID(w.Projects) {
		path, ok := v.PathOf(id + 1)
		if at, _ := v.ProjectAt(path); !ok || at != id+1 {
			t.Errorf("project %d has the path %q, where project %d is", id+1, path, at)
		}
		depth := 0
		for _, r := range path {
			if r == '/' {
				depth++
			}
		}
		deepest = max(deepest, depth)
	}
	if deepest != w.Depth {
		t.Errorf("the deepest project is below %d groups, want %d", deepest, w.Depth)
	}
}

// TestQuestionsReachEverything wants both answers often, and the reasons that stand
// for the later rules.
func TestQuestionsReachEverything(t *testing.T) {
	w, v := small(), state.NewView()
	w.Load(v)
	var k policy.Walk
	reasons := make(map[authz.Reason]int)
	const n = 5000
	for i := range n {
		d := v.Decide(&k, w.Question(i), worlds.Now)
		if d.Reason.Dead() {
			t.Fatalf("question %d: %v", i, d.Reason)
		}
		reasons[d.Reason]++
	}
	for _, r := range []authz.Reason{
		authz.AllowedSelf, authz.AllowedListed, authz.AllowedOpen, authz.InboundNotListed, authz.NotMember, authz.RoleTooLow, authz.PolicyMissing,
	} {
		if reasons[r] < n/100 {
			t.Errorf("%v is the answer to %d of %d questions", r, reasons[r], n)
		}
	}
	t.Log(reasons)
}
