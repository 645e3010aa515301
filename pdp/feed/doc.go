// Package feed carries every committed change to those who still believe what was
// before it. A [Feed] is the [state.Sink] of a store: it applies each change to the
// view, tells from it and from the view which dependency keys it touches (PROTOCOL
// R15), and hands them to the [lease.Grantor], whose shell it is: one lock, the clock,
// one goroutine for what only time brings about, and one [Stream] for each generation.
//
// Nothing here speaks gRPC: package server moves the messages of a Stream.
package feed
