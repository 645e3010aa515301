// Package authz holds the words of Jobward: the identifiers, the question a
// service asks about a job token, the answer it gets, the reasons an answer can
// have, the keys it rests on, and the kinds of error. Every other package
// speaks these types; protobuf messages are turned into them at the edge and
// nowhere else.
//
// The question is a [Request]: may the job behind this token do this on that
// project? The answer is a [Decision]. A refusal is a Decision, never an error;
// an error means "could not decide", and whoever gets one must not allow.
// [Decider] is the one interface for asking, whoever answers: the engine of a
// PDP, a client of one, or a cache beside a service.
//
// The source project is the one the job runs in; the target project is the one
// asked for. A revision is a point in the history of the PDP's state.
//
// The package imports the standard library only.
package authz
