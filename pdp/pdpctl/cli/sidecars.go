package cli

import (
	"fmt"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type sidecarsCmd struct {
	Wide bool `help:"Show everything that is known, on lines that are longer than a terminal."`
}

// Help explains the columns.
func (*sidecarsCmd) Help() string {
	return `LEASE LEFT is how long the sidecar may still believe its cache, unless it renews. BEHIND are the revisions that it has yet to confirm that its
entries are true at; ENTRIES the decisions that it holds, HIT RATE the share of questions that it answered from them, KEYS what its answers rest
on: a change of something else is not even sent. These are as of its last renewal. TO DENY is how long a dead token was last allowed there, which
the canary measures (see canary-project of the PDP).

Of several PDPs on one store, each knows the sidecars that hold a lease of it: these are those of the PDP that answers. "pdpctl replicas" lists the
others.`
}

// Run lists the sidecars.
func (c *sidecarsCmd) Run(s *session) error {
	client, err := s.watches()
	if err != nil {
		return err
	}
	resp, err := call(s, client.ListSidecars, &jobwardv1.ListSidecarsRequest{})
	if err != nil {
		return err
	}
	name, others, several := "", 0, false
	if s.globals.Output == "table" {
		name, others, several = s.several()
	}
	return s.print(resp, func(t *table) {
		switch {
		case len(resp.GetSidecars()) == 0:
			t.linef("no sidecar holds a lease")
		case c.Wide:
			t.row("NAME", "CALLER", "CONNECTED", "LEASE LEFT", "APPLIED", "BEHIND", "UNCONFIRMED", "ENTRIES", "HITS", "MISSES", "HIT RATE", "KEYS", "TO DENY", "GENERATION", "VERSION", "SINCE")
		default:
			t.row("NAME", "LEASE LEFT", "BEHIND", "ENTRIES", "HIT RATE", "KEYS", "TO DENY", "SINCE")
		}
		for _, x := range resp.GetSidecars() {
			t.sidecar(x, resp.GetHeadRevision(), c.Wide)
		}
		t.linef("head revision %d, leases run for %v", resp.GetHeadRevision(), resp.GetTerm().AsDuration())
		if q := resp.GetQuietRemaining(); q != nil {
			t.linef("leases from before the PDP's start may run for another %v: until then no receipt is effective", brief(q))
		}
		if several {
			t.linef("these are the sidecars of %s; other PDPs: %d (pdpctl replicas)", name, others)
		}
	})
}

func (t *table) sidecar(c *jobwardv1.Sidecar, head uint64, wide bool) {
	rate := "-"
	if asked := c.GetHits() + c.GetMisses(); asked > 0 {
		rate = fmt.Sprintf("%.1f%%", 100*float64(c.GetHits())/float64(asked))
	}
	keys := fmt.Sprint(c.GetInterestKeys())
	if c.GetInterestInBuckets() {
		keys += " buckets"
	}
	toDeny := "-"
	if d := c.GetTimeToDeny(); d != nil {
		toDeny = brief(d).String()
	}
	left, behind := brief(c.GetLeaseRemaining()).String(), head-min(head, c.GetAppliedRevision())
	if wide {
		t.row(or(c.GetName()), c.GetCaller(), c.GetConnected(), left, c.GetAppliedRevision(), behind, c.GetUnacknowledged(), c.GetEntries(),
			c.GetHits(), c.GetMisses(), rate, keys, toDeny, c.GetGeneration(), or(c.GetVersion()), clock(c.GetConnectTime()))
		return
	}
	if !c.GetConnected() {
		left += ", not connected"
	}
	t.row(or(c.GetName()), left, behind, c.GetEntries(), rate, keys, toDeny, clock(c.GetConnectTime()))
}
