package lease

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"

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
	rs := make([]receipt, 0, len(g.receipts.of)) // at once, as there will be millions of clones
	for rev, r := range g.receipts.of {
		rs = append(rs, *r)
		c.receipts.of[rev] = &rs[len(rs)-1]
	}
	c.tenures = make(map[Generation]*tenure, len(g.tenures))
	c.interests.of = make(map[authz.Key]tenants, len(g.interests.of))
	c.order = make([]*tenure, len(g.order))
	ts := make([]tenure, len(g.order))
	for i, old := range g.order {
		ts[i] = *old
		t := &ts[i]
		t.rests = maps.Clone(t.rests)
		t.outbox = slices.Clip(t.outbox)
		t.owed = slices.Clone(t.owed)
		for j := range t.owed {
			if r := t.owed[j].receipt; r != nil && c.receipts.of[r.revision] != nil {
				t.owed[j].receipt = c.receipts.of[r.revision]
			}
		}
		t.waits = slices.Clone(t.waits)
		for j, r := range t.waits {
			t.waits[j] = c.receipts.of[r.revision]
		}
		c.tenures[t.id], c.order[i] = t, t
	}
	// The index is copied as it is, not made anew: an exploration should see its bugs.
	for k, of := range g.interests.of {
		var mine tenants
		if of.one != nil {
			mine.one = c.copyOf(of.one)
		}
		if of.more != nil {
			mine.more = make(map[*tenure]struct{}, len(of.more))
		}
		for t := range of.more {
			mine.more[c.copyOf(t)] = struct{}{}
		}
		c.interests.of[k] = mine
	}
	return &c
}

// copyOf finds the copy of t in a clone; of one that has ended, which a bug may have left
// in the index, t itself.
func (g *Grantor) copyOf(t *tenure) *tenure {
	if i := slices.IndexFunc(g.order, func(c *tenure) bool { return c.opened == t.opened }); i >= 0 {
		return g.order[i]
	}
	return t
}

// Naming says how a state is named, for the AppendState methods: by what the behaviour
// of a machine depends on from now on. Times are taken as they stand to now. The fields
// that say what cannot happen any more leave out what matters to nothing else.
type Naming struct {
	// Generation gives generations their names.
	Generation func(Generation) uint64
	// Term is that of all leases.
	Term time.Duration
	// Forgets: there may be a Forget yet; else numbers of answers have no effect. Renews:
	// there may be a Renew or the answer to one; else it does not matter when an ack is
	// late, nor which renewals were asked for.
	Forgets, Renews bool
}

// AppendState appends the state. Only whether the head of a history is behind a mark
// would depend on the revision in it, so marks count as an epoch: what is explored has
// no PDP that goes back.
func (g *Grantor) AppendState(b []byte, now Instant, n *Naming) []byte {
	b = appendInts(b, g.head.Epoch, uint64(g.head.Revision), uint64(g.recent.from), uint64(len(g.recent.changes)), left(g.cfg.Quiet, now))
	ts := slices.Clone(g.order)
	slices.SortFunc(ts, func(x, y *tenure) int { return cmp.Compare(n.Generation(x.id), n.Generation(y.id)) })
	keys := make([]authz.Key, 0, 8)
	for _, t := range ts {
		b = appendInts(b, n.Generation(t.id), left(t.ends, now), flags(t.cut, t.buckets, t.told < g.head.Revision))
		keys = keys[:0]
		for k := range t.rests {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = appendKeys(b, keys)
		for _, k := range keys {
			b = appendInts(b, uint64(t.rests[k].judged))
			if n.Forgets {
				b = appendInts(b, t.rests[k].number)
			}
		}
		if n.Forgets {
			b = appendInts(b, t.answers)
		}
		b = t.appendOwed(b, now, n, g.cfg.Term)
		b = append(b, byte(len(t.outbox)))
		for i := range t.outbox {
			b = t.outbox[i].AppendState(b, n)
		}
	}
	return b
}

func (t *tenure) appendOwed(b []byte, now Instant, n *Naming, term time.Duration) []byte {
	b = append(b, byte(len(t.owed)))
	for i := range t.owed {
		o := &t.owed[i]
		b = appendInts(b, uint64(o.revision), left(o.until, now), flags(o.counted, o.revision <= t.sent, o.revision <= t.queued))
		if n.Renews {
			b = appendInts(b, uint64(max(min(now.Sub(o.since), term+1), 0)))
		}
		b = appendKeys(b, o.keys)
	}
	b = append(b, byte(len(t.waits)))
	for _, r := range t.waits {
		b = appendInts(b, uint64(r.revision))
	}
	return b
}

// AppendState appends the message.
func (m *Message) AppendState(b []byte, n *Naming) []byte {
	b = appendInts(b, uint64(m.Kind), n.Generation(m.Generation), m.Number, uint64(m.Term), flags(m.Vouched), m.Head.Epoch, m.Rules)
	if m.Kind != Welcome {
		b = appendInts(b, uint64(m.Revision))
	}
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

// AppendState appends the state, all but eras, which matter to the entries of the shell
// only, and what matters to flights only, for which there is AppendFlight.
func (h *Holder) AppendState(b []byte, now Instant, n *Naming) []byte {
	b = appendInts(b, h.seen.Epoch, uint64(h.applied))
	if n.Forgets {
		b = appendInts(b, h.number)
	}
	b = appendInts(b, n.Generation(h.cur.id), left(h.cur.ends, now), flags(h.cur.sealed), h.cur.rules)
	if n.Renews && (h.cur.ends > now || h.cfg.Fault == FaultLateGrant) {
		b = h.cur.appendAsked(appendInts(b, h.cur.next), now, n)
	}
	j := h.joining
	if j == nil {
		return append(b, 0)
	}
	b = appendInts(b, 1, n.Generation(j.id), flags(j.offered, j.vouched), j.rules)
	return j.appendAsked(b, now, n)
}

// appendAsked appends what may be granted, and how long the lease would be. Once it would
// be over it does not matter how long ago it was asked for.
func (t *held) appendAsked(b []byte, now Instant, n *Naming) []byte {
	b = append(b, byte(len(t.asked)))
	for _, a := range t.asked {
		b = appendInts(b, a.number, left(a.at.Add(HolderTerm(n.Term)), now))
	}
	return b
}

// AppendFlight appends what it depends on whether a flight can be joined, and what
// becomes of its answer, which rests on keys and is judged at or after f.Applied.
func (h *Holder) AppendFlight(b []byte, n *Naming, f Flight, keys []authz.Key) []byte {
	return appendInts(b, n.Generation(f.Generation), flags(f.serial == h.serial), uint64(h.barrier(f, keys)))
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

// Barred reports that an answer to f which was judged at rev can't be installed any more.
func (h *Holder) Barred(f Flight, rev authz.Revision, keys []authz.Key) bool {
	return rev < h.barrier(f, keys)
}
