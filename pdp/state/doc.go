// Package state is what a PDP knows and how it keeps it: the records, the contract
// of a [Store] that makes changes to them durable in one history, and the [View]
// that holds them in memory for decisions and reads.
//
// There is one writer of history. A commit is a [Batch] of record changes with
// guards; it gets the next revision inside the transaction and is durable when
// Commit returns. The store then hands every committed [Change] in order to its one
// [Sink], before it answers whoever committed it (PROTOCOL R10). Decisions and reads
// are served from the View and never touch the disk.
//
// Death is final (PROTOCOL R7). A revocation is a positive record, never a deletion:
// a job that has ended keeps its Job record, a revoked job that was never issued
// gets one, and a [Death] record on a project or user outlives both. They go only
// when nothing that they forbid can still arrive.
//
// The implementations are in badgerstore (one PDP, embedded), etcdstore (on an etcd
// cluster, for several PDPs) and memstore (the reference model, and the fake
// for tests); statetest holds the suite that all pass.
package state
