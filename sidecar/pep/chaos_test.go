package pep

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// TestChaos lets three Deciders answer while their PDP is cut off, restarts, is slow and
// stops answering renewals. No check that starts after a receipt is allowed by what was
// before (P1).
func TestChaos(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 10
	}
	r := random(t)
	var sum Counters
	for range seeds {
		s := r.Uint64()
		stale, c := chaos(t, s, Fault{})
		if stale > 0 {
			t.Fatalf("seed %d: %d stale allows", s, stale)
		}
		sum.Hits, sum.Joined, sum.Carried, sum.Lapses = sum.Hits+c.Hits, sum.Joined+c.Joined, sum.Carried+c.Carried, sum.Lapses+c.Lapses
		sum.Fenced, sum.Acks, sum.DeniedLapsed = sum.Fenced+c.Fenced, sum.Acks+c.Acks, sum.DeniedLapsed+c.DeniedLapsed
	}
	t.Logf("%+v", sum)
	if sum.Hits == 0 || sum.Joined == 0 || sum.Carried == 0 || sum.Lapses == 0 || sum.Fenced == 0 || sum.Acks == 0 || sum.DeniedLapsed == 0 {
		t.Error("something never happened")
	}
}

// TestChaosSees plants bugs in the same.
func TestChaosSees(t *testing.T) {
	r := random(t)
	for _, f := range []lease.Fault{lease.FaultNoLease, lease.FaultAckEarly, lease.FaultOpenFill, lease.FaultKeepAll} {
		t.Run(fmt.Sprint(f), func(t *testing.T) {
			for n := range 300 {
				if stale, _ := chaos(t, r.Uint64(), Fault{Lease: f}); stale > 0 {
					t.Logf("seen after %d seeds", n+1)
					return
				}
			}
			t.Error("not seen")
		})
	}
}

// chaos plays one story and counts the allows that should not have been.
func chaos(t *testing.T, s uint64, fault Fault) (stale int, sum Counters) {
	synctest.Test(t, func(t *testing.T) {
		const deciders, clients, jobs, story = 3, 3, 40, 20 * time.Second
		rnd := rand.New(rand.NewPCG(s, 7))
		p := newFake(2*time.Second, s)
		p.waits = true
		net := &fakeNet{pdps: map[string]*fakePDP{"a": p}, names: []string{"a"}}
		start := time.Now()
		var mu sync.Mutex
		over := map[authz.JobID]bool{} // the receipt was effective
		var ds []*Decider
		for i := range deciders {
			d, err := New(Config{
				Transport: net, Seed: s + uint64(i) + 1, MaxEntries: 30, Wait: 100 * time.Millisecond, CallTimeout: 500 * time.Millisecond,
				Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: clock.Func(func() time.Duration { return time.Since(start) }), Fault: fault,
			})
			if err != nil {
				t.Fatal(err)
			}
			ds = append(ds, d)
		}
		ctx, cancel := context.WithTimeout(context.Background(), story)
		var wg sync.WaitGroup
		for i, d := range ds {
			for c := range clients {
				rnd := rand.New(rand.NewPCG(s, uint64(100+10*i+c)))
				wg.Go(func() {
					for ctx.Err() == nil {
						job := authz.JobID("j" + strconv.Itoa(rnd.IntN(jobs)))
						mu.Lock()
						dead := over[job]
						mu.Unlock()
						out, err := d.Check(ctx, ask(string(job), authz.ProjectID(1+rnd.IntN(3))))
						if err == nil && out.Allow && dead {
							mu.Lock()
							stale++
							mu.Unlock()
						}
						time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
					}
				})
			}
		}
		next := 0
		for ctx.Err() == nil {
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			p.disturb(rnd)
			if next < jobs && rnd.IntN(2) == 0 {
				job := authz.JobID("j" + strconv.Itoa(next))
				next++
				wg.Go(func() {
					rev := p.commit(func() { p.dead[job] = true }, authz.JobKey(job))
					for ctx.Err() == nil {
						if _, ok := p.settled(rev); ok {
							mu.Lock()
							over[job] = true
							mu.Unlock()
							return
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
		}
		wg.Wait()
		cancel()
		for _, d := range ds {
			if err := d.Close(context.Background()); err != nil {
				t.Error(err)
			}
			c := d.Counters()
			sum.Hits, sum.Joined, sum.Carried, sum.Lapses = sum.Hits+c.Hits, sum.Joined+c.Joined, sum.Carried+c.Carried, sum.Lapses+c.Lapses
			sum.Fenced, sum.Acks, sum.DeniedLapsed = sum.Fenced+c.Fenced, sum.Acks+c.Acks, sum.DeniedLapsed+c.DeniedLapsed
		}
	})
	return stale, sum
}

// disturb makes something happen.
func (p *fakePDP) disturb(rnd *rand.Rand) {
	switch rnd.IntN(12) {
	case 0, 1: // a stream breaks
		p.mu.Lock()
		for _, s := range p.streams {
			if rnd.IntN(2) == 0 {
				s.cut()
			}
		}
		p.mu.Unlock()
	case 2:
		p.fall()
		time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
		p.mu.Lock()
		p.down = false // the network is back
		p.mu.Unlock()
	case 3:
		p.fall()
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
		p.rise()
	case 4:
		p.mu.Lock()
		p.deaf = !p.deaf
		p.mu.Unlock()
	case 5, 6, 7:
		p.mu.Lock()
		p.slow, p.before = time.Duration(rnd.IntN(300))*time.Millisecond, time.Duration(rnd.IntN(100))*time.Millisecond
		p.mu.Unlock()
	case 8:
		p.mu.Lock()
		p.slow, p.before = 0, 0
		p.mu.Unlock()
	}
}
