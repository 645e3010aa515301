package cli

import (
	"context"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

type replicasCmd struct {
	Wide bool `help:"Show incarnations whole."`
}

// Help explains the columns.
func (*replicasCmd) Help() string {
	return `The PDPs that have one store open are asked about at one of them: name another with --address. INCARNATION is one life of a PDP: one that was
shut out by the others comes back with a new one. STATE is, of the PDP that answers, whether it may answer checks, and why not; of the others, that
they are registered: ask them themselves. A PDP that has departed answers nobody, and stays in the list until the leases that it may have granted are
over, so that receipts wait for them. APPLIED is the revision that a PDP had in its view, and SETTLED the one up to which all its sidecars had let go,
when it last renewed its registration. The role admin is needed. A PDP with a store of its own has no replicas, and says so.`
}

// Run lists the PDPs.
func (c *replicasCmd) Run(s *session) error {
	client, err := s.peers()
	if err != nil {
		return err
	}
	resp, err := call(s, client.ListReplicas, &jobwardv1.ListReplicasRequest{})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.row("NAME", "INCARNATION", "ADDRESS", "APPLIED", "SETTLED", "STATE", "THIS ONE")
		why := ""
		for _, r := range resp.GetReplicas() {
			id := r.GetIncarnation()
			if !c.Wide {
				id = shortIncarnation(id)
			}
			stands := "registered"
			switch {
			case r.GetDeparted():
				stands = "departed"
			case r.GetProblem() != nil:
				stands, why = "does not answer", r.GetProblem().GetMessage()
			case r.GetSelf():
				stands = "answers"
			}
			self := "-"
			if r.GetSelf() {
				self = "yes"
			}
			t.row(or(r.GetName()), id, or(r.GetAddress()), or(r.GetAppliedRevision()), or(r.GetSettledRevision()), stands, self)
		}
		if why != "" {
			t.linef("%s", why)
		}
	})
}

// lookTime is how long a verb that is about something else looks whether there are several PDPs. The list is in etcd, which may be away.
const lookTime = 2 * time.Second

// several tells which PDP answers and how many others there are. It is false where there is one, or it cannot be had.
func (s *session) several() (name string, others int, ok bool) {
	client, err := s.peers()
	if err != nil {
		return "", 0, false
	}
	ctx, cancel := context.WithTimeout(s.ctx, min(lookTime, s.globals.Timeout))
	defer cancel()
	resp, err := client.ListReplicas(ctx, &jobwardv1.ListReplicasRequest{})
	if err != nil {
		return "", 0, false
	}
	for _, r := range resp.GetReplicas() {
		switch {
		case r.GetSelf():
			name, ok = replicaName(r.GetName(), r.GetIncarnation()), true
		case !r.GetDeparted():
			others++
		}
	}
	return name, others, ok
}

// whyFenced tells why a PDP, one of several, may not answer, or "" when it may or does not say. A question about nothing is what it says that to.
func (s *session) whyFenced() string {
	client, err := s.decisions()
	if err != nil {
		return ""
	}
	_, err = call(s, client.Check, &jobwardv1.CheckRequest{TokenDigest: authz.Nobody[:], TargetProjectId: 1, Permission: "read_releases", Surface: jobwardv1.Surface_SURFACE_REST})
	if err == nil {
		return ""
	}
	if e := wire.AsError(err); e.Code == state.CodeFenced {
		return e.Message
	}
	return ""
}
