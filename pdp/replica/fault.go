package replica

// Fault is a bug that tests plant, to see that they catch it. The zero Fault is none, and
// what the programs use.
type Fault uint8

// The faults.
const (
	NoFault Fault = iota
	// FaultFenceWaitOnly waits for the fence of a peer and not for the leases that it may
	// have granted until then (R8, "F only").
	FaultFenceWaitOnly
	// FaultForgetsDeparted does not count departed incarnations (R8).
	FaultForgetsDeparted
	// FaultServesOn answers on after it was fenced (M3).
	FaultServesOn
	// FaultResumes takes over a registration that stands under its name (M3).
	FaultResumes
	// FaultListOld takes the list that was read for an earlier receipt (M5).
	FaultListOld
	// FaultPendingForever counts every answer of a peer, also that it still waits for a
	// revision which it has not applied (M8). It does harm when the peer has FaultHeadIgnored,
	// as else it falls silent.
	FaultPendingForever
	// FaultHeadIgnored serves after a renewal whatever the view has reached (M2).
	FaultHeadIgnored
	// FaultWaitsForLoading has receipts wait for PDPs that load their view (M9).
	FaultWaitsForLoading
	// FaultKeepsLeases does not cut its generations when it was fenced (M3).
	FaultKeepsLeases
	// FaultAppliedIsSettled takes a peer that has applied a revision for one whose sidecars
	// have let go (M6).
	FaultAppliedIsSettled
	// FaultAppliedIsPending waits for an answer of a peer that is known to have applied the
	// revision, and for the fence when there is none (M8).
	FaultAppliedIsPending
	// FaultAnswerCounts lets a renewal serve from when it was answered, not from when it was
	// sent (M1).
	FaultAnswerCounts
)
