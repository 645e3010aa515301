package engine

import (
	"context"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

var _ authz.Decider = (*Engine)(nil)

// Check answers one question. It is Decide with a walk from the engine's own pool;
// the decision is the caller's.
func (e *Engine) Check(_ context.Context, req authz.Request) (authz.Decision, error) {
	k := e.walks.Get().(*policy.Walk)
	d := e.Decide(k, req)
	d.Keys = slices.Clone(d.Keys)
	e.walks.Put(k)
	return d, nil
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

// AtLeast fails with KindUnavailable (BEHIND) when the engine has not reached the
// revision that the caller has seen elsewhere. This engine sees every commit before
// whoever made it does, so a caller that knows more has talked to another history.
func (e *Engine) AtLeast(rev authz.Revision) error { return e.Reached(0, rev) }

// Reached is AtLeast for a caller that also says which epoch it holds to (PROTOCOL R14),
// zero for none: it fails when this history is of an older one. In a later one the
// caller's revision means nothing.
func (e *Engine) Reached(epoch uint64, rev authz.Revision) error {
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
