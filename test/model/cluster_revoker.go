package model

import "github.com/jobward/jobward/pdp/authz"

// members are the incarnations that are listed, other than its own.
func (w *cluster) members(r int) (in [maxLives + 1]bool) {
	for inc := int8(1); inc <= w.last; inc++ {
		in[inc] = w.recs[inc].is != absent && inc != w.rs[r].inc
	}
	return in
}

// newsFor tells whether a list would say anything new to replica r.
func (w *cluster) newsFor(r int) bool {
	n := *w
	n.list(r)
	if n.rs[r].seen != w.rs[r].seen {
		return true
	}
	return n.receipts != w.receipts
}

// list reads the list for all the receipts that a replica waits for.
func (w *cluster) list(r int) {
	m, now := &w.rs[r], w.tick
	in := w.members(r)
	for rev := range w.receipts {
		a := &w.receipts[rev]
		if !a.on || a.by != int8(r) {
			continue
		}
		if !a.listed {
			a.listed, a.since = true, now
			for inc := range in {
				a.peers[inc] = peer{waits: in[inc], heard: now, settled: w.recs[inc].settled}
			}
		}
		for inc := range a.peers {
			w.listed(a, authz.Revision(rev), inc, in[inc])
		}
	}
	for inc := range w.recs {
		if w.recs[inc].is == departed && in[inc] && m.seen[inc] == 0 {
			m.seen[inc] = now + 1
		}
	}
}

// listed takes what the list says of one incarnation that a receipt waits for. One that
// is not in it any more has released its holders or was waited out by another.
func (w *cluster) listed(a *await, rev authz.Revision, inc int, in bool) {
	p, rec := &a.peers[inc], &w.recs[inc]
	switch {
	case !p.waits:
	case !in || rec.is == live && rec.settled >= rev:
		*p = peer{}
	case rec.is != live:
		p.heard, p.settled = 0, 0
	default:
		if rec.applied >= rev && p.applied == 0 {
			p.applied = w.tick + 1
		}
		if rec.settled > p.settled {
			p.settled = rec.settled
			if w.cfg.Fault == FaultProgress {
				p.heard = w.tick
			}
		}
	}
}

// answer is what a peer can say of a revision.
type saying uint8

const (
	nothing saying = iota
	isPending
	hasApplied
	hasSettled
)

// peerSays gives what an incarnation would say of a revision now, if that makes a
// difference to who asked.
func (w *cluster) peerSays(rev authz.Revision, inc int8) saying {
	p := &w.receipts[rev].peers[inc]
	for r := range w.cfg.Replicas {
		m := &w.rs[r]
		if !m.up || m.g == nil || m.inc != inc || !m.joined {
			continue
		}
		applied := m.view() >= rev
		switch {
		case applied && (w.ownReceipt(r, rev) || w.cfg.Fault == FaultPeerEarly):
			return hasSettled
		case !w.serving(r, m.view()) && w.cfg.Fault != FaultPending:
		case applied && (p.applied == 0 || w.cfg.Fault == FaultPendingApplied && p.heard != w.tick):
			return hasApplied
		case !applied && p.heard != w.tick && w.pendingCounts(rev):
			return isPending
		}
	}
	return nothing
}

// pendingCounts tells whether "pending" of a peer that has not applied the revision keeps
// it from being fenced: with no rule left out, never.
func (w *cluster) pendingCounts(rev authz.Revision) bool {
	a := &w.receipts[rev]
	return w.cfg.Fault == FaultPending || w.cfg.Fault == FaultPendingOnce && w.tick-a.since < w.cfg.Fence
}

// peer gives a peer's answer to who waits for it.
func (w *cluster) peer(rev authz.Revision, inc int8) {
	p := &w.receipts[rev].peers[inc]
	switch w.peerSays(rev, inc) {
	case hasSettled:
		*p = peer{}
	case hasApplied:
		p.heard = w.tick
		if p.applied == 0 {
			p.applied = w.tick + 1
		}
	case isPending:
		p.heard = w.tick
	}
}

// mayFence: in worlds that are timed, one that has not applied the revision within F, or,
// with a rule left out, from which nothing was heard for F. In others, anybody at any
// time.
func (w *cluster) mayFence(r int, inc int8) bool {
	if !w.cfg.Timed {
		return w.fences > 0
	}
	for rev := range w.receipts {
		if a := &w.receipts[rev]; a.on && a.by == int8(r) && w.overdue(a, inc) {
			return true
		}
	}
	return false
}

func (w *cluster) overdue(a *await, inc int8) bool {
	p := &a.peers[inc]
	if !p.waits || w.cfg.waitsOut() {
		return false
	}
	switch w.cfg.Fault {
	case FaultPendingApplied:
		return w.tick-p.heard >= w.cfg.Fence
	case FaultPending, FaultPendingOnce, FaultProgress:
		return p.applied == 0 && w.tick-p.heard >= w.cfg.Fence
	}
	return p.applied == 0 && w.tick-a.since >= w.cfg.Fence
}

// fence replaces a registration by a departed record.
func (w *cluster) fence(r, inc int) {
	if !w.cfg.Timed {
		w.fences--
	}
	w.recs[inc] = record{is: departed}
	w.rs[r].seen[inc] = w.tick + 1
	if w.cfg.Fault == FaultDeparted {
		w.recs[inc] = record{}
		w.rs[r].seen[inc] = 0
		for rev := range w.receipts {
			if a := &w.receipts[rev]; a.on && a.by == int8(r) {
				a.peers[inc] = peer{}
			}
		}
		return
	}
	for rev := range w.receipts {
		if p := &w.receipts[rev].peers[inc]; p.waits && w.receipts[rev].by == int8(r) {
			// That it has applied the revision stays true.
			*p = peer{waits: true, applied: p.applied}
		}
	}
}

// waitOut forgets what replicas have waited for long enough, and counts as settled who
// said for a term that it has applied a revision: the leases of before are over.
func (w *cluster) waitOut() {
	for inc := range w.recs {
		over := false
		for r := range w.rs {
			m := &w.rs[r]
			if w.recs[inc].is == departed && m.up && m.seen[inc] != 0 && w.tick-(m.seen[inc]-1) >= w.cfg.departedTicks() {
				w.gone(r, inc)
				over = true
			}
		}
		if over {
			w.recs[inc] = record{}
			for r := range w.rs {
				w.rs[r].seen[inc] = 0
			}
		}
	}
	for rev := range w.receipts {
		a := &w.receipts[rev]
		for inc := range a.peers {
			p := &a.peers[inc]
			long := p.applied != 0 && w.tick-(p.applied-1) >= w.cfg.termTicks() && w.cfg.Fault != FaultPendingApplied
			if p.waits && (long || w.cfg.waitsOut() && w.tick-a.since >= w.cfg.departedTicks()) {
				*p = peer{}
			}
		}
	}
}

func (w *cluster) gone(r, inc int) {
	for rev := range w.receipts {
		if a := &w.receipts[rev]; a.on && a.by == int8(r) {
			a.peers[inc] = peer{}
		}
	}
}

// hurry tells whether somebody who waits for a receipt has something to do at once.
func (w *cluster) hurry() bool {
	for rev := range w.receipts {
		a := &w.receipts[rev]
		if !a.on {
			continue
		}
		if !a.listed || w.rs[a.by].view() < authz.Revision(rev) {
			return true
		}
		for inc := int8(1); inc <= w.last; inc++ {
			if w.recs[inc].is == live && w.overdue(a, inc) {
				return true
			}
		}
	}
	return false
}
