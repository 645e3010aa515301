package model

import (
	"fmt"
	"slices"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// verb is what happens in one step.
type verb uint8

const (
	vTick verb = iota
	vCommit
	vDispatch
	vBegin   // holder, question
	vAnswer  // holder, flight, revision
	vLand    // holder, flight
	vDeliver // holder, stream: the holder reads a message
	vRead    // holder, stream, message: the grantor reads it
	vHello   // holder, carry
	vBreak   // holder, stream
	vRenew   // holder
	vEvict   // holder, entry
	vLeave   // holder
	vRestart
	vBeat
	vPump  // holder, stream: a slow writer writes
	vSweep // holder: a planted bug removes what it has acked
)

// step is one thing that happens.
type step struct {
	verb verb
	h    int8
	x, y int8
}

// steps appends everything that may happen next.
func (w *world) steps(out []step) []step {
	out = append(out, step{verb: vTick})
	head := w.g.Head().Revision
	switch {
	case head < w.view:
		out = append(out, step{verb: vDispatch})
	case int(w.view) < len(w.cfg.Commits):
		out = append(out, step{verb: vCommit})
	}
	if w.restarts > 0 {
		out = append(out, step{verb: vRestart})
	}
	if w.beats > 0 {
		out = append(out, step{verb: vBeat})
	}
	for i := range w.cfg.Holders {
		out = w.stepsOf(out, i)
	}
	return out
}

func (w *world) stepsOf(out []step, i int) []step {
	h, now := w.hs[i], w.holderNow()
	at := int8(i)
	if h.out {
		return out
	}
	if w.cfg.Lean && int(w.view) == len(w.cfg.Commits) {
		// Nothing is asked any more, see lean.
	} else if w.asks > 0 && h.h.Begin(now).Generation != 0 {
		for q := range w.cfg.Questions {
			if !w.hit(i, q) {
				out = append(out, step{vBegin, at, int8(q), 0})
			}
		}
	}
	for j, f := range h.flights {
		if f.answered {
			out = append(out, step{vLand, at, int8(j), 0})
			continue
		}
		for rev := f.low; rev <= w.view; rev++ {
			if !w.cfg.planted() && !w.mayForget() && h.h.Barred(f.Flight, rev, w.cfg.Questions[f.question]) {
				continue // see tidy
			}
			out = append(out, step{vAnswer, at, int8(j), int8(rev)})
		}
	}
	for j := range h.streams {
		st := &h.streams[j]
		if len(st.down) > 0 {
			out = append(out, step{vDeliver, at, int8(j), 0})
		}
		if st.hello != nil || len(st.up) > 0 {
			out = append(out, step{vRead, at, int8(j), 0})
			for y := 1; w.cfg.Loose && st.hello == nil && y < len(st.up); y++ {
				out = append(out, step{vRead, at, int8(j), int8(y)})
			}
		}
		if !st.broken && (w.breaks > 0 || st.closed) {
			out = append(out, step{vBreak, at, int8(j), 0})
		}
		if w.cfg.Queue > 0 && st.gen != 0 {
			if info, ok := w.g.Info(st.gen); ok && info.Queue > 0 {
				out = append(out, step{vPump, at, int8(j), 0})
			}
		}
	}
	if h.hellos > 0 {
		out = append(out, step{vHello, at, 0, 0})
		if len(h.entries) > 0 && h.h.Remaining(now) > 0 {
			out = append(out, step{vHello, at, 1, 0})
		}
	}
	if w.renews > 0 {
		if _, ok := h.h.Clone().Renew(now); ok {
			out = append(out, step{vRenew, at, 0, 0})
		}
	}
	if w.evicts > 0 {
		for j := range h.entries {
			out = append(out, step{vEvict, at, int8(j), 0})
		}
	}
	if w.leaves > 0 && h.h.Generation() != 0 {
		out = append(out, step{vLeave, at, 0, 0})
	}
	if h.sweep != nil {
		out = append(out, step{vSweep, at, 0, 0})
	}
	return out
}

func (w *world) hit(i, question int) bool {
	h := w.hs[i]
	l := h.h.Lease()
	return slices.ContainsFunc(h.entries, func(e entry) bool { return e.question == question && l.Valid(w.holderNow(), e.era) })
}

// take gives the world after a step; nil when the step changes nothing.
func (w *world) take(d *drawn, s step) *world {
	n := *w
	i, x := int(s.h), int(s.x)
	switch s.verb {
	case vTick:
		n.tick++
		n.ownG()
	case vCommit:
		n.view++
		if !n.cfg.Ahead {
			n.dispatch()
		}
	case vDispatch:
		n.dispatch()
	case vBegin:
		n.asks--
		h := n.ownH(i)
		h.flights = append(h.flights, flight{Flight: h.h.Begin(n.holderNow()), question: x, low: n.view})
	case vAnswer:
		if !n.answer(i, x, authz.Revision(s.y)) {
			return nil
		}
	case vLand:
		n.land(i, x)
	case vDeliver:
		n.deliver(i, x)
	case vRead:
		n.read(d, i, x, int(s.y))
	case vHello:
		n.hello(i, x == 1)
	case vBreak:
		if !n.hs[i].streams[x].closed {
			n.breaks--
		}
		n.cut(i, x)
	case vRenew:
		n.renews--
		h := n.ownH(i)
		m, _ := h.h.Renew(n.holderNow())
		n.send(i, m)
	case vEvict:
		n.evicts--
		n.evict(i, x)
	case vLeave:
		n.leaves--
		e, _ := n.ownH(i).h.Leave()
		n.do(i, e)
	case vRestart:
		n.restarts--
		n.restart(d)
	case vBeat:
		n.beats--
		n.ownG().Heartbeats()
	case vPump:
		n.pump(i, x)
	case vSweep:
		h := n.ownH(i)
		n.remove(h, h.sweep)
		h.sweep = nil
	}
	n.settle()
	if s.verb == vTick { // possible in every state, so that every state is looked at
		n.waitAll()
	}
	return &n
}

// hello opens a stream, and closes the one before if its hello has not come into force.
func (w *world) hello(i int, carry bool) {
	h := w.ownH(i)
	if x := len(h.streams) - 1; x >= 0 && !h.streams[x].broken && h.streams[x].gen != h.h.Generation() {
		w.cut(i, x)
	}
	var keys []authz.Key
	if carry {
		for _, e := range h.entries {
			keys = append(keys, w.cfg.Questions[e.question]...)
		}
		slices.Sort(keys)
		keys = slices.Compact(keys)
	}
	hello := h.h.Hello(w.holderNow(), keys)
	h.carrying = hello.Vouch
	h.hellos--
	h.streams = append(h.streams, stream{number: w.cfg.Hellos + 1 - int(h.hellos), hello: &hello})
}

// read lets the grantor read a message of a stream: the next one, or in loose worlds
// another.
func (w *world) read(d *drawn, i, x, y int) {
	st := &w.ownH(i).streams[x]
	g, now := w.ownG(), w.grantorNow()
	if st.hello != nil {
		d.next = generation(i+1, st.number)
		st.gen = g.Hello(now, owner(i), *st.hello)
		st.hello = nil
		return
	}
	m := st.up[y]
	st.up = slices.Delete(slices.Clone(st.up), y, y+1)
	switch m.Kind {
	case lease.Renew:
		g.Renew(now, st.gen, owner(i), m.Number)
	case lease.Ack:
		g.Ack(st.gen, owner(i), m.Revision)
	case lease.Forget:
		g.Forget(st.gen, owner(i), m.Keys, m.Number)
	case lease.Release:
		g.Release(m.Generation, owner(i))
	}
}

// deliver lets a holder read the next message of a stream. A welcome goes with what
// follows it, as nobody but the next message of the stream can tell whether it was read;
// a planted bug that acts on it can.
func (w *world) deliver(i, x int) {
	h := w.ownH(i)
	for {
		st := &h.streams[x]
		m := st.down[0]
		st.down = st.down[1:]
		was := h.h.Applied()
		e, err := h.h.Handle(w.holderNow(), m)
		if h.h.Applied() < was {
			w.wrong = fmt.Sprintf("the revision applied by holder %s goes back from %d to %d", owner(i), was, h.h.Applied())
		}
		if err != nil {
			w.cut(i, x)
			return
		}
		w.do(i, e)
		if m.Kind != lease.Welcome || len(h.streams[x].down) == 0 || w.cfg.Holder == lease.FaultReleaseEarly {
			return
		}
	}
}

// do does what a holder asks of its shell.
func (w *world) do(i int, e lease.Effects) {
	h := w.ownH(i)
	if e.Clear {
		h.entries = nil
	}
	if e.Opened {
		h.carrying = false
	}
	if len(e.Drop) > 0 {
		if w.cfg.Holder == lease.FaultAckEarly {
			h.sweep = slices.Concat(h.sweep, e.Drop)
		} else {
			w.remove(h, e.Drop)
		}
	}
	for _, m := range e.Send {
		w.send(i, m)
	}
}

func (w *world) remove(h *holder, keys []authz.Key) {
	h.entries = slices.DeleteFunc(h.entries, func(e entry) bool {
		return slices.ContainsFunc(w.cfg.Questions[e.question], func(k authz.Key) bool { return slices.Contains(keys, k) })
	})
}

// send puts a message on the stream of its generation; a release on the newest.
func (w *world) send(i int, m lease.Message) {
	h := w.ownH(i)
	for j := len(h.streams) - 1; j >= 0; j-- {
		st := &h.streams[j]
		if st.broken {
			continue
		}
		if m.Kind == lease.Release && j == len(h.streams)-1 || m.Kind != lease.Release && st.gen == m.Generation {
			st.up = append(st.up, m)
			return
		}
	}
}

// evict removes an entry, and tells of the keys that nothing rests on any more.
func (w *world) evict(i, x int) {
	h := w.ownH(i)
	gone := h.entries[x]
	h.entries = slices.Delete(h.entries, x, x+1)
	var keys []authz.Key
	for _, k := range w.cfg.Questions[gone.question] {
		if !slices.ContainsFunc(h.entries, func(e entry) bool { return slices.Contains(w.cfg.Questions[e.question], k) }) {
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		w.send(i, h.h.Forget(keys))
	}
}

// cut breaks a stream: what is under way is lost, and both ends see it. That one end may
// see it late is in the messages, which may stay under way for as long as they like.
func (w *world) cut(i, x int) {
	h := w.ownH(i)
	st := &h.streams[x]
	st.up, st.down, st.hello, st.broken = nil, nil, nil, true
	if st.gen != 0 {
		w.ownG().Broken(st.gen)
	}
	if x == len(h.streams)-1 {
		h.h.Abandon()
		h.carrying = false
	}
}

// restart kills the PDP and starts it again at once, which is worst: no lease has run
// down meanwhile. Questions that it was judging are asked again.
func (w *world) restart(d *drawn) {
	for i := range w.cfg.Holders {
		for x := range w.hs[i].streams {
			if !w.hs[i].streams[x].broken {
				w.cut(i, x)
			}
		}
	}
	cfg := w.grantorConfig(d)
	cfg.Quiet = w.grantorNow().Add(lease.GrantorTerm(term))
	if w.cfg.Remembers {
		for i, keys := range w.cfg.Commits[:w.view] {
			cfg.Recent = append(cfg.Recent, lease.Change{Revision: authz.Revision(i + 1), Keys: keys})
		}
	}
	w.g, w.ownsG = lease.NewGrantor(cfg), true
	for n := range w.told {
		w.told[n] = 0
	}
}

func (w *world) dispatch() {
	g := w.ownG()
	rev := g.Head().Revision + 1
	w.told[rev] = g.Commit(w.grantorNow(), w.mark(rev), w.cfg.Commits[rev-1])
	w.wait(rev)
}

// answer lets the PDP judge at rev, record the interest and send the answer. false when
// that is as if it had not happened: it judges again, at a later revision; or the answer
// may not be kept, and then nothing but its own check is concerned.
func (w *world) answer(i, x int, rev authz.Revision) bool {
	f := &w.ownH(i).flights[x]
	number, v := w.ownG().Interest(w.grantorNow(), f.Generation, owner(i), rev, w.cfg.Questions[f.question])
	if v != lease.Cacheable {
		return false
	}
	f.answered, f.low, f.number = true, rev, number
	f.joined &^= 1<<rev - 1
	return true
}

func (w *world) land(i, x int) {
	h := w.ownH(i)
	f := h.flights[x]
	h.flights = slices.Delete(h.flights, x, x+1)
	install, stale := h.h.Land(f.Flight, f.low, w.cfg.Questions[f.question], f.number)
	if stale {
		w.wrong = fmt.Sprintf("holder %s refuses an answer that was judged after it asked", owner(i))
	}
	if !install {
		return
	}
	if n, bad := w.cfg.outdated(f.joined, f.question, f.low); bad {
		w.wrong = fmt.Sprintf("holder %s lets a check share an answer from before revision %d, whose receipt was effective when that check began", owner(i), n)
	}
	h.entries = slices.DeleteFunc(h.entries, func(e entry) bool { return e.question == f.question })
	h.entries = append(h.entries, entry{f.question, f.low, h.h.Lease().Era})
}
