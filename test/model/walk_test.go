package model

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

var (
	seed  = flag.Uint64("seed", 0, "the seed of the random walk to go again, as a failure prints it; zero for many new ones")
	walks = flag.Int("walks", 300, "how many random walks to go")
)

// TestWalks goes at random through a world that is larger in every way than those that
// are explored.
func TestWalks(t *testing.T) {
	n := *walks
	if *seed != 0 {
		n = 1
	}
	for range n {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		r := walk(s, 0)
		if r.Wrong == "" {
			continue
		}
		for _, line := range r.Story {
			t.Log(line)
		}
		t.Fatalf("%s\nagain with: go test ./test/model -run TestWalks -seed %d", r.Wrong, s)
	}
}

// TestWalksFind wants walks to come upon a planted bug, as they prove nothing if they
// only pass the time. This one takes two changes of one key and a younger answer.
func TestWalksFind(t *testing.T) {
	for s := range uint64(500) {
		if r := walk(s, lease.FaultAckErases); r.Wrong != "" {
			t.Logf("seed %d: %s", s, r.Wrong)
			return
		}
	}
	t.Error("500 walks did not find it")
}

func walk(s uint64, fault lease.Fault) Result {
	c := Config{
		Grantor: fault, Remembers: s%2 == 0, Queue: int(s%3) * 4,
		Holders: 2, Questions: [][]authz.Key{keys(1, 2), keys(2), keys(3), keys(1, 3)},
		Commits: [][]authz.Key{keys(1), keys(2, 3), keys(3), keys(1), keys(2), keys(1, 3), keys(2), keys(1)},
		Asks:    30, Hellos: 8, Renews: 20, Breaks: 3, Restarts: 2, Evicts: 10, Leaves: 2, Beats: 5, Ahead: true,
	}
	return Walk(&c, rand.New(rand.NewPCG(s, 0)), 400)
}
