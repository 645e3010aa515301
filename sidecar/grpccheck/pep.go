package grpccheck

import (
	"context"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
)

// Of makes a Decider of a cache.
func Of(d *pep.Decider) Decider { return &cached{pep: d, patience: time.Now().Add(pep.DefaultWait)} }

// cached is a cache as a Decider.
type cached struct {
	pep *pep.Decider
	// patience is until when a question waits for the first lease.
	patience time.Time
}

// Tokens implements Decider. The PDP says with the first lease what its tokens look like; before that nothing can be asked about.
func (c *cached) Tokens(ctx context.Context) (*token.Format, error) {
	if f := c.pep.Format(); f != nil {
		return f, nil
	}
	wait, cancel := context.WithDeadline(ctx, c.patience)
	defer cancel()
	if err := c.pep.WaitReady(wait); ctx.Err() != nil {
		return nil, err
	}
	if f := c.pep.Format(); f != nil {
		return f, nil
	}
	return nil, authz.Errorf(authz.KindUnavailable, pep.CodeNoPDP, "no policy decision point was reached since the start")
}

// Look implements Decider.
func (c *cached) Look(req *authz.Request, least hot.Least, d *authz.Decision) bool {
	l := pep.Least(least)
	return c.pep.Look(req, &l, d)
}

// Ask implements Decider.
func (c *cached) Ask(ctx context.Context, reqs []authz.Request, least hot.Least, ds []authz.Decision) (err error) {
	if len(reqs) > 1 && least == (hot.Least{}) {
		answers, err := c.pep.CheckMany(ctx, reqs)
		copy(ds, answers)
		return err
	}
	for i := range reqs {
		if ds[i], err = c.pep.CheckAtLeast(ctx, reqs[i], pep.Least(least)); err != nil {
			return err
		}
	}
	return nil
}

// Introspect implements Decider. The token stays here: the PDP gets its digest.
func (c *cached) Introspect(ctx context.Context, in *jobwardv1.IntrospectRequest) (*jobwardv1.IntrospectResponse, error) {
	tokens, err := c.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	digest, err := wire.ShownDigest(tokens, in.GetToken(), in.GetTokenDigest())
	if err != nil {
		return nil, err
	}
	least := pep.Least{Revision: authz.Revision(in.GetMinRevision())}
	if epoch := in.GetEpoch(); epoch != 0 { // in a later one the revision means nothing
		least = pep.Least{Epoch: epoch, EpochRevision: least.Revision}
	}
	out, err := c.pep.IntrospectAtLeast(ctx, digest, least)
	if err != nil {
		return nil, err
	}
	resp := &jobwardv1.IntrospectResponse{Live: out.Live, Reason: wire.ReasonToProto(out.Reason), Job: out.Record, Revision: uint64(out.Revision)}
	if out.Live {
		resp.ValidFor = wire.DurationToProto(out.ValidFor)
	}
	return resp, nil
}
