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

// TestFaults plants each bug that a world can show into the machines themselves, and
// wants the exploration to come upon a wrong answer. The stories are the shortest ones;
// they are printed with -v.
func TestFaults(t *testing.T) {
	for _, x := range []struct {
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
		{"LateRenewal", lease.FaultLateRenewal, 0, Config{Commits: once, Asks: 1, Renews: 1, Hellos: 1}},
		{"LateGrant", 0, lease.FaultLateGrant, Config{Commits: once, Asks: 1, Renews: 1, Hellos: 1}},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) {
			c := x.world
			c.Name, c.Holders, c.Questions, c.Grantor, c.Holder = x.name, 1, question, x.grantor, x.holder
			r := Shortest(&c, 300_000)
			t.Logf("%d states, complete %v", r.States, r.Complete)
			if r.Wrong == "" {
				t.Fatalf("nothing is wrong with it in %d states (complete: %v)", r.States, r.Complete)
			}
			for _, line := range r.Story {
				t.Log(line)
			}
			t.Log("    ", r.Wrong)
		})
	}
}
