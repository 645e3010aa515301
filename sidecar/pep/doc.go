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
//	there is                       answers from the cache       other questions
//	a PDP                          while the lease runs         are asked
//	none, and a lease still runs   as before                    wait up to Config.Wait since the loss for another PDP, then
//	                                                            an error of KindUnavailable
//	none, and the lease is over    none, and none ever again    a denial with LeaseLapsed; or the error, by Config.Unavailable
//	none since the start           none                         the error, after Config.Wait
//	a PDP whose history is not     while the lease runs         not asked of it; Status tells why it was refused
//	the one seen (P6)
//
// What stands between, such as a PDP that restarts, stops, or is slow, a process that is paused or a machine that sleeps, comes down to these rows, with entries
// carried over where nothing can have been missed. The table in the documentation of package sidecar/daemon has each case by itself, with what
// receipts at the PDP do meanwhile; it holds for every Decider. Reports for the PDP's log of accesses never hold an answer up: what
// cannot be told is dropped and counted.
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
