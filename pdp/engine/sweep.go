package engine

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// How often lapsed heartbeats are made final, and how often what is past its
// retention is removed. Neither decides anything: a lapsed token is dead by the clock
// the moment its term is over. Several PDPs on one store do not do the same at the same
// moment for long: the first one does it, and the others find nothing to do.
const (
	lapseEvery = time.Second
	pruneEvery = time.Minute
	pruneBatch = 2000
)

func (e *Engine) sweepLoop(ctx context.Context) {
	t := time.NewTimer(e.about(lapseEvery))
	defer t.Stop()
	prune := time.Now().Add(e.about(pruneEvery))
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		t.Reset(e.about(lapseEvery))
		if err := e.commitLapsed(ctx, e.clock.Now()); err != nil && ctx.Err() == nil {
			e.log.Error("lapsed heartbeats could not be made final; they are dead all the same", "error", err)
		}
		if time.Now().Before(prune) {
			continue
		}
		prune = time.Now().Add(e.about(pruneEvery))
		if err := e.Prune(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("old records could not be removed", "error", err)
		}
	}
}

// about gives d; where other PDPs do the same, more or less by up to a fourth.
func (e *Engine) about(d time.Duration) time.Duration {
	if !e.shared {
		return d
	}
	return d - d/4 + rand.N(d/2)
}

// Prune removes what is past its retention: ended and long expired jobs, replaced
// digests, request ids, audit events. What it removes is older than any token or
// any delayed Issue can be (PROTOCOL R7). The daemon's sweep calls it every minute.
func (e *Engine) Prune(ctx context.Context) error {
	before := e.clock.Now().Add(-e.opt.Retention)
	for {
		old := e.view.Outdated(before, pruneBatch)
		if len(old) == 0 {
			break
		}
		b := state.Batch{Actor: "jobward", Verb: "prune", Stamp: e.clock.Now()}
		for _, o := range old {
			b.Guards = append(b.Guards, state.Guard{Key: o.Key, Revision: o.Revision})
			b.Deletes = append(b.Deletes, o.Key)
		}
		if _, err := e.store.Commit(ctx, b); err != nil {
			if authz.KindOf(err) == authz.KindConflict {
				continue
			}
			return err
		}
		if len(old) < pruneBatch {
			break
		}
	}
	e.lapsed.forget(e.clock.Now())
	return e.pruneAudit(ctx)
}
