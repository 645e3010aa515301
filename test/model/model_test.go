package model

import (
	"strings"
	"testing"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

func keys(ids ...int) (out []authz.Key) {
	for _, id := range ids {
		out = append(out, authz.ProjectKey(authz.ProjectID(id)))
	}
	return out
}

// once and twice are one question that rests on one key, which changes so often.
var (
	question = [][]authz.Key{keys(1)}
	once     = [][]authz.Key{keys(1)}
	twice    = [][]authz.Key{keys(1), keys(1)}
	// questions are two that have a key in common, and both keys change.
	questions = [][]authz.Key{keys(1, 2), keys(2)}
	both      = [][]authz.Key{keys(1), keys(2)}
)

// faults are those that a world shows, each in the smallest world that does.
var faults = []struct {
	name            string
	grantor, holder lease.Fault
	world           Config
}{
	{"NoQuiet", lease.FaultNoQuiet, 0, Config{Commits: once, Asks: 1, Restarts: 1}},
	{"BrokenForgets", lease.FaultBrokenForgets, 0, Config{Commits: once, Asks: 1, Breaks: 1}},
	{"InterestLate", lease.FaultInterestLate, 0, Config{Commits: once, Asks: 1}},
	{"AckErases", lease.FaultAckErases, 0, Config{Commits: twice, Asks: 2}},
	{"QueueSkips", lease.FaultQueueSkips, 0, Config{Commits: once, Asks: 1, Renews: 2, Queue: 2}},
	{"ResumeLate", lease.FaultResumeLate, 0, Config{Commits: once, Asks: 1, Hellos: 1}},
	{"LateRenewal and LateGrant", lease.FaultLateRenewal, lease.FaultLateGrant, Config{Commits: once, Asks: 1, Renews: 1}},
	{"NoLease", 0, lease.FaultNoLease, Config{Commits: once, Asks: 1}},
	{"AckEarly", 0, lease.FaultAckEarly, Config{Commits: once, Asks: 1}},
	{"OpenFill", 0, lease.FaultOpenFill, Config{Commits: once, Asks: 1}},
	{"OldGeneration", 0, lease.FaultOldGeneration, Config{Commits: once, Asks: 1, Hellos: 1}},
	{"JoinAny", 0, lease.FaultJoinAny, Config{Commits: once, Asks: 1}},
	{"FromReceipt", 0, lease.FaultFromReceipt, Config{Commits: once, Asks: 1, Hellos: 1}},
	{"KeepAll", 0, lease.FaultKeepAll, Config{Commits: once, Asks: 1, Hellos: 1}},
	{"ForgetFree", 0, lease.FaultForgetFree, Config{Commits: once, Asks: 2, Evicts: 1}},
	{"ReleaseEarly", 0, lease.FaultReleaseEarly, Config{Commits: once, Asks: 1, Hellos: 1}},
}

// TestFaults plants each bug that a world can show into the machines themselves, and
// wants the exploration to come upon a wrong answer. The stories are the shortest ones;
// they are printed with -v. Two faults no world here can show, and package lease shows
// them instead: NoApplied, as a single PDP never judges at less than it has told (TestL13),
// and NoMark, as no PDP here goes back in its history (TestL15).
func TestFaults(t *testing.T) {
	shown := map[lease.Fault]bool{0: true, lease.FaultNoApplied: true, lease.FaultNoMark: true}
	defer func() {
		for f := lease.NoFault; f <= lease.FaultNoApplied; f++ {
			if !shown[f] {
				t.Errorf("fault %d is shown by nothing", f)
			}
		}
	}()
	for _, x := range faults {
		shown[x.grantor], shown[x.holder] = true, true
		t.Run(strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) {
			c := x.world
			c.Name, c.Holders, c.Questions, c.Grantor, c.Holder = x.name, 1, question, x.grantor, x.holder
			r := Shortest(&c, 300_000)
			if r.Wrong == "" {
				t.Fatalf("nothing is wrong with it in %d states (complete: %v)", r.States, r.Complete)
			}
			for _, line := range r.Story {
				t.Log(line)
			}
			t.Logf("    %s (found in %d states)", r.Wrong, r.States)
		})
	}
}

// TestLeanLosesNoFault: what lean leaves out does not hide a bug. (In worlds with a
// planted bug nothing else is left out.) Only that a lapse is final is what it stands on,
// and for the worlds that are not lean to find.
func TestLeanLosesNoFault(t *testing.T) {
	for _, x := range faults {
		if x.grantor == lease.FaultLateRenewal {
			continue
		}
		c := x.world
		c.Holders, c.Questions, c.Grantor, c.Holder, c.Lean = 2, question, x.grantor, x.holder, true
		if r := Shortest(&c, 300_000); r.Wrong == "" {
			t.Errorf("%s: nothing is wrong in %d states (complete: %v)", x.name, r.States, r.Complete)
		}
	}
}

// TestFaultsThatNeedTwo: "a lapse is final" is kept by both sides, and either alone is
// enough. With the rule left out on one side only, a world that shows what happens with
// it left out on both is explored completely and has nothing wrong.
func TestFaultsThatNeedTwo(t *testing.T) {
	for _, x := range []struct{ grantor, holder lease.Fault }{{lease.FaultLateRenewal, 0}, {0, lease.FaultLateGrant}} {
		c := Config{Holders: 1, Questions: question, Commits: once, Asks: 1, Renews: 1, Hellos: 1, Grantor: x.grantor, Holder: x.holder}
		if r := Explore(&c, 100_000, nil); r.Wrong != "" || !r.Complete {
			t.Errorf("grantor's fault %d, holder's %d: %d states, complete %v: %s\n%s", x.grantor, x.holder, r.States, r.Complete, r.Wrong, strings.Join(r.Story, "\n"))
		}
	}
}
