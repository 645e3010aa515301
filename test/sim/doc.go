// Package sim runs whole systems in virtual time, thousands of them, under random
// troubles, and compares every answer with what the promises allow. It has tests only.
//
//	go test ./test/sim                                  what CI runs
//	go test ./test/sim -run TestSeeds -seeds=100000     as many as wanted, from -first on
//	go test ./test/sim -run TestSeeds -seed=N -v        one, with its trace
//	go test ./test/sim -run TestPlanted -v              which bug is found after how many seeds
//	go test ./test/sim -run TestFleets -fleets=1000 -v  as many fleets of several PDPs
//
// # What is real
//
// The engine with its view, feed and lease.Grantor; three to five pep.Deciders with their
// table and lease.Holder. A few seeds run over package server and pep's own gRPC as well
// (grpc_test.go), all others over a network of the simulation behind pep.Transport. Played
// are the store (disk_test.go: durable after a while, and what is on its way at a crash is
// lost), the network (net_test.go), everybody who calls, and the clocks.
//
// # What happens
//
// Runners issue, revoke, issue again, reconcile and keep alive; maintainers edit
// allowlists and settings; the forge blocks and unblocks users, deletes projects and makes
// them again, moves groups and projects, gives and takes roles. Services ask at every
// sidecar, several at a time and often the same, mostly about what is being changed, and in
// a hurry after every effective receipt. Meanwhile, by the seed: messages take long; streams
// break for one end before the other, or die in one direction without a word; the way of
// leases, that of questions or both are shut; the PDP crashes with or without its machine, and
// comes back from disk; it stops well; sidecars crash with or without their mark, leave, or
// stand still for up to ten terms; readers are slow and queues, caches, interests and what is
// remembered of changes are small; acks are lost; clocks run apart by what R11 allows; the
// store is set back behind everybody's back. Then all troubles end, and the system must
// recover.
//
// # What is compared
//
// The oracle (oracle_test.go) knows true time, all durable changes and all receipts, and
// nothing of leases. P1: what an effective receipt took away is allowed to nobody who asks
// later; it counts from when the PDP knew that it is effective, which is before the caller
// does. P9: a cached answer is, field by field, what the PDP would say at the revision that
// the sidecar had applied before the question; that is more than P9 asks. P2, with the end of
// the lease reckoned from messages: no cached answer after it. R14: revisions do not go back.
// R16, R17: reasons. L8: receipts are effective in time. R12: an end by time stays; R13: no
// lease is taken from a history set back below the mark. In the end: every receipt
// effective and every sidecar answering from its cache.
//
// Two clocks may run apart by twice ρ, so ends of short tokens are compared with a little
// slack, and a cached answer about a token that was dead may keep its reason when the token
// has died of old age as well.
//
// # Fleets
//
// Several PDPs on one store (R8) are simulated apart, and more simply (fleet_test.go): real
// engines, feeds, members of package replica and Deciders over memstore's Cluster. A PDP
// loses its store, its watch stands still, it is cut from peers or from sidecars one way or
// both, stands still itself, is killed or stops in order and comes back. Jobs are issued at
// one PDP and revoked at another, and everybody is asked about them: P1, R16, and in the end
// all must be well. The order of what happens at one instant is not kept, so a seed need not
// repeat itself exactly.
//
// # What a stopped process is here
//
// Goroutines cannot be stopped from outside. While a sidecar stands still, nothing is
// delivered to it, what it sends leaves only when it goes on, its services ask nothing, and
// its clock shows the moment at which it stopped; then the clock jumps. So whatever its timers
// do meanwhile is what they could have done just before the stop, with the messages stuck
// inside; and a check that is handed in afterwards reads the new time. Not modelled: a check
// that is stopped between its look at the clock and its return, which P1 does not speak of.
//
// # What else is not modelled
//
// Sleeps hidden by a wall clock's step, which package clock tests;
// the lane of reports (R19) and Introspect, which package pep tests; stores that fail or are
// damaged (P4), which packages statetest and crash test; a restore from an old backup, since
// here the true store is always found; true parallelism: one goroutine runs at a time.
// Commits made under a mutex (the directory's, and the record of leases) take no time,
// because virtual time stands still while somebody waits for a mutex.
//
// # Why a seed repeats itself
//
// See time_test.go: everything that the simulation makes happen has an instant of its own.
// What one event wakes within its instant runs in the order in which it was made ready,
// since one goroutine runs at a time. TestSeedsRepeat runs seeds twice and compares the whole
// traces, with the lines of one instant sorted. Random bytes of package crypto/rand come
// from the seed. Under the race detector, which shuffles what is ready, and over gRPC a run
// need not repeat line by line.
package sim
