package model

import (
	"bytes"
	"hash/maphash"
	"slices"

	"github.com/jobward/jobward/internal/lease"
)

// namer names states: two that behave alike from here on have one name, for which it
// takes the smaller one of the two orders of the holders.
type namer struct {
	seed   maphash.Seed
	buf    [2][]byte
	pieces [][]byte
}

func newNamer() *namer { return &namer{seed: maphash.MakeSeed()} }

// name gives 64 bits of a hash. That two of ten million states have the same by chance,
// so that one of them is not explored, has a probability below one in 300,000.
func (w *world) name(n *namer) uint64 {
	n.buf[0] = n.append(n.buf[0][:0], w, [maxHolders]int{0, 1})
	if w.cfg.Holders < 2 {
		return maphash.Bytes(n.seed, n.buf[0])
	}
	n.buf[1] = n.append(n.buf[1][:0], w, [maxHolders]int{1, 0})
	if bytes.Compare(n.buf[0], n.buf[1]) < 0 {
		return maphash.Bytes(n.seed, n.buf[0])
	}
	return maphash.Bytes(n.seed, n.buf[1])
}

// append encodes a world with its holders in an order.
func (n *namer) append(b []byte, w *world, order [maxHolders]int) []byte {
	name := &lease.Naming{Term: term, Forgets: w.mayForget(), Renews: w.mayRenew(), Generation: func(g lease.Generation) uint64 {
		if g == 0 {
			return 0
		}
		place := uint64(0)
		if order[0] != int(g>>8)-1 {
			place = 8
		}
		return place + uint64(g&0xff)
	}}
	b = append(b, byte(w.view), byte(w.effective), byte(w.asks), byte(w.renews), byte(w.breaks), byte(w.restarts), byte(w.evicts), byte(w.leaves), byte(w.beats))
	b = w.g.AppendState(b, w.grantorNow(), name)
	for _, i := range order[:w.cfg.Holders] {
		b = n.appendHolder(b, w, w.hs[i], name)
	}
	return b
}

func (n *namer) appendHolder(b []byte, w *world, h *holder, name *lease.Naming) []byte {
	if h.out {
		return append(b, 0xff)
	}
	b = append(b, 0xfe, byte(h.hellos), bit(h.carrying), bit(h.lapsed && h.over == h.h.Lease().Era), byte(len(h.sweep)))
	for _, k := range h.sweep {
		b = append(b, byte(k))
	}
	b = h.h.AppendState(b, w.holderNow(), name)
	// Entries and flights are sets.
	n.pieces = n.pieces[:0]
	era := h.h.Lease().Era
	for _, e := range h.entries {
		n.pieces = append(n.pieces, []byte{byte(e.question), byte(e.rev), bit(e.era == era)})
	}
	b = n.appendSet(b)
	for _, f := range h.flights {
		p := append(make([]byte, 0, 32), byte(f.question), byte(f.low), bit(f.answered), byte(f.joined))
		if name.Forgets {
			p = append(p, byte(f.number))
		}
		n.pieces = append(n.pieces, h.h.AppendFlight(p, name, f.Flight, w.cfg.Questions[f.question]))
	}
	b = n.appendSet(b)
	for x := range h.streams {
		st := &h.streams[x]
		if st.broken && len(st.up) == 0 && (st.gen == 0 || !w.live(st.gen)) {
			continue // nobody speaks or hears any more
		}
		b = append(b, byte(st.number), bit(st.broken), bit(st.closed), bit(st.hello != nil), bit(x == len(h.streams)-1), bit(st.gen != 0))
		if st.hello != nil {
			b = append(b, bit(st.hello.Vouch), byte(st.hello.Applied), byte(len(st.hello.Keys)))
			for _, k := range st.hello.Keys {
				b = append(b, byte(k))
			}
		}
		b = append(b, byte(len(st.up)))
		for j := range st.up {
			b = st.up[j].AppendState(b, name)
		}
		b = append(b, byte(len(st.down)))
		for j := range st.down {
			b = st.down[j].AppendState(b, name)
		}
	}
	return b
}

func (w *world) live(g lease.Generation) bool {
	_, ok := w.g.Info(g)
	return ok
}

func (n *namer) appendSet(b []byte) []byte {
	slices.SortFunc(n.pieces, bytes.Compare)
	b = append(b, byte(len(n.pieces)))
	for _, p := range n.pieces {
		b = append(b, p...)
	}
	n.pieces = n.pieces[:0]
	return b
}

func bit(is bool) byte {
	if is {
		return 1
	}
	return 0
}

// mayForget and mayRenew tell whether such a message, or an answer to it, may come yet.
func (w *world) mayForget() bool { return w.evicts > 0 || w.anyUp(lease.Forget) }

func (w *world) mayRenew() bool {
	if w.renews > 0 || w.anyUp(lease.Renew) {
		return true
	}
	for _, h := range w.hs[:w.cfg.Holders] {
		for x := range h.streams {
			for j := range h.streams[x].down {
				if m := &h.streams[x].down[j]; m.Kind == lease.Grant && m.Number > 0 {
					return true
				}
			}
		}
	}
	return false
}

func (w *world) anyUp(kind lease.Kind) bool {
	for _, h := range w.hs[:w.cfg.Holders] {
		for x := range h.streams {
			for j := range h.streams[x].up {
				if h.streams[x].up[j].Kind == kind {
					return true
				}
			}
		}
	}
	return false
}
