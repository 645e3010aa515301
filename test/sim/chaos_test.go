package sim

import (
	"context"
	"time"
)

// chaos makes troubles.
type chaos struct {
	*client
	weights [numTroubles]int
}

func (c *chaos) run(ctx context.Context) {
	total := 0
	for _, w := range c.weights {
		total += w
	}
	for total > 0 && c.s.sleep(ctx, c.lane, between(c.rnd, c.s.plan.calm/4, 2*c.s.plan.calm)) {
		n := c.rnd.IntN(total)
		for kind, w := range c.weights {
			if n < w {
				c.make(ctx, kind)
				break
			}
			n -= w
		}
	}
}

func (c *chaos) note(format string, args ...any) { c.s.note("chaos", "", "", format, args...) }

// make makes one trouble.
func (c *chaos) make(ctx context.Context, kind int) {
	s, r := c.s, c.rnd
	sc := s.sidecars[r.IntN(len(s.sidecars))]
	now, term := s.now(), s.plan.term
	long := between(r, term/4, 2*term)
	switch kind {
	case troubleBreak, troubleHalfOpen:
		c.cut(sc, kind == troubleHalfOpen)
	case troubleWatchShut:
		way := oneOf(r, []*gate{&sc.watchUp}, []*gate{&sc.watchDown}, []*gate{&sc.watchUp, &sc.watchDown})
		c.note("%s: watch shut for %v, %d ways", sc.name, long, len(way))
		shutAll(now+long, way...)
	case troubleCallsShut:
		way := oneOf(r, []*gate{&sc.callUp}, []*gate{&sc.callDown}, []*gate{&sc.callUp, &sc.callDown})
		c.note("%s: calls shut for %v, %d ways", sc.name, long, len(way))
		shutAll(now+long, way...)
	case troubleAllShut:
		c.note("%s: cut off for %v", sc.name, long)
		shutAll(now+long, &sc.watchUp, &sc.watchDown, &sc.callUp, &sc.callDown)
	case troublePause:
		sc.pause(between(r, term, 10*term))
	case troubleShortPause:
		sc.pause(between(r, term/10, term))
	case troubleSidecarDies:
		told, lost, down := r.IntN(2) == 0, r.IntN(4) == 0, between(r, 10*time.Millisecond, term)
		if sc.crash(told, lost) {
			s.at(sc.dial, down, sc.revive)
		}
	case troubleSidecarLeaves:
		down := between(r, 10*time.Millisecond, term)
		s.ending.Go(func() {
			sc.leave()
			s.at(sc.dial, down, sc.revive)
		})
	case troublePDPDies, troublePDPDark, troublePDPStops:
		c.pdp(ctx, kind)
	case troubleSlowReader:
		c.note("%s: reads slowly for %v", sc.name, long)
		shutAll(now+long, &sc.watchDown)
	case troubleMute:
		sc.mute.Store(!sc.mute.Load())
		c.note("%s: mute %v", sc.name, sc.mute.Load())
	case troubleRollback:
		c.rollback(ctx)
	}
}

func shutAll(until time.Duration, gates ...*gate) {
	for _, g := range gates {
		g.shut(until)
	}
}

// cut breaks the newest stream of a sidecar, or lets one of its directions die.
func (c *chaos) cut(sc *sidecar, half bool) {
	if c.s.grpc {
		c.cutWire(sc, half)
		return
	}
	sc.mu.Lock()
	var at *conn
	if n := len(sc.conns); n > 0 {
		at = sc.conns[n-1]
	}
	sc.mu.Unlock()
	if at == nil {
		return
	}
	switch {
	case half && c.rnd.IntN(2) == 0:
		c.note("%s: up is dead", sc.name)
		at.upGate.shut(2 * forever)
	case half:
		c.note("%s: down is dead", sc.name)
		at.downGate.shut(2 * forever)
	default:
		late := between(c.rnd, time.Millisecond, c.s.plan.term/2)
		c.note("%s: stream breaks, the PDP knows in %v", sc.name, late)
		at.broken(late)
	}
}

// pdp ends the PDP in one way or another, and starts it again.
func (c *chaos) pdp(ctx context.Context, kind int) {
	s := c.s
	p := s.running()
	if p == nil {
		return
	}
	if kind == troublePDPStops {
		s.stopPDP(p, between(c.rnd, 100*time.Millisecond, 2*s.plan.term))
	} else {
		s.crashPDP(p, kind == troublePDPDark)
	}
	if !s.sleep(ctx, c.lane, between(c.rnd, 20*time.Millisecond, s.plan.outage)) {
		return // the end of the run starts it
	}
	s.restart()
}

// rollback sets the store back behind the PDP's back, lets that serve for a while, and
// then does what the operator does: finds the true store, and restores it as a new epoch.
func (c *chaos) rollback(ctx context.Context) {
	s := c.s
	p := s.running()
	if p == nil {
		return
	}
	s.crashPDP(p, false)
	truth := s.disk.backup()
	to := truth.mark.Revision - min(truth.mark.Revision/2, 15)
	c.note("rollback from %d to %d", truth.mark.Revision, to)
	s.oracle.fork(true, to)
	s.disk.rollback(to)
	s.sleep(ctx, c.lane, between(c.rnd, 20*time.Millisecond, s.plan.term))
	s.restart()
	s.sleep(ctx, c.lane, between(c.rnd, s.plan.term, 3*s.plan.term))
	if p := s.running(); p != nil {
		s.crashPDP(p, false)
	}
	c.note("restore")
	s.disk.restore(truth, true)
	s.oracle.fork(false, 0)
	s.restart()
}

// cutWire is cut for connections of gRPC: one of the newest three, as a link has.
func (c *chaos) cutWire(sc *sidecar, half bool) {
	sc.mu.Lock()
	var w *wire
	if n := len(sc.wires); n > 0 {
		w = sc.wires[max(0, n-1-c.rnd.IntN(3))]
	}
	sc.mu.Unlock()
	switch {
	case w == nil:
	case half && c.rnd.IntN(2) == 0:
		c.note("%s: up is dead", sc.name)
		w.upGate.shut(2 * forever)
	case half:
		c.note("%s: down is dead", sc.name)
		w.downGate.shut(2 * forever)
	default:
		c.note("%s: a connection breaks", sc.name)
		w.broken()
	}
}
