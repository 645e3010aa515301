// Package engine holds the verbs of a PDP: issue, revoke, keep alive, reconcile,
// check, explain, the allowlists, the directory and the audit log, a file each. It
// is what the doors (gRPC, REST, console) call; it knows nothing of them.
//
// A verb that changes state reads the view, decides, and commits a batch whose
// guards say what it read; when another change came between, it reads again. It
// returns when the change is durable and visible, so that the next check anywhere
// sees it. A verb that only reads is answered from the view.
//
// The engine makes the feed that tells sidecars of changes. What a verb's receipt waits
// for is in its answer ([Awaits]), and [Engine.Await] waits for it: a verb by itself
// waits for no cache.
//
// Who may call a verb at all is the door's matter (server/doors.go). What a named
// user may do to an allowlist is decided here (SEMANTICS §16).
package engine
