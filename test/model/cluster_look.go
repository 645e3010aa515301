package model

import (
	"fmt"
	"slices"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// settle does after a step what may as well happen at once, looks at what must hold, and
// drops what can't matter any more.
func (w *cluster) settle() {
	w.waitOut()
	for r := range w.cfg.Replicas {
		m := &w.rs[r]
		if !m.up {
			continue
		}
		if w.ownsR[r] && m.g != nil {
			m.g.Tick(w.grantorNow())
		}
		if m.g != nil {
			w.promote(r)
			w.unknown(r)
		}
	}
	w.pumpAll()
	w.look()
	for i := range w.cfg.Holders {
		w.join(i)
		w.check(i)
		w.tidy(i)
	}
	w.ownsR, w.ownsH = [maxReplicas]bool{}, [maxHolders]bool{}
}

// pumpAll moves what the replicas have to say onto the streams.
func (w *cluster) pumpAll() {
	for r := range w.cfg.Replicas {
		if m := &w.rs[r]; !m.up || m.g == nil || !w.ownsR[r] || len(m.g.Ready()) == 0 {
			continue
		}
		for i := range w.cfg.Holders {
			for x := range w.hs[i].streams {
				st := &w.hs[i].streams[x]
				if int(st.to) != r || st.gen == 0 || st.closed || !w.reaches(st) {
					continue
				}
				ms, open := w.rs[r].g.Take(st.gen)
				if len(ms) == 0 && open {
					continue
				}
				st = &w.ownH(i).streams[x]
				if !st.broken {
					st.down = append(st.down, ms...)
				}
				st.closed = st.closed || !open
			}
		}
	}
}

// look finds the receipts that are effective, at the bound of the others, and at what
// the replicas may answer now.
func (w *cluster) look() {
	for rev := authz.Revision(1); rev <= w.head; rev++ {
		a := &w.receipts[rev]
		if !a.on {
			continue
		}
		if a.listed && w.ownReceipt(int(a.by), rev) && !slices.ContainsFunc(a.peers[:], func(p peer) bool { return p.waits }) {
			w.effective |= 1 << (rev - 1)
			*a = await{}
			continue
		}
		if w.cfg.Timed && w.tick-a.at >= w.cfg.boundTicks() && !w.hurry() {
			w.wrong = fmt.Sprintf("the receipt of revision %d is not effective after %d ticks, which is 2F+T and the margins", rev, w.tick-a.at)
		}
	}
	for r := range w.cfg.Replicas {
		if m := &w.rs[r]; m.up && m.g != nil {
			w.lookAt(r)
		}
	}
}

// lookAt looks at every check that a replica could be asked now, and at those that it was
// asked before and has not answered.
func (w *cluster) lookAt(r int) {
	m, view := &w.rs[r], w.rs[r].view()
	n, behind := w.outdated(w.effective, view)
	if w.serving(r, view) {
		if behind {
			w.wrong = fmt.Sprintf("replica %d answers as it was before revision %d, whose receipt is effective", r+1, n)
		}
		for i := range w.cfg.Holders {
			w.ask(i, view)
		}
	} else if behind && m.judged == 0 && !w.cfg.TestFirst && (w.cfg.Fault == FaultJudgedBefore || !w.cfg.planted()) {
		m.judged = view + 1
	}
	if m.judged != 0 && w.serving(r, m.judged-1) {
		w.wrong = fmt.Sprintf("replica %d answers now what it judged at revision %d, when a later receipt was effective already", r+1, m.judged-1)
	}
}

// ask looks whether a holder would give a check an answer from before what it has applied
// (L13, R14).
func (w *cluster) ask(i int, view authz.Revision) {
	h := w.hs[i].h
	if view >= h.Applied() {
		return
	}
	if _, stale := h.Clone().Land(h.Begin(w.holderNow()), view, theKey, 0); !stale {
		w.wrong = fmt.Sprintf("holder %s gives an answer from revision %d and has applied revision %d", owner(i), view, h.Applied())
	}
}

// join lets checks join flights whenever they may.
func (w *cluster) join(i int) {
	for x := range w.hs[i].flights {
		f := &w.hs[i].flights[x]
		fresh := w.effective &^ f.joined &^ (1<<f.low - 1)
		if fresh != 0 && w.hs[i].h.MayJoin(w.holderNow(), f.Flight) {
			w.ownH(i).flights[x].joined |= fresh
		}
	}
}

// check looks at every hit that is possible now.
func (w *cluster) check(i int) {
	h := w.hs[i]
	l := h.h.Lease()
	if h.lapsed && l.Valid(w.holderNow(), h.over) && !w.cfg.planted() {
		w.wrong = fmt.Sprintf("the lease of holder %s was over and has come back", owner(i))
	}
	for _, e := range h.entries {
		if !l.Valid(w.holderNow(), e.era) {
			continue
		}
		if n, bad := w.outdated(w.effective, e.rev); bad {
			w.wrong = fmt.Sprintf("holder %s answers from its cache as it was before revision %d, whose receipt is effective", owner(i), n)
		}
		if n, bad := w.outdated(mask(1)<<h.h.Applied()-1, e.rev); bad && !w.cfg.planted() {
			w.wrong = fmt.Sprintf("holder %s has an answer from before revision %d and says that it has applied revision %d", owner(i), n, h.h.Applied())
		}
	}
}

// tidy drops what can't have any effect; see that of a world of one.
func (w *cluster) tidy(i int) {
	h := w.hs[i]
	newest := len(h.streams) - 1
	for x := range h.streams {
		st := &h.streams[x]
		if st.gen == 0 {
			continue
		}
		deaf := x != newest && st.gen != h.h.Generation()
		mute := !slices.ContainsFunc(st.up, func(m lease.Message) bool { return w.heard(st, m) })
		if len(st.down) > 0 && deaf || len(st.up) > 0 && (st.broken || mute) || deaf && !st.broken && st.closed {
			st = &w.ownH(i).streams[x]
			if deaf {
				st.down, st.broken = nil, st.broken || st.closed
			}
			st.up = slices.DeleteFunc(slices.Clone(st.up), func(m lease.Message) bool { return st.broken || !w.heard(st, m) })
		}
	}
	if w.cfg.planted() {
		return
	}
	gen := h.h.Generation()
	lapsed := h.h.Remaining(w.holderNow()) == 0 && !h.carrying
	over := func(f flight) bool {
		return f.Generation != gen || lapsed || f.answered && h.h.Barred(f.Flight, f.low, theKey) || !f.answered && w.rs[f.to].life != f.life
	}
	if slices.ContainsFunc(h.flights, over) {
		h = w.ownH(i)
		h.flights = slices.DeleteFunc(h.flights, over)
	}
	if lapsed && !(h.lapsed && h.over == h.h.Lease().Era) {
		h = w.ownH(i)
		h.lapsed, h.over = true, h.h.Lease().Era
	}
	if lapsed && len(h.entries) > 0 {
		w.ownH(i).entries = nil
	}
}

// heard tells whether a replica will do anything with a message of a stream.
func (w *cluster) heard(st *stream, m lease.Message) bool {
	if !w.reaches(st) {
		return false
	}
	_, ok := w.rs[st.to].g.Info(m.Generation)
	return ok
}

// calm tells that nothing can be wrong from here on: everybody has, and can only get,
// what is newest.
func (w *cluster) calm() bool {
	if int(w.head) < w.cfg.Commits || w.cfg.Unknown || w.cfg.Timed && !w.quiet() {
		return false
	}
	for r := range w.cfg.Replicas {
		m := &w.rs[r]
		if m.up && m.g != nil && (m.view() < w.head || m.judged != 0) || m.put.stage == stored && m.g == nil && m.put.head < w.head {
			return false
		}
	}
	for _, h := range w.hs[:w.cfg.Holders] {
		if slices.ContainsFunc(h.entries, func(e entry) bool { return e.rev < w.head }) ||
			slices.ContainsFunc(h.flights, func(f flight) bool { return f.low < w.head }) {
			return false
		}
	}
	return true
}

// quiet tells that nobody waits for a receipt.
func (w *cluster) quiet() bool {
	return !slices.ContainsFunc(w.receipts[:], func(a await) bool { return a.on })
}
