package partition

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
)

// stopSidecar stops a sidecar that holds many jobs, revokes them, asks it about all of them, and lets it go on after so long. It gives how
// many of its first answers were allows, although each question was asked after its receipt.
func stopSidecar(t *testing.T, p plant, stopped time.Duration) (allows int) {
	d := startPDP(t, plant{})
	s := startSide(t, "stopped", d.at, p)
	const jobs = 20
	var tokens []string
	for i := range jobs {
		tokens = append(tokens, d.issue(fmt.Sprint("job-", i)))
		s.holds(tokens[i])
	}
	s.signal(syscall.SIGSTOP)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range jobs {
		wg.Go(func() {
			if r := d.revoke(fmt.Sprint("job-", i), untilEffective); !r.Effective || r.Acknowledged > 0 {
				t.Errorf("the receipt of a job that a stopped sidecar holds: %v", r)
			}
		})
	}
	wg.Wait()
	// The questions wait in its socket, so that they are the first thing that it sees.
	answers := make([]verdict, jobs)
	for i := range jobs {
		wg.Go(func() { answers[i] = judge(s.ask(tokens[i])) })
	}
	time.Sleep(time.Until(began.Add(stopped)))
	s.signal(syscall.SIGCONT)
	wg.Wait()
	for i, v := range answers {
		switch v {
		case allowed:
			allows++
		case dead, undecided:
		default:
			t.Errorf("job %d: %v", i, v)
		}
	}
	t.Logf("%d jobs revoked while their sidecar was stopped for %v, %d of its first answers allowed: %v", jobs, stopped, allows, answers)
	if allows == 0 {
		s.holds(d.issue("fresh"))
	}
	return allows
}

// TestStoppedSidecar: ten terms later the first answer is a denial (P2).
func TestStoppedSidecar(t *testing.T) {
	t.Parallel()
	if n := stopSidecar(t, plant{}, 10*time.Second); n > 0 {
		t.Errorf("%d jobs were allowed after an effective receipt", n)
	}
}

func TestStoppedSidecarCatches(t *testing.T) {
	t.Parallel()
	if n := stopSidecar(t, plant{Holder: lease.FaultNoLease}, 2*time.Second); n == 0 {
		t.Error("a sidecar that does not look at its lease was not found out")
	}
}

// TestPauses stops sidecars and the PDP for a while, again and again, under load, the PDP sometimes for longer than a lease.
func TestPauses(t *testing.T) {
	t.Parallel()
	d, sides, h := fleet(t, 2)
	rnd := newRand(t)
	h.start(4)
	for range 3 * *rounds {
		s := sides[rnd.IntN(len(sides))]
		s.signal(syscall.SIGSTOP)
		h.run(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		s.signal(syscall.SIGCONT)
		h.run(200 * time.Millisecond)
		d.signal(syscall.SIGSTOP)
		h.run(time.Duration(rnd.IntN(2500)) * time.Millisecond)
		d.signal(syscall.SIGCONT)
		h.run(300 * time.Millisecond)
	}
	h.recovers()
	h.good()
}

// TestStoppedPDP: with the PDP stopped, what is cached is answered until the lease is over, and then nothing is (P2); calls fail; and when it goes
// on, all is well.
func TestStoppedPDP(t *testing.T) {
	t.Parallel()
	d, sides, h := fleet(t, 1)
	s := sides[0]
	token := d.issue("held")
	s.holds(token)
	d.signal(syscall.SIGSTOP)
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
	d.signal(syscall.SIGCONT)
	if r := d.revoke("held", untilEffective); !r.Effective {
		t.Errorf("the receipt: %v", r)
	}
	if v := judge(s.ask(token)); v == allowed {
		t.Error("allowed after its receipt")
	}
	h.recovers()
}
