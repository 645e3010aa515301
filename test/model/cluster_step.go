package model

import (
	"github.com/jobward/jobward/pdp/authz"
)

// What happens in a world of several replicas. In a step, h is a replica or a holder.
const (
	cTick    verb = iota
	cCommit       // replica: it commits the next revision and asks for its receipt
	cList         // replica: it reads the list
	cApply        // replica: its view applies the next revision, and its sidecars are told
	cPut          // replica: it sends a put, to join or to renew
	cStore        // replica: its put is applied at the store, and reads the head
	cTold         // replica: the answer to its put comes
	cFence        // replica, incarnation
	cPeer         // replica, revision, incarnation: the peer answers it
	cCrash        // replica: killed
	cStart        // replica
	cStop         // replica: a clean stop
	cEarly        // replica: a planted bug reads the list before the commit
	cHead         // replica: its read of the head goes on (R16)
	cUnknown      // replica: somebody asks about a token that it may not know
	cBegin        // holder, replica
	cAnswer       // holder, flight, revision
	cTest         // holder, flight: the replica tests whether it may answer
	cLand         // holder, flight
	cDeliver      // holder, stream: the holder reads a message
	cRead         // holder, stream: the replica reads one
	cHello        // holder, replica, carry
	cBreak        // holder, stream
	cRenew        // holder
)

// steps appends everything that may happen next.
func (w *cluster) steps(out []step) []step {
	if w.calm() {
		return out
	}
	if !w.cfg.Timed || !w.hurry() {
		out = append(out, step{verb: cTick})
	}
	for r := range w.cfg.Replicas {
		out = w.stepsOfReplica(out, r)
	}
	for i := range w.cfg.Holders {
		out = w.stepsOfHolder(out, i)
	}
	return out
}

func (w *cluster) stepsOfReplica(out []step, r int) []step {
	m, at := &w.rs[r], int8(r)
	add := func(v verb, x, y int) { out = append(out, step{v, at, int8(x), int8(y)}) }
	if !m.up {
		if w.joins > 0 {
			add(cStart, 0, 0)
		}
		return out
	}
	switch m.put.stage {
	case idle:
		if m.inc != 0 && m.joined && w.puts > 0 && w.worthAPut(r) || m.inc != 0 && !m.joined || m.inc == 0 && (w.joins > 0 && w.last < maxLives || w.cfg.Fault == FaultOverwrites) {
			add(cPut, 0, 0)
		}
	case sent:
		add(cStore, 0, 0)
	case stored:
		add(cTold, 0, 0)
	}
	if w.crashes > 0 {
		add(cCrash, 0, 0)
	}
	if m.g == nil {
		return out
	}
	if w.stops > 0 && m.inc != 0 && m.joined {
		add(cStop, 0, 0)
	}
	if m.view() < w.head {
		add(cApply, 0, 0)
		if w.cfg.Fault == FaultResumeGap && m.view()+1 < w.head {
			add(cApply, 1, 0)
		}
	}
	if int(w.head) < w.cfg.Commits && w.cfg.revokes(r) && (w.cfg.Fault != FaultNewcomer || m.hasEarly) {
		add(cCommit, 0, 0)
	}
	if w.cfg.Fault == FaultNewcomer && int(w.head) < w.cfg.Commits {
		add(cEarly, 0, 0)
	}
	if w.cfg.Unknown {
		add(cHead, 0, 0)
		if w.head > 0 && !m.check.on {
			add(cUnknown, 0, 0)
		}
	}
	return w.stepsOfRevoker(out, r)
}

// stepsOfRevoker are those by which a replica knows of the others.
func (w *cluster) stepsOfRevoker(out []step, r int) []step {
	if !w.cfg.revokes(r) {
		return out
	}
	m, at := &w.rs[r], int8(r)
	if w.newsFor(r) {
		out = append(out, step{cList, at, 0, 0})
	}
	for inc := int8(1); inc <= w.last; inc++ {
		if inc == m.inc || w.recs[inc].is != live {
			continue
		}
		if w.mayFence(r, inc) {
			out = append(out, step{cFence, at, inc, 0})
		}
		for rev := authz.Revision(1); rev <= w.head; rev++ {
			if a := &w.receipts[rev]; a.on && a.by == at && a.peers[inc].waits && w.peerSays(rev, inc) != nothing {
				out = append(out, step{cPeer, at, int8(rev), inc})
			}
		}
	}
	return out
}

func (w *cluster) stepsOfHolder(out []step, i int) []step {
	h, now, at := w.hs[i], w.holderNow(), int8(i)
	add := func(v verb, x, y int) { out = append(out, step{v, at, int8(x), int8(y)}) }
	if w.asks > 0 && h.h.Begin(now).Generation != 0 && !w.hit(i) {
		// Only the replica of its generation can give an answer to keep. What the others
		// would say is looked at in every state.
		if st := h.inForce(); st != nil && w.reaches(st) {
			add(cBegin, int(st.to), 0)
		}
	}
	for j := range h.flights {
		f := &h.flights[j]
		if f.answered {
			add(cLand, j, 0)
			continue
		}
		m := &w.rs[f.to]
		if !m.up || m.g == nil || m.life != f.life {
			continue
		}
		if w.cfg.TestFirst && !f.tested {
			if w.serving(int(f.to), m.view()) {
				add(cTest, j, 0)
			}
			continue
		}
		for rev := f.low; rev <= m.view(); rev++ {
			if f.tested || w.serving(int(f.to), rev) {
				add(cAnswer, j, int(rev))
			}
		}
	}
	for j := range h.streams {
		st := &h.streams[j]
		if len(st.down) > 0 {
			add(cDeliver, j, 0)
		}
		if (st.hello != nil || len(st.up) > 0) && w.reads(st) {
			add(cRead, j, 0)
		}
		if !st.broken && (w.breaks > 0 || st.closed) {
			add(cBreak, j, 0)
		}
	}
	if h.hellos > 0 {
		for r := range w.cfg.Replicas {
			if !w.rs[r].up || w.rs[r].g == nil {
				continue
			}
			add(cHello, r, 0)
			if len(h.entries) > 0 && h.h.Remaining(now) > 0 {
				add(cHello, r, 1)
			}
		}
	}
	if w.renews > 0 {
		if _, ok := h.h.Clone().Renew(now); ok {
			add(cRenew, 0, 0)
		}
	}
	return out
}

// inForce gives the stream of the generation in force.
func (h *holder) inForce() *stream {
	for x := range h.streams {
		if st := &h.streams[x]; st.gen != 0 && st.gen == h.h.Generation() {
			return st
		}
	}
	return nil
}

// take gives the state after a step; nil when the step changes nothing.
func (w *cluster) take(d *drawn, s step) *cluster {
	n := *w
	if s.verb < cBegin {
		n.takeReplica(d, s)
	} else if !n.takeHolder(d, s) {
		return nil
	}
	n.settle()
	return &n
}

func (w *cluster) takeReplica(d *drawn, s step) {
	r, x := int(s.h), int(s.x)
	m := &w.rs[r]
	switch s.verb {
	case cTick:
		w.tick++
		for r := range w.cfg.Replicas {
			w.ownG(r)
			if w.cfg.Timed && w.cfg.revokes(r) && w.rs[r].up && w.rs[r].g != nil {
				w.list(r)
			}
		}
	case cCommit:
		w.commit(r)
	case cList:
		w.list(r)
	case cApply:
		w.apply(r, x == 1)
	case cPut:
		w.putOut(r)
	case cStore:
		w.store(r)
	case cTold:
		w.told(d, r)
	case cFence:
		w.fence(r, x)
	case cPeer:
		w.peer(authz.Revision(s.x), s.y)
	case cCrash:
		w.crashes--
		w.down(r)
	case cStart:
		m.up, m.life = true, m.life+1
		if w.cfg.Fault == FaultOverwrites && m.life > 1 {
			m.inc = int8(r) + 1
		}
	case cStop:
		w.stops--
		w.stop(r)
	case cEarly:
		m.hasEarly, m.early = true, w.members(r)
	case cHead:
		w.readHead(r)
	case cUnknown:
		m.check = check{on: true}
	}
}

func (w *cluster) takeHolder(d *drawn, s step) bool {
	i, x := int(s.h), int(s.x)
	switch s.verb {
	case cBegin:
		w.asks--
		h, m := w.ownH(i), &w.rs[x]
		low := m.view()
		h.flights = append(h.flights, flight{
			Flight: h.h.Begin(w.holderNow()), to: s.x, life: m.life, low: low, joined: w.effective &^ (1<<low - 1),
		})
	case cAnswer:
		return w.answer(i, x, authz.Revision(s.y))
	case cTest:
		f := &w.ownH(i).flights[x]
		f.tested, f.low = true, w.rs[f.to].view()
	case cLand:
		w.land(i, x)
	case cDeliver:
		w.deliver(i, x)
	case cRead:
		w.read(d, i, x)
	case cHello:
		w.hello(i, x, s.y == 1)
	case cBreak:
		if !w.hs[i].streams[x].closed {
			w.breaks--
		}
		w.cut(i, x)
	case cRenew:
		w.renews--
		m, _ := w.ownH(i).h.Renew(w.holderNow())
		w.send(i, m)
	}
	return true
}
