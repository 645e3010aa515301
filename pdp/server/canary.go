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
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
)

// Canary says how the canary runs: the PDP issues a token that can ask about its own job
// and do nothing else, asks through each sidecar that takes part until it is allowed from
// the cache, revokes it, and goes on asking until it is denied. How long that takes is
// what a dead token lives. One token serves all sidecars of a run, because the record of
// its job is kept as long as any. The zero Canary never runs.
type Canary struct {
	// Project and User are whom the tokens are issued for.
	Project authz.ProjectID
	User    authz.UserID
	// Every is how often it runs.
	Every time.Duration
}

// On reports whether there is enough to run with.
func (c Canary) On() bool { return c.Project != 0 && c.User != 0 && c.Every > 0 }

const (
	canaryPermission = "read_own_job"
	// canaryToken is how long a canary's token lives at most, whatever happens to us.
	canaryToken = 5 * time.Minute
	// canaryWarm is how long a sidecar has to answer from its cache, canarySlack what a run
	// has beside that and the ends of leases.
	canaryWarm  = 10 * time.Second
	canarySlack = 5 * time.Second
	// canaryWarming is between two questions before the revocation, canaryDone between
	// those after the first denial, until there is a receipt.
	canaryWarming = 20 * time.Millisecond
	canaryDone    = 50 * time.Millisecond
)

// pause is between two questions to one of n sidecars while the revocation is on its way:
// together they ask no more than a few thousand in a second.
func pause(n int) time.Duration { return max(time.Millisecond, time.Duration(n)*250*time.Microsecond) }

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

// askCanaries runs one canary through all sidecars that take part.
func (s *Server) askCanaries(ctx context.Context) {
	all := s.lanes.list()
	s.canaries.keep(all)
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, canaryWarm+s.feed.Quiet()+2*lease.GrantorTerm(s.feed.Term())+canarySlack)
	defer cancel()
	job, by := authz.JobID("canary-"+rand.Text()), engine.Actor{Name: "canary"}
	issued, err := s.engine.Issue(ctx, by, engine.IssueRequest{
		Job: job, Project: s.opt.Canary.Project, User: s.opt.Canary.User, Timeout: canaryToken,
		Limits: policy.Limits{Permissions: []authz.Permission{canaryPermission}, Targets: []authz.Scope{}},
	})
	if err != nil {
		s.canaries.failed.Add(1)
		s.log.Warn("the canary got no token; look at canary-project and canary-user", "error", err)
		return
	}
	digest := issued.Token.Digest()
	q := &jobwardv1.CheckRequest{TokenDigest: digest[:], Permission: canaryPermission}
	warmed := s.together(ctx, all, func(l *lane) error { return warm(ctx, l, q) })
	end := &ending{began: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(end.done)
		// Whatever ended our asking, the token is taken away.
		out, err := s.engine.Revoke(context.WithoutCancel(ctx), by, engine.RevokeRequest{Jobs: []authz.JobID{job}})
		if err != nil {
			end.err = err
			return
		}
		end.receipt, end.at = s.await(ctx, engine.WaitEffective, out.Awaits()), time.Now()
	}()
	s.together(ctx, warmed, func(l *lane) error {
		r, err := s.untilDenied(ctx, l, q, end, pause(len(warmed)))
		if err == nil {
			s.canaries.put(l.name, r)
		}
		return err
	})
	<-end.done
}

// together does something with each lane and gives those where it worked.
func (s *Server) together(ctx context.Context, ls []*lane, do func(*lane) error) (worked []*lane) {
	errs := make([]error, len(ls))
	var done sync.WaitGroup
	for i, l := range ls {
		done.Go(func() { errs[i] = do(l) })
	}
	done.Wait()
	for i, err := range errs {
		switch l := ls[i]; {
		case err == nil:
			worked = append(worked, l)
		case !errors.Is(err, errLaneGone) && !errors.Is(ctx.Err(), context.Canceled):
			s.canaries.failed.Add(1)
			s.log.Warn("the canary could not measure how long a dead token lives at a sidecar", "sidecar", l.name, "caller", l.caller, "error", err)
		}
	}
	return worked
}

// ending is the Revoke of a canary. All but began is there when done is closed.
type ending struct {
	began   time.Time
	done    chan struct{}
	at      time.Time
	receipt engine.Receipt
	err     error
}

// over reports whether it has ended, and why that is of no use.
func (e *ending) over() (bool, error) {
	select {
	case <-e.done:
	default:
		return false, nil
	}
	if e.err == nil && !e.receipt.Effective {
		return true, errors.New("the receipt did not become effective in time")
	}
	return true, e.err
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

// untilDenied asks until a question that began after the receipt is denied.
func (s *Server) untilDenied(ctx context.Context, l *lane, q *jobwardv1.CheckRequest, end *ending, pause time.Duration) (canaryResult, error) {
	var denied time.Time
	for {
		asked := time.Now()
		a, err := l.ask(ctx, q)
		if err != nil {
			return canaryResult{}, err
		}
		if !a.GetAllow() && denied.IsZero() {
			denied, pause = time.Now(), canaryDone
		}
		over, err := end.over()
		if err != nil {
			return canaryResult{}, err
		}
		if over && asked.After(end.at) {
			if !a.GetAllow() {
				return canaryResult{denied.Sub(end.began), max(denied.Sub(end.at), 0)}, nil
			}
			s.canaries.stale.Add(1)
			s.log.Error("STALE ALLOW: a sidecar allowed a job after the receipt of its revocation was effective",
				"sidecar", l.name, "caller", l.caller, "revision", end.receipt.Revision, "after", asked.Sub(end.at), "cached", a.GetCached())
		}
		select {
		case <-ctx.Done():
			return canaryResult{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}
