package pep

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// counts are the counters that are not kept elsewhere.
type counts struct {
	misses                                                       [numOutcomes]atomic.Uint64
	asked, joined, unjoinable, failed, denied                    atomic.Uint64
	installs, fenced, ended, uncacheable, stale                  atomic.Uint64
	invalidations, voided, acks, renewals, grants, lapses, opens atomic.Uint64
	carried, connects, connectErrors, refusals                   atomic.Uint64
}

// Counters are what a Decider has done since it was made. They only grow, except
// Entries, Bytes and Keys, which tell what is there now.
type Counters struct {
	// Hits were answered from the cache, Joined among them by waiting for another's
	// question.
	Hits, Joined uint64
	// Misses, by cause: nothing there; something changed; the token's own end; no lease.
	MissAbsent, MissInvalidated, MissExpired, MissLapsed uint64
	// Unjoinable questions were on their way already and could not be shared (R4).
	Unjoinable uint64
	// Asked is how many questions went to a PDP, Failed how many of them had no answer.
	// DeniedLapsed were denied because none could be asked and the lease was over.
	Asked, Failed, DeniedLapsed uint64

	// Installs is how many answers came into the cache. The others, by cause: something
	// changed meanwhile, or another lease; the token's end; the PDP said so; judged before
	// what was seen, and not given either.
	Installs, Fenced, Ended, Uncacheable, Stale uint64
	// Evictions made room, Expirations took out what was over.
	Evictions, Expirations uint64
	// Entries are the answers held, with those that are void and wait for the sweep;
	// Bytes is about what they take; Keys is on how many they rest.
	Entries, Bytes, Keys int64

	// Invalidations received, and the Voided entries; Acks sent.
	Invalidations, Voided, Acks uint64
	// Renewals asked for, Grants got; Lapses is how often the lease ran out.
	Renewals, Grants, Lapses uint64
	// Leases opened, and how many of them took the entries over.
	Leases, Carried uint64
	// Connects is how many streams were tried, ConnectErrors how many of them gave no
	// lease, HistoryRefused among those for a history that must not be believed (P6).
	Connects, ConnectErrors, HistoryRefused uint64
	// Reported is how many hits the PDP was told of, ReportsDropped how many were not
	// counted because too many different ones waited.
	Reported, ReportsDropped uint64
}

// Counters gives them as they are now.
func (d *Decider) Counters() Counters {
	c := &d.counts
	hits, reported, dropped := d.uses.totals()
	out := Counters{
		Hits: hits, Joined: c.joined.Load(),
		MissAbsent: c.misses[absent].Load(), MissInvalidated: c.misses[invalidated].Load(),
		MissExpired: c.misses[expired].Load(), MissLapsed: c.misses[lapsed].Load(),
		Unjoinable: c.unjoinable.Load(), Asked: c.asked.Load(), Failed: c.failed.Load(), DeniedLapsed: c.denied.Load(),
		Installs: c.installs.Load(), Fenced: c.fenced.Load(), Ended: c.ended.Load(), Uncacheable: c.uncacheable.Load(), Stale: c.stale.Load(),
		Invalidations: c.invalidations.Load(), Voided: c.voided.Load(), Acks: c.acks.Load(),
		Renewals: c.renewals.Load(), Grants: c.grants.Load(), Lapses: c.lapses.Load(), Leases: c.opens.Load(), Carried: c.carried.Load(),
		Connects: c.connects.Load(), ConnectErrors: c.connectErrors.Load(), HistoryRefused: c.refusals.Load(),
		Reported: reported, ReportsDropped: dropped,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.table
	out.Evictions, out.Expirations = t.evicted, t.expired
	out.Entries, out.Bytes, out.Keys = int64(t.entries), t.bytes, int64(len(t.keyAt)+len(t.jobs)+min(t.instances, 1))
	return out
}

// misses gives the sum over all causes.
func (c *counts) allMisses() (n uint64) {
	for i := range c.misses {
		n += c.misses[i].Load()
	}
	return n
}

// Status is how a Decider stands to its PDP.
type Status struct {
	// Live says that there is a lease now: answers may come from the cache. Remaining is
	// what is left of it, Term what it was granted for.
	Live            bool
	Remaining, Term time.Duration
	// Endpoint is the PDP that is asked, empty when there is none. Connected says that the
	// stream of the lease stands; Moving that the PDP is about to stop.
	Endpoint          string
	Connected, Moving bool
	// Generation is the lease's, zero before the first one.
	Generation lease.Generation
	// Applied is the revision that the entries are true at, Head the newest one heard of.
	Applied, Head authz.Revision
	// Seen is the highest point of the PDP's history that was ever seen.
	Seen lease.Mark
	// Refused is why the last PDP was not believed; nil when none was refused since the
	// last lease.
	Refused error
}

// Status tells it as it is now.
func (d *Decider) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	s := Status{
		Remaining: max(d.lease.Load().Ends.Sub(now), 0), Generation: d.holder.Generation(),
		Applied: d.holder.Applied(), Head: max(d.head, d.holder.Applied()), Seen: d.holder.Seen(), Refused: d.refused,
	}
	s.Live = s.Remaining > 0
	if l := d.current; l != nil {
		s.Term, s.Connected, s.Moving = l.term, !l.broken, l.moving
	}
	if l := d.target(); l != nil {
		s.Endpoint = l.endpoint
	}
	return s
}

// Ready reports whether there is a lease.
func (d *Decider) Ready() bool { return d.now() < d.lease.Load().Ends }

// WaitReady waits for a lease, or for the end of ctx.
func (d *Decider) WaitReady(ctx context.Context) error {
	for {
		d.mu.Lock()
		changed, closed := d.changed, d.closed
		d.mu.Unlock()
		switch {
		case closed:
			return authz.Errorf(authz.KindUnavailable, CodeClosed, "this client was closed")
		case d.Ready():
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return canceled(ctx)
		}
	}
}
