package cli

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// replicasText is a line such as "other PDPs: pdp-2 settled, pdp-3 gone; bound 12.4s". It is empty where there is one PDP. Where no cache is told of
// it says how long the receipt took, too.
func replicasText(r *jobwardv1.Receipt) string {
	if len(r.GetReplicas()) == 0 {
		return ""
	}
	var parts []string
	for _, p := range r.GetReplicas() {
		parts = append(parts, fmt.Sprintf("%s %s", replicaName(p.GetName(), p.GetIncarnation()), enum("REPLICA_OUTCOME", p.GetOutcome())))
	}
	text := "other PDPs: " + strings.Join(parts, ", ")
	if cachesText(r) == "" {
		text += fmt.Sprintf("; waited %v", brief(r.GetElapsed()))
	}
	if r.GetBound() != nil {
		text += fmt.Sprintf("; bound %v", brief(r.GetBound()))
	}
	return text
}

// standingText is everything about caches and PDPs in one line.
func standingText(r *jobwardv1.Receipt) string {
	return strings.Join(slices.DeleteFunc([]string{cachesText(r), replicasText(r)}, func(s string) bool { return s == "" }), "; ")
}

// replicaName is what a PDP is called. One without a name stands for the leases from before a migration or a restore, or was never given any.
func replicaName(name, incarnation string) string {
	if name != "" {
		return name
	}
	return shortIncarnation(incarnation)
}

// shortIncarnation is as much of an incarnation as people need to tell two apart.
func shortIncarnation(hex string) string { return hex[:min(len(hex), 8)] }

// weight orders outcomes: of two receipts the one of which more is still to come counts.
func weight(o jobwardv1.ReplicaOutcome) int {
	switch o {
	case jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED:
		return 1
	case jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_GONE:
		return 2
	case jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_FENCED:
		return 3
	default: // pending, and what this program does not know
		return 4
	}
}

// addReplicas joins the PDPs of a receipt to those of the receipts before it. Receipts that are awaited one after the other can take as long as all of
// their bounds together.
func addReplicas(all, r *jobwardv1.Receipt) {
	for _, p := range r.GetReplicas() {
		i := slices.IndexFunc(all.Replicas, func(q *jobwardv1.ReplicaStanding) bool { return q.GetIncarnation() == p.GetIncarnation() })
		switch {
		case i < 0:
			all.Replicas = append(all.Replicas, proto.CloneOf(p))
		case weight(p.GetOutcome()) > weight(all.Replicas[i].GetOutcome()):
			all.Replicas[i].Outcome = p.GetOutcome()
		}
	}
	if r.GetBound() != nil {
		all.Bound = durationpb.New(all.GetBound().AsDuration() + r.GetBound().AsDuration())
	}
}
