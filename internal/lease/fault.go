package lease

// Fault is a bug that tests plant, to see that they catch it. The zero Fault is none,
// and what the programs use. Each is one line of the last table of PROTOCOL.md or one
// that is easily made.
type Fault uint8

// The faults.
const (
	NoFault Fault = iota

	// Of the grantor.

	// FaultNoQuiet: receipts after a restart do not wait for forgotten leases (R1).
	FaultNoQuiet
	// FaultLateRenewal: a lapsed generation is renewed, its interest forgotten (R2). It does
	// harm together with FaultLateGrant: either side alone keeps a lapse final.
	FaultLateRenewal
	// FaultBrokenForgets: a broken stream or an overflow ends the generation (R2).
	FaultBrokenForgets
	// FaultInterestLate: an answer is not compared with what was dispatched meanwhile (R5).
	FaultInterestLate
	// FaultAckErases: an ack takes a key out of the interest although a later answer rests
	// on it (R5).
	FaultAckErases
	// FaultQueueSkips: a full queue drops the message and goes on.
	FaultQueueSkips
	// FaultResumeLate: carried entries are told of changes one revision too late (R3).
	FaultResumeLate

	// Of the holder.

	// FaultNoLease: the lease is not looked at when answering (P2).
	FaultNoLease
	// FaultAckEarly: the ack leaves before the entries are removed (R5).
	FaultAckEarly
	// FaultOpenFill: an answer is installed whatever was invalidated since (R5).
	FaultOpenFill
	// FaultOldGeneration: an answer is installed in a later generation (R3).
	FaultOldGeneration
	// FaultJoinAny: a check joins any flight for the same question (R4).
	FaultJoinAny
	// FaultFromReceipt: a lease is counted from when its grant arrived (R11).
	FaultFromReceipt
	// FaultLateGrant: a grant that arrives after the lapse is taken (R2).
	FaultLateGrant
	// FaultNoMark: the history of the PDP is not compared (R13).
	FaultNoMark
	// FaultKeepAll: entries are kept although the new grantor could not vouch (R3).
	FaultKeepAll
	// FaultForgetFree: flights under way are not fenced when keys are dropped (R5).
	FaultForgetFree
	// FaultReleaseEarly: the old generation is released before the entries are gone (R2).
	FaultReleaseEarly
	// FaultNoApplied: answers judged before what the holder has applied are taken (R14).
	FaultNoApplied

	// FaultWaitGrows, of the grantor: later grants prolong the wait of a receipt, and a holder
	// that never acks is renewed all the same (R2).
	FaultWaitGrows
)
