package pep

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
)

// maxBatch is how many questions one BatchCheck asks at most.
const maxBatch = 1000

// CheckMany answers several questions, in their order, each as [Decider.Check] would.
// Those of one token that are not in the cache go to the PDP together. It fails when
// one of them does.
func (d *Decider) CheckMany(ctx context.Context, reqs []authz.Request) ([]authz.Decision, error) {
	out := make([]authz.Decision, len(reqs))
	var missing []int
	for i := range reqs {
		k := d.keyOf(&reqs[i])
		if why := d.hit(d.table.hash(&k), &k, &out[i]); why != hit {
			d.counts.misses[why].Add(1)
			if why == lapsed {
				d.wake()
			}
			missing = append(missing, i)
		}
	}
	for len(missing) > 0 {
		// The questions of one token, in their order.
		var some, others []int
		for _, i := range missing {
			if reqs[i].Token == reqs[missing[0]].Token && len(some) < maxBatch {
				some = append(some, i)
			} else {
				others = append(others, i)
			}
		}
		missing = others
		if err := d.many(ctx, reqs, some, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// many asks what is missing of one token. Questions that are on their way already are
// waited for as Check does.
func (d *Decider) many(ctx context.Context, reqs []authz.Request, which []int, out []authz.Decision) error {
	var err error
	for range 2 {
		if err = d.await(ctx); err != nil {
			break
		}
		var batch *batch
		if batch, which = d.beginBatch(ctx, reqs, which, out); batch == nil {
			return d.rest(ctx, reqs, which, out)
		}
		select {
		case <-batch.done:
		case <-ctx.Done():
			return canceled(ctx)
		}
		if err = batch.err; err == nil {
			for n, i := range batch.which {
				out[i] = batch.flights[n].out
			}
			return d.rest(ctx, reqs, which, out)
		}
		which = append(which, batch.which...)
		if !d.again(&flight{link: batch.link, err: err}) {
			break
		}
	}
	for _, i := range which {
		var uerr error
		if out[i], uerr = d.undecided(ctx, err); uerr != nil {
			return uerr
		}
	}
	return nil
}

// rest asks one by one.
func (d *Decider) rest(ctx context.Context, reqs []authz.Request, which []int, out []authz.Decision) (err error) {
	for _, i := range which {
		if out[i], err = d.ask(ctx, reqs[i]); err != nil {
			return err
		}
	}
	return nil
}

// batch is several flights that go together.
type batch struct {
	flight  // of all; its out is not used
	which   []int
	keys    []key
	flights []*flight
}

// beginBatch begins one with the questions that are neither in the cache by now nor
// being asked by others; the latter are given back. It is nil when there are none, or
// no PDP to ask.
func (d *Decider) beginBatch(ctx context.Context, reqs []authz.Request, which []int, out []authz.Decision) (*batch, []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b batch
	var joinable []int
	for _, i := range which {
		k := d.keyOf(&reqs[i])
		switch {
		case d.hit(d.table.hash(&k), &k, &out[i]) == hit:
			d.counts.joined.Add(1)
		case d.joinable(&k, true) != nil:
			joinable = append(joinable, i)
		default:
			b.which = append(b.which, i)
			b.keys = append(b.keys, k)
		}
	}
	if len(b.which) == 0 || d.target() == nil || d.closed {
		return nil, append(joinable, b.which...)
	}
	b.flight = *d.flight()
	d.counts.asked.Add(uint64(len(b.which) - 1))
	q := &BatchQuestion{Asked: b.asked()}
	for n, i := range b.which {
		f := &flight{Flight: b.Flight, link: b.link, sent: b.sent, done: make(chan struct{})}
		b.flights = append(b.flights, f)
		if f.Generation != 0 {
			d.flights[b.keys[n]] = f
		}
		q.Requests = append(q.Requests, reqs[i])
	}
	d.done.Go(func() { d.flyBatch(context.WithoutCancel(ctx), &b, q) })
	return &b, joinable
}

// flyBatch is fly for many.
func (d *Decider) flyBatch(ctx context.Context, b *batch, q *BatchQuestion) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	answers, err := b.link.pdp.BatchCheck(ctx, q)
	if err == nil && len(answers) != len(b.flights) {
		err = authz.Errorf(authz.KindInternal, "BAD_ANSWER", "%d questions were answered by %d decisions", len(b.flights), len(answers))
	}
	err = d.explain(ctx, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.landed(b.link)
	d.heard(b.link, err)
	for n, f := range b.flights {
		k := &b.keys[n]
		if d.flights[*k] == f {
			delete(d.flights, *k)
		}
		if f.err = err; err == nil {
			f.out = answers[n]
			f.err = d.land(f, d.table.hash(k), k, &f.out)
		}
		if f.err != nil {
			b.err = f.err
		}
		close(f.done)
	}
	close(b.done)
}

// Introspect asks the PDP whose token it is; nothing of it is cached.
func (d *Decider) Introspect(ctx context.Context, token authz.Digest) (Introspection, error) {
	return d.IntrospectAtLeast(ctx, token, Least{})
}

// IntrospectAtLeast is [Decider.Introspect] for a caller that has seen a revision: a PDP that
// is not as far does not answer, which is KindUnavailable (CodeBehind).
func (d *Decider) IntrospectAtLeast(ctx context.Context, token authz.Digest, least Least) (Introspection, error) {
	for try := 0; ; try++ {
		if err := d.await(ctx); err != nil {
			return Introspection{}, err
		}
		d.mu.Lock()
		if d.target() == nil || d.closed {
			d.mu.Unlock()
			continue // lost again; await says when it is enough
		}
		f := d.flight()
		f.atLeast(&least)
		d.mu.Unlock()
		bctx, cancel := d.bound(ctx)
		out, err := f.link.pdp.Introspect(bctx, &IntrospectQuestion{Token: token, Asked: f.asked()})
		f.err = d.explain(bctx, err)
		cancel()
		d.mu.Lock()
		d.landed(f.link)
		if f.err == nil {
			if _, stale := d.holder.Land(f.Flight, out.Revision, nil, 0); stale {
				f.err = authz.Errorf(authz.KindUnavailable, CodeBehind, "the policy decision point answered from before what was seen already")
			}
		}
		d.mu.Unlock()
		switch {
		case f.err == nil:
			return out, nil
		case ctx.Err() != nil:
			return Introspection{}, canceled(ctx)
		case try > 0 || !d.again(f):
			return Introspection{}, f.err
		}
	}
}
