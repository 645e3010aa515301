// Package model explores small worlds completely: the machines of package lease
// themselves, not a description of them, with the simplest cache for each holder and a
// network between. Every order in which things can happen is tried, and every state that
// they come to is looked at.
//
// # What happens in a world
//
// A holder asks a question, the PDP judges it, records the interest and answers, and
// the answer arrives. Revisions are committed and dispatched. Holders renew, evict, send
// a hello with or without what they have, and leave. Messages of a stream arrive in
// order, after any delay, or never, when their stream breaks. Time passes for all; a
// holder that is paused is one that nothing happens to meanwhile. The PDP is killed and
// started again, with or without knowing what has changed. Each of these may happen
// whenever it can, as often as the Config of the world says; time without bound.
//
// # What must hold in every state
//
//   - No hit, and no check that joins a flight, gets an answer as it was before a
//     revision whose receipt was effective when the check began (P1). "As it was before"
//     is: judged before the revision, and resting on a key that it changed, whether or not
//     the answer would be another one.
//   - What is in the cache is true at the revision that the holder says it has applied
//     (P9; it is what carrying over stands on), and that revision never goes back (L13).
//   - A lease that was over does not come back (L4).
//   - Receipts add up, and each is effective within a term and its margins, and the quiet
//     time after a start, even when nobody acks and everybody renews (L8, L9).
//
// # What is left out, and why that loses nothing
//
// Observations are not steps. Receipts are asked for in every state, so that each is
// known as early as it can be, which is when it can be relied on most. Every entry that
// would be hit in a state is looked at in that state. A check may join a flight in every
// state in which it may; all that it brings is the receipts known by then, and as these
// only become more, the flight keeps their union.
//
// Steps that nobody else can tell apart are one. When the PDP judges a question is seen
// by nobody: so it is chosen when the answer is recorded, as any revision that its view
// had since the question was asked. If it has to judge again, or the answer may not be
// kept, nothing but the one check is concerned, and its answer is younger than
// all it could have known; the question stays as it was. A welcome is read with the next
// message of its stream. The Grantor's Tick follows every step: it does the same
// whether it comes once or often, and what it has not done yet only delays receipts. Its
// messages are taken at once, as a message may stay under way for as long as it likes;
// worlds with a bound for the queue have a slow writer as well.
//
// Clocks: see the constants of ticks. Only the worst rates are tried, as with better
// ones a holder stops earlier and a grantor waits longer. At the granularity of ticks the
// margin is a whole tick; that the sums are right to the nanosecond is TestL4HolderFirst
// of package lease.
//
// States that behave alike have one name. Times are taken as they stand to now, eras as
// they stand to the one in force, a flight's place among the fences as the revision that
// its answer has to be judged at to be kept. The two holders may change places, and so
// may what is equal in kind: entries and flights of a holder are sets. Messages that the
// other end ignores, flights that cannot be kept or joined any more, and entries of a
// lease that is over are dropped; each time it is looked at that they have no effect
// (see tidy), and that no lease comes back. Worlds marked lean leave out still more: see
// the function lean. Worlds with planted bugs drop nothing.
//
// A state is remembered by 64 bits of a hash. The chance that one of n states was
// taken for another and not gone on from is about n²/2⁶⁵.
//
// # Several replicas
//
// A cluster is a world of two replicas on one history, and one or two holders. Grantors
// and holders are the real machines again. What R8 asks of a replica is a small machine of
// its own here, in cluster_member.go and cluster_revoker.go, as package pdp/replica has
// goroutines: a registry of plain records; a replica that joins, loads its view and serves;
// puts that are sent, stored and answered at three moments; a revoker that commits, lists,
// hears from its peers, fences, and waits out who has departed. A pause is that nothing
// happens to a replica. Replicas lag as far as they like, are killed, start again, stop, are
// fenced and join again; holders open generations at either, with or without what they
// have.
//
// What must hold is P1 over all of them: also no replica may answer a check at a revision
// before one whose receipt was effective when the check began, whether it is asked now or
// was asked while it could not answer. A holder gives no answer older than what it has
// applied (L13, R14). In worlds that are timed everybody who waits for a receipt does at
// once what it may, others do what they like, and the receipt has to be effective within
// 2F + T and the margins; in those that are not, anybody may be fenced at any time, which
// is more than the rule allows.
//
// Three rules are sharper than R8 has them, as the bound or P1 does not hold otherwise
// (PendingOnce, PendingApplied, Progress and JudgedBefore of TestClusterFaults):
//
//   - A peer that has not applied the revision F after it was listed is fenced, whatever it
//     has said or settled until then.
//   - From one that is known to have applied it, T(1+ρ)+m are waited for, and nothing
//     else, whatever becomes of its registration: what it has granted before it applied
//     the revision is over, and what it granted later came after the invalidation.
//   - Whether a replica may answer is tested after the check began and before the view is
//     read that it is judged by (or, when it answers, that what it was judged at has reached
//     the head that the put in force has read). A test of the clock at the end is not
//     enough: a question judged at an old view, while nothing might be answered, would
//     leave as soon as the replica has joined again.
//
// And two are not needed for P1. That a replica serves only when its view has reached the
// head read by the put in force makes who lags fall silent by itself: so a revoker may
// simply wait F(1+ρ)+T(1+ρ)+m from the list on for whoever has not settled, fenced or not,
// which is a bound without the second F (the worlds where nobody is fenced). Fencing is
// for those receipts that come later, which would wait for the dead as long again. And
// generations need not be cut when a replica joins again (TestClusterRulesThatNeedTwo).
//
// # What is not in it
//
// One epoch: restores are in the tests of package lease. Of several replicas: the version
// that fences are guarded on (a fence is one step with the list that it stands on), puts that
// are stored after a later one was sent, and more than two replicas. Buckets, bounds of
// memory, and how a shell (package feed or pep) may misuse a machine: they are in those
// packages, and the walks go through worlds that are larger, at random.
//
//	go test ./test/model                        the small worlds, the planted bugs, walks
//	go test ./test/model -run Faults -v         the shortest story to each planted bug
//	go test ./test/model -run TestClusters -v   the worlds of several replicas
//	go test ./test/model -run Whole -timeout 0 -whole      the large ones: hours
//	go test ./test/model -run Walks -walks 100000 -timeout 0
package model
