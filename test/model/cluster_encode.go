package model

import (
	"hash/maphash"

	"github.com/jobward/jobward/internal/lease"
)

// name gives 64 bits of a hash of what a state is from here on.
func (w *cluster) name(n *namer) uint64 {
	n.buf[0] = w.append(n.buf[0][:0], n)
	return maphash.Bytes(n.seed, n.buf[0])
}

func (w *cluster) append(b []byte, n *namer) []byte {
	naming := &lease.Naming{Term: w.cfg.term(), Renews: w.mayRenew(), Generation: func(g lease.Generation) uint64 { return uint64(g) }}
	b = append(b, byte(w.head), byte(w.effective), byte(w.last), byte(w.asks), byte(w.renews), byte(w.breaks), byte(w.crashes), byte(w.stops), byte(w.fences), byte(w.joins), byte(w.puts))
	for inc := int8(1); inc <= w.last; inc++ {
		rec := &w.recs[inc]
		b = append(b, byte(rec.is), byte(rec.applied), byte(rec.settled))
	}
	for r := range w.cfg.Replicas {
		b = w.appendMember(b, &w.rs[r], naming)
	}
	for rev := range w.receipts {
		b = w.appendAwait(b, &w.receipts[rev])
	}
	for i := range w.cfg.Holders {
		b = w.appendHolder(b, n, w.hs[i], naming)
	}
	return b
}

// ago gives how long ago it was, up to a bound after which it makes no difference.
func (w *cluster) ago(then, bound int) byte { return byte(min(w.tick-then, bound)) }

func (w *cluster) appendMember(b []byte, m *member, naming *lease.Naming) []byte {
	b = append(b, bit(m.up), byte(m.inc), bit(m.joined), byte(m.put.stage), byte(m.judged))
	if m.put.stage != idle {
		b = append(b, bit(m.put.joins), byte(m.put.inc), w.ago(m.put.at, w.cfg.Fence), byte(m.put.applied), byte(m.put.settled), byte(m.put.head), bit(m.put.refused))
	}
	for _, p := range []window{m.may, m.next} {
		if b = append(b, bit(p.ok)); p.ok {
			b = append(b, w.ago(p.sent, w.cfg.Fence), byte(p.need))
		}
	}
	for inc := int8(1); inc <= w.last; inc++ {
		at := byte(0)
		if m.seen[inc] != 0 {
			at = 1 + w.ago(m.seen[inc]-1, w.cfg.departedTicks())
		}
		b = append(b, at, bit(m.early[inc]))
	}
	b = append(b, bit(m.hasEarly), byte(m.read.stage), byte(m.read.head), bit(m.check.on), bit(m.check.fresh), bit(m.check.ready), byte(m.check.need))
	if m.g == nil {
		return append(b, 0)
	}
	return m.g.AppendState(append(b, 1), w.grantorNow(), naming)
}

func (w *cluster) appendAwait(b []byte, a *await) []byte {
	if !a.on {
		return append(b, 0)
	}
	b = append(b, 1, byte(a.by), bit(a.listed))
	if w.cfg.Timed {
		b = append(b, w.ago(a.at, w.cfg.boundTicks()))
	}
	if w.cfg.Timed && a.listed {
		b = append(b, w.ago(a.since, w.cfg.Fence))
	}
	if w.cfg.waitsOut() && a.listed {
		b = append(b, w.ago(a.since, w.cfg.departedTicks()))
	}
	for inc := int8(1); inc <= w.last; inc++ {
		p := &a.peers[inc]
		b = append(b, bit(p.waits))
		if !p.waits {
			continue
		}
		applied := byte(0)
		if p.applied != 0 {
			applied = 1 + w.ago(p.applied-1, w.cfg.termTicks())
		}
		b = append(b, applied)
		if w.cfg.Timed {
			b = append(b, w.ago(p.heard, w.cfg.Fence), byte(p.settled))
		}
	}
	return b
}

func (w *cluster) appendHolder(b []byte, n *namer, h *holder, naming *lease.Naming) []byte {
	era := h.h.Lease().Era
	b = append(b, byte(h.hellos), bit(h.carrying), bit(h.lapsed && h.over == era))
	b = h.h.AppendState(b, w.holderNow(), naming)
	n.pieces = n.pieces[:0]
	for _, e := range h.entries {
		n.pieces = append(n.pieces, []byte{byte(e.rev), bit(e.era == era)})
	}
	b = n.appendSet(b)
	for _, f := range h.flights {
		p := append(make([]byte, 0, 32), byte(f.to), bit(w.rs[f.to].life == f.life), byte(f.low), bit(f.answered), bit(f.tested), byte(f.joined))
		n.pieces = append(n.pieces, h.h.AppendFlight(p, naming, f.Flight, theKey))
	}
	b = n.appendSet(b)
	for x := range h.streams {
		st := &h.streams[x]
		if st.broken && len(st.up) == 0 && !w.live(st) {
			continue // nobody speaks or hears any more
		}
		b = append(b, byte(st.number), byte(st.to), bit(w.reaches(st)), bit(st.broken), bit(st.closed), bit(st.hello != nil), bit(x == len(h.streams)-1), bit(st.gen != 0))
		if st.hello != nil {
			b = append(b, bit(st.hello.Vouch), byte(st.hello.Applied))
		}
		b = append(b, byte(len(st.up)))
		for j := range st.up {
			b = st.up[j].AppendState(b, naming)
		}
		b = append(b, byte(len(st.down)))
		for j := range st.down {
			b = st.down[j].AppendState(b, naming)
		}
	}
	return b
}

// mayRenew tells whether a renewal, or an answer to one, may come yet.
func (w *cluster) mayRenew() bool {
	if w.renews > 0 {
		return true
	}
	for _, h := range w.hs[:w.cfg.Holders] {
		for x := range h.streams {
			for _, m := range h.streams[x].up {
				if m.Kind == lease.Renew {
					return true
				}
			}
			for _, m := range h.streams[x].down {
				if m.Kind == lease.Grant && m.Number > 0 {
					return true
				}
			}
		}
	}
	return false
}
