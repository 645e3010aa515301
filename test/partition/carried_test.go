package partition

import (
	"context"
	"syscall"
	"testing"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
)

// connected is how many sidecars have a stream to this PDP.
func (d *pdp) connected() (n int) {
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	resp, err := jobwardv1.NewWatchServiceClient(d.conn).ListSidecars(ctx, &jobwardv1.ListSidecarsRequest{})
	if err != nil {
		d.t.Error(err)
	}
	for _, s := range resp.GetSidecars() {
		if s.Connected {
			n++
		}
	}
	return n
}

// carry kills the PDP and starts it again well within a lease, and revokes one of two jobs before the sidecar is back. It reports whether the other's
// answer was carried over, and whether the dead one is allowed after its receipt.
func carry(t *testing.T, p plant) (kept, stale bool) {
	d := startPDP(t, p, "--lease-term=5s")
	r := startRelay(t, d.at)
	s := startSide(t, "carrier", r.addr(), plant{})
	lives, dies, later := d.issue("lives"), d.issue("dies"), d.issue("later")
	s.holds(lives)
	s.holds(dies)
	s.holds(later)
	r.stall()
	d.end(t, syscall.SIGKILL)
	d.start()
	if at := d.revoke("dies", untilDurable); p == (plant{}) && at.Effective {
		t.Errorf("right after a kill: %v", at)
	}
	r.cut()
	r.heal()
	eventually(t, "the sidecar is back", func() bool { return d.connected() == 1 }, s.log.Tail)
	// The new stream's first messages are what changed; the lease follows. Wait for a confirmation of something later.
	for range 300 {
		if kept = d.revoke("later", untilDurable).Acknowledged > 0; kept {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	answer, err := s.ask(lives)
	kept = kept && err == nil && answer.Allow && answer.Cached
	if receipt := d.revoke("dies", untilEffective); !receipt.Effective {
		t.Errorf("the receipt: %v", receipt)
	}
	v := judge(s.ask(dies))
	t.Logf("who lives: %v; who died: %v", answer, v)
	return kept, v == allowed
}

// TestCarriedOver: the entries live through the kill of the PDP, but for those that it knows to have changed (R3).
func TestCarriedOver(t *testing.T) {
	t.Parallel()
	for range tries {
		kept, stale := carry(t, plant{})
		if stale {
			t.Error("allowed after its receipt")
		}
		if kept {
			return
		}
	}
	t.Error("nothing was carried over")
}

func TestCarriedOverCatches(t *testing.T) {
	t.Parallel()
	for range tries {
		if _, stale := carry(t, plant{Grantor: lease.FaultResumeLate}); stale {
			return
		}
	}
	t.Error("a PDP that resumes one revision too late was not found out")
}
