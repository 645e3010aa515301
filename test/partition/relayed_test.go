package partition

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
)

// relayed is a PDP, sidecars behind a relay each, and a hammer that does not ask yet.
func relayed(t *testing.T, rnd *rand.Rand, n int, p plant, more ...string) (d *pdp, sides []*side, relays []*relay, h *hammer) {
	t.Helper()
	d = startPDP(t, p, more...)
	for i := range n {
		r := startRelay(t, d.at)
		relays = append(relays, r)
		sides = append(sides, startSide(t, fmt.Sprint("side-", i), r.addr(), plant{}))
	}
	h = newHammer(t, rnd.Uint64(), d, sides...)
	h.recovers()
	return d, sides, relays, h
}

// trouble does something to a relay.
func trouble(r *relay, rnd *rand.Rand) (name string) {
	switch rnd.IntN(7) {
	case 0:
		r.slow(time.Duration(1+rnd.IntN(200)) * time.Millisecond)
		return "slow"
	case 1:
		r.stall()
		return "stalled"
	case 2:
		r.stall(toPDP)
		return "deaf PDP"
	case 3:
		r.stall(toSidecar)
		return "deaf sidecar"
	case 4:
		r.stallSome(rnd)
		return "some connections stalled"
	case 5:
		r.cut()
		return "cut"
	default:
		r.cutPDP()
		return "cut at the PDP's side only"
	}
}

// TestRelays delays, stalls, reorders and cuts at random.
func TestRelays(t *testing.T) {
	t.Parallel()
	rnd := newRand(t)
	_, _, relays, h := relayed(t, rnd, 3, plant{})
	h.start(4)
	seen := map[string]int{}
	for range 6 * *rounds {
		r := relays[rnd.IntN(len(relays))]
		seen[trouble(r, rnd)]++
		h.run(time.Duration(rnd.IntN(1200)) * time.Millisecond)
		if rnd.IntN(3) > 0 {
			r.heal()
		}
	}
	for _, r := range relays {
		r.heal()
	}
	h.recovers()
	h.good()
	t.Log(seen)
}

// TestTwoWays gives each sidecar two ways to the PDP and troubles one at a time: it goes over to the other, opens a generation there beside the old one,
// and takes its entries along (R3).
func TestTwoWays(t *testing.T) {
	t.Parallel()
	rnd := newRand(t)
	d := startPDP(t, plant{})
	var sides []*side
	var ways [][2]*relay
	for i := range 2 {
		w := [2]*relay{startRelay(t, d.at), startRelay(t, d.at)}
		ways = append(ways, w)
		sides = append(sides, startSide(t, fmt.Sprint("side-", i), w[0].addr()+","+w[1].addr(), plant{}))
	}
	h := newHammer(t, rnd.Uint64(), d, sides...)
	h.recovers()
	h.start(4)
	seen := map[string]int{}
	for range 5 * *rounds {
		for i := range ways {
			w := rnd.IntN(2)
			ways[i][1-w].heal()
			seen[trouble(ways[i][w], rnd)]++
		}
		h.run(time.Duration(300+rnd.IntN(1000)) * time.Millisecond)
	}
	for _, w := range ways {
		w[0].heal()
		w[1].heal()
	}
	h.recovers()
	h.good()
	t.Log(seen)
}

// halfOpen ends the PDP's side of a sidecar's connections, and revokes. It reports whether the sidecar, which was not told, allows after an effective
// receipt.
func halfOpen(t *testing.T, p plant, term string) (stale bool) {
	d := startPDP(t, p, "--lease-term="+term)
	r := startRelay(t, d.at)
	s := startSide(t, "half", r.addr(), plant{})
	token := d.issue("job")
	s.holds(token)
	r.cutPDP()
	// The PDP learns of it when it reads next, which takes a moment.
	time.Sleep(100 * time.Millisecond)
	receipt := d.revoke("job", untilEffective)
	v := judge(s.ask(token))
	t.Logf("after %v: %v; then the sidecar says %v", receipt.Elapsed.AsDuration(), receipt, v)
	if !receipt.Effective {
		t.Errorf("the receipt: %v", receipt)
	}
	if p == (plant{}) {
		if receipt.Lapsed != 1 {
			t.Errorf("the sidecar could not answer, and the receipt says %v", receipt)
		}
		r.heal()
		s.holds(d.issue("fresh"))
	}
	return v == allowed
}

// TestHalfOpen: a stream that is broken for the PDP is not an end of the lease (R2).
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	if halfOpen(t, plant{}, "3s") {
		t.Error("allowed after its receipt")
	}
}

func TestHalfOpenCatches(t *testing.T) {
	t.Parallel()
	if !halfOpen(t, plant{Grantor: lease.FaultBrokenForgets}, "30s") {
		t.Error("a PDP that takes a broken stream for the end of a lease was not found out")
	}
}
