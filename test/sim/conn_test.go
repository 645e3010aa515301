package sim

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/sidecar/pep"
)

// conn is one Watch stream. Its ends learn of its death apart from each other, or not at
// all.
type conn struct {
	s    *sim
	sc   *sidecar
	host *pep1 // the process at the sidecar's end
	pdp  *pdp
	rnd  *rand.Rand
	lane *lane

	up       *pipe[upward]
	down     *pipe[downward]
	upGate   *gate // of this stream alone
	downGate *gate
	inbox    *mailbox[downward] // the sidecar's
	served   *mailbox[upward]   // the PDP's
	ctx      context.Context    // the PDP's end
	cancel   context.CancelFunc
	once     sync.Once
}

type upward struct {
	hello *lease.Hello
	name  string
	m     lease.Message
	f     pep.Figures
	end   bool
}

type downward struct {
	m   lease.Message
	end error
}

// connect makes a stream; places are lanes that streams of one sidecar take in turn.
func (s *sim) connect(host *pep1, at *pdp) *conn {
	sc := host.sc
	n := sc.streams
	sc.streams++
	place := sc.places[n%len(sc.places)]
	c := &conn{
		s: s, sc: sc, host: host, pdp: at, rnd: place.rnd, lane: place.fate, upGate: new(gate), downGate: new(gate),
		inbox: newMailbox[downward](), served: newMailbox[upward](),
	}
	c.ctx, c.cancel = context.WithCancel(at.ctx)
	c.up = newPipe(s, place.up, place.upRnd, 64, &sc.stopped, c.served.put, &sc.watchUp, c.upGate)
	c.down = newPipe(s, place.down, place.downRnd, s.plan.window, nil, c.inbox.put, &sc.watchDown, &sc.stopped, c.downGate)
	at.mu.Lock()
	at.conns = append(at.conns, c)
	at.mu.Unlock()
	sc.mu.Lock()
	sc.conns = append(sc.conns, c)
	sc.mu.Unlock()
	go c.serve()
	return c
}

// serve is the PDP's side, as in package server.
func (c *conn) serve() {
	defer c.pdpEnds(errReset)
	first, err := c.served.get(c.ctx)
	if err != nil || first.hello == nil {
		return
	}
	f := c.pdp.e.Feed()
	if c.s.bug.kind == bugServesOn {
		first.hello.Seen = lease.Mark{}
	}
	c.s.note("pdp", c.sc.name, "hello", "applied %d, seen %d, vouch %v, %d keys", first.hello.Applied, first.hello.Seen.Revision, first.hello.Vouch, len(first.hello.Keys))
	st, err := f.Open(c.ctx, c.sc.name, feed.About{Name: first.name}, *first.hello)
	if err != nil {
		c.s.note("pdp", c.sc.name, "refuses", "%v", err)
		c.down.send(downward{end: err}, nil)
		return
	}
	defer st.Close()
	go c.write(st)
	for {
		u, err := c.served.get(c.ctx)
		if err != nil || u.end || c.pdp.dead() {
			return
		}
		c.s.note("pdp", c.sc.name, "gets", "%v %v n%d r%d", u.m.Kind, u.m.Generation, u.m.Number, u.m.Revision)
		switch u.m.Kind {
		case lease.Renew:
			st.Renew(u.m.Number, feed.Figures{Entries: u.f.Entries, Applied: u.f.Applied})
		case lease.Ack:
			st.Ack(u.m.Revision)
		case lease.Forget:
			st.Forget(u.m.Keys, u.m.Number)
		case lease.Release:
			st.Release(u.m.Generation)
		}
	}
}

// write sends what there is for the sidecar. One that reads nothing for a whole lease
// loses its stream.
func (c *conn) write(st *feed.Stream) {
	stuck := time.AfterFunc(time.Hour, func() { c.pdpEnds(errReset) })
	defer stuck.Stop()
	for {
		stuck.Reset(time.Hour)
		ms, err := st.Next(c.ctx)
		if err != nil {
			c.down.send(downward{end: err}, nil)
			c.cancel()
			return
		}
		stuck.Reset(lease.GrantorTerm(c.s.plan.term) + 777*time.Microsecond)
		for _, m := range ms {
			c.s.note("pdp", c.sc.name, "sends", "%v %v n%d r%d %v", m.Kind, m.Generation, m.Number, m.Revision, m.Keys)
			if !c.down.send(downward{m: m}, c.ctx.Done()) {
				return
			}
		}
	}
}

// pdpEnds closes the PDP's end; the sidecar learns of it by what is still under way.
func (c *conn) pdpEnds(err error) {
	c.cancel()
	c.served.end(io.EOF)
	c.up.end()
	go c.down.send(downward{end: err}, nil)
}

// pdpDies takes the PDP's end away with its process. With told the kernel resets the
// connection, else nobody is left to.
func (c *conn) pdpDies(told bool) {
	c.cancel()
	c.up.end()
	if !told {
		return
	}
	c.s.at(c.lane, c.s.delay(c.rnd), func() {
		if shut(c.s.now(), &c.sc.watchDown, c.downGate) == 0 {
			c.down.end()
			c.inbox.end(errReset)
		}
	})
}

// sidecarEnds closes the sidecar's end. The PDP hears of it by what is sent up, if it
// gets there.
func (c *conn) sidecarEnds(err error) {
	c.once.Do(func() {
		c.inbox.end(err)
		c.down.end()
		go c.up.send(upward{end: true}, nil)
	})
}

// broken breaks the stream for both ends, at once for the sidecar; the PDP may learn of it
// late.
func (c *conn) broken(late time.Duration) {
	c.once.Do(func() {
		c.inbox.end(errReset)
		c.down.end()
		c.upGate.shut(2 * forever)
		c.s.at(c.lane, late, func() {
			c.cancel()
			c.up.end()
		})
	})
}

// The sidecar's side. It implements [pep.WatchStream].
type watching struct {
	*conn
	ctx context.Context
}

// Hello implements [pep.WatchStream].
func (w watching) Hello(name, _ string, h lease.Hello) error {
	w.s.note(w.sc.name, w.sc.name, "hello", "applied %d, seen %d, vouch %v, keys %v", h.Applied, h.Seen.Revision, h.Vouch, h.Keys)
	w.host.asked(0, 0)
	if !w.up.send(upward{hello: &h, name: name}, w.ctx.Done()) {
		return errReset
	}
	return nil
}

// Send implements [pep.WatchStream].
func (w watching) Send(m lease.Message, f pep.Figures) error {
	if m.Kind == lease.Renew {
		w.host.asked(m.Generation, m.Number)
	}
	if w.sc.mute.Load() && m.Kind == lease.Ack {
		return nil // a sidecar that never acks
	}
	if !w.up.send(upward{m: m, f: f}, w.ctx.Done()) {
		return errReset
	}
	return nil
}

// Recv implements [pep.WatchStream].
func (w watching) Recv() (pep.WatchMessage, error) {
	d, err := w.inbox.get(w.ctx)
	if err == nil {
		err = d.end
	}
	if err != nil {
		w.sidecarEnds(err)
		return pep.WatchMessage{}, err
	}
	w.s.note(w.sc.name, w.sc.name, "gets", "%v %v n%d r%d %v vouched %v", d.m.Kind, d.m.Generation, d.m.Number, d.m.Revision, d.m.Keys, d.m.Vouched)
	if d.m.Kind == lease.Welcome && w.sc.welcomed != nil {
		w.sc.welcomed()
	}
	if d.m.Kind == lease.Grant {
		w.host.granted(d.m, w.pdp.forked)
	}
	return pep.WatchMessage{Message: d.m}, nil
}

// CloseSend implements [pep.WatchStream].
func (w watching) CloseSend() error {
	w.up.send(upward{end: true}, w.ctx.Done())
	return nil
}

// transport is a [pep.Transport] over the network of the simulation, for one process.
type transport struct{ host *pep1 }

// Endpoints implements [pep.Transport].
func (t transport) Endpoints(context.Context) ([]string, error) { return []string{"pdp"}, nil }

// Open implements [pep.Transport].
func (t transport) Open(string) (pep.PDP, error) { return remote(t), nil }

// Close implements [pep.Transport].
func (t transport) Close() error { return nil }

// remote is the PDP as a sidecar reaches it.
type remote struct{ host *pep1 }

// Watch implements [pep.PDP].
func (r remote) Watch(ctx context.Context) (pep.WatchStream, error) {
	h, sc := r.host, r.host.sc
	s := sc.s
	d := sc.stopped.wait(s.now()) + s.delay(sc.rnd)
	for {
		if !s.sleep(ctx, sc.dial, d) {
			return nil, ctx.Err()
		}
		if h.dead() {
			return nil, errReset
		}
		if d = shut(s.now(), &sc.watchUp, &sc.watchDown, &sc.stopped, &sc.dialing); d > 0 {
			continue
		}
		at := s.running()
		switch {
		case at == nil && s.dark():
			<-ctx.Done()
			return nil, ctx.Err()
		case at == nil:
			return nil, errRefused
		}
		c := s.connect(h, at)
		context.AfterFunc(ctx, func() { c.sidecarEnds(ctx.Err()) })
		return watching{c, ctx}, nil
	}
}

// Check implements [pep.PDP].
func (r remote) Check(ctx context.Context, q *pep.Question) (authz.Decision, error) {
	h, sc := r.host, r.host.sc
	s := sc.s
	p := portOf(ctx)
	req, asked := q.Request, q.Asked
	return call(ctx, p, func(ctx context.Context, at *pdp) (authz.Decision, error) {
		if h.dead() {
			return authz.Decision{}, errReset
		}
		if d, ok := s.wrong(p, sc, req, asked); ok {
			return d, nil
		}
		if err := at.e.Reached(ctx, asked.Epoch, asked.Applied); err != nil {
			return authz.Decision{}, err
		}
		var preempted func()
		if odds(p.rnd, s.plan.preempt) {
			preempted = func() { s.sleep(at.ctx, p.out, between(p.rnd, time.Millisecond, 60*time.Millisecond)) }
		}
		d := at.judge(asked.Generation, sc.name, req, preempted)
		s.note("pdp", sc.name, "judges", "%s: %v at %d, number %d of %v", s.question(req), d.Reason, d.Revision, d.Number, asked.Generation)
		return d, nil
	})
}

// BatchCheck implements [pep.PDP].
func (r remote) BatchCheck(ctx context.Context, q *pep.BatchQuestion) ([]authz.Decision, error) {
	out := make([]authz.Decision, len(q.Requests))
	for i, req := range q.Requests {
		d, err := r.Check(ctx, &pep.Question{Request: req, Asked: q.Asked})
		if err != nil {
			return nil, err
		}
		out[i] = d
	}
	return out, nil
}

// Introspect implements [pep.PDP].
func (r remote) Introspect(context.Context, *pep.IntrospectQuestion) (pep.Introspection, error) {
	return pep.Introspection{}, errors.New("not simulated")
}

// Report implements [pep.PDP].
func (r remote) Report(context.Context, pep.ReportHello) (pep.ReportStream, error) {
	return nil, errors.New("not simulated")
}

// Close implements [pep.PDP].
func (r remote) Close() error { return nil }
