package replica

import (
	"context"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Local is what a Member asks its own PDP: package feed implements it.
type Local interface {
	// Applied is the newest revision of the view, all of it dispatched to the sidecars.
	Applied() authz.Revision
	// Settled is the newest revision up to which every receipt of this PDP is effective.
	Settled() authz.Revision
	// AwaitApplied waits until Applied is at least rev, or ctx ends.
	AwaitApplied(ctx context.Context, rev authz.Revision) error
	// CutAll ends the renewal of every generation there is (their leases run out, R2) and
	// closes their streams.
	CutAll()
}

// Want is what peers are to settle: one revision, or, with All, everything up to it.
type Want struct {
	Revision authz.Revision
	All      bool
}

// Answer is what a peer says about a Want. One that is not Settled is pending; Applied says
// how far it is.
type Answer struct {
	Want
	Settled                bool
	Acked, Lapsed, Pending int
	Applied                authz.Revision
}

// Peer is a connection to one other incarnation.
type Peer interface {
	// Settle asks, and calls each with every answer until one is settled, ctx ends, or the
	// connection is lost: then it gives an error. A peer that may not answer (fenced, not
	// caught up, another incarnation than the one dialled) gives an error and not "pending".
	// A pending peer answers again at least every Fence/4 of the one dialled.
	Settle(ctx context.Context, w Want, each func(Answer)) error
	Close() error
}

// Dialer connects to peers. It does not wait for a connection to stand.
type Dialer interface {
	Dial(r state.Registration) (Peer, error)
}

// Outcome is how one incarnation stands on a receipt.
type Outcome uint8

// The outcomes.
const (
	// Pending has not settled it yet.
	Pending Outcome = iota
	// Settled has, as it says itself or as its registration says.
	Settled
	// Fenced was, or had departed, and is being waited out; Gone has been waited out.
	Fenced
	Gone
)

// Standing is one other incarnation on a receipt.
type Standing struct {
	Incarnation state.Incarnation
	Name        string
	Outcome     Outcome
	// Acked, Lapsed and Pending count its sidecars, as it says.
	Acked, Lapsed, Pending int
}

// Receipt is what the peers have come to.
type Receipt struct {
	// Effective: every incarnation that was listed after the call has settled or is gone.
	Effective bool
	Standings []Standing
	// Bound is the longest that it can take from the call on, while etcd has a quorum.
	Bound time.Duration
}
