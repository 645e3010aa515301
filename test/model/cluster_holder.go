package model

import (
	"fmt"
	"slices"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

func (w *cluster) hit(i int) bool {
	h := w.hs[i]
	l := h.h.Lease()
	return slices.ContainsFunc(h.entries, func(e entry) bool { return l.Valid(w.holderNow(), e.era) })
}

// hello opens a stream to a replica, and closes the one before if its hello has not come
// into force.
func (w *cluster) hello(i, to int, carry bool) {
	h := w.ownH(i)
	if x := len(h.streams) - 1; x >= 0 && !h.streams[x].broken && h.streams[x].gen != h.h.Generation() {
		w.cut(i, x)
	}
	var keys []authz.Key
	if carry {
		keys = theKey
	}
	hello := h.h.Hello(w.holderNow(), keys)
	h.carrying = hello.Vouch
	h.hellos--
	h.streams = append(h.streams, stream{number: w.cfg.Hellos + 1 - int(h.hellos), hello: &hello, to: int8(to), life: w.rs[to].life})
}

// reads tells whether the replica reads a message of a stream: a hello waits until it may
// serve.
func (w *cluster) reads(st *stream) bool {
	if !w.reaches(st) {
		return false
	}
	return st.hello == nil || w.serving(int(st.to), w.rs[st.to].view())
}

// read lets a replica read the next message of a stream. One that may not serve ignores
// renewals.
func (w *cluster) read(d *drawn, i, x int) {
	st := &w.ownH(i).streams[x]
	to := int(st.to)
	g, now := w.ownG(to), w.grantorNow()
	if st.hello != nil {
		d.next = generation(i+1, st.number)
		st.gen = g.Hello(now, owner(i), *st.hello)
		st.hello = nil
		return
	}
	m := st.up[0]
	st.up = slices.Clone(st.up[1:])
	switch m.Kind {
	case lease.Renew:
		if w.serving(to, w.rs[to].view()) {
			g.Renew(now, st.gen, owner(i), m.Number)
		}
	case lease.Ack:
		g.Ack(st.gen, owner(i), m.Revision)
	case lease.Forget:
		g.Forget(st.gen, owner(i), m.Keys, m.Number)
	case lease.Release:
		g.Release(m.Generation, owner(i))
	}
}

// deliver lets a holder read the next message of a stream; a welcome with what follows it.
func (w *cluster) deliver(i, x int) {
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
func (w *cluster) do(i int, e lease.Effects) {
	h := w.ownH(i)
	if e.Opened {
		h.carrying = false
	}
	if e.Clear || len(e.Drop) > 0 {
		h.entries = nil
	}
	for _, m := range e.Send {
		w.send(i, m)
	}
}

// send puts a message on the stream of its generation, and a release on the newest, too.
func (w *cluster) send(i int, m lease.Message) {
	h := w.ownH(i)
	for x := range h.streams {
		st := &h.streams[x]
		if !st.broken && (st.gen == m.Generation || m.Kind == lease.Release && x == len(h.streams)-1) {
			st.up = append(st.up, m)
		}
	}
}

// cut breaks a stream: what is under way is lost, and both ends see it.
func (w *cluster) cut(i, x int) {
	h := w.ownH(i)
	st := &h.streams[x]
	st.up, st.down, st.hello, st.broken = nil, nil, nil, true
	if st.gen != 0 && w.reaches(st) {
		w.ownG(int(st.to)).Broken(st.gen)
	}
	if x == len(h.streams)-1 {
		h.h.Abandon()
		h.carrying = false
	}
}

// cutAll ends the renewal of every generation that a replica has granted, and closes its
// streams.
func (w *cluster) cutAll(r int) {
	for i := range w.cfg.Holders {
		for x := range w.hs[i].streams {
			if st := &w.hs[i].streams[x]; !st.broken && int(st.to) == r && w.rs[r].life == st.life {
				w.cut(i, x)
			}
		}
	}
}

// answer lets a replica that may answer judge at rev, record the interest and send the
// answer. false when it is not to be kept: then nothing but its own check is concerned,
// and what that may be told is looked at in every state.
func (w *cluster) answer(i, x int, rev authz.Revision) bool {
	f := &w.ownH(i).flights[x]
	number, v := w.ownG(int(f.to)).Interest(w.grantorNow(), f.Generation, owner(i), rev, theKey)
	if v != lease.Cacheable {
		return false
	}
	f.answered, f.low, f.number = true, rev, number
	f.joined &^= 1<<rev - 1
	return true
}

func (w *cluster) land(i, x int) {
	h := w.ownH(i)
	f := h.flights[x]
	h.flights = slices.Delete(h.flights, x, x+1)
	install, stale := h.h.Land(f.Flight, f.low, theKey, f.number)
	if n, bad := w.outdated(f.joined, f.low); bad && (install || !stale) {
		w.wrong = fmt.Sprintf("holder %s gives a check an answer from before revision %d, whose receipt was effective when that check began", owner(i), n)
	}
	if install {
		h.entries = []entry{{0, f.low, h.h.Lease().Era}}
	}
}
