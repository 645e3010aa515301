// Package grpccheck is the sidecar's gRPC door: Check, BatchCheck and CheckStream of DecisionService and Introspect of TokenService, for
// the services beside it. They are the PDP's own methods with the same messages, the same words for what is wrong with a question, and the
// same meaning of an answer: a denial is an answer with a reason, and an error means "could not decide" and must be taken for a denial. So
// a client need not know whether it talks to a PDP or to a sidecar. Everything else is the PDP's, and answered by UNIMPLEMENTED with
// words that say so.
//
// # What is different from the PDP's answers
//
//   - cached is true for an answer from the cache. Its revision is the one that it was judged at, and nothing that it rests on has changed
//     since, up to the revision that the sidecar has applied.
//   - min_revision is met by a cached answer when the sidecar has applied that revision; else the PDP is asked.
//   - generation and epoch of a question are not looked at: the lease is the sidecar's own, and nobody can cache behind it. So answers have
//     neither answer_number nor dependency_keys: a local service has no use for them, and they are two thirds of an answer's bytes.
//   - When the lease has lapsed and the PDP cannot be asked, the answer is a denial with the reason lease_lapsed, or UNAVAILABLE, as the
//     operator chose.
//
// # The hot path
//
// A cached Check should cost what an empty handler does. So the generic layers of gRPC are left out of it: one function admits, decodes by
// hand (package hot), answers, counts with instruments made before, and recovers. Nothing of it allocates but the decision's id and what gRPC
// does itself.
//
// # Streams
//
// One goroutine reads a CheckStream, answers from the cache and writes, in turn. A message that the cache cannot answer whole goes to a
// goroutine of its own, and its answer comes when it comes: later messages overtake it, which the API allows. There are at most streamMisses
// of them for one stream; when all are waiting the stream is not read further, which is the backpressure that its client sees.
//
// Other packages bring hot methods of their own ([Server.Hot]): extauthz has Envoy's. They pass the same doors.
//
// # Who may call
//
// doors.go is the table. A service on the same machine that may connect has the role service, by certificate, by key, or because the
// operator trusts the mode of the socket's file; the daemon decides that.
package grpccheck
