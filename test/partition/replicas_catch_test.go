package partition

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/replica"
)

// bug is a plant with the shortest story in which it does harm. Sidecar 0 holds the job and knows PDP 0 only; after the story PDP 1 revokes.
type bug struct {
	name  string
	at    int // the PDP that has the plant, or -1 for sidecar 0
	plant plant
	story func(r *replicas)
	asked int // who is asked after the receipt, as in replicas.conn
}

func bugs() []bug {
	away := func(r *replicas) { r.mesh.part([]int{sideAt(0)}, allPDPs) }
	killed := func(r *replicas) { r.pdps[0].end(r.t, syscall.SIGKILL) }
	return []bug{
		{name: "a PDP that has the change is taken for one whose sidecars have let go", at: 1, plant: plant{Replica: replica.FaultAppliedIsSettled}, story: away},
		{name: "a PDP serves on after it was fenced", at: 0, plant: plant{Replica: replica.FaultServesOn}, asked: of, story: func(r *replicas) {
			// It learns that it was fenced, and the next time does not.
			d := r.pdps[0]
			heard := func() int { return len(d.log.Lines("the others have fenced it")) }
			before := heard()
			d.freeze(r.t)
			r.fenced()
			d.thaw()
			eventually(r.t, "that a PDP hears of its fence", func() bool { return heard() > before }, d.log.Tail)
			token := r.pdps[1].issue(fmt.Sprint("fresh-", time.Now().UnixNano()))
			eventually(r.t, "that it is back", func() bool { return r.verdict(d.conn, token) == allowed }, d.log.Tail)
			r.mesh.part([]int{pdpAt(0)}, append([]int{pdpAt(1), pdpAt(2)}, members...))
		}},
		{name: "a sidecar does not look at its lease", at: -1, plant: plant{Holder: lease.FaultNoLease}, story: away},
		{name: "a receipt does not wait for the leases of a PDP that died", at: 1, plant: plant{Replica: replica.FaultFenceWaitOnly}, story: killed},
		{name: "a receipt does not count a PDP that another has fenced", at: 1, plant: plant{Replica: replica.FaultForgetsDeparted}, story: func(r *replicas) {
			killed(r)
			r.fenced()
		}},
	}
}

// fenced waits until PDP 2 has fenced PDP 0, which is silent.
func (r *replicas) fenced() {
	r.t.Helper()
	job := fmt.Sprint("other-", time.Now().UnixNano())
	r.pdps[2].issue(job)
	eventually(r.t, "a fence", func() bool {
		ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
		defer cancel()
		resp, _ := jobwardv1.NewTokenServiceClient(r.pdps[2].conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{job}})
		return slices.ContainsFunc(resp.GetReceipt().GetReplicas(), func(s *jobwardv1.ReplicaStanding) bool {
			return s.Name == "pdp-0" && (s.Outcome == jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_FENCED || s.Outcome == jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_GONE)
		})
	}, r.pdps[2].log.Tail)
}

// calm waits until receipts wait for nobody who died in an earlier story.
func (r *replicas) calm() {
	r.t.Helper()
	eventually(r.t, "a receipt without the dead", func() bool {
		job := fmt.Sprint("calm-", time.Now().UnixNano())
		r.pdps[1].issue(job)
		receipt := r.pdps[1].revoke(job, untilEffective)
		return receipt.Effective && !slices.ContainsFunc(receipt.Replicas, func(s *jobwardv1.ReplicaStanding) bool {
			return s.Outcome != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED
		})
	}, r.pdps[1].log.Tail)
}

// stale plays the story, and reports whether there is an allow after an effective receipt.
func (r *replicas) stale(b bug, p plant) bool {
	r.t.Helper()
	s := r.sides[0]
	s.end(r.t, syscall.SIGTERM)
	if b.at >= 0 {
		d := r.pdps[b.at]
		d.end(r.t, syscall.SIGTERM)
		d.plant = p
		d.start()
	} else {
		s.plant = p
	}
	r.mesh.part([]int{sideAt(0)}, []int{pdpAt(1), pdpAt(2)})
	s.start()
	r.calm()
	job := fmt.Sprint("held-", time.Now().UnixNano())
	token := r.pdps[1].issue(job)
	s.holds(token)
	b.story(r)
	receipt := r.pdps[1].revoke(job, untilEffective)
	for range tries {
		if !receipt.Effective {
			receipt = r.pdps[1].revoke(job, untilEffective)
		}
	}
	v := r.verdict(r.conn(b.asked), token)
	r.t.Logf("%s, planted: %t: effective %t after %v; then %v", b.name, p != plant{}, receipt.Effective, receipt.Elapsed.AsDuration().Round(time.Millisecond), v)
	r.mesh.heal()
	if b.at >= 0 {
		r.pdps[b.at].end(r.t, syscall.SIGTERM)
		r.pdps[b.at].plant = plant{}
	}
	s.plant = plant{}
	for _, d := range r.pdps {
		if d.gone() {
			d.start()
		}
	}
	return receipt.Effective && v == allowed
}

// TestReplicasCatch plants a bug for each line of R8 that can be seen from outside, and wants an allow after an effective receipt; the same story without the
// bug, which is played with more -rounds, has none.
func TestReplicasCatch(t *testing.T) {
	t.Parallel()
	r := newReplicas(t, "--lease-term=5s")
	for _, b := range bugs() {
		if *rounds > 1 && r.stale(b, plant{}) {
			t.Errorf("%s: without the bug there is an allow after the receipt", b.name)
		}
		found := false
		for n := 0; n < tries && !found; n++ {
			found = r.stale(b, b.plant)
		}
		if !found {
			t.Errorf("%s: not found out", b.name)
		}
	}
}
