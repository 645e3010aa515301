package lease

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
)

// What follows lets test/model explore every state that the machines can come into: a
// copy to try each step on, and a name for each state by which two that behave alike
// from here on are the same.

// Clone gives a copy that shares nothing that changes, except for what the functions in
// the GrantorConfig refer to.
func (g *Grantor) Clone() *Grantor {
	c := *g
	c.recent.changes = slices.Clip(g.recent.changes)
	c.ready = slices.Clip(g.ready)
	c.receipts = receipts{of: make(map[authz.Revision]*receipt, len(g.receipts.of)), order: slices.Clip(g.receipts.order)}
	for rev, r := range g.receipts.of {
		r := *r
		c.receipts.of[rev] = &r
	}
	c.tenures = make(map[Generation]*tenure, len(g.tenures))
	c.interests.of = make(map[authz.Key]tenants, len(g.interests.of))
	c.order = make([]*tenure, len(g.order))
	for i, t := range g.order {
		t := *t
		t.rests = maps.Clone(t.rests)
		t.outbox = slices.Clip(t.outbox)
		t.owed = slices.Clone(t.owed)
		for j := range t.owed {
			if r := t.owed[j].receipt; r != nil && c.receipts.of[r.revision] != nil {
				t.owed[j].receipt = c.receipts.of[r.revision]
			}
		}
		for k := range t.rests {
			c.interests.add(k, &t)
		}
		c.tenures[t.id], c.order[i] = &t, &t
	}
	return &c
}

// AppendState appends what the Grantor's behaviour from now on depends on: times as they
// stand to now, and generations by the names that name gives them. Figures that are only
// for people are left out.
func (g *Grantor) AppendState(b []byte, now Instant, name func(Generation) uint64) []byte {
	b = appendInts(b, uint64(g.head.Epoch), uint64(g.head.Revision), uint64(g.recent.from), uint64(len(g.recent.changes)), left(g.cfg.Quiet, now))
	ts := slices.Clone(g.order)
	slices.SortFunc(ts, func(x, y *tenure) int { return int(name(x.id)) - int(name(y.id)) })
	for _, t := range ts {
		b = appendInts(b, name(t.id), left(t.ends, now), flags(t.cut, t.buckets), t.answers, uint64(t.told), uint64(t.sent), uint64(t.queued))
		keys := make([]authz.Key, 0, 8)
		for k := range t.rests {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = appendKeys(b, keys)
		for _, k := range keys {
			b = appendInts(b, uint64(t.rests[k].judged), t.rests[k].number)
		}
		b = append(b, byte(len(t.owed)))
		for i := range t.owed {
			o := &t.owed[i]
			late := uint64(max(min(now.Sub(o.since), g.cfg.Term+1), 0))
			b = appendInts(b, uint64(o.revision), late, left(o.until, now), flags(o.counted))
			b = appendKeys(b, o.keys)
		}
		b = append(b, byte(len(t.outbox)))
		for i := range t.outbox {
			b = t.outbox[i].AppendState(b, name)
		}
	}
	return b
}

// AppendState appends the message, with its generation by name.
func (m *Message) AppendState(b []byte, name func(Generation) uint64) []byte {
	b = appendInts(b, uint64(m.Kind), name(m.Generation), m.Number, uint64(m.Revision), uint64(m.Term), flags(m.Vouched),
		m.Head.Epoch, uint64(m.Head.Revision), m.Rules)
	return appendKeys(b, m.Keys)
}

// Clone gives a copy that shares nothing that changes.
func (h *Holder) Clone() *Holder {
	c := *h
	c.cur.asked = slices.Clone(h.cur.asked)
	if h.joining != nil {
		j := *h.joining
		j.asked = slices.Clone(j.asked)
		c.joining = &j
	}
	c.fences = slices.Clone(h.fences)
	return &c
}

// AppendState appends what the Holder's behaviour from now on depends on, given the
// flights that may still land: it has counters and fences only for them. Times are as
// they stand to now, eras as they stand to the one in force, and generations go by the
// names that name gives them.
func (h *Holder) AppendState(b []byte, now Instant, name func(Generation) uint64, flights []Flight) []byte {
	b = appendInts(b, h.seen.Epoch, uint64(h.seen.Revision), uint64(h.applied), h.number)
	b = h.cur.appendState(b, now, name)
	if h.joining == nil {
		b = append(b, 0)
	} else {
		b = h.joining.appendState(append(b, 1), now, name)
	}
	for _, f := range flights {
		b = h.AppendFlight(b, name, f)
	}
	return b
}

// AppendFlight appends what the landing of a flight depends on.
func (h *Holder) AppendFlight(b []byte, name func(Generation) uint64, f Flight) []byte {
	b = appendInts(b, name(f.Generation), uint64(f.Applied), f.Epoch, flags(f.serial == h.serial, f.serial < h.fenced))
	for i := range h.fences {
		if fe := &h.fences[i]; fe.serial > f.serial {
			b = appendKeys(binary.AppendUvarint(b, uint64(fe.revision)), fe.keys)
		}
	}
	return append(b, 0xff)
}

func (t *held) appendState(b []byte, now Instant, name func(Generation) uint64) []byte {
	b = appendInts(b, name(t.id), left(t.ends, now), t.next, flags(t.sealed, t.offered, t.vouched), t.rules)
	b = append(b, byte(len(t.asked)))
	for _, a := range t.asked {
		// What was asked for long ago gives a lease that is over, and no two of these differ.
		b = appendInts(b, a.number, left(a.at.Add(HolderTerm(MaxTerm)), now))
	}
	return b
}

// left is how long it is from now until then; nothing once it is over.
func left(then, now Instant) uint64 { return uint64(max(then.Sub(now), 0)) }

func flags(bits ...bool) (n uint64) {
	for i, b := range bits {
		if b {
			n |= 1 << i
		}
	}
	return n
}

func appendInts(b []byte, ns ...uint64) []byte {
	for _, n := range ns {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendKeys(b []byte, keys []authz.Key) []byte {
	b = append(b, byte(len(keys)))
	for _, k := range keys {
		b = binary.LittleEndian.AppendUint64(b, uint64(k))
	}
	return b
}
