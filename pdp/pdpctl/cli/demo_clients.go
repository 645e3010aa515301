package cli

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
)

const (
	demoClients = 4   // that ask each sidecar, each on a connection of its own
	demoAgain   = 100 // times that a question is asked again
	demoWarm    = 500 // checks of each sidecar, and
	demoBefore  = 400 * time.Millisecond
)

// demoCheck is one check. Its times are taken outside of the call: it began before anything was sent, and ended after the answer was there.
type demoCheck struct {
	began, ended time.Duration
	allow        bool
	failed       bool // it could not be decided
}

// hammering is clients that ask the same question at all sidecars, each client one check after the other.
type hammering struct {
	start   time.Time // of the clock that all times are counted on
	clients []*demoClient
	enough  atomic.Bool
	done    sync.WaitGroup
}

// demoClient is one of the clients. What it saw is its own until it is done, apart from made.
type demoClient struct {
	at     *demoProcess
	made   atomic.Int64
	checks []demoCheck
	first  string // the first answer
}

// hammer starts the clients.
func hammer(ctx context.Context, at []*demoProcess, q *jobwardv1.CheckRequest) *hammering {
	h := &hammering{start: time.Now()}
	for _, p := range at {
		for _, conn := range p.conns {
			c := &demoClient{at: p}
			h.clients = append(h.clients, c)
			h.done.Go(func() { h.ask(ctx, c, jobwardv1.NewDecisionServiceClient(conn), q) })
		}
	}
	return h
}

func (h *hammering) now() time.Duration { return time.Since(h.start) }

// ask is one client. It makes at least one check after it was told that it is enough.
func (h *hammering) ask(ctx context.Context, c *demoClient, service jobwardv1.DecisionServiceClient, q *jobwardv1.CheckRequest) {
	for last := false; !last && ctx.Err() == nil; {
		last = h.enough.Load()
		check := demoCheck{began: h.now()}
		resp, err := service.Check(ctx, q)
		check.ended = h.now()
		check.allow, check.failed = resp.GetDecision().GetAllow(), err != nil
		if c.checks == nil {
			c.first = answerText(resp.GetDecision(), err)
		}
		c.checks = append(c.checks, check)
		c.made.Add(1)
		if err != nil && pause(ctx, time.Millisecond) != nil {
			return
		}
	}
}

// warm waits until every sidecar has been asked often, and for a while.
func (h *hammering) warm(ctx context.Context) error {
	for {
		made := map[*demoProcess]int64{}
		for _, c := range h.clients {
			made[c.at] += c.made.Load()
		}
		few := h.now() < demoBefore
		for _, n := range made {
			few = few || n < demoWarm
		}
		if !few {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// stop waits until every client has its last answer.
func (h *hammering) stop() {
	h.enough.Store(true)
	h.done.Wait()
}

// tallies sums up what the clients of each sidecar saw. A check that began later than returned has to be denied.
func (h *hammering) tallies(returned time.Duration) (all []*demoTally) {
	for _, c := range h.clients {
		i := slices.IndexFunc(all, func(t *demoTally) bool { return t.Sidecar == c.at.name })
		if i < 0 {
			i, all = len(all), append(all, &demoTally{Sidecar: c.at.name})
		}
		for _, check := range c.checks {
			all[i].add(check, returned)
		}
	}
	return all
}

// first is the first answer that a sidecar gave.
func (h *hammering) first(p *demoProcess) string {
	var first *demoClient
	for _, c := range h.clients {
		if c.at == p && len(c.checks) > 0 && (first == nil || c.checks[0].ended < first.checks[0].ended) {
			first = c
		}
	}
	if first == nil {
		return "none"
	}
	return first.first
}

// answerText is an answer in two words.
func answerText(d *jobwardv1.Decision, err error) string {
	switch {
	case err != nil:
		return "not decided (" + wire.AsError(err).Code + ")"
	case d.GetAllow():
		return "ALLOW " + enum("REASON", d.GetReason())
	}
	return "DENY " + enum("REASON", d.GetReason())
}

// askTwice asks one sidecar a question that is new to it, and then again and again.
func askTwice(ctx context.Context, p *demoProcess, q *jobwardv1.CheckRequest) (demoAsked, error) {
	service := jobwardv1.NewDecisionServiceClient(p.conns[0])
	asked := demoAsked{Sidecar: p.name}
	var times []time.Duration
	for n := range 1 + demoAgain {
		began := time.Now()
		resp, err := service.Check(ctx, q)
		took := time.Since(began)
		if err != nil {
			return asked, err
		}
		d := resp.GetDecision()
		if !d.GetAllow() {
			return asked, fmt.Errorf("sidecar %s denies what the sample world allows: %s", p.name, enum("REASON", d.GetReason()))
		}
		if n == 0 {
			asked.FirstMS, asked.FirstCached = millis(took), d.GetCached()
			continue
		}
		times = append(times, took)
		if d.GetCached() {
			asked.AgainCached++
		}
	}
	slices.Sort(times)
	asked.Again, asked.AgainMS = len(times), millis(times[len(times)/2])
	return asked, nil
}
