package lease

import "github.com/jobward/jobward/pdp/authz"

// Receipt says who has let go of what changed at a revision.
type Receipt struct {
	Revision authz.Revision
	// Acked let go, or were released; Lapsed have seen their lease end; Pending are still
	// waited for.
	Acked, Lapsed, Pending int
	// Effective: nobody is waited for, and no earlier incarnation's lease can run (L8, L9).
	Effective bool
	// Quiet is until when leases of earlier incarnations are waited for.
	Quiet Instant
}

// keptReceipts is how many receipts that are complete are kept for their counts.
const keptReceipts = 4096

// receipt counts for one revision. It is pending as long as somebody is waited for.
type receipt struct {
	revision               authz.Revision
	acked, lapsed, pending int
	changed                func(authz.Revision) // may be nil
}

func (r *receipt) settle(how func(*receipt)) {
	if r != nil {
		r.pending--
		how(r)
		if r.changed != nil {
			r.changed(r.revision)
		}
	}
}

// receipts are those of the newest changes that concerned anybody, oldest first in
// order.
type receipts struct {
	of    map[authz.Revision]*receipt
	order []authz.Revision
}

func (rs *receipts) add(r *receipt) {
	rs.of[r.revision] = r
	rs.order = append(rs.order, r.revision)
	// One that is still waited for is never dropped: its wait ends within a term.
	for len(rs.order) > keptReceipts && rs.of[rs.order[0]].pending == 0 {
		delete(rs.of, rs.order[0])
		rs.order = rs.order[1:]
	}
}

// Receipt tells how far the change at rev has got, whoever asks and however often
// (R6). rev must have been dispatched. What has lapsed by now counts as lapsed after
// the next [Grantor.Tick].
func (g *Grantor) Receipt(now Instant, rev authz.Revision) Receipt {
	out := Receipt{Revision: rev, Quiet: g.cfg.Quiet}
	if r := g.receipts.of[rev]; r != nil {
		out.Acked, out.Lapsed, out.Pending = r.acked, r.lapsed, r.pending
	}
	out.Effective = out.Pending == 0 && (now >= g.cfg.Quiet || g.cfg.Fault == FaultNoQuiet) && rev <= g.head.Revision
	return out
}

// recent are the keys of the newest changes, to judge late answers and carried entries
// by.
type recent struct {
	// from: every change after this revision that had keys is in changes, oldest first.
	from    authz.Revision
	changes []Change
	keys    int
	max     int
}

// Change is a committed change: its revision, and the keys that it changed.
type Change struct {
	Revision authz.Revision
	Keys     []authz.Key
}

func (r *recent) add(rev authz.Revision, keys []authz.Key) {
	if len(keys) == 0 {
		return
	}
	r.changes = append(r.changes, Change{rev, keys})
	r.keys += len(keys)
	for r.keys > r.max {
		r.from = r.changes[0].Revision
		r.keys -= len(r.changes[0].Keys)
		r.changes = r.changes[1:]
	}
}

// meets reports whether a change after rev touched one of keys, or may have.
func (r *recent) meets(rev authz.Revision, keys []authz.Key) bool {
	if rev < r.from {
		return len(keys) > 0
	}
	for i := len(r.changes) - 1; i >= 0 && r.changes[i].Revision > rev; i-- {
		for _, k := range r.changes[i].Keys {
			for _, mine := range keys {
				if k == mine {
					return true
				}
			}
		}
	}
	return false
}

// meet gives the keys that t rests on and that changed after rev, which is not before
// from.
func (r *recent) meet(t *tenure, rev authz.Revision) []authz.Key {
	var met []authz.Key
	seen := map[authz.Key]bool{}
	for i := len(r.changes) - 1; i >= 0 && r.changes[i].Revision > rev; i-- {
		for _, k := range r.changes[i].Keys {
			if _, ok := t.rests[k]; ok && !seen[k] {
				seen[k] = true
				met = append(met, k)
			}
		}
	}
	return met
}
