package state

import (
	"context"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// Incarnation names one life of one PDP on a shared store: at random, never the same
// again, also when a process registers anew (PROTOCOL R8).
type Incarnation [16]byte

// Registration is what one incarnation says of itself. Its key is a plain one: no lease of
// the store's takes it away, only the incarnation itself or a peer that fences it.
type Registration struct {
	Incarnation Incarnation
	// Name is for people; Address is where peers call it, as host:port.
	Name, Address string
	// Applied is the revision that its view has reached, Settled the newest up to which
	// everybody who rested on a change has let go of it or lost the lease.
	Applied, Settled authz.Revision
	// Term is the longest lease that it grants, Fence its F of R8: it answers and grants no
	// longer than that after it sent its last successful renewal.
	Term, Fence time.Duration
	// Version counts its renewals. 1 is that of an incarnation which has not loaded its view
	// and so has served nobody; it is renewed, and serves, from 2 on. Who sees it stand still
	// sees no progress.
	Version uint64
}

// Departed stands in the place of a registration that was fenced, or left while leases of
// it could be out. They count until Fence and Term, with their margins, are over since it
// was first seen.
type Departed struct {
	Incarnation Incarnation
	Name        string
	Term, Fence time.Duration
}

// Registrations is the list, as of one moment.
type Registrations struct {
	Live     []Registration
	Departed []Departed
}

// Registry is the list of the PDPs that have a shared store open. It is kept beside the
// history, has no revisions, and is safe for concurrent use. Each call is one try, bounded
// by ctx and by a time-out of its own; errors are those of [Store] where they say nothing
// was stored, but a write that fails with KindUnavailable may have happened all the same:
// every write can be repeated.
type Registry interface {
	// Join adds a registration and reads the head's revision, in one transaction. It fails
	// with KindConflict (REGISTERED) when the incarnation has been there before, as far as
	// that can be told: live or departed. When the answer of a Join was lost a Renew tells: it
	// succeeds for one that has joined.
	Join(ctx context.Context, r Registration) (head authz.Revision, err error)

	// Renew replaces the registration of r.Incarnation and reads the head's revision, in one
	// transaction. It fails with KindPrecondition (FENCED) when there is none.
	Renew(ctx context.Context, r Registration) (head authz.Revision, err error)

	// List reads the list, linearizably: whoever joined before List was called is in it.
	List(ctx context.Context) (Registrations, error)

	// Fence replaces a registration by a Departed, in one transaction, if it is still the one
	// given, Version and all. It fails with KindConflict (NOT_THE_SAME) when it has been
	// renewed or is gone. Repeated after it happened, it succeeds.
	Fence(ctx context.Context, r Registration) error

	// Leave removes a registration, for an incarnation of which no lease is out. One that is
	// not there has left.
	Leave(ctx context.Context, id Incarnation) error

	// Depart adds a Departed that no registration precedes: for leases of a history that
	// this one replaces. Repeated, it replaces the one there is.
	Depart(ctx context.Context, d Departed) error

	// Forget removes a Departed that has been waited out. One that is not there is forgotten.
	Forget(ctx context.Context, id Incarnation) error
}

// Shared is a Store that several PDPs have open at a time.
type Shared interface {
	Store
	// Registry is that of the store's history. It ends with the store.
	Registry() Registry
}

// Codes of the errors of a Registry.
const (
	CodeRegistered = "REGISTERED"
	CodeFenced     = "FENCED"
	CodeNotTheSame = "NOT_THE_SAME"
)

// ErrRegistered says that an incarnation is in the list already.
func ErrRegistered(id Incarnation) error {
	return authz.Errorf(authz.KindConflict, CodeRegistered, "incarnation %x is registered already: a registration is never overwritten, join with a new one", id[:4])
}

// ErrFenced says that an incarnation is no longer in the list.
func ErrFenced(id Incarnation) error {
	return authz.Errorf(authz.KindPrecondition, CodeFenced, "incarnation %x is not registered any more: a peer has fenced it; its answers and leases have ended", id[:4])
}

// ErrNotTheSame says that a registration changed before it could be fenced.
func ErrNotTheSame(id Incarnation) error {
	return authz.Errorf(authz.KindConflict, CodeNotTheSame, "incarnation %x has been renewed or is gone: it was not fenced", id[:4])
}
