package model

import (
	"slices"

	"github.com/jobward/jobward/pdp/authz"
)

// lean makes a state one that stands for several, in three ways. Each takes away only
// what can delay a receipt or can never be wrong, and leaves a state that could have
// come about as well: so if anything can go wrong from the first state, it can from the
// second. The messages that it makes needless are explored in the worlds that are not
// lean, and so is that a lapse is final (L4), on which it stands.
//
//   - A generation under which its holder can't answer any more only keeps receipts
//     waiting: its lease is over on the holder's clock, or another generation has come
//     into force. It is released at once. (Had nothing been broken, the holder could have
//     said so at once: it has nothing left to remove.)
//   - An answer that rests on nothing that will change can't be wrong. It is dropped, and
//     after the last commit none is asked for; nor does interest matter then.
//   - A holder that has nothing and will have nothing only keeps receipts waiting. It
//     leaves.
func (w *world) lean(i int) {
	h := w.hs[i]
	if h.out {
		return
	}
	done := w.view == authz.Revision(len(w.cfg.Commits))
	final := func(question int, rev authz.Revision) bool {
		_, may := w.cfg.outdated(^mask(0), question, rev)
		return !may
	}
	if !w.mayForget() {
		if slices.ContainsFunc(h.entries, func(e entry) bool { return final(e.question, e.rev) }) {
			h = w.ownH(i)
			h.entries = slices.DeleteFunc(h.entries, func(e entry) bool { return final(e.question, e.rev) })
		}
		if slices.ContainsFunc(h.flights, func(f flight) bool { return final(f.question, f.low) }) {
			h = w.ownH(i)
			h.flights = slices.DeleteFunc(h.flights, func(f flight) bool { return final(f.question, f.low) })
		}
	}
	idle := len(h.entries)+len(h.flights) == 0 && (w.asks == 0 || done)
	over := h.h.Remaining(w.holderNow()) == 0
	newest := len(h.streams) - 1
	for x := range h.streams {
		st := &h.streams[x]
		inForce := st.gen != 0 && st.gen == h.h.Generation()
		if !idle && (inForce && !over || !inForce && x == newest && !st.broken) {
			continue // it answers under it, or may yet
		}
		if st.gen != 0 && w.live(st.gen) {
			w.ownG().Release(st.gen, owner(i))
			w.ownG().Ready()
		}
		if !st.broken || len(st.down)+len(st.up) > 0 {
			st = &w.ownH(i).streams[x]
			st.up, st.down, st.hello, st.broken = nil, nil, nil, true
		}
	}
	if idle {
		h = w.ownH(i)
		h.out, h.streams = true, nil
	}
	if done && w.g.Head().Revision == w.view {
		w.disinterest(i)
	}
}

// disinterest takes everything out of the interest of a holder's generations.
func (w *world) disinterest(i int) {
	for x := range w.hs[i].streams {
		st := &w.hs[i].streams[x]
		if info, ok := w.g.Info(st.gen); ok && info.Keys > 0 {
			for _, keys := range w.cfg.Questions {
				w.ownG().Forget(st.gen, owner(i), keys, ^uint64(0))
			}
		}
	}
}
