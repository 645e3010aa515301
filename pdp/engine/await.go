package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/replica"
)

// Wait is how long a call that changes something waits for its receipt.
type Wait uint8

// The waits: until it is effective or until shortly before the caller's deadline; or not
// at all, the change being durable and visible here.
const (
	WaitEffective Wait = iota
	WaitDurable
)

// Awaits says what the receipt of a call waits for. Each answer of a verb that changes
// something has a method that gives it.
type Awaits struct {
	// Revision is the one that the receipt names.
	Revision authz.Revision
	// Each are the changes to wait for; All stands for every change up to Revision. With
	// neither nothing was taken away that anybody could still believe.
	Each []authz.Revision
	All  bool
}

// Receipt says what a change did to the answers that others may still believe.
type Receipt struct {
	Revision authz.Revision
	// Effective: no check that starts now is answered from before the change, anywhere (P1).
	Effective bool
	// Acked, Lapsed and Pending count caches that held something it touches: those that
	// have let go, those that have lost their lease, those still waited for. Where several
	// changes are waited for a cache counts for each.
	Acked, Lapsed, Pending int
	// Elapsed is how long Await took, Quiet how long leases from before this PDP's start
	// may still run, where the receipt is not effective.
	Elapsed, Quiet time.Duration
	// Replicas are the other PDPs on the store, as they were when the change had been made;
	// Bound is the longest that the receipt can take while the store can be reached. Both are
	// for several PDPs.
	Replicas []replica.Standing
	Bound    time.Duration
}

// Await waits for the receipt of a call. It ends early enough before ctx's deadline for
// the answer to reach the caller; the change is made all the same, and asking again waits
// again (PROTOCOL R6).
func (e *Engine) Await(ctx context.Context, wait Wait, a Awaits) Receipt {
	out := Receipt{Revision: a.Revision, Effective: true}
	if len(a.Each) == 0 && !a.All {
		return out // a timer for nothing would be a twentieth of what an Issue takes
	}
	began := time.Now()
	ctx, cancel := inTime(ctx, wait)
	defer cancel()
	peers := e.settle(ctx, wait, a)
	add := func(r lease.Receipt, err error) {
		out.Acked, out.Lapsed, out.Pending = out.Acked+r.Acked, out.Lapsed+r.Lapsed, out.Pending+r.Pending
		out.Effective = out.Effective && err == nil && r.Effective
	}
	if a.All {
		add(e.feed.AwaitAll(ctx, a.Revision, nil))
	} else {
		for _, rev := range a.Each {
			add(e.feed.Await(ctx, rev, nil))
		}
	}
	out.addPeers(<-peers)
	if !out.Effective {
		out.Quiet = e.feed.Quiet()
	}
	if wait == WaitEffective {
		out.Elapsed = time.Since(began)
	}
	return out
}

// settle has the other PDPs settle what a call waits for, beside this one. The call has
// committed by now, so that the list of them, which is read first, has everybody who could
// have a view from before (PROTOCOL R8). A call that does not wait asks nobody: then the
// receipt is effective only where there is nobody else.
func (e *Engine) settle(ctx context.Context, wait Wait, a Awaits) <-chan replica.Receipt {
	out := make(chan replica.Receipt, 1)
	switch {
	case e.opt.Replica == nil:
		out <- replica.Receipt{Effective: true}
	case wait == WaitDurable:
		out <- replica.Receipt{}
	default:
		go func() { out <- e.opt.Replica.Settle(ctx, wanted(a), nil) }()
	}
	return out
}

// wanted is what a call waits for, in the words of package replica.
func wanted(a Awaits) (wants []replica.Want) {
	if a.All {
		return []replica.Want{{Revision: a.Revision, All: true}}
	}
	for _, rev := range a.Each {
		wants = append(wants, replica.Want{Revision: rev})
	}
	return wants
}

// addPeers adds what other PDPs have come to.
func (r *Receipt) addPeers(p replica.Receipt) {
	r.Effective = r.Effective && p.Effective
	r.Replicas, r.Bound = p.Standings, p.Bound
	for _, s := range p.Standings {
		r.Acked, r.Lapsed, r.Pending = r.Acked+s.Acked, r.Lapsed+s.Lapsed, r.Pending+s.Pending
	}
}

// AwaitAll waits for everything up to rev at all PDPs, telling progress each step, and ends
// early enough before ctx's deadline for the answer to reach the caller. For a revision that
// does not exist yet it fails with KindInvalid (REVISION_AHEAD).
func (e *Engine) AwaitAll(ctx context.Context, rev authz.Revision, progress func(Receipt)) (Receipt, error) {
	began := time.Now()
	if e.view.Mark().Revision < rev {
		if err := e.catchUp(ctx); err != nil {
			return Receipt{}, err
		}
	}
	if _, err := e.feed.Await(ended, rev, nil); err != nil {
		return Receipt{}, err // there is nothing to ask the others about
	}
	ctx, cancel := BeforeDeadline(ctx)
	defer cancel()
	var mu sync.Mutex
	var own lease.Receipt
	var peers replica.Receipt
	peers.Effective = e.opt.Replica == nil
	sum := func() Receipt {
		r := Receipt{Revision: rev, Effective: own.Effective, Acked: own.Acked, Lapsed: own.Lapsed, Pending: own.Pending, Elapsed: time.Since(began)}
		if r.addPeers(peers); !r.Effective {
			r.Quiet = e.feed.Quiet()
		}
		return r
	}
	tell := func(change func()) {
		mu.Lock()
		defer mu.Unlock()
		if change(); progress != nil {
			progress(sum())
		}
	}
	var others sync.WaitGroup
	if e.opt.Replica != nil {
		others.Go(func() {
			last := e.opt.Replica.Settle(ctx, wanted(Awaits{Revision: rev, All: true}), func(r replica.Receipt) { tell(func() { peers = r }) })
			mu.Lock()
			defer mu.Unlock()
			peers = last
		})
	}
	last, err := e.feed.AwaitAll(ctx, rev, func(r lease.Receipt) { tell(func() { own = r }) })
	others.Wait()
	own = last
	return sum(), err
}

// ended is a context that has ended: with it the feed says how a receipt stands.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// maxSlack is the most that is left of a caller's time to answer in; of less time it is
// a tenth.
const maxSlack = 100 * time.Millisecond

func inTime(ctx context.Context, wait Wait) (context.Context, context.CancelFunc) {
	if wait == WaitDurable {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}
	return BeforeDeadline(ctx)
}

// BeforeDeadline gives a context that ends shortly before ctx does, so that a call that
// waits has time left to answer in.
func BeforeDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(maxSlack, time.Until(end)/10)))
}

// distinct sorts revisions and takes out doubles and zeroes.
func distinct(revs []authz.Revision) []authz.Revision {
	slices.Sort(revs)
	revs = slices.Compact(revs)
	if len(revs) > 0 && revs[0] == 0 {
		revs = revs[1:]
	}
	return revs
}

// maxJudgements is how often Keep judges one question.
const maxJudgements = 3

// Keep answers one question as Decide does, for a caller that wants to keep the answer in
// its generation: what the answer rests on is recorded before it is given, and when that
// changed since it was judged, it is judged again (PROTOCOL R5). An answer with a Number
// may be kept. owner is the authenticated caller.
func (e *Engine) Keep(k *policy.Walk, gen lease.Generation, owner string, req authz.Request) authz.Decision {
	return e.keep(gen, owner, func() authz.Decision { return e.Decide(k, req) })
}

func (e *Engine) keep(gen lease.Generation, owner string, judge func() authz.Decision) (d authz.Decision) {
	for range maxJudgements {
		d = judge()
		if gen == 0 || d.Reason == authz.HeartbeatLapsed && !e.lapsedForGood(d.Job) {
			return d
		}
		number, verdict := e.feed.Interest(gen, owner, d.Revision, d.Keys)
		if verdict == lease.JudgeAgain {
			continue
		}
		d.Number = number // zero where it may not be kept
		return d
	}
	return d
}

// lapsedForGood reports whether a job's lapse is committed. Until then it is only what the
// clock says: a PDP that starts again before that gives the job a new term (R12), and no
// change tells a cache so.
func (e *Engine) lapsedForGood(id authz.JobID) bool {
	j, _, ok := e.view.Job(id)
	return ok && j.Lapsed
}
