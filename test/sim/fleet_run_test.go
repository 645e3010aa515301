package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state/memstore"
)

var flagFleet = flag.Int("fleets", 0, "fleets of several PDPs to try; zero is what CI runs")

// fleetSize is how many PDPs and how many sidecars there are.
const fleetSize = 3

// fleetJob is a job, and when what became of it was known to its caller.
type fleetJob struct {
	id    authz.JobID
	token authz.Digest
	dying time.Time // the first call to revoke it
	over  time.Time // an effective receipt had returned
}

// runFleet runs one fleet for a while under random troubles.
func runFleet(t *testing.T, seed uint64, plant fleetPlant) *fleet {
	f := &fleet{t: t, plant: plant, rnd: rand.New(rand.NewPCG(seed, 7)), cut: map[[2]string]bool{}}
	synctest.Test(t, func(t *testing.T) {
		f.t = t
		var stop context.CancelFunc
		f.ctx, stop = context.WithCancel(t.Context())
		f.tokens, _ = token.NewFormat(token.DefaultPrefix)
		f.cluster = memstore.NewCluster(memstore.Options{})
		for i := range fleetSize {
			p := f.start(fmt.Sprint("pdp-", i))
			f.mu.Lock()
			f.pdps = append(f.pdps, p)
			f.mu.Unlock()
			if i == 0 {
				if err := new(sim).populate(f.ctx, p.e); err != nil {
					t.Fatal(err)
				}
				// The record of leases is made under a mutex, for which virtual time does not wait.
				st, err := p.e.Feed().Open(f.ctx, "first", feed.About{}, lease.Hello{})
				if err != nil {
					t.Fatal(err)
				}
				st.Release(st.Generation())
			}
		}
		for i := range fleetSize {
			f.sides = append(f.sides, f.side(fmt.Sprint("side-", i), seed*10+uint64(i)+1))
		}
		var done sync.WaitGroup
		callers, enough := context.WithCancel(f.ctx)
		for range 4 {
			done.Go(func() { f.coordinate(callers) })
		}
		for i := range 3 * fleetSize {
			done.Go(func() { f.check(callers, f.sides[i%fleetSize]) })
		}
		done.Go(func() { f.checkPDPs(callers) })
		for end := time.Now().Add(40 * time.Second); time.Now().Before(end) && len(f.wrong) == 0; {
			time.Sleep(time.Duration(50+f.chance(1000)) * time.Millisecond)
			f.event(&done)
		}
		f.heal()
		time.Sleep(10 * time.Second) // everybody finds everybody again
		f.settled()
		enough()
		done.Wait()
		for _, s := range f.sides {
			ctx, cancel := context.WithTimeout(f.ctx, time.Second)
			s.d.Close(ctx)
			cancel()
		}
		stop()
		for _, p := range f.pdps {
			p.die()
		}
		time.Sleep(time.Minute)
	})
	return f
}

// event is one trouble, or the end of one.
func (f *fleet) event(done *sync.WaitGroup) {
	f.mu.Lock()
	i := f.rnd.IntN(len(f.pdps))
	p, other, side := f.pdps[i], f.pdps[f.rnd.IntN(len(f.pdps))], f.sides[f.rnd.IntN(len(f.sides))]
	what, one := f.rnd.IntN(16), f.rnd.IntN(2) == 0
	f.mu.Unlock()
	cut := func(a, b string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cut[[2]string{a, b}] = true
		if !one {
			f.cut[[2]string{b, a}] = true
		}
	}
	switch what {
	case 0, 1:
		p.drift(true)
	case 2, 3:
		p.drift(false)
	case 4:
		p.freeze()
	case 5, 6:
		p.thaw()
	case 7:
		cut(p.name, other.name)
	case 8:
		cut(side.name, p.name)
	case 9, 10:
		f.mu.Lock()
		clear(f.cut)
		f.mu.Unlock()
	case 11, 12:
		f.again(i, p.die)
	case 13:
		p.stick(true)
	case 14:
		p.stick(false)
	case 15:
		p.thaw()
		p.drift(false)
		p.stick(false)
		f.again(i, p.stop)
	}
}

// again ends a process and starts the PDP anew.
func (f *fleet) again(i int, end func()) {
	f.mu.Lock()
	name := f.pdps[i].name
	f.mu.Unlock()
	end()
	p := f.start(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pdps[i] = p
}

func (f *fleet) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.cut)
	for _, p := range f.pdps {
		p.thaw()
		p.drift(false)
		p.stick(false)
	}
}

// anywhere does something at a random PDP, for a caller that all can be reached by.
func (f *fleet) anywhere(ctx context.Context, do func(ctx context.Context, p *member) error) error {
	f.mu.Lock()
	name := f.pdps[f.rnd.IntN(len(f.pdps))].name
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	return f.call(ctx, "caller", name, do)
}

// coordinate issues jobs at one PDP and revokes them at another.
func (f *fleet) coordinate(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		j := &fleetJob{id: authz.JobID(fmt.Sprintf("job-%d-%d", n, f.chance(1<<30)))}
		req := engine.IssueRequest{Job: j.id, Project: 1, User: 1}
		err := f.anywhere(ctx, func(ctx context.Context, p *member) error {
			out, err := p.e.Issue(ctx, admin(), req)
			j.token = out.Token.Digest()
			return err
		})
		if err != nil {
			nap(ctx, 20*time.Millisecond)
			continue
		}
		f.mu.Lock()
		f.jobs = append(f.jobs, j)
		f.mu.Unlock()
		nap(ctx, time.Duration(f.chance(600))*time.Millisecond)
		f.mu.Lock()
		j.dying = time.Now()
		f.mu.Unlock()
		for ctx.Err() == nil && !f.revoke(ctx, j) {
			nap(ctx, 20*time.Millisecond)
		}
	}
}

// revoke reports whether the receipt is effective.
func (f *fleet) revoke(ctx context.Context, j *fleetJob) bool {
	var r engine.Receipt
	err := f.anywhere(ctx, func(ctx context.Context, p *member) error {
		out, err := p.e.Revoke(ctx, admin(), engine.RevokeRequest{Jobs: []authz.JobID{j.id}})
		if err != nil {
			return err
		}
		r = p.e.Await(ctx, engine.WaitEffective, out.Awaits())
		return nil
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || !r.Effective {
		return false
	}
	j.over = time.Now()
	f.count.receipts++
	f.count.longest, f.count.bound = max(f.count.longest, r.Elapsed), max(f.count.bound, r.Bound)
	return true
}

// pick gives one of the newest jobs.
func (f *fleet) pick() *fleetJob {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.jobs)
	if n == 0 {
		return nil
	}
	return f.jobs[n-1-f.rnd.IntN(min(n, 8))]
}

// check asks one sidecar.
func (f *fleet) check(ctx context.Context, s *fleetSide) {
	for nap(ctx, time.Duration(1+f.chance(40))*time.Millisecond) {
		f.look(ctx, s.name, func(ctx context.Context, req authz.Request) (authz.Decision, error) { return s.d.Check(ctx, req) })
	}
}

// checkPDPs asks PDPs as services without a sidecar do.
func (f *fleet) checkPDPs(ctx context.Context) {
	for nap(ctx, time.Duration(1+f.chance(20))*time.Millisecond) {
		f.look(ctx, "a PDP", func(ctx context.Context, req authz.Request) (d authz.Decision, err error) {
			err = f.anywhere(ctx, func(ctx context.Context, p *member) error {
				d, err = p.ask(ctx, 0, "service", req)
				return err
			})
			return d, err
		})
	}
}

// look asks about a job, and judges the answer: P1, R16, and no denial before its reason.
func (f *fleet) look(ctx context.Context, who string, ask func(context.Context, authz.Request) (authz.Decision, error)) {
	j := f.pick()
	if j == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	began := time.Now()
	d, err := ask(ctx, authz.Request{Token: j.token, Target: authz.Target{ID: 1}, Permission: "read_packages", Surface: authz.SurfaceREST})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.checks++
	switch {
	case err != nil || d.Reason == authz.LeaseLapsed:
		f.count.undecided++
		var e *authz.Error
		if errors.As(err, &e) && e.Code == "FENCED" {
			f.count.fenced++
		}
	case d.Allow:
		f.count.allowed++
		if d.Cached {
			f.count.cached++
		}
		if !j.over.IsZero() && began.After(j.over) {
			f.wrong = append(f.wrong, fmt.Sprintf("P1: %s allows %s %v after its receipt was effective (%v, cached %v)", who, j.id, began.Sub(j.over), d.Reason, d.Cached))
		}
	case d.Reason == authz.TokenUnknown:
		f.wrong = append(f.wrong, fmt.Sprintf("R16: %s does not know the token of %s, which was issued", who, j.id))
	case d.Reason == authz.JobNotRunning && j.dying.IsZero():
		f.wrong = append(f.wrong, fmt.Sprintf("%s says that %s is over, which nobody has revoked", who, j.id))
	}
}

// settled wants all to be well again: every sidecar answers from its cache, and receipts
// come at once.
func (f *fleet) settled() {
	j := &fleetJob{id: "last"}
	err := f.anywhere(f.ctx, func(ctx context.Context, p *member) error {
		out, err := p.e.Issue(ctx, admin(), engine.IssueRequest{Job: j.id, Project: 1, User: 1})
		j.token = out.Token.Digest()
		return err
	})
	if err != nil {
		f.complain("at the end nothing can be issued: %v", err)
		return
	}
	for _, s := range f.sides {
		for i := range 2 {
			ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
			d, err := s.d.Check(ctx, authz.Request{Token: j.token, Target: authz.Target{ID: 1}, Permission: "read_packages", Surface: authz.SurfaceREST})
			cancel()
			if err != nil || !d.Allow || i == 1 && !d.Cached {
				f.complain("at the end %s answers %v, cached %v, %v", s.name, d.Reason, d.Cached, err)
			}
		}
	}
	began := time.Now()
	if !f.revoke(f.ctx, j) {
		f.complain("at the end no receipt is effective")
	} else if took := time.Since(began); took > 2*time.Second {
		f.complain("at the end a receipt takes %v", took)
	}
}

// TestFleets: several PDPs with their sidecars keep P1 and R16 under crashes, pauses and
// partitions (R8).
func TestFleets(t *testing.T) {
	n := *flagFleet
	if n == 0 {
		n = 12
	}
	var all fleetCount
	for i := range n {
		seed := *flagFirst + uint64(i)
		f := runFleet(t, seed, fleetPlant{})
		if len(f.wrong) > 0 {
			t.Fatalf("fleet %d: %s", seed, strings.Join(f.wrong, "\n"))
		}
		c := f.count
		all.checks, all.allowed, all.cached, all.undecided = all.checks+c.checks, all.allowed+c.allowed, all.cached+c.cached, all.undecided+c.undecided
		all.receipts, all.fenced, all.longest, all.bound = all.receipts+c.receipts, all.fenced+c.fenced, max(all.longest, c.longest), max(all.bound, c.bound)
	}
	t.Logf("%d fleets: %+v", n, all)
	if all.cached == 0 || all.receipts < 20*n || all.fenced == 0 {
		t.Error("so little happened that nothing is proved")
	}
}

// TestFleetsPlanted plants bugs of several PDPs and wants each found.
func TestFleetsPlanted(t *testing.T) {
	for name, plant := range map[string]fleetPlant{
		"R8 departed": {replica: replica.FaultForgetsDeparted}, "R8 F only": {replica: replica.FaultFenceWaitOnly}, "fenced replica keeps answering": {unfenced: true},
		"stuck watch behind a live registration": {replica: replica.FaultHeadIgnored}, "peer acknowledges before its holders": {deaf: true},
		"stale read for an unknown token": {unknown: true}, "watch resumed late": {grantor: lease.FaultResumeLate},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			const most = 200
			for seed := range uint64(most) {
				if f := runFleet(t, seed+1, plant); len(f.wrong) > 0 {
					t.Logf("fleet %d: %s", seed+1, f.wrong[0])
					return
				}
			}
			t.Errorf("not found in %d fleets", most)
		})
	}
}
