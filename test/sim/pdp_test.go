package sim

import (
	"context"
	"fmt"
	"google.golang.org/grpc"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/policy"
)

// pdp is one process of the PDP: a real engine with its feed on the disk.
type pdp struct {
	s      *sim
	n      int // counts the processes
	e      *engine.Engine
	clock  *pdpClock
	ctx    context.Context // ends with the process
	kill   context.CancelFunc
	gone   atomic.Bool
	began  time.Duration
	forked bool // its history is not the true one
	walk   sync.Mutex
	keep   policy.Walk

	g     *grpc.Server // where it speaks gRPC
	doors *listener

	mu    sync.Mutex
	conns []*conn
	wires []*wire
}

// pdpClock is the PDP's time (R12): at the start the wall clock's, or the newest stamp on
// disk if that is later.
type pdpClock struct {
	meter
	base     authz.Stamp
	starting atomic.Bool
	lane     *lane
}

// Now gives the PDP's time. While a PDP starts, reading the clock takes a moment, so that
// what it starts begins at instants of their own.
func (c *pdpClock) Now() authz.Stamp {
	if c.starting.Load() {
		c.s.sleep(context.Background(), c.lane, time.Millisecond)
	}
	return c.base.Add(c.meter.now() - time.Hour)
}

// startPDP starts a process. It takes a moment.
func (s *sim) startPDP(ctx context.Context) error {
	h := s.disk.open()
	_, last := h.Head()
	s.incarnations++
	p := &pdp{s: s, n: s.incarnations, began: s.now(), forked: s.oracle.isForked(), clock: &pdpClock{lane: s.startLane}}
	rnd := s.chance(fmt.Sprint("pdp ", p.n))
	p.clock.meter = meter{s: s, origin: s.now(), rate: s.rate(rnd)}
	wall := authz.StampOf(time.Now())
	if s.bug.kind == bugClockBack {
		wall, last = wall-authz.Stamp(time.Hour)*authz.Stamp(p.n-1), 0
	}
	p.clock.base = max(wall, last+1)
	p.clock.starting.Store(true)
	p.ctx, p.kill = context.WithCancel(context.Background())
	tokens, err := token.NewFormat(token.DefaultPrefix)
	if err != nil {
		return err
	}
	draw := s.chance(fmt.Sprint("generations ", p.n))
	p.e, err = engine.New(ctx, engine.Options{
		Store: h, Clock: p.clock, Tokens: tokens,
		Feed: feed.Options{
			Term: s.plan.term, MaxInterest: s.plan.maxInterest, MaxQueue: s.plan.maxQueue, MaxRecent: s.plan.maxRecent,
			Now:   func() lease.Instant { return lease.Instant(p.clock.meter.now()) },
			Rules: s.plan.rules(p.n), Draw: draw.Uint64, Fault: s.bug.grantor, LoseKeys: s.bug.loseKeys,
			OnHistory: func(err error) { s.shown(p, err) },
		},
	})
	p.clock.starting.Store(false)
	if err == nil && s.grpc {
		err = p.serve(tokens)
	}
	if err != nil {
		return err
	}
	s.note("pdp", "", "starts", "process %d, rate %+.4f, %v", p.n, p.clock.rate, p.e.Feed().Quiet())
	s.mu.Lock()
	s.pdp, s.unlit = p, false
	s.heardFrom = append(s.heardFrom, p.clock.base)
	s.mu.Unlock()
	return nil
}

// shown is what the daemon does when a sidecar proves that this history is not the one
// that was served before: it serves nobody any more.
func (s *sim) shown(p *pdp, err error) {
	if s.bug.kind == bugServesOn {
		return
	}
	s.note("pdp", "", "stops serving", "%v", err)
	time.AfterFunc(0, func() { s.crashPDP(p, false) })
}

func (s *sim) running() *pdp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pdp
}

// dark reports whether the PDP's machine lost its power: nobody is told.
func (s *sim) dark() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unlit
}

func (p *pdp) dead() bool { return p.gone.Load() }

// within gives the context of a call: it ends with the caller's patience, or the process.
func (p *pdp) within(call context.Context) (context.Context, context.CancelFunc) {
	if end, ok := call.Deadline(); ok {
		return context.WithDeadline(p.ctx, end)
	}
	return context.WithCancel(p.ctx)
}

// crashPDP kills a process. With dark its machine dies too, so connections do not end:
// nobody answers.
func (s *sim) crashPDP(p *pdp, dark bool) {
	s.mu.Lock()
	if s.pdp != p {
		s.mu.Unlock()
		return
	}
	s.pdp, s.unlit = nil, dark
	s.mu.Unlock()
	s.note("pdp", "", "dies", "process %d, dark %v", p.n, dark)
	p.gone.Store(true)
	s.disk.crash()
	p.end(!dark)
}

// end takes a dead process away: its goroutines, and its ends of connections.
func (p *pdp) end(told bool) {
	p.mu.Lock()
	conns, wires := p.conns, p.wires
	p.conns, p.wires = nil, nil
	p.mu.Unlock()
	for _, c := range conns {
		c.pdpDies(told)
	}
	for _, w := range wires {
		if told {
			w.broken()
		} else {
			w.pdp.in.end(errReset) // nobody tells the other end
			w.pdp.out.end()
		}
	}
	p.kill()
	if p.g != nil {
		p.s.ending.Go(p.g.Stop)
	}
	p.s.ending.Go(p.e.Close) // what it would store is lost
}

// stopPDP is a clean stop: sidecars are told, and let go or lose their leases.
func (s *sim) stopPDP(p *pdp, patience time.Duration) {
	s.note("pdp", "", "stops", "process %d", p.n)
	p.e.Feed().Moving()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := p.e.Feed().Close(ctx)
	s.mu.Lock()
	mine := s.pdp == p
	if mine {
		s.pdp, s.unlit = nil, false
	}
	s.mu.Unlock()
	if !mine {
		return // it was killed meanwhile
	}
	s.note("pdp", "", "stopped", "process %d: %v", p.n, err)
	p.gone.Store(true)
	s.disk.crash()
	p.end(true)
}

// judge answers one question, as package server does. preempted stops between judging and
// recording the interest, as any goroutine can be stopped anywhere; that is Engine.Keep,
// step by step.
func (p *pdp) judge(gen lease.Generation, owner string, req authz.Request, preempted func()) authz.Decision {
	if gen == 0 || preempted == nil {
		p.walk.Lock()
		defer p.walk.Unlock()
		d := p.e.Keep(&p.keep, gen, owner, req)
		d.Keys = append([]authz.Key(nil), d.Keys...)
		return d
	}
	var d authz.Decision
	var k policy.Walk
	for range 3 {
		d = p.e.Decide(&k, req)
		preempted()
		if j, _, ok := p.e.View().Job(d.Job); p.dead() || d.Reason == authz.HeartbeatLapsed && (!ok || !j.Lapsed) {
			return d
		}
		number, verdict := p.e.Feed().Interest(gen, owner, d.Revision, d.Keys)
		if verdict != lease.JudgeAgain {
			d.Number = number
			return d
		}
	}
	return d
}
