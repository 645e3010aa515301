package partition

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
)

// TestKills kills the PDP and sidecars under load and starts them again: entries are carried over or not, receipts wait for what a PDP that was
// killed cannot know (R1), and no check after one is allowed.
func TestKills(t *testing.T) {
	t.Parallel()
	rnd := newRand(t)
	d, sides, h := fleet(t, rnd, 3)
	h.start(4)
	for range 2 * *rounds {
		h.run(time.Duration(300+rnd.IntN(700)) * time.Millisecond)
		d.end(t, syscall.SIGKILL)
		h.run(time.Duration(rnd.IntN(500)) * time.Millisecond)
		d.start()
		h.run(time.Duration(300+rnd.IntN(1000)) * time.Millisecond)
		s := sides[rnd.IntN(len(sides))]
		s.end(t, syscall.SIGKILL)
		h.run(time.Duration(rnd.IntN(200)) * time.Millisecond)
		s.start()
	}
	h.run(500 * time.Millisecond)
	h.recovers()
	h.good()
}

// killAway kills the PDP while its sidecar cannot reach it, starts it again, and revokes at once. It reports whether the sidecar, which cannot know,
// allows after an effective receipt.
func killAway(t *testing.T, p plant, term string) (stale bool) {
	d := startPDP(t, p, "--lease-term="+term)
	r := startRelay(t, d.at)
	s := startSide(t, "away", r.addr(), plant{})
	token := d.issue("job")
	s.holds(token)
	r.stall()
	d.end(t, syscall.SIGKILL)
	d.start()
	if at := d.revoke("job", untilDurable); p.Grantor == lease.NoFault && (at.Effective || at.QuietRemaining.AsDuration() <= 0) {
		t.Errorf("right after a kill: %v", at)
	}
	receipt := d.revoke("job", untilEffective)
	if !receipt.Effective {
		t.Errorf("not effective in the end: %v", receipt)
	}
	v := judge(s.ask(token))
	t.Logf("after %v: %v; then the sidecar says %v", receipt.Elapsed.AsDuration(), receipt, v)
	if p.Grantor == lease.NoFault {
		r.heal()
		s.holds(d.issue("fresh"))
	}
	return v == allowed
}

// TestKilledAway: the receipt waits for the lease that the PDP has forgotten (R1).
func TestKilledAway(t *testing.T) {
	t.Parallel()
	if killAway(t, plant{}, "4s") {
		t.Error("allowed after its receipt")
	}
}

func TestKilledAwayCatches(t *testing.T) {
	t.Parallel()
	// Nobody waits for the end of these leases, and a busy machine starts a PDP before it.
	if !killAway(t, plant{Grantor: lease.FaultNoQuiet}, "30s") {
		t.Error("a PDP that does not wait after a kill was not found out")
	}
}

// TestStops stops the PDP in order and starts it again, under load: sidecars go on answering while it stops, and the next start has nobody to wait for.
func TestStops(t *testing.T) {
	t.Parallel()
	d, sides, h := fleet(t, newRand(t), 2, "--lease-term=4s")
	h.start(4)
	for i := range *rounds {
		h.run(500 * time.Millisecond)
		held := d.issue(fmt.Sprint("held-", i))
		for _, s := range sides {
			s.holds(held)
		}
		d.signal(syscall.SIGTERM)
		for _, s := range sides {
			if v := judge(s.ask(held)); v != allowed {
				t.Errorf("%s, while the PDP stops: %v", s.name, v)
			}
		}
		d.end(t, syscall.SIGTERM)
		if !d.log.Has(`"stopped"`) && !d.log.Has("msg=stopped") {
			t.Errorf("it did not stop in order:\n%s", d.log.Tail())
		}
		d.start()
		if r := d.revoke("nobody", untilDurable); r.QuietRemaining.AsDuration() > 0 || !r.Effective {
			t.Errorf("after a stop in order a receipt waits: %v", r)
		}
		h.run(300 * time.Millisecond)
	}
	h.recovers()
	h.good()
}

// TestReleased: a sidecar that stops in order gives its lease back, however long that is, and nobody waits for it: no receipt, and neither the stop of
// the PDP nor its next start (R1, R2).
func TestReleased(t *testing.T) {
	t.Parallel()
	d := startPDP(t, plant{}, "--lease-term=60s")
	s := startSide(t, "leaver", d.at, plant{})
	d.issue("never")
	token := d.issue("job")
	s.holds(token)
	s.end(t, syscall.SIGTERM)
	if r := d.revoke("job", untilDurable); !r.Effective {
		t.Errorf("after the release: %v", r)
	}
	d.end(t, syscall.SIGTERM)
	if d.log.Has("could not be recorded") {
		t.Errorf("the PDP waited:\n%s", d.log.Tail())
	}
	d.start()
	if r := d.revoke("never", untilDurable); !r.Effective || r.QuietRemaining.AsDuration() > 0 {
		t.Errorf("after the next start: %v", r)
	}
}

// TestSidecarComesBack kills a sidecar and starts it again: it begins empty, with its mark, and nobody's receipt is wrong meanwhile.
func TestSidecarComesBack(t *testing.T) {
	t.Parallel()
	d := startPDP(t, plant{})
	s := startSide(t, "back", d.at, plant{})
	token := d.issue("job")
	s.holds(token)
	eventually(t, "its mark", s.marked)
	s.end(t, syscall.SIGKILL)
	if r := d.revoke("job", untilEffective); !r.Effective || r.Acknowledged > 0 {
		t.Errorf("the receipt of a job whose sidecar was killed: %v", r)
	}
	s.start()
	s.holds(d.issue("fresh"))
	if v := s.decides(token); v != dead {
		t.Errorf("the dead job: %v", v)
	}
}
