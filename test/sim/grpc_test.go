package sim

import (
	"context"
	"flag"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/server"
	"github.com/jobward/jobward/sidecar/pep"
)

// The same world over real gRPC: package server at one end, pep's own transport at the
// other, and between them connections that delay what is written to them, break, and go
// dead in one direction. Where a write ends is up to gRPC, so a run need not repeat itself
// line by line.

var flagGRPC = flag.Int("grpc", 60, "how many seeds TestSeedsOverGRPC runs")

// TestSeedsOverGRPC is TestSeeds with all of the wire.
func TestSeedsOverGRPC(t *testing.T) {
	n := *flagGRPC
	if testing.Short() {
		n = min(n, 10)
	}
	began := time.Now()
	var checks, hits, receipts int
	for i := range n {
		seed := *flagFirst + uint64(i)
		if *flagSeed != 0 {
			seed = *flagSeed
		}
		o := options{seed: seed, grpc: true, tracing: true, change: func(p *plan) { p.behind, p.preempt = 0, 0 }}
		r := simulate(t, o)
		checks, hits, receipts = checks+r.oracle.checks, hits+r.oracle.hits, receipts+r.oracle.receipts
		if len(r.violations) > 0 {
			v := r.violations[0]
			t.Fatalf("seed %d: %s: %s\n%s", seed, v.rule, v.text, r.story(v, 60))
		}
		if *flagSeed != 0 {
			break
		}
	}
	t.Logf("%d seeds over gRPC in %v: %d answers (%d cached), %d effective receipts", n, time.Since(began).Round(time.Millisecond), checks, hits, receipts)
}

// serve makes a process of the PDP serve gRPC.
func (p *pdp) serve(tokens *token.Format) error {
	callers, err := identity.NewDevelopment(&net.UnixAddr{Name: "sim", Net: "unix"})
	if err != nil {
		return err
	}
	srv, err := server.New(server.Options{Engine: p.e, Tokens: tokens, Callers: callers, MaxInterest: p.s.plan.maxInterest, MaxUnknown: -1})
	if err != nil {
		return err
	}
	p.g = grpc.NewServer(append(srv.ServerOptions(), grpc.WaitForHandlers(true))...)
	srv.Register(p.g)
	p.doors = &listener{accept: make(chan net.Conn), closed: make(chan struct{})}
	p.s.ending.Go(func() { p.g.Serve(p.doors) })
	return nil
}

// listener takes connections of the simulation. It implements [net.Listener].
type listener struct {
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "sim", Net: "unix"} }

// dialGRPC is how a sidecar's process connects.
func (h *pep1) dialGRPC(ctx context.Context, _ string) (net.Conn, error) {
	sc := h.sc
	s := sc.s
	d := s.delay(sc.rnd)
	for {
		if !s.sleep(ctx, sc.dial, d) {
			return nil, ctx.Err()
		}
		if h.dead() {
			return nil, errReset
		}
		if d = shut(s.now(), &sc.watchUp, &sc.watchDown, &sc.stopped); d > 0 {
			continue
		}
		break
	}
	at := s.running()
	if at == nil && s.dark() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if at == nil {
		return nil, errRefused
	}
	w := s.wire(sc, at)
	select {
	case at.doors.accept <- w.pdp:
		return w.sidecar, nil
	case <-at.doors.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wire is one connection between a sidecar and the PDP.
type wire struct {
	sidecar, pdp     *end
	upGate, downGate *gate
}

// end is one end of a wire. It implements [net.Conn]; deadlines are not kept.
type end struct {
	in   *mailbox[[]byte]
	left []byte
	out  *pipe[[]byte]
	once sync.Once
	gone chan struct{}
}

func (s *sim) wire(sc *sidecar, at *pdp) *wire {
	place := sc.places[sc.streams%len(sc.places)]
	sc.streams++
	w := &wire{upGate: new(gate), downGate: new(gate)}
	w.sidecar = &end{in: newMailbox[[]byte](), gone: make(chan struct{})}
	w.pdp = &end{in: newMailbox[[]byte](), gone: make(chan struct{})}
	arrive := func(m *mailbox[[]byte]) func([]byte) {
		return func(b []byte) {
			if b == nil {
				m.end(io.EOF)
				return
			}
			m.put(b)
		}
	}
	w.sidecar.out = newPipe(s, place.up, place.upRnd, 256, &sc.stopped, arrive(w.pdp.in), &sc.watchUp, w.upGate)
	w.pdp.out = newPipe(s, place.down, place.downRnd, 256, nil, arrive(w.sidecar.in), &sc.watchDown, &sc.stopped, w.downGate)
	at.mu.Lock()
	at.wires = append(at.wires, w)
	at.mu.Unlock()
	sc.mu.Lock()
	sc.wires = append(sc.wires, w)
	sc.mu.Unlock()
	return w
}

// broken breaks it for both ends.
func (w *wire) broken() {
	for _, e := range []*end{w.sidecar, w.pdp} {
		e.in.end(errReset)
		e.out.end()
	}
}

// Read implements [net.Conn].
func (e *end) Read(b []byte) (int, error) {
	if len(e.left) == 0 {
		got, err := e.in.get(context.Background())
		if err != nil {
			return 0, err
		}
		e.left = got
	}
	n := copy(b, e.left)
	e.left = e.left[n:]
	return n, nil
}

// Write implements [net.Conn].
func (e *end) Write(b []byte) (int, error) {
	if !e.out.send(append([]byte{}, b...), e.gone) {
		return 0, errReset
	}
	return len(b), nil
}

// Close implements [net.Conn].
func (e *end) Close() error {
	e.once.Do(func() {
		close(e.gone)
		e.in.end(net.ErrClosed)
		go e.out.send(nil, nil)
	})
	return nil
}

// LocalAddr implements [net.Conn].
func (e *end) LocalAddr() net.Addr { return &net.UnixAddr{Name: "sim", Net: "unix"} }

// RemoteAddr implements [net.Conn].
func (e *end) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "sim", Net: "unix"} }

// SetDeadline implements [net.Conn].
func (e *end) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn].
func (e *end) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn].
func (e *end) SetWriteDeadline(time.Time) error { return nil }

// overGRPC gives the settings of a process that speaks gRPC.
func (h *pep1) overGRPC(c pep.Config) pep.Config {
	c.Transport = nil
	c.Addresses, c.Development, c.Dial = []string{"pdp:7420"}, true, h.dialGRPC
	return c
}

// TestDeadConnection kills one direction of each connection of a sidecar in turn, without a
// word to either end, and wants the sidecar to answer again soon: gRPC alone would wait for
// as long as TCP does, a quarter of an hour.
func TestDeadConnection(t *testing.T) {
	for n := range 3 {
		for _, up := range []bool{true, false} {
			r := simulate(t, options{seed: 1, grpc: true, tracing: true, change: calm, script: func(ctx context.Context, s *sim) {
				g := s.stage(ctx)
				token := g.issue("job")
				g.ask(g.ask1, token, 0)
				sc := s.sidecars[0]
				if n >= len(sc.wires) {
					return // there is no such lane
				}
				if w := sc.wires[n]; up {
					w.upGate.shut(2 * forever)
				} else {
					w.downGate.shut(2 * forever)
				}
				for i := range 60 { // new questions, so that they have to be asked
					g.wait(100 * time.Millisecond)
					go g.ask(g.ask1, token, i)
				}
				s.recovered(ctx, g.c, sc, g.issue("last"))
			}})
			if len(r.violations) > 0 {
				v := r.violations[0]
				t.Errorf("connection %d, up %v: %s: %s\n%s", n, up, v.rule, v.text, r.story(v, 30))
			}
		}
	}
}
