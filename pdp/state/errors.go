package state

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
)

// The constructors below make the errors of the contract at [Store], so that all stores
// say the same. They are for implementations of Store.

// ErrGuardFailed says that g did not hold: the record was last changed at found, or is
// not there for zero.
func ErrGuardFailed(g Guard, found authz.Revision) error {
	switch {
	case g.Revision == 0:
		return authz.Errorf(authz.KindConflict, "GUARD_FAILED", "%v exists already, changed last at revision %d; read again and retry", g.Key, found)
	case found == 0:
		return authz.Errorf(authz.KindConflict, "GUARD_FAILED", "%v is gone; read again and retry", g.Key)
	}
	return authz.Errorf(authz.KindConflict, "GUARD_FAILED", "%v was changed at revision %d, after revision %d; read again and retry", g.Key, found, g.Revision)
}

// ErrClosed says that the store is closed.
func ErrClosed() error {
	return authz.Errorf(authz.KindUnavailable, "CLOSED", "the store is closed")
}

// ErrCanceled says that the caller's context ended.
func ErrCanceled(ctx context.Context) error {
	return &authz.Error{
		Kind: authz.KindCanceled, Code: "CANCELED",
		Message: "the caller gave up waiting for the store; what it asked for may happen all the same", Cause: context.Cause(ctx),
	}
}

// ErrStateUnknown says that a write failed with cause and that nothing can be said of
// the store until it is opened again.
func ErrStateUnknown(cause error) error {
	return &authz.Error{
		Kind: authz.KindInternal, Code: "STATE_UNKNOWN",
		Message: "writing to the store failed, and what was stored can be told only by starting again", Cause: cause,
	}
}

// ErrHistoryGone says that History was asked for what follows the revision after, and
// the oldest change kept is first.
func ErrHistoryGone(after, first authz.Revision) error {
	return authz.Errorf(authz.KindPrecondition, "HISTORY_GONE", "changes after revision %d are no longer kept; the oldest is revision %d; take a snapshot", after, first)
}

// ErrHistoryAhead says that History was asked for what follows a revision that is not
// there yet.
func ErrHistoryAhead(after, head authz.Revision) error {
	return authz.Errorf(authz.KindInvalid, "REVISION_AHEAD", "revision %d is not there yet; the newest is %d", after, head)
}

// ErrAttachOrder says that the caller broke the order of calls that a Store asks for: a
// fault in the program.
func ErrAttachOrder(what string) error {
	return authz.Errorf(authz.KindPrecondition, "ATTACH_ORDER", "%s; Attach is called once, before the first Commit", what)
}
