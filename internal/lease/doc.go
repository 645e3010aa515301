// Package lease says who may still believe a cached answer: a [Grantor] in the PDP
// and a [Holder] in each sidecar, two plain machines that talk to each other and to
// nobody else. They have no clock, no goroutine and no I/O: every method takes the
// time and gives what is to be sent. Package feed drives the Grantor, package pep
// the Holder.
//
// # What is to be proved
//
// P1: when a receipt for the change at revision N is effective, no check that starts
// afterwards is answered from a cache as it was before N. The proof goes in four
// steps, each a group of the invariants below.
//
//  1. Whoever can use an answer is known. An answer is used only under the lease of
//     the generation it was asked in (L1, L2), and it is in that generation's interest
//     before the holder can have it (L5, L6).
//  2. Whoever is known is told. A commit that changes a key goes to every generation
//     whose interest has it (L7), in order, and nothing but an ack of it, its lapse or
//     a release takes a generation off the receipt (L3, L8, L9).
//  3. Who says so has let go. An ack leaves when the entries are gone and when no
//     answer from before can be installed or shared any more (L10, L11, L12).
//  4. Who says nothing is silent. When the grantor counts a generation as lapsed, its
//     holder has seen its own lease run out already (L4), and looks at it inside the
//     call that answers.
//
// So at an effective receipt each generation that was interested has either let go or
// lost its lease, and each that was not has no answer that rests on what changed.
//
// # Invariants
//
// R-numbers are those of PROTOCOL.md. Tests cite the L-numbers.
//
//	L1   An entry is used only in the era it was installed in, while the lease of the
//	     generation in force runs on the holder's clock at the moment of answering (R3, R11).
//	L2   An answer is installed only into the generation it was asked in, while that one
//	     is in force and not sealed by a later hello (R3).
//	L3   For the grantor a generation ends by lapse or release and by nothing else; a
//	     broken stream, an overflow, a fence or a second hello only bars renewals (R2).
//	L4   The grantor's end of a lease is later than the holder's: the holder counts
//	     T(1-ρ) from before it sent, the grantor T(1+ρ)+m from after it received, both the
//	     granted term. A lapsed lease is never renewed, on either side (R2, R11).
//	L5   An answer is cacheable only when its keys were recorded as interest of a live,
//	     connected generation of the caller, and no change that meets them was dispatched
//	     after the revision it was judged at (R3, R5).
//	L6   A key leaves the interest by an ack of a change to it with no answer judged at
//	     that change or later resting on it, by a notice that the holder dropped it with no
//	     later answer resting on it, or with its generation (R5).
//	L7   A change is sent to exactly the generations whose interest meets its keys; where
//	     interest is kept in buckets, to those that share the bucket (R18).
//	L8   A receipt is effective when every generation interested at the dispatch has acked
//	     the change (which it can only after it was taken for its stream), or released, or
//	     passed the end of the longest grant enqueued before the dispatch; later grants do
//	     not prolong it (R2). A change made before asks for the same wait (R6).
//	L9   While leases of an earlier incarnation may run, no receipt is effective (R1).
//	L10  Invalidations, grants and heartbeats of one generation are one sequence, acted on
//	     in order; a holder that owes an ack for longer than a term gets no grant (R2).
//	L11  The holder acks a change after its shell has removed every entry that rests on
//	     the changed keys.
//	L12  An answer is installed or shared only if no change or drop applied since its
//	     flight began meets its keys (unless it was judged at that change or later), and a
//	     check joins a flight only if nothing at all was applied since it began (R4).
//	L13  The revision applied by a holder never goes back within an epoch, and an answer
//	     judged below the revision applied when it was asked for is refused (R14).
//	L14  Entries are carried over into a new generation only when its grantor has recorded
//	     their keys, has sent every change to them since the revision that the holder had
//	     applied, and then granted; else the holder starts empty (R3).
//	L15  A hello is refused by either side when the other's history is behind or beside
//	     what it has seen; a holder that sees a later epoch lets go of everything it holds
//	     from the one before, and mixes no numbers of the two (R13).
//
// The assumptions about clocks are R11's: rates within ρ, and a clock that counts
// while the machine sleeps. What a guest does whose clocks all stand still through a
// pause is outside: it may answer for the rest of its term.
package lease
