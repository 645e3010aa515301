package feed

import (
	"log/slog"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// DefaultMaxGenerations bounds the generations that live at one time where [Options] does
// not say.
const DefaultMaxGenerations = 20_000

// Options are what a Feed is made of. Zero values take the defaults of package lease.
type Options struct {
	// Term is how long a lease is, up to lease.MaxTerm.
	Term time.Duration
	// MaxInterest, MaxQueue and MaxRecent are those of lease.GrantorConfig, MaxGenerations
	// bounds the generations that live at one time.
	MaxInterest, MaxQueue, MaxRecent, MaxGenerations int
	// Now is a clock that counts while the machine sleeps (PROTOCOL R11). It must be set.
	Now func() lease.Instant
	// Rules names the rules that are judged by: entries are carried over only between PDPs
	// with the same.
	Rules uint64
	// Shared says that other PDPs have the store open, too. Then what an earlier incarnation
	// granted is counted by its registration (PROTOCOL R8) and not by a wait at the start
	// (R1), and the record of leases only keeps the key that seals marks.
	Shared bool
	// Serving says whether this PDP may grant and renew leases at now (R8); nil is always.
	Serving func(now lease.Instant) bool
	// OnHistory is told when a sidecar shows proof that this PDP's history is behind or
	// beside one that was served before (R13): from then on nobody should be answered. It
	// may be called more than once, from any goroutine.
	OnHistory func(error)
	Logger    *slog.Logger
	// Draw gives the numbers of generations; nil takes random ones. It is for tests that
	// have to repeat themselves.
	Draw func() uint64
	// Fault plants a bug in the Grantor, and LoseKeys leaves out all keys of a kind, for
	// tests.
	Fault    lease.Fault
	LoseKeys authz.KeyKind
}

// Codes of the errors of Open, Next and Await.
const (
	// CodeHistoryBehind: KindPrecondition; the sidecar has seen a later history than this
	// PDP has.
	CodeHistoryBehind = "HISTORY_BEHIND"
	// CodeHistoryBeside: KindPrecondition; the sidecar has seen another history.
	CodeHistoryBeside = "HISTORY_BESIDE"
	// CodeMoving: KindUnavailable; this PDP is about to stop.
	CodeMoving = "MOVING"
	// CodeFenced: KindUnavailable; this PDP may not grant leases at present: another may.
	CodeFenced = "FENCED"
	// CodeTooManyGenerations: KindExhausted; wait until older ones have lapsed.
	CodeTooManyGenerations = "TOO_MANY_GENERATIONS"
	// CodeStreamCut: KindUnavailable; the stream is over: the sidecar was too slow, or its
	// lease ended, or the PDP stops. A hello opens the next one.
	CodeStreamCut = "STREAM_CUT"
	// CodeRevisionAhead: KindInvalid; the revision does not exist yet.
	CodeRevisionAhead = "REVISION_AHEAD"
)
