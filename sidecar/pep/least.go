package pep

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
)

// Least is the history that a question must not be answered before, for a caller that
// has seen a revision in another answer or in a receipt.
type Least struct {
	// Revision has to be reached, in whatever epoch.
	Revision authz.Revision
	// Epoch has to be reached, and in that very epoch EpochRevision. Zero asks for nothing.
	Epoch         uint64
	EpochRevision authz.Revision
}

// Look answers from the cache alone: nothing is asked for, waited for or counted as a
// miss. It allocates nothing. What it does not answer is for [Decider.Check] or
// [Decider.CheckAtLeast].
func (d *Decider) Look(req *authz.Request, least *Least, out *authz.Decision) bool {
	if *least != (Least{}) && !d.reached(least) {
		return false
	}
	k := d.keyOf(req)
	*out = authz.Decision{}
	return d.hit(d.table.hash(&k), &k, out) == hit
}

// reached reports whether the entries are true in the history that least asks for.
func (d *Decider) reached(least *Least) bool {
	d.mu.Lock()
	applied, epoch := d.holder.Applied(), d.holder.Seen().Epoch
	d.mu.Unlock()
	return applied >= least.Revision && (epoch > least.Epoch || epoch == least.Epoch && applied >= least.EpochRevision)
}

// CheckAtLeast is [Decider.Check] for a caller that has seen a revision. When the cache is
// not as far, which it need not be for a change that does not concern it, the PDP is
// asked, and the question is shared with nobody.
func (d *Decider) CheckAtLeast(ctx context.Context, req authz.Request, least Least) (authz.Decision, error) {
	if least == (Least{}) || d.reached(&least) {
		return d.Check(ctx, req)
	}
	k := d.keyOf(&req)
	h := d.table.hash(&k)
	var err error
	for range 3 {
		var f *flight
		if f, err = d.beginAlone(ctx, h, &k, &req, &least); err != nil {
			break
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return authz.Decision{}, canceled(ctx)
		}
		if err = f.err; err == nil {
			return f.out, nil
		}
		if !d.again(f) {
			break
		}
	}
	return d.undecided(ctx, err)
}

// beginAlone begins a flight that nobody joins.
func (d *Decider) beginAlone(ctx context.Context, h uint64, k *key, req *authz.Request, least *Least) (*flight, error) {
	for {
		d.mu.Lock()
		if d.target() != nil && !d.closed {
			break
		}
		d.mu.Unlock()
		if err := d.await(ctx); err != nil {
			return nil, err
		}
	}
	defer d.mu.Unlock()
	f := d.flight()
	f.atLeast(least)
	key, question := *k, &Question{*req, f.asked()}
	d.done.Go(func() { d.fly(context.WithoutCancel(ctx), f, h, &key, question, false) })
	return f, nil
}

// atLeast makes a flight ask for what its caller has seen too. An answer from before that is
// stale when it lands.
func (f *flight) atLeast(least *Least) {
	f.Applied = max(f.Applied, least.Revision)
	switch {
	case least.Epoch > f.Epoch:
		f.Epoch, f.Applied = least.Epoch, max(least.Revision, least.EpochRevision)
	case least.Epoch == f.Epoch:
		f.Applied = max(f.Applied, least.EpochRevision)
	}
}
