// Package wire is the one place where the words of authz meet protobuf and gRPC:
// enums, scopes and times in both directions, questions on the way in, decisions on
// the way out, errors as statuses, and page tokens. Both the PDP and the sidecar
// speak through it, so it knows nothing of records or stores.
//
// # Numbers
//
// Reason, Role and Surface have the same numbers on both sides. The other enums
// start at zero in authz, where proto wants zero to be UNSPECIFIED, so they are one
// higher on the wire. The tests walk both sides, so a value added to one and not to
// the other fails there.
//
// # Errors
//
// status.go holds the table of kinds, codes and HTTP statuses; no other package of
// ours names a gRPC code. Whatever the error is, what leaves has exactly one
// ErrorInfo with the domain [Domain], and comes back on the other side as an
// [authz.Error] of the same kind, code, message and violations.
//
// # What must not be printed
//
// CheckRequest, IssueResponse and the other messages with a token mark it with
// debug_redact, which Go's protobuf does not honour: %v and protojson show it in clear
// (P7). Log ids and decision ids, never messages.
//
// # What is hot
//
// The fields of Check, BatchCheck, CheckStream and Introspect are checked here by
// hand; those of every other RPC by the rules in the proto files. An answer with all
// that it points to is one allocation ([CheckResponse]), and in batches and streams
// a fraction of one ([Answers]).
package wire
