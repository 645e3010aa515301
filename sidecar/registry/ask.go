package registry

import (
	"context"
	"net/http"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/proxy"
)

// ownJob is the permission that any live token has.
const ownJob authz.Permission = "read_own_job"

// lives asks about nothing but the job. live is false when it opens nothing.
func (h *Handler) lives(ctx context.Context, job authz.Digest) (d authz.Decision, live bool, err error) {
	d, err = h.opt.Asker.Check(ctx, authz.Request{Token: job, Permission: ownJob})
	// A job that limited itself to other permissions lives all the same.
	return d, err == nil && (d.Allow || d.Reason == authz.LimitedPermission), err
}

// find asks whether a job may do one thing to a repository: of the project that is the longest prefix of its name. It gives the question that decided, to
// be asked again. No project lies below another, so there is at most one.
func (h *Handler) find(ctx context.Context, job authz.Digest, p authz.Permission, name string) (q authz.Request, d authz.Decision, err error) {
	var all []authz.Request
	for _, path := range prefixes(name) {
		all = append(all, authz.Request{Token: job, Target: authz.Target{Path: path}, Permission: p, Surface: authz.SurfaceRegistry})
	}
	if len(all) == 0 {
		return q, authz.Decision{Reason: authz.TargetNotFound}, nil
	}
	decisions, err := h.opt.Asker.CheckMany(ctx, all)
	if err != nil {
		return q, d, err
	}
	for i := range decisions {
		d = decisions[i]
		// A visitor is not told what exists.
		if d.Reason != authz.TargetNotFound && d.Reason != authz.TokenMissing {
			q = all[i]
			break
		}
	}
	h.counts.decided(&d, nil)
	return q, d, nil
}

// deadJob is a refusal of a job token, or of the job behind a registry token.
func deadJob(reason authz.Reason, challenge string) *refusal {
	text, o := "the job token is not valid, or its job has ended", gate.Dead
	if pep.UserRefused(reason) {
		text, o = "the user who caused the job may not use this service", gate.UserRefused
	}
	return &refusal{http.StatusUnauthorized, codeUnauthorized, text, challenge, reason, o}
}

// judge asks about the job behind a registry token whose access is enough, and gives what to ask again while the request is under way; nil for nothing.
func (h *Handler) judge(ctx context.Context, g *grant, needs []need) (again func(context.Context) bool, no *refusal) {
	if len(needs) == 0 {
		if g.visitor() {
			return nil, nil
		}
		d, live, err := h.lives(ctx, g.job)
		h.counts.decided(&d, err)
		if !live {
			return nil, h.denied(d, err, g, needs)
		}
		return func(ctx context.Context) bool {
			_, live, _ := h.lives(ctx, g.job)
			return live
		}, nil
	}
	var questions []authz.Request
	for _, n := range needs {
		q, d, err := h.find(ctx, g.job, n.permission, n.name)
		if err != nil || !d.Allow {
			return nil, h.denied(d, err, g, needs)
		}
		questions = append(questions, q)
	}
	return func(ctx context.Context) bool {
		for _, q := range questions {
			if !proxy.Allows(ctx, h.opt.Asker, q) {
				return false
			}
		}
		return true
	}, nil
}

// denied words the refusal of a request that showed a good registry token.
func (h *Handler) denied(d authz.Decision, err error, g *grant, needs []need) *refusal {
	switch {
	case err != nil && authz.KindOf(err) != authz.KindInvalid, d.Reason == authz.LeaseLapsed:
		return undecided()
	case err == nil && (d.Reason.Dead() || pep.UserRefused(d.Reason)):
		return deadJob(d.Reason, h.challenge(needs, "invalid_token"))
	case g.visitor():
		return &refusal{http.StatusUnauthorized, codeUnauthorized, "log in as " + pep.CIUser + " with a job token", h.challenge(needs, "insufficient_scope"), d.Reason, gate.NoToken}
	}
	o := gate.Forbidden
	switch {
	case err != nil:
		o = gate.BadRequest // a question that cannot be asked
	case pep.OfCaller(d.Reason):
		o = gate.CallerRefused
	case d.Reason == authz.TargetNotFound:
		o = gate.NotFound
	}
	return &refusal{http.StatusForbidden, codeDenied, "the job may not do this to the repository", "", d.Reason, o}
}
