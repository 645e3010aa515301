package cli

import (
	"fmt"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type sidecarsCmd struct{}

// Run lists the sidecars.
func (sidecarsCmd) Run(s *session) error {
	client, err := s.watches()
	if err != nil {
		return err
	}
	resp, err := call(s, client.ListSidecars, &jobwardv1.ListSidecarsRequest{})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		if len(resp.GetSidecars()) == 0 {
			t.linef("no sidecar holds a lease")
		} else {
			t.row("NAME", "CALLER", "CONNECTED", "LEASE LEFT", "APPLIED", "LAG", "ENTRIES", "HIT RATE", "UNACKED", "KEYS", "TIME TO DENY", "VERSION", "SINCE")
		}
		for _, c := range resp.GetSidecars() {
			t.sidecar(c, resp.GetHeadRevision())
		}
		t.linef("head revision %d, leases run for %v", resp.GetHeadRevision(), resp.GetTerm().AsDuration())
		if q := resp.GetQuietRemaining(); q != nil {
			t.linef("leases from before the PDP's start may run for another %v: until then no receipt is effective", brief(q))
		}
	})
}

func (t *table) sidecar(c *jobwardv1.Sidecar, head uint64) {
	connected := "yes"
	if !c.GetConnected() {
		connected = "no, lease runs out"
	}
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
	t.row(or(c.GetName()), c.GetCaller(), connected, brief(c.GetLeaseRemaining()), c.GetAppliedRevision(), head-min(head, c.GetAppliedRevision()),
		c.GetEntries(), rate, c.GetUnacknowledged(), keys, toDeny, or(c.GetVersion()), clock(c.GetConnectTime()))
}
