// Package feed carries every committed change to those who still believe what was
// before it. A [Feed] is the [state.Sink] of a store: it applies each change to the
// view, tells from it and from the view which dependency keys it touches (PROTOCOL R15,
// keys.go), and hands them to the [lease.Grantor], whose shell it is: one lock, the
// clock, one goroutine for what only time brings about, and one [Stream] for each
// generation. Receipts are what it is asked for ([Feed.Await]).
//
// # Order
//
// The store calls Apply when a change is durable, and waits (R10). Apply holds the
// Feed's lock from before the view has the change until it is dispatched. So whoever has
// seen a change in the view, and asks the Feed for its receipt, finds it dispatched; and
// an answer is recorded either before the dispatch, which then finds its keys, or after
// it, when they are compared with what was dispatched since it was judged (R5).
//
// The lock of the Feed is taken before that of the view, never after. Nothing that waits
// holds it.
//
// # What outlives the process
//
// One record, [state.Leases]: that leases may be out, for how long at most, and the key
// that seals marks. It is durable before the first grant (R1), and says that none is out
// only after all have ended. What changed before a start is read from history, as far as
// it tells the keys, so that a sidecar can carry its entries over a restart (L14).
//
// # Several PDPs
//
// On a store that several PDPs have open ([Options].Shared, PROTOCOL R8) that record only
// keeps the key: what an earlier incarnation granted is counted by its registration. A Feed
// is then what package replica asks about its own PDP, grants and renews only while that may
// serve, and catches up before it judges what a sidecar has seen at another PDP.
//
// Nothing here speaks gRPC: package server moves the messages of a Stream.
package feed
