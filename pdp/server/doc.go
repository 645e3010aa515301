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
// gRPC answers a request that it cannot decode by itself, as INTERNAL and without
// details. So the server has a codec that never fails: it leaves the error in the
// [frame] that the message was to be decoded into, and the call goes on with it. The
// same codec knows the messages of the hot path, which are read and written by hand
// ([inbox], [outbox]) in memory that is used again: by reflection they cost a fifth
// of an empty call, which is all that a Check may cost on top of one.
//
// Two kinds of error still leave as gRPC made them: messages larger than twice the
// limit, which are not read, and calls that break HTTP/2 or gRPC framing.
//
// # What a call may hold
//
// Messages are at most [Options].MaxMessage bytes. Streams that collect (Reconcile,
// SyncWorld) are bounded by the engine's limits on what they collect. A CheckStream
// holds one message at a time: it reads the next when the answer to the last is on
// its way, so what a slow reader can make the server keep is HTTP/2's window.
package server
