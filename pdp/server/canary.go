package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
)

// Canary says how the canary runs: the PDP issues a token that can ask about its own job
// and do nothing else, asks through each sidecar that takes part until it is allowed from
// the cache, revokes it, and goes on asking until it is denied. How long that takes is
// what a dead token lives. The zero Canary never runs.
type Canary struct {
	// Project and User are whom the tokens are issued for.
	Project authz.ProjectID
	User    authz.UserID
	// Every is how often each sidecar is asked.
	Every time.Duration
}

// On reports whether there is enough to run with.
func (c Canary) On() bool { return c.Project != 0 && c.User != 0 && c.Every > 0 }

const (
	canaryPermission = "read_own_job"
	// canaryToken is how long a canary's token lives at most, whatever happens to us.
	canaryToken = 5 * time.Minute
	// canaryWarm is how long a sidecar has to answer from its cache, canaryRun how long a
	// whole run may take: longer than any lease.
	canaryWarm = 10 * time.Second
	canaryRun  = 2 * time.Minute
	// canaryPause is between two questions, canaryWarming between those before the
	// revocation.
	canaryPause   = time.Millisecond
	canaryWarming = 20 * time.Millisecond
)

// canaries are the results.
type canaries struct {
	mu      sync.Mutex
	results map[string]canaryResult // by the sidecar's name, of those that take part

	measured, failed, stale atomic.Uint64
}

// canaryResult is how long a token was allowed after its revocation began, and after its
// receipt was effective.
type canaryResult struct{ sinceRevoke, sinceReceipt time.Duration }

// last gives the time from revoking to the first denial of the newest run.
func (c *canaries) last(name string) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.results[name]
	return r.sinceRevoke, ok
}

// all gives a copy of the results.
func (c *canaries) all() map[string]canaryResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.results)
}

// keep forgets sidecars that do not take part any more.
func (c *canaries) keep(ls []*lane) {
	names := map[string]bool{}
	for _, l := range ls {
		names[l.name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.results {
		if !names[name] {
			delete(c.results, name)
		}
	}
}

func (c *canaries) put(name string, r canaryResult) {
	c.measured.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.results == nil {
		c.results = map[string]canaryResult{}
	}
	c.results[name] = r
}

// RunCanary runs the canary until ctx ends, if it is on.
func (s *Server) RunCanary(ctx context.Context) {
	if !s.opt.Canary.On() {
		return
	}
	every := time.NewTicker(s.opt.Canary.Every)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.drain:
			return
		case <-every.C:
			s.askCanaries(ctx)
		}
	}
}

// atOnce bounds the canaries that run at one time: each asks as fast as it is answered.
const atOnce = 4

// askCanaries runs one canary through each sidecar that takes part.
func (s *Server) askCanaries(ctx context.Context) {
	all := s.lanes.list()
	s.canaries.keep(all)
	slots := make(chan struct{}, atOnce)
	var done sync.WaitGroup
	for _, l := range all {
		slots <- struct{}{}
		done.Go(func() {
			defer func() { <-slots }()
			r, err := s.askCanary(ctx, l)
			switch {
			case err == nil:
				s.canaries.put(l.name, r)
			case ctx.Err() == nil && !errors.Is(err, errLaneGone):
				s.canaries.failed.Add(1)
				s.log.Warn("the canary could not measure how long a dead token lives at a sidecar", "sidecar", l.name, "caller", l.caller, "error", err)
			}
		})
	}
	done.Wait()
}

// revokedAt is the end of a canary's Revoke.
type revokedAt struct {
	receipt engine.Receipt
	at      time.Time
	err     error
}

// askCanary runs one canary through one sidecar.
func (s *Server) askCanary(ctx context.Context, l *lane) (canaryResult, error) {
	ctx, cancel := context.WithTimeout(ctx, canaryRun)
	defer cancel()
	job, by := authz.JobID("canary-"+rand.Text()), engine.Actor{Name: "canary"}
	issued, err := s.engine.Issue(ctx, by, engine.IssueRequest{
		Job: job, Project: s.opt.Canary.Project, User: s.opt.Canary.User, Timeout: canaryToken,
		Limits: policy.Limits{Permissions: []authz.Permission{canaryPermission}, Targets: []authz.Scope{}},
	})
	if err != nil {
		return canaryResult{}, err
	}
	revoke := func(ctx context.Context) revokedAt {
		out, err := s.engine.Revoke(ctx, by, engine.RevokeRequest{Jobs: []authz.JobID{job}})
		if err != nil {
			return revokedAt{err: err}
		}
		return revokedAt{receipt: s.await(ctx, engine.WaitEffective, out.Awaits()), at: time.Now()}
	}
	digest := issued.Token.Digest()
	q := &jobwardv1.CheckRequest{TokenDigest: digest[:], Permission: canaryPermission}
	if err := warm(ctx, l, q); err != nil {
		revoke(context.WithoutCancel(ctx))
		return canaryResult{}, err
	}
	return s.untilDenied(ctx, l, q, revoke)
}

// warm asks until the answer comes from the cache.
func warm(ctx context.Context, l *lane, q *jobwardv1.CheckRequest) error {
	ctx, cancel := context.WithTimeoutCause(ctx, canaryWarm, errors.New("it allows its canary and keeps no answers"))
	defer cancel()
	for {
		a, err := l.ask(ctx, q)
		switch {
		case err != nil:
			return cmp.Or(context.Cause(ctx), err)
		case a.GetAllow() && a.GetCached():
			return nil
		case !a.GetAllow() && a.GetReason() != jobwardv1.Reason_REASON_UNSPECIFIED:
			return fmt.Errorf("it denies a canary that lives: %v", a.GetReason())
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(canaryWarming):
		}
	}
}

// untilDenied revokes, and asks until a question that began after the receipt is denied.
func (s *Server) untilDenied(ctx context.Context, l *lane, q *jobwardv1.CheckRequest, revoke func(context.Context) revokedAt) (canaryResult, error) {
	start := time.Now()
	ended := make(chan revokedAt, 1)
	go func() { ended <- revoke(ctx) }()
	var receipt *revokedAt
	var denied time.Time
	for {
		asked := time.Now()
		a, err := l.ask(ctx, q)
		if err != nil {
			return canaryResult{}, err
		}
		answered := time.Now()
		if receipt == nil {
			select {
			case r := <-ended:
				if r.err != nil {
					return canaryResult{}, r.err
				}
				if !r.receipt.Effective {
					return canaryResult{}, errors.New("its receipt did not become effective in time")
				}
				receipt = &r
			default:
			}
		}
		after := receipt != nil && asked.After(receipt.at)
		switch {
		case a.GetAllow() && after:
			s.canaries.stale.Add(1)
			s.log.Error("STALE ALLOW: a sidecar allowed a job after the receipt of its revocation was effective",
				"sidecar", l.name, "caller", l.caller, "revision", receipt.receipt.Revision, "after", asked.Sub(receipt.at), "cached", a.GetCached())
		case !a.GetAllow() && denied.IsZero():
			denied = answered
		}
		if after && !a.GetAllow() {
			return canaryResult{denied.Sub(start), max(denied.Sub(receipt.at), 0)}, nil
		}
		select {
		case <-ctx.Done():
			return canaryResult{}, ctx.Err()
		case <-time.After(canaryPause):
		}
	}
}
