package engine

import (
	"context"
	"slices"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
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
	if !out.Effective {
		out.Quiet = e.feed.Quiet()
	}
	if wait == WaitEffective {
		out.Elapsed = time.Since(began)
	}
	return out
}

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
