package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
	"github.com/jobward/jobward/sidecar/pep"
)

// A fleet is several PDPs on one store, with sidecars that go from one to another: real
// engines with their feeds and members, real Deciders, and the store's fake, memstore's
// Cluster. The network, the pauses and the callers are played.

const (
	fleetTerm  = 2 * time.Second
	fleetFence = time.Second
)

// fleet is the whole.
type fleet struct {
	t       *testing.T
	rnd     *rand.Rand // of the events; guarded by mu
	cluster *memstore.Cluster
	tokens  *token.Format
	plant   fleetPlant
	ctx     context.Context

	mu    sync.Mutex
	pdps  []*member
	sides []*fleetSide
	cut   map[[2]string]bool // who cannot reach whom
	jobs  []*fleetJob
	wrong []string
	count fleetCount
}

// fleetPlant is a bug.
type fleetPlant struct {
	replica replica.Fault
	grantor lease.Fault
	// deaf peers say that they have settled what they have applied; unknown is said without
	// catching up; the fence is looked at by nobody.
	deaf, unknown, unfenced bool
}

type fleetCount struct {
	checks, allowed, cached, undecided, receipts, fenced int
	longest, bound                                       time.Duration
}

func (f *fleet) complain(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

func (f *fleet) chance(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rnd.IntN(n)
}

// pass is one message's way. It fails when the way is cut.
func (f *fleet) pass(ctx context.Context, from, to string) error {
	if !nap(ctx, time.Duration(1+f.chance(4))*time.Millisecond) {
		return ctx.Err()
	}
	f.mu.Lock()
	cut := f.cut[[2]string{from, to}]
	f.mu.Unlock()
	if !cut {
		return nil
	}
	nap(ctx, 300*time.Millisecond)
	return errReset
}

func nap(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// member is one process of one of the PDPs.
type member struct {
	f    *fleet
	name string
	h    *memstore.Handle
	m    *replica.Member
	e    *engine.Engine
	ctx  context.Context
	kill context.CancelFunc

	mu     sync.Mutex
	resume chan struct{} // not nil: it stands still
	since  time.Time     // when it began to
	adrift bool          // the store cannot be reached
	stuck  bool          // its watch brings nothing
}

// now is the process's clock. While it stands still so does the clock, and then it jumps.
func (p *member) now() lease.Instant {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if p.resume != nil {
		at = p.since
	}
	return lease.Instant(at.UnixNano())
}

// Now implements engine.Clock.
func (p *member) Now() authz.Stamp { return authz.Stamp(p.now()) }

// runs waits while the process stands still. It fails when the process is dead.
func (p *member) runs(ctx context.Context) error {
	for {
		p.mu.Lock()
		c := p.resume
		p.mu.Unlock()
		if c == nil {
			return errors.Join(ctx.Err(), p.ctx.Err())
		}
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

func (p *member) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume == nil {
		p.resume, p.since = make(chan struct{}), time.Now()
	}
}

func (p *member) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume != nil {
		close(p.resume)
		p.resume = nil
	}
}

func (p *member) drift(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.adrift = yes
}

func (p *member) stick(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck = yes
}

// reach is a call to the store.
func (p *member) reach(ctx context.Context) error {
	if err := p.runs(ctx); err != nil {
		return authz.Errorf(authz.KindUnavailable, "CLOSED", "%v", err)
	}
	p.mu.Lock()
	adrift := p.adrift
	p.mu.Unlock()
	if adrift {
		nap(ctx, 100*time.Millisecond)
		return authz.Errorf(authz.KindUnavailable, "STORE_UNREACHABLE", "it cannot be reached")
	}
	return nil
}

// sharedStore is the store as one process reaches it.
type sharedStore struct {
	state.Shared
	p *member
}

// Attach implements state.Store: what comes in later waits for the process and the network.
func (s sharedStore) Attach(ctx context.Context, sink state.Sink) error {
	return s.Shared.Attach(ctx, slowSink{sink, s.p})
}

// Commit implements state.Store.
func (s sharedStore) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	if err := s.p.reach(ctx); err != nil {
		return 0, err
	}
	rev, err := s.Shared.Commit(ctx, b)
	if gone := s.p.runs(ctx); gone != nil {
		return 0, authz.Errorf(authz.KindCanceled, "CANCELED", "%v", gone)
	}
	return rev, err
}

// Registry implements state.Shared.
func (s sharedStore) Registry() state.Registry { return sharedRegistry{s.Shared.Registry(), s.p} }

type slowSink struct {
	state.Sink
	p *member
}

// Apply implements state.Sink.
func (s slowSink) Apply(changes []state.Change) {
	time.Sleep(time.Duration(1+s.p.f.chance(5)) * time.Millisecond)
	for {
		s.p.runs(context.Background())
		s.p.mu.Lock()
		stands := s.p.adrift || s.p.stuck
		s.p.mu.Unlock()
		if !stands || s.p.ctx.Err() != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.Sink.Apply(changes)
}

type sharedRegistry struct {
	state.Registry
	p *member
}

// Renew implements state.Registry.
func (r sharedRegistry) Renew(ctx context.Context, reg state.Registration) (authz.Revision, error) {
	if err := r.p.reach(ctx); err != nil {
		return 0, err
	}
	head, err := r.Registry.Renew(ctx, reg)
	return head, errors.Join(err, r.p.reach(ctx))
}

// List implements state.Registry.
func (r sharedRegistry) List(ctx context.Context) (state.Registrations, error) {
	if err := r.p.reach(ctx); err != nil {
		return state.Registrations{}, err
	}
	l, err := r.Registry.List(ctx)
	return l, errors.Join(err, r.p.runs(ctx))
}

// Fence implements state.Registry.
func (r sharedRegistry) Fence(ctx context.Context, reg state.Registration) error {
	if err := r.p.reach(ctx); err != nil {
		return err
	}
	return r.Registry.Fence(ctx, reg)
}

// start starts a PDP: registered, then loaded, then serving (R8).
func (f *fleet) start(name string) *member {
	p := &member{f: f, name: name, h: f.cluster.Open()}
	p.ctx, p.kill = context.WithCancel(f.ctx)
	store := sharedStore{p.h, p}
	p.m = replica.New(replica.Options{
		Registry: store.Registry(), Dialer: fleetDialer{p}, Name: name, Address: name, Term: fleetTerm, Fence: fleetFence, Now: p.now, Fault: f.plant.replica,
	})
	if err := p.m.Join(f.ctx); err != nil {
		f.t.Fatal(err)
	}
	var err error
	p.e, err = engine.New(f.ctx, engine.Options{
		Store: store, Clock: p, Tokens: f.tokens, Replica: p.m, Heard: func(context.Context) (bool, error) { return true, nil },
		Feed: feed.Options{Term: fleetTerm, Now: p.now, Fault: f.plant.grantor},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := p.m.Ready(f.ctx); err != nil {
		f.t.Fatal(err)
	}
	return p
}

// die ends a process as a kill would: it says nothing to anybody.
func (p *member) die() {
	p.kill()
	p.thaw()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.e.Close()
	p.m.Stop(ctx, false)
	p.h.Close()
}

// stop ends it in order.
func (p *member) stop() {
	ctx, cancel := context.WithTimeout(p.f.ctx, 4*fleetTerm)
	defer cancel()
	p.e.Feed().Close(ctx)
	p.m.Stop(ctx, p.e.Feed().Stats().Generations == 0)
	p.die()
}

// find gives the process that has the name now.
func (f *fleet) find(name string) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.pdps {
		if p.name == name && p.ctx.Err() == nil {
			return p
		}
	}
	return nil
}

// call is a call to a PDP and back.
func (f *fleet) call(ctx context.Context, from, to string, do func(ctx context.Context, p *member) error) error {
	if err := f.pass(ctx, from, to); err != nil {
		return err
	}
	p := f.find(to)
	if p == nil {
		return errRefused
	}
	if err := p.runs(ctx); err != nil {
		return err
	}
	err := do(ctx, p)
	if gone := p.runs(ctx); gone != nil {
		return gone
	}
	return errors.Join(f.pass(ctx, to, from), err)
}

// ask answers a question as package server does.
func (p *member) ask(ctx context.Context, gen lease.Generation, owner string, req authz.Request) (authz.Decision, error) {
	for caught := false; ; caught = true {
		if err := p.e.Serving(); err != nil && !p.f.plant.unfenced {
			return authz.Decision{}, err
		}
		d := p.e.Keep(new(policy.Walk), gen, owner, req)
		if d.Reason != authz.TokenUnknown || caught || p.f.plant.unknown {
			return d, nil
		}
		if err := p.e.CatchUp(ctx); err != nil {
			return authz.Decision{}, err
		}
	}
}

// fleetDialer connects PDPs to each other.
type fleetDialer struct{ from *member }

// Dial implements replica.Dialer.
func (d fleetDialer) Dial(r state.Registration) (replica.Peer, error) {
	return fleetPeer{d.from, r}, nil
}

type fleetPeer struct {
	from *member
	to   state.Registration
}

// Close implements replica.Peer.
func (fleetPeer) Close() error { return nil }

// Settle implements replica.Peer, as PeerService does.
func (l fleetPeer) Settle(ctx context.Context, w replica.Want, each func(replica.Answer)) error {
	f := l.from.f
	for {
		var a replica.Answer
		err := f.call(ctx, l.from.name, l.to.Name, func(ctx context.Context, p *member) error {
			soon, cancel := context.WithTimeout(ctx, fleetFence/5)
			defer cancel()
			applied := p.e.Feed().AwaitApplied(soon, w.Revision) == nil
			var r lease.Receipt
			var err error
			if applied && w.All {
				r, err = p.e.Feed().AwaitAll(soon, w.Revision, nil)
			} else if applied {
				r, err = p.e.Feed().Await(soon, w.Revision, nil)
			}
			if !p.m.Serving(p.now()) || p.m.Incarnation() != l.to.Incarnation {
				return errors.New("fenced, or another")
			}
			a = replica.Answer{Want: w, Applied: p.e.Feed().Applied(), Settled: applied && err == nil && (r.Effective || f.plant.deaf), Acked: r.Acked, Lapsed: r.Lapsed, Pending: r.Pending}
			return nil
		})
		if err != nil {
			return err
		}
		if err := l.from.runs(ctx); err != nil {
			return err
		}
		if each(a); a.Settled {
			return nil
		}
	}
}

// fleetSide is a sidecar.
type fleetSide struct {
	f    *fleet
	name string
	d    *pep.Decider
}

func (f *fleet) side(name string, seed uint64) *fleetSide {
	s := &fleetSide{f: f, name: name}
	began := time.Now()
	var err error
	s.d, err = pep.New(pep.Config{
		Transport: s, Name: name, Seed: seed, ReportEvery: -1, CallTimeout: time.Second,
		Clock: clock.Func(func() time.Duration { return time.Since(began) }),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// Endpoints implements pep.Transport.
func (s *fleetSide) Endpoints(context.Context) (names []string, err error) {
	for i := range fleetSize {
		names = append(names, fmt.Sprint("pdp-", i))
	}
	return names, nil
}

// Close implements pep.Transport.
func (s *fleetSide) Close() error { return nil }

// Open implements pep.Transport.
func (s *fleetSide) Open(at string) (pep.PDP, error) { return fleetConn{s, at}, nil }

// fleetConn is a PDP as a sidecar reaches it.
type fleetConn struct {
	s  *fleetSide
	at string
}

// Check implements pep.PDP.
func (c fleetConn) Check(ctx context.Context, q *pep.Question) (d authz.Decision, err error) {
	err = c.s.f.call(ctx, c.s.name, c.at, func(ctx context.Context, p *member) (err error) {
		if err = p.e.Reached(ctx, q.Epoch, q.Applied); err == nil {
			d, err = p.ask(ctx, q.Generation, c.s.name, q.Request)
		}
		return err
	})
	return d, err
}

// BatchCheck implements pep.PDP.
func (c fleetConn) BatchCheck(context.Context, *pep.BatchQuestion) ([]authz.Decision, error) {
	return nil, errors.New("not simulated")
}

// Introspect implements pep.PDP.
func (c fleetConn) Introspect(context.Context, *pep.IntrospectQuestion) (pep.Introspection, error) {
	return pep.Introspection{}, errors.New("not simulated")
}

// Report implements pep.PDP.
func (c fleetConn) Report(context.Context, pep.ReportHello) (pep.ReportStream, error) {
	return nil, errors.New("not simulated")
}

// Close implements pep.PDP.
func (c fleetConn) Close() error { return nil }

// Watch implements pep.PDP.
func (c fleetConn) Watch(ctx context.Context) (pep.WatchStream, error) {
	if err := c.s.f.pass(ctx, c.s.name, c.at); err != nil {
		return nil, err
	}
	p := c.s.f.find(c.at)
	if p == nil {
		return nil, errRefused
	}
	w := &fleetWatch{c: c, p: p, up: newMailbox[upward](), down: newMailbox[downward]()}
	w.ctx, w.cancel = context.WithCancel(ctx)
	context.AfterFunc(p.ctx, w.cancel) // the connection is reset
	go w.serve()
	return w, nil
}

// fleetWatch is the lane of leases: messages in order, each after a while, and none while
// the way is cut.
type fleetWatch struct {
	c      fleetConn
	p      *member
	up     *mailbox[upward]
	down   *mailbox[downward]
	ctx    context.Context
	cancel context.CancelFunc
}

// travel waits until a message from one to the other is there.
func (w *fleetWatch) travel(from, to string) bool {
	for w.ctx.Err() == nil {
		if w.c.s.f.pass(w.ctx, from, to) == nil {
			return w.p.runs(w.ctx) == nil
		}
	}
	return false
}

func (w *fleetWatch) serve() {
	defer func() {
		w.cancel()
		w.down.end(io.EOF)
	}()
	first, err := w.up.get(w.ctx)
	if err != nil || !w.travel(w.c.s.name, w.c.at) {
		return
	}
	st, err := w.p.e.Feed().Open(w.ctx, w.c.s.name, feed.About{Name: w.c.s.name}, *first.hello)
	if err != nil {
		w.down.put(downward{end: err})
		return
	}
	defer st.Close()
	go func() {
		defer w.cancel()
		for {
			ms, err := st.Next(w.ctx)
			if err != nil {
				return
			}
			for _, m := range ms {
				if !w.travel(w.c.at, w.c.s.name) {
					return
				}
				w.down.put(downward{m: m})
			}
		}
	}()
	for {
		u, err := w.up.get(w.ctx)
		if err != nil || !w.travel(w.c.s.name, w.c.at) || u.end {
			return
		}
		switch u.m.Kind {
		case lease.Renew:
			st.Renew(u.m.Number, feed.Figures{})
		case lease.Ack:
			st.Ack(u.m.Revision)
		case lease.Forget:
			st.Forget(u.m.Keys, u.m.Number)
		case lease.Release:
			st.Release(u.m.Generation)
		}
	}
}

// Hello implements pep.WatchStream.
func (w *fleetWatch) Hello(_, _ string, h lease.Hello) error {
	w.up.put(upward{hello: &h})
	return nil
}

// Send implements pep.WatchStream.
func (w *fleetWatch) Send(m lease.Message, _ pep.Figures) error {
	w.up.put(upward{m: m})
	return w.ctx.Err()
}

// Recv implements pep.WatchStream.
func (w *fleetWatch) Recv() (pep.WatchMessage, error) {
	d, err := w.down.get(w.ctx)
	if err == nil {
		err = d.end
	}
	return pep.WatchMessage{Message: d.m}, err
}

// CloseSend implements pep.WatchStream.
func (w *fleetWatch) CloseSend() error {
	w.up.put(upward{end: true})
	return nil
}
