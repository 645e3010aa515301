package model

import (
	"fmt"
	"slices"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// settle does after a step what may as well happen at once, looks at what must hold, and
// drops what can't matter any more. See the package comment for why that loses nothing.
func (w *world) settle() {
	if w.ownsG {
		w.g.Tick(w.grantorNow())
		if w.cfg.Queue == 0 {
			w.pumpAll()
		}
	}
	w.lookAround()
	for i := range w.cfg.Holders {
		w.tidy(i)
	}
	if w.cfg.Lean {
		for i := range w.cfg.Holders {
			w.lean(i)
		}
		w.lookAround()
	}
	w.ownsG, w.ownsH = false, [maxHolders]bool{}
}

// lookAround looks at receipts, if the grantor has moved, and at all holders.
func (w *world) lookAround() {
	if w.ownsG {
		w.look()
	}
	for i := range w.cfg.Holders {
		w.join(i)
		w.check(i)
	}
}

// pumpAll moves what the grantor has to say onto the streams.
func (w *world) pumpAll() {
	if len(w.g.Ready()) == 0 {
		return
	}
	for i := range w.cfg.Holders {
		for x := range w.hs[i].streams {
			if st := &w.hs[i].streams[x]; st.gen != 0 && !st.closed {
				w.pump(i, x)
			}
		}
	}
}

func (w *world) pump(i, x int) {
	gen := w.hs[i].streams[x].gen
	ms, open := w.ownG().Take(gen)
	if len(ms) == 0 && open {
		return
	}
	st := &w.ownH(i).streams[x]
	if !st.broken {
		st.down = append(st.down, ms...)
	}
	st.closed = st.closed || !open
}

// look asks for every receipt. Whoever has got one may rely on it from now on, and the
// worst that can happen is that somebody got it as early as could be. It also looks at
// the figures, and that each receipt ends in time.
func (w *world) look() {
	now := w.grantorNow()
	head := w.g.Head().Revision
	for rev := authz.Revision(1); rev <= head; rev++ {
		r := w.g.Receipt(now, rev)
		if r.Effective {
			w.effective |= 1 << (rev - 1)
		}
		if r.Acked < 0 || r.Lapsed < 0 || r.Pending < 0 || r.Acked+r.Lapsed+r.Pending != w.told[rev] {
			w.wrong = fmt.Sprintf("the receipt of revision %d does not add up: %+v of %d", rev, r, w.told[rev])
		}
	}
}

// waitAll looks whether all receipts end in time.
func (w *world) waitAll() {
	for rev := authz.Revision(1); rev <= w.g.Head().Revision; rev++ {
		if !w.g.Receipt(w.grantorNow(), rev).Effective {
			w.wait(rev)
		}
	}
}

// wait looks whether a receipt ends in time when nobody acks and everybody renews, again
// and again: within a term and its margins, and the quiet time after a start.
func (w *world) wait(rev authz.Revision) {
	g, now := w.g.Clone(), w.grantorNow()
	due := max(now.Add(lease.GrantorTerm(term)), g.Receipt(now, rev).Quiet)
	for ; now < due; now = now.Add(grantorTick) {
		g.Tick(now)
		for _, id := range g.Generations() {
			g.Renew(now, id, owner(int(id>>8)-1), 99)
		}
	}
	g.Tick(now)
	if r := g.Receipt(now, rev); !r.Effective {
		w.wrong = fmt.Sprintf("the receipt of revision %d is not effective after a term and its margins: %+v", rev, r)
	}
}

// join lets checks join flights whenever they may: all they can see is in the receipts
// that were effective when they did.
func (w *world) join(i int) {
	for x := range w.hs[i].flights {
		f := &w.hs[i].flights[x]
		fresh := w.effective &^ f.joined &^ (1<<f.low - 1)
		if fresh != 0 && w.hs[i].h.MayJoin(w.holderNow(), f.Flight) {
			w.ownH(i).flights[x].joined |= fresh
		}
	}
}

// check looks at every hit that is possible now.
func (w *world) check(i int) {
	h := w.hs[i]
	l := h.h.Lease()
	if h.lapsed && l.Valid(w.holderNow(), h.over) && !w.cfg.planted() {
		w.wrong = fmt.Sprintf("the lease of holder %s was over and has come back", owner(i))
	}
	for _, e := range h.entries {
		if !l.Valid(w.holderNow(), e.era) {
			continue
		}
		if n, bad := w.cfg.outdated(w.effective, e.question, e.rev); bad {
			w.wrong = fmt.Sprintf("holder %s answers from its cache as it was before revision %d, whose receipt is effective", owner(i), n)
		}
		if w.cfg.planted() {
			continue // the story should end with a wrong answer
		}
		upTo := mask(1)<<h.h.Applied() - 1
		if n, bad := w.cfg.outdated(upTo, e.question, e.rev); bad {
			w.wrong = fmt.Sprintf("holder %s has an answer from before revision %d and says that it has applied revision %d", owner(i), n, h.h.Applied())
		}
	}
}

// tidy drops what can't have any effect: messages to or from a generation that has
// ended at the other end (both machines ignore them), flights that were asked in
// another generation than the one in force, and entries of a lease that is over and are
// not being carried over. The last two only in worlds without a planted bug, whose point
// may be that they have an effect after all.
func (w *world) tidy(i int) {
	h := w.hs[i]
	newest := len(h.streams) - 1
	for x := range h.streams {
		st := &h.streams[x]
		if st.gen == 0 {
			continue
		}
		_, live := w.g.Info(st.gen)
		deaf := x != newest && st.gen != h.h.Generation()
		if len(st.down) > 0 && deaf || len(st.up) > 0 && (st.broken || !slices.ContainsFunc(st.up, func(m lease.Message) bool { return w.heard(st, m, live) })) {
			st = &w.ownH(i).streams[x]
			if deaf {
				st.down = nil
			}
			st.up = slices.DeleteFunc(slices.Clone(st.up), func(m lease.Message) bool { return !w.heard(st, m, live) })
		}
	}
	if w.cfg.planted() {
		return
	}
	gen := h.h.Generation()
	lapsed := h.h.Remaining(w.holderNow()) == 0 && !h.carrying
	over := func(f flight) bool {
		return f.Generation != gen || lapsed || f.answered && !w.mayForget() && h.h.Barred(f.Flight, f.low, w.cfg.Questions[f.question])
	}
	if slices.ContainsFunc(h.flights, over) {
		h = w.ownH(i)
		for _, f := range h.flights {
			if !over(f) {
				continue
			}
			// It is dropped for good, so it has to be so already that nobody may share it, and
			// that its answer will not be used.
			rev := f.low
			if !f.answered {
				rev = w.view
			}
			if install, _ := h.h.Clone().Land(f.Flight, rev, w.cfg.Questions[f.question], f.number+1); install && !lapsed {
				w.wrong = fmt.Sprintf("holder %s installs what was asked in another generation, or before it changed", owner(i))
			}
			if h.h.MayJoin(w.holderNow(), f.Flight) && (lapsed || !f.answered) {
				w.wrong = fmt.Sprintf("holder %s shares a flight without a lease or of another generation", owner(i))
			}
		}
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

// heard tells whether the grantor will do anything with a message.
func (w *world) heard(st *stream, m lease.Message, live bool) bool {
	if m.Kind == lease.Release {
		_, live = w.g.Info(m.Generation)
	}
	return live
}
