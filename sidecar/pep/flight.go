package pep

import (
	"context"
	"errors"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Codes of errors that a Decider makes itself.
const (
	// CodeNoPDP: no PDP can be reached, or none that may be believed.
	CodeNoPDP = "NO_PDP"
	// CodePDPSilent: the PDP did not answer in time.
	CodePDPSilent = "PDP_SILENT"
	// CodePDPRefuses: the PDP does not take this Decider for a sidecar, or has a fault.
	CodePDPRefuses = "PDP_REFUSES"
	// CodeBehind: the PDP answered from before what this Decider has seen.
	CodeBehind = "BEHIND"
	// CodeClosed: the Decider was closed.
	CodeClosed = "CLOSED"
)

// flight is a question on its way to the PDP, which others may wait for.
type flight struct {
	lease.Flight
	link *link
	sent lease.Instant
	done chan struct{} // closed when out and err are there
	out  authz.Decision
	err  error
}

// miss answers a question that the cache does not: by the flight of another, or by one
// of its own.
func (d *Decider) miss(ctx context.Context, req authz.Request, why outcome) (authz.Decision, error) {
	d.counts.misses[why].Add(1)
	if why == lapsed {
		d.wake()
	}
	return d.ask(ctx, req)
}

// ask is miss for what was counted already.
func (d *Decider) ask(ctx context.Context, req authz.Request) (authz.Decision, error) {
	k := d.keyOf(&req)
	h := d.table.hash(&k)
	var err error
	for try := range 3 {
		var f *flight
		var joined bool
		var out authz.Decision
		if f, joined, err = d.begin(ctx, h, &k, &req, try == 0, &out); err != nil {
			break
		}
		if f == nil {
			return out, nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return authz.Decision{}, canceled(ctx)
		}
		switch {
		case !joined && f.err == nil, joined && d.cfg.Fault.Lease == lease.FaultJoinAny:
			return f.out, f.err
		case joined && d.hit(h, &k, &out) == hit:
			d.counts.joined.Add(1)
			return out, nil
		case !joined && !d.again(f):
			return d.undecided(ctx, f.err)
		}
		err = f.err
	}
	return d.undecided(ctx, err)
}

// again reports whether a question that failed should be asked once more: the PDP that
// it was asked of was lost or replaced meanwhile, or has answered from an older state.
func (d *Decider) again(f *flight) bool {
	var e *authz.Error
	if errors.As(f.err, &e) && e.Code == CodeBehind {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.target() != f.link && !d.closed
}

// begin gives a flight to wait for, joined or begun, or an answer that has come into
// the cache meanwhile.
func (d *Decider) begin(ctx context.Context, h uint64, k *key, req *authz.Request, join bool, out *authz.Decision) (f *flight, joined bool, err error) {
	d.mu.Lock()
	for {
		if d.hit(h, k, out) == hit {
			d.mu.Unlock()
			d.counts.joined.Add(1)
			return nil, false, nil
		}
		if f := d.joinable(k, join); f != nil {
			d.mu.Unlock()
			return f, true, nil
		}
		if d.target() != nil && !d.closed {
			break
		}
		d.mu.Unlock()
		if err := d.await(ctx); err != nil {
			return nil, false, err
		}
		d.mu.Lock()
	}
	f = d.flight()
	kept := f.Generation != 0
	if kept {
		d.flights[*k] = f
	}
	key, question := *k, &Question{*req, f.asked()}
	d.done.Go(func() { d.fly(context.WithoutCancel(ctx), f, h, &key, question, kept) })
	d.mu.Unlock()
	return f, false, nil
}

// joinable gives the flight for the same question, if a check that starts now may share
// its answer (L12). Called with the lock.
func (d *Decider) joinable(k *key, want bool) *flight {
	f := d.flights[*k]
	switch {
	case f == nil || !want:
		return nil
	case !d.holder.MayJoin(d.now(), f.Flight):
		d.counts.unjoinable.Add(1)
		return nil
	}
	return f
}

// flight begins one. Called with the lock, while there is a target.
func (d *Decider) flight() *flight {
	now := d.now()
	l := d.target()
	l.calls++
	d.counts.asked.Add(1)
	return &flight{Flight: d.holder.Begin(now), link: l, sent: now, done: make(chan struct{})}
}

func (f *flight) asked() Asked {
	return Asked{Generation: f.Generation, Applied: f.Applied, Epoch: f.Epoch}
}

// fly asks the question and lands the answer. It does not end with the caller that
// began it, because others may wait for it.
func (d *Decider) fly(ctx context.Context, f *flight, h uint64, k *key, q *Question, kept bool) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	out, err := f.link.pdp.Check(ctx, q)
	err = d.explain(ctx, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.landed(f.link)
	d.heard(f.link, err)
	if kept && d.flights[*k] == f {
		delete(d.flights, *k)
	}
	if err == nil {
		err = d.land(f, h, k, &out)
	}
	f.out, f.err = out, err
	close(f.done)
}

// bound gives the context of one call to a PDP.
func (d *Decider) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallTimeout)
	stop := context.AfterFunc(d.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// landed notes that a call of a link is over. Called with the lock.
func (d *Decider) landed(l *link) {
	l.calls--
	d.closeUnused(l)
}

// land judges an answer and installs it where it may (L12, L13). It makes of out what
// the caller gets. Called with the lock.
func (d *Decider) land(f *flight, h uint64, k *key, out *authz.Decision) error {
	if kind := d.cfg.Fault.NoKeys; kind != 0 {
		out.Keys = without(out.Keys, kind)
	}
	install, stale := d.holder.Land(f.Flight, out.Revision, out.Keys, out.Number)
	kept := out.Number != 0
	out.Number, out.Cached = 0, false
	if stale {
		d.counts.stale.Add(1)
		*out = authz.Decision{}
		return authz.Errorf(authz.KindUnavailable, CodeBehind, "the policy decision point answered from before what was seen already")
	}
	now := d.now()
	ends := noEnd
	if out.ValidFor > 0 && out.ValidFor < maxValidFor {
		// The PDP's clock may be as much faster as the lease's rules allow (R11).
		ends = f.sent.Add(lease.HolderTerm(out.ValidFor))
	}
	switch {
	case !kept:
		d.counts.uncacheable.Add(1)
		return nil
	case !install:
		d.counts.fenced.Add(1)
	case out.Allow && out.ValidFor <= 0, now >= ends, d.closed:
		d.counts.ended.Add(1)
	default:
		d.counts.installs.Add(1)
		d.table.install(h, k, out, d.holder.Lease().Era, now, ends)
		return nil
	}
	d.table.refuse(out.Keys)
	return nil
}

// maxValidFor is beyond what any token lives, and within what can be added.
const maxValidFor = 100 * 365 * 24 * time.Hour

func without(keys []authz.Key, kind authz.KeyKind) []authz.Key {
	var out []authz.Key
	for _, k := range keys {
		if k.Kind() != kind {
			out = append(out, k)
		}
	}
	return out
}

// target is the PDP to be asked: that of the lease in force, while its stream stands and
// it does not say that it may not answer (R8, R14). Called with the lock.
func (d *Decider) target() *link {
	if l := d.current; l != nil && !l.broken && !l.fenced {
		return l
	}
	return nil
}

// await waits for a PDP to ask.
func (d *Decider) await(ctx context.Context) error {
	d.mu.Lock()
	l, closed, changed := d.target(), d.closed, d.changed
	left := d.cfg.Wait - d.now().Sub(d.lost)
	d.mu.Unlock()
	switch {
	case closed:
		return authz.Errorf(authz.KindUnavailable, CodeClosed, "this client was closed")
	case l != nil:
		return nil
	case left <= 0:
		return noPDP()
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return canceled(ctx)
	case <-t.C:
		return noPDP()
	}
}

func noPDP() error {
	return authz.Errorf(authz.KindUnavailable, CodeNoPDP, "no policy decision point can be asked")
}

func canceled(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &authz.Error{Kind: authz.KindCanceled, Code: "DEADLINE_EXCEEDED", Message: "the deadline passed", Cause: context.DeadlineExceeded}
	}
	return &authz.Error{Kind: authz.KindCanceled, Code: "CANCELED", Message: "the call was canceled", Cause: context.Canceled}
}

// explain makes an error of a PDP one of the words. ctx is the call's own.
func (d *Decider) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	d.counts.failed.Add(1)
	var e *authz.Error
	switch {
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return &authz.Error{Kind: authz.KindUnavailable, Code: CodePDPSilent, Message: "the policy decision point did not answer in time", Cause: err}
	case !errors.As(err, &e) || e.Kind == authz.KindCanceled:
	case e.Kind == authz.KindInvalid || e.Kind == authz.KindUnavailable || e.Kind == authz.KindExhausted:
		return e
	default:
		// "Not authenticated" and the like are about this Decider and not about its caller.
		return &authz.Error{Kind: authz.KindInternal, Code: CodePDPRefuses, Message: "the policy decision point refuses to answer this client", Cause: e}
	}
	return &authz.Error{Kind: authz.KindUnavailable, Code: CodeNoPDP, Message: "the policy decision point did not answer", Cause: err}
}

// undecided says what is answered to a question that could not be: after the lease was
// lost a denial, if the settings want that.
func (d *Decider) undecided(ctx context.Context, err error) (authz.Decision, error) {
	if ctx.Err() != nil {
		return authz.Decision{}, canceled(ctx)
	}
	if kind := authz.KindOf(err); d.cfg.Unavailable == ErrorUnavailable || kind != authz.KindUnavailable && kind != authz.KindExhausted {
		return authz.Decision{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.leased || d.closed || d.now() < d.lease.Load().Ends {
		return authz.Decision{}, err
	}
	d.counts.denied.Add(1)
	return authz.Decision{Reason: authz.LeaseLapsed, Revision: d.holder.Applied()}, nil
}
