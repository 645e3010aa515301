package model

import (
	"time"

	"github.com/jobward/jobward/internal/lease"
)

// ClusterConfig says how large a world of several replicas is. Every commit changes the
// one key that the one question rests on.
type ClusterConfig struct {
	Name              string
	Replicas, Holders int
	Commits           int
	// Term and Fence are T and F in ticks of 100 ms.
	Term, Fence int
	// Asks counts questions that may be kept, of all holders. Hellos counts those of one
	// holder after the first. Fences counts how often somebody fences a registration, and
	// Joins how often an incarnation registers, after those that the world begins with.
	Asks, Hellos, Renews, Breaks, Crashes, Stops, Fences, Joins int
	// Puts counts renewals of registrations.
	Puts int
	// Late: the last replica has not started when the world begins.
	Late bool
	// Any: each revision is committed, and its receipt waited for, at any replica. Else
	// one replica revokes: the last, or the first when the last is late.
	Any bool
	// Brief: what a replica puts is sent and stored in one step.
	Brief bool
	// TestFirst: whether a replica may answer is tested after the check began and before the
	// view is read that it is judged by, and not when it is answered.
	TestFirst bool
	// WaitsOut: a peer is waited out for as long as a departed record, from when it was
	// listed, and is not fenced: see the package comment.
	WaitsOut bool
	// Timed: registrations are fenced when the rule says so, and not at any time; whoever
	// waits for a receipt does at once what it may; and each receipt has to be effective
	// within the bound.
	Timed bool
	// Slack is how many ticks the bound is longer, to show how far a planted bug goes.
	Slack int
	// Unknown: replicas are asked about a token that the first commit issues (R16).
	Unknown bool
	// Fault, Grantor and Holder plant bugs.
	Fault           ClusterFault
	Grantor, Holder lease.Fault
}

// ClusterFault is a bug of the rules of R8, planted to see that it is found.
type ClusterFault uint8

// The faults.
const (
	NoClusterFault ClusterFault = iota
	// FaultUnreachable: a peer that says nothing is waited out and not fenced, and a
	// renewal does not ask that the view reaches the head it has read.
	FaultUnreachable
	// FaultDeparted: fencing removes the registration and leaves nothing in its place.
	FaultDeparted
	// FaultNewcomer: the list was read before the commit.
	FaultNewcomer
	// FaultFenceOnly: a departed record is waited out for F and not for T.
	FaultFenceOnly
	// FaultPeerEarly: a peer says that it has settled what it has only applied.
	FaultPeerEarly
	// FaultAnswersOn: a replica whose registration has run out goes on answering and
	// granting.
	FaultAnswersOn
	// FaultFromAnswer: F is counted from when the answer to a put came, not from sending it.
	FaultFromAnswer
	// FaultOverwrites: a replica that starts again takes its old registration over.
	FaultOverwrites
	// FaultBehind: a replica serves before its view has reached the head that its put read
	// (a stuck watch behind a live registration).
	FaultBehind
	// FaultPending: a peer that may not answer says "pending", which counts as an answer
	// for ever (the same, seen by who waits).
	FaultPending
	// FaultPendingOnce: "pending" of a peer that has not applied the revision counts as an
	// answer until F is over, and then F of silence is waited for.
	FaultPendingOnce
	// FaultPendingApplied: "pending" of a peer that has applied the revision counts as an
	// answer for ever, and when it falls silent it is fenced and waited out.
	FaultPendingApplied
	// FaultProgress: a registration that settles revisions below counts as an answer.
	FaultProgress
	// FaultResumeGap: a watch that starts again leaves a revision out: the view has it, the
	// sidecars are not told (R9).
	FaultResumeGap
	// FaultKeepsGenerations: who was fenced and has joined again renews the generations of
	// before.
	FaultKeepsGenerations
	// FaultJudgedBefore: whether a replica may answer is tested when it answers, and not
	// whether what it judged by was new enough.
	FaultJudgedBefore
	// FaultStaleRead: "unknown token" is said after a read of the head that was sent before
	// the check began (R16).
	FaultStaleRead
)

func (c *ClusterConfig) planted() bool { return c.Fault != 0 || c.Grantor != 0 || c.Holder != 0 }

func (c *ClusterConfig) term() time.Duration { return time.Duration(c.Term) * 100 * time.Millisecond }

// Waits in ticks of the fastest clock: (F+T)(1+ρ)+m, T(1+ρ)+m and (2F+T)(1+ρ)+m, rounded
// up, where a tick is 101 ms of it and 100 ms are one tick of F or T.
func (c *ClusterConfig) departedTicks() int {
	if c.Fault == FaultFenceOnly {
		return c.Fence + 1
	}
	return c.Fence + c.Term + 1
}

func (c *ClusterConfig) termTicks() int { return c.Term + 1 }

func (c *ClusterConfig) boundTicks() int {
	if c.WaitsOut {
		return c.departedTicks()
	}
	return 2*c.Fence + c.Term + 1 + c.Slack
}

func (c *ClusterConfig) waitsOut() bool { return c.WaitsOut || c.Fault == FaultUnreachable }

// revokes tells whether a replica may be the one that revokes.
func (c *ClusterConfig) revokes(r int) bool {
	return c.Any || c.Late && r == 0 || !c.Late && r == c.Replicas-1
}
