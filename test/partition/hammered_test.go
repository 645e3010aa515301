package partition

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// fleet starts a PDP and sidecars, and a hammer that does not ask yet. Each sidecar has its lease.
func fleet(t *testing.T, rnd *rand.Rand, n int, more ...string) (*pdp, []*side, *hammer) {
	t.Helper()
	p := startPDP(t, plant{}, more...)
	var sides []*side
	for i := range n {
		sides = append(sides, startSide(t, fmt.Sprint("side-", i), p.at, plant{}))
	}
	h := newHammer(t, rnd.Uint64(), p, sides...)
	h.recovers()
	return p, sides, h
}

// TestHammer asks, issues and revokes, and nothing else happens (P1).
func TestHammer(t *testing.T) {
	t.Parallel()
	_, _, h := fleet(t, newRand(t), 3)
	h.start(4)
	h.run(time.Duration(*rounds) * 3 * time.Second)
	h.good()
}
