// Package etcdstore is a [state.Store] on an etcd cluster. Consensus, replication and storage
// are etcd's. Several processes may have the same prefix open and commit: their revisions are
// one dense sequence, each has the commits of the others by its watch, and each judges guards
// at the newest head. No safety rests on etcd's leases or on a clock.
//
// Two PDPs on one prefix need more than a store: without registrations, fencing and receipts
// across replicas (PROTOCOL R8, package replica) each would give receipts that forget the
// other's sidecars. The list of the PDPs is beside the history, see [Store.Registry].
//
// # What is in etcd
//
// All keys are below one prefix, and every value but a chunk begins with a format number and
// ends with a checksum over its own name and contents.
//
//   - head: the newest point: transaction, epoch, revision, chain, stamp, events ever taken.
//   - log/TRANSACTION-REVISION: what one transaction did, whole: id, the point before, the
//     point after, and its batches. The log is the truth. Whoever reads an entry works out
//     again what follows from the point before, and refuses an entry that leads elsewhere.
//   - stage/ID/CHUNK: batches that are too large for one request. Their entry names the stage.
//   - record/KEY, event/SECOND-TRANSACTION-PART: what the log says of records and events, as
//     of the marker or later. They are written behind, many transactions at a time ("folding"),
//     so that a start does not need all history.
//   - folded: the marker, how far the log has been folded.
//   - condemned/ID: a stage that no entry may name any more, as it will be removed.
//   - cluster: the id of the cluster that the store was made in.
//   - importing: an import has begun and is not finished: there is no head yet, and nothing else
//     counts. See [Import].
//   - replica/INCARNATION: a PDP that has the store open, as it says of itself. No lease of
//     etcd's is on it: only the PDP or a peer that fences it takes it away.
//   - departed/INCARNATION: what stands in its place while leases of it may be out.
//
// # Commits
//
// One transaction of etcd's makes many batches durable: those that wait are judged one after the
// other against what the sink holds (guards never go to etcd), then the head and one entry of
// the log are put if the head's mod-revision is the one that they were judged at. That is two
// operations whatever the batches hold, and costs hardly more than one put. When another
// process was faster the store reads what it missed, brings the sink forward and judges again.
// A refused guard is told to the caller only after a transaction or a linearizable read has
// shown that it was judged at the newest head. A batch that is empty, or of guards only, reads
// the head; so an empty Commit is how a replica catches up (PROTOCOL R16).
//
// A batch larger than a request is written in chunks first. Nobody looks for chunks that no entry names, so it
// is seen whole, when the head moves. The chunks do not depend on the place in history, so
// that a large batch which comes too late need not be sent again, and compares that they are
// there. Chunks that are named by no entry for ten minutes are removed, by any store.
//
// An answer that is lost leaves the transaction unknown: it may yet happen. The same
// transaction is then sent until etcd says what became of it: it happens at most once, since it
// compares the head, and the id in the log tells whose entry stands in its place. Meanwhile
// nobody is told anything: callers wait, or get CANCELED when their time is up. Batches behind
// it that were not sent are refused with STORE_UNREACHABLE (KindUnavailable, nothing stored)
// when they have waited for Options.Patience. STATE_UNKNOWN is left for errors that give no hope (a corrupt cluster, a log
// that was cut meanwhile) and for Close without an answer.
//
// # Registrations
//
// Each call of the registry is one transaction, tried once: whoever calls it counts the time. It
// compares that the keys are there, or not, or have the very value that the caller has read,
// and reads the head in the same transaction, so that no commit falls between a registration
// and the head that it is told. Lists are linearizable. An answer that is lost leaves it open
// whether the transaction happened, or may yet; repeated, it does no more. A renewal every
// second or two is a version of a key in etcd each time: about 10 MB a day and PDP until etcd
// compacts. While etcd's quota is used up no PDP can renew, and none answers.
//
// # Following
//
// One watch on the log brings the entries of others, from the revision after the last one seen.
// Transactions are numbered, so an entry left out is noticed and read. A watch that etcd has
// compacted is no loss, as the log's keys are still there; only when the log was cut as well
// are all records read again, and the sink is told the difference (PROTOCOL R9) as revisions in
// one call: each changed record in the revision that changed it last, and all that are gone in
// the last revision. Those changes have no chain but the last, and their stamps before it are
// the old one. The head never goes back: a head that does, or a chain that differs, or another
// cluster's id ends the store with OTHER_HISTORY (PROTOCOL R13), as Open does when the mark
// that the caller has seen is not part of the history.
//
// # Costs and limits
//
// In memory the store has the revision of each record by key, about as much as the key and 60
// bytes, and the entries that are not folded (4,096 or 16 MiB). The newest 10,000 changes stay
// in the log, with their contents: after a large import that is as much again as the import.
// Transactions of events only are cut with the changes around them. A record that vanished from
// etcd by another hand is not noticed; one that was changed is. etcd keeps old versions of keys
// until they are compacted: run it with --auto-compaction-retention. Its quota is 2 GiB unless
// set otherwise; when it is used up etcd refuses all writes. The store asks each member every five
// seconds, and from nine tenths on takes only urgent batches. What fills the last tenth faster
// than that, or beside this prefix, is refused as a whole, urgent or not.
package etcdstore
