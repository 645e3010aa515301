// Package server is the PDP's gRPC door: it decodes a call, hands it to the engine
// and encodes what comes back, a file for each service. No rule of the business is
// here; who may call what is in doors.go, and nowhere else.
//
// # The way of a call
//
// Every call, of whatever service, passes [Server.guard]: the caller is
// authenticated, the door of the method is looked up and its roles compared, all
// before a byte of the request is decoded. A method without a row in the table is
// refused. Then recovery, validation by the rules in the proto files, and the method
// itself. What comes out as an error leaves through package wire, with exactly one
// ErrorInfo; it is counted and logged on the way.
//
// Check and BatchCheck take a way of their own with the same stations in one function
// ([Server.ask]), because the chain alone would cost more than the decision.
//
// # The codec
//
// Messages come in and go out by the codec of package hot, which never fails: what was
// wrong with a request is found by [Server.guard] beside it, and leaves with an ErrorInfo
// like every other error. Requests and answers of the hot path are read and written by
// hand there.
//
// # What a call may hold
//
// Messages are at most [Options].MaxMessage bytes. Streams that collect (Reconcile,
// SyncWorld) are bounded by the engine's limits on what they collect. A CheckStream
// holds one message at a time: it reads the next when the answer to the last is on
// its way, so what a slow reader can make the server keep is HTTP/2's window. What waits
// for a Watch is bounded by the feed, which cuts a sidecar off and waits for nobody; what
// waits for a Tail by its queue, which drops and counts.
//
// # Sidecars
//
// Watch only moves messages between a stream and the feed, one goroutine for each way
// ([Server.held]); who may still believe what is decided in package lease. A stream that
// ends, however it does, ends no lease. Questions that name a generation are judged by
// [engine.Engine.Keep]: the generation has to be the caller's own. Everything that
// changes something waits for its receipt in [Server.receipt]. Report is a lane of its
// own, so that nothing on it can delay an invalidation.
package server
