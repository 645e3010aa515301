package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// demoRounds are the lives of jobs, one after the other at each sidecar: a token is issued at one PDP, the sidecar is asked at once and again, the job is
// revoked at another PDP, and from then on every sidecar is asked about it.
type demoRounds struct {
	d        *demo
	project  int64
	user     int64
	enough   atomic.Bool
	done     sync.WaitGroup
	mu       sync.Mutex
	tally    demoRoundTally
	at       []*demoProcess // PDPs that may be asked to issue and revoke
	sequence atomic.Int64
}

// demoRoundTally is what came of rounds.
type demoRoundTally struct {
	Rounds      int     `json:"rounds"`
	Checks      int     `json:"checks"`
	Cached      int     `json:"cached"`
	StaleAllows int     `json:"stale_allows"`  // allowed, and begun after an effective receipt
	WrongDenies int     `json:"wrong_denials"` // denied, with a token that is good
	NotDecided  int     `json:"not_decided"`
	Calls       int     `json:"calls_repeated"` // Issue or Revoke that had to go to another PDP
	LongestMS   float64 `json:"longest_receipt_ms"`
	GapMS       float64 `json:"longest_without_an_answer_ms"` // at one sidecar
}

// roundsOf starts the lives.
func (d *demo) roundsOf(ctx context.Context, project, user int64) *demoRounds {
	r := &demoRounds{d: d, project: project, user: user, at: d.rig.pdps}
	for i, p := range d.rig.sidecars {
		r.done.Go(func() { r.live(ctx, i, p) })
	}
	return r
}

// stop waits until every life that has begun is over.
func (r *demoRounds) stop() demoRoundTally {
	r.enough.Store(true)
	r.done.Wait()
	return r.tally
}

// take gives what came of the rounds since the last take.
func (r *demoRounds) take() demoRoundTally {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tally
	r.tally = demoRoundTally{}
	return t
}

func (r *demoRounds) note(change func(*demoRoundTally)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.tally)
}

func (r *demoRounds) live(ctx context.Context, i int, mine *demoProcess) {
	rnd := rand.New(rand.NewPCG(1, uint64(i)))
	for !r.enough.Load() && ctx.Err() == nil {
		job := fmt.Sprintf("round-%d", r.sequence.Add(1))
		token, ok := anywhere(ctx, r, rnd, func(ctx context.Context, c *grpc.ClientConn) (string, bool) {
			resp, err := jobwardv1.NewTokenServiceClient(c).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: r.project, UserId: r.user})
			return resp.GetToken(), err == nil
		})
		if !ok {
			return
		}
		q := &jobwardv1.CheckRequest{Token: token, TargetProjectPath: demoTarget, Permission: demoPermission}
		for range 20 {
			r.ask(ctx, mine, q, true)
		}
		began := time.Now()
		effective, ok := anywhere(ctx, r, rnd, func(ctx context.Context, c *grpc.ClientConn) (bool, bool) {
			resp, err := jobwardv1.NewTokenServiceClient(c).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{job}, Outcome: jobwardv1.Outcome_OUTCOME_SUCCESS})
			return resp.GetReceipt().GetEffective(), err == nil && resp.GetReceipt().GetEffective()
		})
		if !ok || !effective {
			return
		}
		took := millis(time.Since(began))
		r.note(func(t *demoRoundTally) { t.Rounds, t.LongestMS = t.Rounds+1, max(t.LongestMS, took) })
		for _, p := range r.d.rig.sidecars {
			r.ask(ctx, p, q, false)
		}
	}
}

// anywhere calls one PDP, and another when that fails, until one has done it.
func anywhere[T any](ctx context.Context, r *demoRounds, rnd *rand.Rand, call func(context.Context, *grpc.ClientConn) (T, bool)) (out T, ok bool) {
	for first := true; ctx.Err() == nil; first = false {
		p := r.at[rnd.IntN(len(r.at))]
		soon, cancel := context.WithTimeout(ctx, 2*(2*demoFence+demoTerm))
		out, ok = call(soon, p.conns[0])
		cancel()
		if ok {
			return out, true
		}
		if first {
			r.note(func(t *demoRoundTally) { t.Calls++ })
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			break
		}
	}
	return out, false
}

// ask asks one sidecar until it decides.
func (r *demoRounds) ask(ctx context.Context, p *demoProcess, q *jobwardv1.CheckRequest, good bool) {
	service := jobwardv1.NewDecisionServiceClient(p.conns[0])
	began := time.Now()
	for ctx.Err() == nil {
		soon, cancel := context.WithTimeout(ctx, 5*time.Second)
		resp, err := service.Check(soon, q)
		cancel()
		d := resp.GetDecision()
		lapsed := d.GetReason() == jobwardv1.Reason_REASON_LEASE_LAPSED
		gap := millis(time.Since(began))
		r.note(func(t *demoRoundTally) {
			t.Checks++
			switch {
			case err != nil || lapsed:
				t.NotDecided++
			case d.GetAllow() && !good:
				t.StaleAllows++
			case !d.GetAllow() && good:
				t.WrongDenies++
			}
			if d.GetCached() {
				t.Cached++
			}
			t.GapMS = max(t.GapMS, gap)
		})
		if err == nil && !lapsed || pause(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}
