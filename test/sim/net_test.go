package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// The network. Messages are delayed, never cut in two; a stream delivers its messages in
// order or breaks; calls beside it overtake each other. Whatever is on its way when a
// direction is shut waits at its end, as a TCP peer sends again, until it opens or the
// connection is gone.

// gate is one direction of one way. What would arrive before until arrives after it.
type gate struct {
	mu    sync.Mutex
	until time.Duration
}

func (g *gate) shut(until time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = max(g.until, until)
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = 0
}

func (g *gate) wait(now time.Duration) time.Duration {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.until-now, 0)
}

const forever = 1000 * time.Hour

// shut gives the longest wait at any of the gates.
func shut(now time.Duration, gates ...*gate) (d time.Duration) {
	for _, g := range gates {
		d = max(d, g.wait(now))
	}
	return d
}

// delay is how long a message takes: a few milliseconds as a rule.
func (s *sim) delay(r *rand.Rand) time.Duration {
	switch f := r.Float64(); {
	case s.healed.Load():
	case f < s.plan.verySlow:
		return between(r, 300*time.Millisecond, 2*s.plan.term)
	case f < s.plan.verySlow+s.plan.slow:
		return between(r, 30*time.Millisecond, 300*time.Millisecond)
	}
	return between(r, 2*time.Millisecond, 14*time.Millisecond)
}

// pipe is one direction of one stream.
type pipe[T any] struct {
	s     *sim
	lane  *lane
	rnd   *rand.Rand
	gates []*gate
	from  *gate // that of a sender who stands still
	take  func(T)

	mu      sync.Mutex
	queue   []T
	window  int
	room    chan struct{} // has one when there may be room
	gone    bool
	goneNow chan struct{}
}

func newPipe[T any](s *sim, l *lane, r *rand.Rand, window int, from *gate, take func(T), gates ...*gate) *pipe[T] {
	return &pipe[T]{s: s, lane: l, rnd: r, gates: gates, from: from, take: take, window: window,
		room: make(chan struct{}, 1), goneNow: make(chan struct{})}
}

// send waits for room and sends. It is false when the pipe has gone, or quit is closed.
func (p *pipe[T]) send(m T, quit <-chan struct{}) bool {
	for {
		p.mu.Lock()
		if p.gone {
			p.mu.Unlock()
			return false
		}
		if len(p.queue) < p.window {
			break
		}
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-quit:
			return false
		case <-p.goneNow:
			return false
		}
	}
	defer p.mu.Unlock()
	p.queue = append(p.queue, m)
	now := p.s.now()
	p.s.at(p.lane, p.from.wait(now)+p.s.delay(p.rnd), p.arrive)
	return true
}

// arrive delivers what is first.
func (p *pipe[T]) arrive() {
	p.mu.Lock()
	if p.gone {
		p.mu.Unlock()
		return
	}
	if d := shut(p.s.now(), p.gates...); d > 0 {
		defer p.mu.Unlock()
		if d < forever/2 {
			p.s.at(p.lane, d, p.arrive)
		} else {
			p.window = 0 // a dead direction: nothing comes out any more
		}
		return
	}
	m := p.queue[0]
	p.queue = p.queue[1:]
	p.mu.Unlock()
	select {
	case p.room <- struct{}{}:
	default:
	}
	p.take(m)
}

// end makes the pipe go, with what is in it.
func (p *pipe[T]) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		p.gone = true
		close(p.goneNow)
	}
}

// mailbox is where a reader finds what arrived, and then the end of it.
type mailbox[T any] struct {
	mu   sync.Mutex
	list []T
	err  error
	wake chan struct{}
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{wake: make(chan struct{}, 1)} }

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	m.list = append(m.list, v)
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox[T]) end(err error) {
	m.mu.Lock()
	if m.err == nil {
		m.err = err
	}
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox[T]) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox[T]) get(ctx context.Context) (v T, err error) {
	for {
		m.mu.Lock()
		switch {
		case len(m.list) > 0:
			v, m.list = m.list[0], m.list[1:]
			m.mu.Unlock()
			return v, nil
		case m.err != nil:
			err = m.err
			m.mu.Unlock()
			return v, err
		}
		m.mu.Unlock()
		select {
		case <-m.wake:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

var (
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset")
)

// port is where the calls of one caller leave and their answers arrive.
type port struct {
	s        *sim
	who      string
	out, in  *lane
	rnd      *rand.Rand
	ways     []*gate // both directions
	up, down []*gate // one direction each
	stopped  *gate   // the caller's process stands still
}

func (s *sim) port(who string, stopped *gate, ways ...*gate) *port {
	return &port{s: s, who: who, out: s.lane(), in: s.lane(), rnd: s.chance("port " + who), ways: ways, stopped: stopped}
}

type answer[T any] struct {
	out T
	err error
}

// call asks the PDP that is there when the question arrives. do is run in that process;
// if it dies, or the network loses the answer, the caller learns nothing of it.
func call[T any](ctx context.Context, p *port, do func(ctx context.Context, at *pdp) (T, error)) (T, error) {
	s := p.s
	back := make(chan answer[T], 1)
	answered := func(a answer[T]) {
		var arrive func()
		arrive = func() {
			gates := append(append([]*gate{p.stopped}, p.ways...), p.down...)
			if d := shut(s.now(), gates...); d > 0 {
				s.at(p.in, d, arrive)
				return
			}
			back <- a
		}
		s.at(p.in, s.delay(p.rnd), arrive)
	}
	var arrive func()
	arrive = func() {
		if d := shut(s.now(), append(p.ways, p.up...)...); d > 0 {
			s.at(p.out, d, arrive)
			return
		}
		at := s.running()
		if at == nil {
			if !s.dark() {
				answered(answer[T]{err: errRefused})
			}
			return
		}
		go func() {
			ctx, cancel := at.within(ctx)
			defer cancel()
			out, err := do(ctx, at)
			switch {
			case !at.dead():
				answered(answer[T]{out, err})
			case !s.dark():
				answered(answer[T]{err: errReset})
			}
		}()
	}
	s.at(p.out, p.stopped.wait(s.now())+s.delay(p.rnd), arrive)
	select {
	case a := <-back:
		return a.out, a.err
	case <-ctx.Done():
		var none T
		return none, &authz.Error{Kind: authz.KindUnavailable, Code: "NO_ANSWER", Message: "no answer in time", Cause: ctx.Err()}
	}
}
