package model

import (
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// serving is the test of R8 at answer time: may replica r give an answer that was judged
// at rev (or, for rev its view, grant and renew)?
func (w *cluster) serving(r int, rev authz.Revision) bool {
	m := &w.rs[r]
	if !m.up || m.g == nil || !m.may.ok {
		return false
	}
	return (w.tick-m.may.sent < w.cfg.Fence || w.cfg.Fault == FaultAnswersOn) &&
		(m.inc != 0 && m.joined || w.cfg.Fault == FaultAnswersOn) &&
		(rev >= m.may.need || w.cfg.Fault == FaultJudgedBefore || w.cfg.Fault == FaultBehind)
}

// worthAPut tells whether a renewal would change anything.
func (w *cluster) worthAPut(r int) bool {
	m := &w.rs[r]
	if m.g == nil {
		return false
	}
	newest := m.may
	if m.next.ok {
		newest = m.next
	}
	rec := &w.recs[m.inc]
	return rec.is != live || !newest.ok || newest.sent != w.tick || newest.need != w.head || rec.applied != m.view() || rec.settled != w.settled(r)
}

// putOut sends a put: a join under a new name where the replica has none.
func (w *cluster) putOut(r int) {
	m := &w.rs[r]
	m.put = put{stage: sent, at: w.tick}
	if m.inc == 0 || !m.joined {
		m.put.joins = true
	} else {
		w.puts--
	}
	if m.inc == 0 {
		w.joins--
		w.last++
		m.inc = w.last
	}
	m.put.inc = m.inc
	if m.g != nil {
		m.put.applied, m.put.settled = m.view(), w.settled(r)
	}
	if w.cfg.Brief {
		w.store(r)
		// The answer stays under way for as long as it likes.
	}
}

// store applies a put: guarded on that the registration exists, or that it never did.
func (w *cluster) store(r int) {
	p := &w.rs[r].put
	rec := &w.recs[p.inc]
	p.stage, p.head = stored, w.head
	switch {
	case p.joins && rec.is != absent && w.cfg.Fault != FaultOverwrites, !p.joins && rec.is != live:
		p.refused = true
	default:
		*rec = record{live, p.applied, p.settled}
	}
	p.applied, p.settled = 0, 0
}

// told takes the answer to a put.
func (w *cluster) told(d *drawn, r int) {
	m := &w.rs[r]
	p := m.put
	m.put = put{}
	if p.refused {
		w.fenced(r)
		return
	}
	m.joined = true
	if m.g == nil {
		w.load(d, r, p.head)
	}
	at := p.at
	if w.cfg.Fault == FaultFromAnswer {
		at = w.tick
	}
	m.next = window{true, at, p.head}
	if w.cfg.Fault == FaultUnreachable && !p.joins {
		m.next.need = 0
	}
	w.promote(r)
}

// promote lets the newest put count once the view has reached the head that it read.
// Until then the one before does.
func (w *cluster) promote(r int) {
	m := &w.rs[r]
	if m.next.ok && (m.view() >= m.next.need || w.cfg.Fault == FaultBehind) {
		m.may, m.next = m.next, window{}
	}
	if m.may.ok && w.tick-m.may.sent >= w.cfg.Fence && w.cfg.Fault != FaultAnswersOn {
		m.may = window{}
	}
	if m.next.ok && w.tick-m.next.sent >= w.cfg.Fence && w.cfg.Fault != FaultAnswersOn {
		m.next = window{}
	}
}

// fenced: a replica learns that its registration is gone. It cuts all generations, and
// joins again under another name.
func (w *cluster) fenced(r int) {
	m := &w.rs[r]
	m.inc, m.joined = 0, false
	if w.cfg.Fault != FaultAnswersOn {
		m.may, m.next = window{}, window{}
	}
	if w.cfg.Fault != FaultKeepsGenerations {
		w.cutAll(r)
	}
}

// down ends a process. What is under way to it is lost.
func (w *cluster) down(r int) {
	w.cutAll(r)
	m := &w.rs[r]
	*m = member{life: m.life}
	w.ownsR[r] = false
	for rev := range w.receipts {
		if a := &w.receipts[rev]; a.on && a.by == int8(r) {
			*a = await{}
		}
	}
}

// stop ends a process cleanly: with no leases out it leaves, else it turns its own
// registration into a departed record.
func (w *cluster) stop(r int) {
	m := &w.rs[r]
	if rec := &w.recs[m.inc]; rec.is == live {
		*rec = record{}
		if m.g.Live() > 0 && w.cfg.Fault != FaultDeparted {
			rec.is = departed
		}
	}
	w.down(r)
}

// apply brings the view to the next revision, and tells the sidecars. A planted bug goes
// on one revision too late.
func (w *cluster) apply(r int, gap bool) {
	g := w.ownG(r)
	rev := g.Head().Revision + 1
	if gap {
		g.Commit(w.grantorNow(), w.mark(rev), nil)
		rev++
	}
	g.Commit(w.grantorNow(), w.mark(rev), theKey)
	w.promote(r)
}

// commit makes the next revision durable. Nobody waits for its own receipt longer than
// its process lives.
func (w *cluster) commit(r int) {
	w.head++
	a := &w.receipts[w.head]
	*a = await{on: true, by: int8(r), at: w.tick}
	if m := &w.rs[r]; m.hasEarly {
		a.listed, a.since = true, w.tick
		for inc, in := range m.early {
			a.peers[inc].waits = in
		}
		m.early, m.hasEarly = [maxLives + 1]bool{}, false
	}
}

// settled is the newest revision up to which every receipt of a replica's own is
// effective.
func (w *cluster) settled(r int) (rev authz.Revision) {
	for rev < w.rs[r].view() && w.ownReceipt(r, rev+1) {
		rev++
	}
	return rev
}

func (w *cluster) ownReceipt(r int, rev authz.Revision) bool {
	return w.rs[r].view() >= rev && w.rs[r].g.Receipt(w.grantorNow(), rev).Effective
}

// read is a read of the head under way, and check what waits for one (R16).
type read struct {
	stage stage
	head  authz.Revision
}

type check struct {
	on bool
	// fresh: the read was sent after it began. ready: it has been answered, with need.
	fresh, ready bool
	need         authz.Revision
}

// readHead lets a read of the head go on: sent, done at the store, answered. Checks join
// one that has not been sent.
func (w *cluster) readHead(r int) {
	m := &w.rs[r]
	switch m.read.stage {
	case idle:
		m.read = read{stage: sent}
		m.check.fresh = m.check.on
	case sent:
		m.read = read{stored, w.head}
	case stored:
		if m.check.on && (m.check.fresh || w.cfg.Fault == FaultStaleRead) {
			m.check.ready, m.check.need = true, m.read.head
		}
		m.read = read{}
	}
}

// unknown answers a check of the token that revision 1 has issued, once the view has
// reached what was read.
func (w *cluster) unknown(r int) {
	m := &w.rs[r]
	if !m.check.ready || m.view() < m.check.need {
		return
	}
	if m.view() == 0 {
		w.wrong = fmt.Sprintf("replica %d says that it does not know the token, which was issued before it was asked", r+1)
	}
	m.check = check{}
}
