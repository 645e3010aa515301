package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/jobward/jobward/pdp/authz"
)

// verdict is what an error of etcd's says of the transaction that it answers.
type verdict int

const (
	unknown verdict = iota // It may have happened, may yet happen, or not.
	refused                // It did not happen and will not.
	noSpace                // The quota of the database is used up, by others or by this, which then did happen.
	hopeless
)

// classify tells what is known after err. What etcd says before it proposes a transaction is a
// refusal; what ends a wait says nothing.
func classify(err error) verdict {
	var said rpctypes.EtcdError
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return noSpace
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps),
		errors.Is(err, rpctypes.ErrTooManyRequests), errors.Is(err, rpctypes.ErrPermissionDenied),
		errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthFailed),
		errors.Is(err, rpctypes.ErrInvalidAuthToken), errors.Is(err, rpctypes.ErrAuthOldRevision):
		return refused
	case errors.Is(err, rpctypes.ErrCorrupt):
		return hopeless
	case errors.As(err, &said), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unknown
	}
	var timeout net.Error
	if errors.As(err, &timeout) || fromTransport(err) {
		return unknown
	}
	return hopeless
}

// fromTransport reports whether err is one of the connection's, which have no type of etcd's.
func fromTransport(err error) bool { return strings.HasPrefix(err.Error(), "rpc error: ") }

// locked reports whether err says that the credentials are not good enough, which waiting
// does not mend.
func locked(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrAuthFailed) ||
		errors.Is(err, rpctypes.ErrUserEmpty) || errors.Is(err, rpctypes.ErrAuthNotEnabled)
}

func compacted(err error) bool { return errors.Is(err, rpctypes.ErrCompacted) }

// errUnreachable says that nothing was stored and that etcd is why.
func (s *Store) errUnreachable(cause error) error {
	return &authz.Error{
		Kind: authz.KindUnavailable, Code: "STORE_UNREACHABLE",
		Message: fmt.Sprintf("etcd at %s cannot be used now; nothing was stored; retry", strings.Join(s.opts.Endpoints, ", ")), Cause: cause,
	}
}

func (s *Store) errRefused(cause error) error {
	if errors.Is(cause, rpctypes.ErrRequestTooLarge) || errors.Is(cause, rpctypes.ErrTooManyOps) {
		return &authz.Error{
			Kind: authz.KindInvalid, Code: "STORE_LIMITS",
			Message: fmt.Sprintf("etcd takes less in one request than the store's settings say (%d bytes, %d operations); nothing was stored; make them agree", s.opts.Request, s.opts.Operations), Cause: cause,
		}
	}
	if locked(cause) {
		return s.errLocked(cause)
	}
	return s.errUnreachable(cause)
}

func (s *Store) errLocked(cause error) error {
	return &authz.Error{
		Kind: authz.KindPrecondition, Code: "STORE_FORBIDDEN",
		Message: fmt.Sprintf("etcd does not let this PDP read and write below %s; give its user or certificate a role with readwrite on that prefix", s.opts.Prefix), Cause: cause,
	}
}

func errNoSpace(cause error) error {
	return &authz.Error{
		Kind: authz.KindExhausted, Code: "DISK_LOW",
		Message: "etcd's database is as large as its quota allows; nothing was stored; compact and defragment it, disarm its alarm, or raise --quota-backend-bytes", Cause: cause,
	}
}

func errLookedAt() error {
	return authz.Errorf(authz.KindPrecondition, "STORE_LOOKED_AT", "the store was opened to look at it: nothing is stored")
}

// errDamaged says that what stands below the prefix is not what this program writes.
func (s *Store) errDamaged(err error) error {
	var known *authz.Error
	if errors.As(err, &known) {
		return err
	}
	return &authz.Error{
		Kind: authz.KindPrecondition, Code: "STORE_DAMAGED",
		Message: fmt.Sprintf("the store below %s in etcd holds what it should not; nothing was changed; restore a backup, or take another prefix", s.opts.Prefix), Cause: err,
	}
}

// errOtherHistory says that the history in etcd is not the one that this store, or its caller,
// has seen (PROTOCOL R13).
func (s *Store) errOtherHistory(format string, args ...any) error {
	return authz.Errorf(authz.KindPrecondition, "OTHER_HISTORY",
		"below %s in etcd stands another history than this PDP has seen: %s; somebody restored or replaced the cluster: run `pdp restore`, which begins a new epoch", s.opts.Prefix, fmt.Sprintf(format, args...))
}
