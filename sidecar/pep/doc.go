// Package pep answers questions about job tokens beside the service that asks them,
// from a cache that is never wrong about a revocation. [New] makes a [Decider], which is
// an [authz.Decider] over one or more PDPs; [Guard] puts it in front of HTTP handlers
// and gRPC servers; package peptest starts a PDP for tests.
//
// # What is promised
//
// When Revoke has returned with an effective receipt, or any other change that takes a
// right away, no check that is handed to any Decider afterwards is allowed by what was
// true before (P1). The Decider holds a lease of its PDP. What changes is sent to it,
// and it confirms after it has let go; if it does not, the receipt waits until its lease is
// over, and then it answers nothing from its cache (P2). The rules are those of package
// lease: a [lease.Holder] decides everything, and this package carries out what it says.
//
// # What happens when something fails
//
//	what                               answers from the cache    other questions
//	the PDP is lost                    until the lease is over   wait up to Config.Wait since the loss for another, then an
//	                                                             error of KindUnavailable
//	no PDP until the lease is over     none (lapse is final)     a denial with LeaseLapsed; or the error, by Config.Unavailable
//	never had a lease                  none                      wait as above, then the error
//	the lease is over, the PDP is      none                      asked, not cached, until there is another lease
//	there (a pause of this process)
//	the PDP restarts                   as for a lost one; the entries are kept if the new lease comes in time and the PDP
//	                                   knows what changed since, else the cache starts empty
//	the PDP says that it moves         go on                     go on; the next stream is opened first, the entries are kept
//	the PDP does not answer renewals   go on                     after two of them another is looked for; the entries are kept
//	questions are not answered, and    go on                     after a few of them all connections are made anew; the entries
//	renewals are                                                 are kept
//	this process reads too slowly      until the lease is over   the PDP cuts the stream; then as for a lost one
//	the PDP is behind what was seen,   until the lease is over   it is not asked; the next one is, and the refused one is tried
//	or has another history (P6)                                  again after half a minute
//	the machine sleeps, or the         none: the clock counts    as for a lapsed lease
//	process is stopped                 on and is read per answer
//	the wall clock is set              go on                     go on: it is not looked at
//	a guest is paused with all clocks  may go on for the rest    as before
//	                                   of the term (R11)
//	the table is full                  the rest                  what was not used lately makes room
//	reports are not taken              go on                     go on; what cannot be told is dropped and counted
//
// A longer term, which the PDP sets, keeps answers through a longer outage; a receipt
// then waits longer for a Decider that does not answer.
//
// # How it is made
//
// One lock guards the Holder and every change of the table, so that an answer is judged
// and installed, and an invalidation applied and acknowledged, in one piece (L11, L12).
// Hits take no lock: they walk a bucket of entries that never change, look at the marks
// of what those rest on, and at a copy of the lease (table.go, decider.go). An
// invalidation sets such marks, one for each token of a job and one for each kind of
// answer that rests on the key, however many entries share them (index.go); the memory
// follows. A question that has to go to the PDP is a flight, which others may join as
// far as the Holder allows (flight.go, batch.go). Streams come and go in link.go and
// connect.go. What was answered from the cache is counted in the entries, and told in
// batches (uses.go, report.go).
//
// What others must know: the PDP asked is always that of the lease (R14), so all
// connections of one Decider lead to one PDP, chosen here and not by a balancer. Close
// gives the lease up; a process that is killed costs receipts the rest of its term.
package pep
