// Package engine holds the verbs of a PDP: issue, revoke, keep alive, reconcile,
// check, explain, the allowlists, the directory and the audit log, a file each. It
// is what the doors (gRPC, REST, console) call; it knows nothing of them.
//
// A verb that changes state reads the view, decides, and commits a batch whose
// guards say what it read; when another change came between, it reads again. It
// returns when the change is durable and visible, so that the next check anywhere
// sees it. A verb that only reads is answered from the view.
//
// Several engines can have one store open (state.Shared). What is committed rests on its
// guards, whichever PDP was first. What is only told, a refusal or that there was nothing to
// do, is told from a view that had everything committed before the call. Reads of the view
// that nothing guards are left where they can only grant nothing: the catalogue of an entry
// or a limit, and paths in the audit log.
//
// The PDP's time follows the stamps of all (R12), so the wall clock that is furthest ahead
// is everybody's. Where clocks differ, what a slower one granted (a token's life, a heartbeat
// term) ends earlier by at most the difference, never later; a difference of more than five
// seconds is logged. A denial that rests on the clock alone, HEARTBEAT_LAPSED before the lapse
// is committed, is taken back when another PDP had heard the runner in time. Leases are
// counted on a clock that stamps do not move (R11).
//
// The engine makes the feed that tells sidecars of changes. What a verb's receipt waits
// for is in its answer ([Awaits]), and [Engine.Await] waits for it: a verb by itself
// waits for no cache.
//
// Who may call a verb at all is the door's matter (server/doors.go). What a named
// user may do to an allowlist is decided here (SEMANTICS §16).
package engine
