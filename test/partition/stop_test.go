package partition

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
)

// stopSidecars stops two sidecars that hold many jobs, revokes them, asks about all of them, and lets the sidecars go on after so long. What one was
// told meanwhile waits for it, as its questions do; the other is told nothing even then. It gives how many of their first answers were
// allows, although each question was asked after its receipt, and for how many leases receipts waited: a busy machine may have stopped the sidecars so
// slowly that these were over.
func stopSidecars(t *testing.T, p plant, stopped time.Duration) (allows, waited int) {
	d := startPDP(t, plant{})
	away := startRelay(t, d.at)
	sides := []*side{startSide(t, "direct", d.at, p), startSide(t, "away", away.addr(), p)}
	const jobs = 20
	var tokens []string
	for i := range jobs {
		tokens = append(tokens, d.issue(fmt.Sprint("job-", i)))
	}
	for _, s := range sides {
		for _, token := range tokens {
			s.holds(token)
		}
	}
	for _, s := range sides {
		s.freeze(t)
	}
	away.stall()
	began := time.Now()
	var wg sync.WaitGroup
	var lapsed atomic.Int32
	for i := range jobs {
		wg.Go(func() {
			r := d.revoke(fmt.Sprint("job-", i), untilEffective)
			if !r.Effective || r.Acknowledged > 0 {
				t.Errorf("the receipt of a job that stopped sidecars hold: %v", r)
			}
			lapsed.Add(r.Lapsed)
		})
	}
	wg.Wait()
	// The questions wait in their sockets, so that they are the first thing that is seen.
	answers := make([][]verdict, len(sides))
	for i, s := range sides {
		answers[i] = make([]verdict, jobs)
		for k, token := range tokens {
			wg.Go(func() { answers[i][k] = judge(s.ask(token)) })
		}
	}
	time.Sleep(time.Until(began.Add(stopped)))
	for _, s := range sides {
		s.thaw()
	}
	wg.Wait()
	for i, s := range sides {
		var kinds [odd + 1]int
		for _, v := range answers[i] {
			kinds[v]++
		}
		t.Logf("%s: of %d first answers after %v %d said dead, %d undecided, %d allowed", s.name, jobs, stopped, kinds[dead], kinds[undecided], kinds[allowed])
		if kinds[unknown]+kinds[odd]+kinds[unlisted] > 0 {
			t.Errorf("%s: %v", s.name, answers[i])
		}
		allows += kinds[allowed]
	}
	if allows == 0 {
		away.heal()
		token := d.issue("fresh")
		for _, s := range sides {
			s.holds(token)
		}
	}
	return allows, int(lapsed.Load())
}

// TestStoppedSidecar: ten terms later the first answer is a denial (P2).
func TestStoppedSidecar(t *testing.T) {
	t.Parallel()
	for range tries {
		allows, waited := stopSidecars(t, plant{}, 10*time.Second)
		if allows > 0 {
			t.Errorf("%d jobs were allowed after an effective receipt", allows)
		}
		if waited > 0 {
			return
		}
	}
	t.Error("no receipt waited for the leases of the stopped sidecars")
}

func TestStoppedSidecarCatches(t *testing.T) {
	t.Parallel()
	if allows, _ := stopSidecars(t, plant{Holder: lease.FaultNoLease}, 2*time.Second); allows == 0 {
		t.Error("a sidecar that does not look at its lease was not found out")
	}
}

// TestPauses stops sidecars and the PDP for a while, again and again, under load, the PDP sometimes for longer than a lease.
func TestPauses(t *testing.T) {
	t.Parallel()
	rnd := newRand(t)
	d, sides, h := fleet(t, rnd, 2)
	h.start(4)
	for range 3 * *rounds {
		s := sides[rnd.IntN(len(sides))]
		s.freeze(t)
		h.run(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		s.thaw()
		h.run(200 * time.Millisecond)
		d.freeze(t)
		h.run(time.Duration(rnd.IntN(2500)) * time.Millisecond)
		d.thaw()
		h.run(300 * time.Millisecond)
	}
	h.recovers()
	h.good()
}

// TestStoppedPDP: with the PDP stopped, what is cached is answered until the lease is over, and then nothing is (P2); calls fail; and when it goes
// on, all is well.
func TestStoppedPDP(t *testing.T) {
	t.Parallel()
	d, sides, h := fleet(t, newRand(t), 1)
	s := sides[0]
	token := d.issue("held")
	s.holds(token)
	d.freeze(t)
	var v verdict
	eventually(t, "the lapse", func() bool { v = judge(s.ask(token)); return v != allowed })
	if v != undecided {
		t.Errorf("a stopped PDP cannot have said %v", v)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	j := &job{id: "held", token: token}
	if h.revoke(j, 500*time.Millisecond) {
		t.Error("a stopped PDP has given a receipt")
	}
	<-ctx.Done()
	if v := judge(s.ask(token)); v != undecided {
		t.Errorf("after the lapse: %v", v)
	}
	d.thaw()
	if r := d.revoke("held", untilEffective); !r.Effective {
		t.Errorf("the receipt: %v", r)
	}
	if v := judge(s.ask(token)); v == allowed {
		t.Error("allowed after its receipt")
	}
	h.recovers()
}
