package engine

import (
	"context"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

var _ authz.Decider = (*Engine)(nil)

// Check answers one question. It is Decide with a walk from the engine's own pool;
// the decision is the caller's. It fails with KindUnavailable when this PDP, one of several,
// may not answer (FENCED) or cannot tell.
func (e *Engine) Check(ctx context.Context, req authz.Request) (authz.Decision, error) {
	if err := e.Serving(); err != nil {
		return authz.Decision{}, err
	}
	k := e.walks.Get().(*policy.Walk)
	defer e.walks.Put(k)
	d := e.Decide(k, req)
	if e.Unsure(&d) {
		if err := e.catchUp(ctx); err != nil {
			return authz.Decision{}, err
		}
		d = e.Decide(k, req)
	}
	d.Keys = slices.Clone(d.Keys)
	return d, nil
}

// Unsure reports whether d says what another PDP may have made untrue before the check
// began: that a token is unknown, which was issued there (PROTOCOL R16), or that a runner
// says nothing, which was heard there (R12). Such an answer may be given only after
// CatchUp, judged again. With one PDP no answer is such.
func (e *Engine) Unsure(d *authz.Decision) bool {
	return e.shared && (d.Reason == authz.TokenUnknown || d.Reason == authz.HeartbeatLapsed && !e.lapsedForGood(d.Job))
}

// Decide answers one question on the view as it is now, in the memory of k: the keys
// of the decision are good until k is used again. It cannot fail, and does not
// allocate once k is warm.
func (e *Engine) Decide(k *policy.Walk, req authz.Request) authz.Decision {
	return e.view.Decide(k, req, e.clock.Now())
}

// Record puts a decision into the audit log: denials all, allows as sampled. id is
// the decision's id as the caller was told it.
func (e *Engine) Record(by Actor, req *authz.Request, d *authz.Decision, id string) {
	e.audit.Decision(e.clock.Now(), by.Name, req, d, id)
}

// Serving fails with KindUnavailable (FENCED) while this PDP, one of several, may not answer
// checks (PROTOCOL R8). The clock is read in the call. What is answered after it was asked is
// as good as if it were asked after the judgement: a check that it covers has begun before,
// and so before any receipt from which on this PDP is taken for gone.
func (e *Engine) Serving() error {
	if e.opt.Replica == nil {
		return nil
	}
	return e.serving()
}

func (e *Engine) serving() error {
	now := e.leaseNow()
	if e.opt.Replica.Serving(now) {
		return nil
	}
	return e.opt.Replica.Why(now)
}

// CatchUp brings the view to the head of a store that several PDPs have open: whatever was
// committed before the call is in it afterwards (PROTOCOL R16). With one PDP it does nothing.
// It fails when the store cannot be reached.
func (e *Engine) CatchUp(ctx context.Context) error { return e.catchUp(ctx) }

// AtLeast fails with KindUnavailable (BEHIND) when the engine has not reached the
// revision that the caller has seen elsewhere. One PDP alone sees every commit before
// whoever made it does, and several catch up with their store first: so a caller that
// knows more has talked to another history.
func (e *Engine) AtLeast(ctx context.Context, rev authz.Revision) error {
	return e.Reached(ctx, 0, rev)
}

// Reached is AtLeast for a caller that also says which epoch it holds to (PROTOCOL R14),
// zero for none: it fails when this history is of an older one. In a later one the
// caller's revision means nothing.
func (e *Engine) Reached(ctx context.Context, epoch uint64, rev authz.Revision) error {
	if mark := e.view.Mark(); e.shared && mark.Revision < rev && (epoch == 0 || epoch == mark.Epoch.Counter) {
		if err := e.Serving(); err != nil {
			return err // rather than wait for a store that may be out of reach
		}
		if err := e.catchUp(ctx); err != nil {
			return err
		}
	}
	mark := e.view.Mark()
	at := mark.Revision
	switch ours := mark.Epoch.Counter; {
	case epoch > ours:
		return authz.Errorf(authz.KindUnavailable, CodeBehind,
			"this policy decision point is in epoch %d and you have seen epoch %d: its store was replaced by an older one", ours, epoch)
	case epoch != 0 && epoch < ours:
		return nil
	case at < rev:
		return authz.Errorf(authz.KindUnavailable, CodeBehind,
			"this policy decision point is at revision %d and you ask for %d or later: wait, or find out whether its store was replaced", at, rev)
	}
	return nil
}

// ExplainRequest asks why: about a token, or about a job whatever has become of it.
type ExplainRequest struct {
	authz.Request
	// Job, when set, stands for its newest token.
	Job authz.JobID
}

// Explanation is a decision with every rule that led to it.
type Explanation struct {
	authz.Decision
	Steps []policy.Step
}

// Explain answers a question as Check does and tells every rule in order with what it
// saw. It fails with KindNotFound when it was asked by job and there is none.
func (e *Engine) Explain(_ context.Context, req ExplainRequest) (Explanation, error) {
	if req.Job != "" {
		j, _, ok := e.view.Job(req.Job)
		if !ok || j.Digest.IsZero() {
			return Explanation{}, jobNotFound(req.Job)
		}
		req.Token = j.Digest
	}
	k := new(policy.Walk)
	d, steps := e.view.Explain(k, req.Request, e.clock.Now())
	return Explanation{d, steps}, nil
}

func jobNotFound(id authz.JobID) error {
	return authz.Errorf(authz.KindNotFound, CodeJobNotFound,
		"there is no job %q with a token: it was never issued, or it ended so long ago that it was forgotten", id)
}
