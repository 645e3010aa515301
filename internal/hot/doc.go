// Package hot reads the requests of Check, BatchCheck and CheckStream and writes their
// answers by hand, in memory that is used again: by reflection they cost a fifth of an
// empty call, which is all that a Check may cost on top of one. The PDP and the sidecars
// take questions through it, so it knows nothing of who answers them.
//
// # The codec
//
// gRPC answers a request that it cannot decode by itself, as INTERNAL and without
// details. So a server takes a [Codec] that never fails: it leaves the error in the
// [Inbound] that the message was to be decoded into, and the call goes on with it. That
// is an [Inbox] for the messages of the hot path, and a [Frame], by [Receive], for all
// others. What is large is looked at before it is decoded, because a few bytes can
// become much memory.
//
// Two kinds of error still leave as gRPC made them: messages larger than twice the
// limit, which are not read, and calls that break HTTP/2 or gRPC framing.
//
// # Beside the messages
//
// [IDs] names decisions, and [Flood] bounds how many unknown tokens a caller can try,
// which is why every way to learn that a token is unknown has to ask it.
//
// # When the API changes
//
// A field that is added to one of these messages is not read or written until somebody
// does it here; a test counts the fields. The tests compare everything with what the
// generated code and package wire make of the same bytes and decisions.
package hot
