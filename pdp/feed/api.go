package feed

import (
	"context"
	"log/slog"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Options are what a Feed is made of. Zero values take the defaults of package lease.
type Options struct {
	// Term is how long a lease is, up to lease.MaxTerm.
	Term time.Duration
	// MaxInterest and MaxQueue are those of lease.GrantorConfig, MaxGenerations bounds
	// the generations that live at one time.
	MaxInterest, MaxQueue, MaxGenerations int
	// Now is a clock that counts while the machine sleeps (PROTOCOL R11). It must be set.
	Now func() lease.Instant
	// Rules names the rules that are judged by: answers are carried over only between PDPs
	// with the same.
	Rules uint64
	// OnHistory is told when a sidecar shows proof that this PDP's history is behind or
	// beside one that was served before (R13): from then on nobody should be answered. It
	// may be called more than once, from any goroutine, and must not call the Feed.
	OnHistory func(error)
	Logger    *slog.Logger
	// Fault plants a bug in the Grantor, and LoseKeys leaves out all keys of a kind, for
	// tests.
	Fault    lease.Fault
	LoseKeys authz.KeyKind
}

// Feed drives a Grantor with what a store commits. Its methods are safe for concurrent
// use, after [Feed.Start].
type Feed struct{}

// New makes a Feed around a view, to be attached to a store and then started.
func New(view *state.View, opt Options) *Feed { return &Feed{} }

// Start begins to grant leases. store is the one that the Feed was attached to, and
// nothing is committed to it while Start runs.
func (f *Feed) Start(ctx context.Context, store state.Store) error { return nil }

// Reset implements [state.Sink].
func (f *Feed) Reset() {}

// Load implements [state.Sink].
func (f *Feed) Load(rec state.Record, mod authz.Revision) {}

// Loaded implements [state.Sink].
func (f *Feed) Loaded(mark state.Mark, stamp authz.Stamp) {}

// Apply implements [state.Sink].
func (f *Feed) Apply(changes []state.Change) {}

// About is what a sidecar calls itself, for people.
type About struct {
	Name, Version string
}

// Figures are what a sidecar tells of itself, for people.
type Figures struct {
	Entries, Hits, Misses int64
	Applied               authz.Revision
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
	// CodeTooManyGenerations: KindExhausted.
	CodeTooManyGenerations = "TOO_MANY_GENERATIONS"
	// CodeStreamCut: KindUnavailable; the stream is over: the sidecar was too slow, or its
	// lease ended, or the PDP stops. A hello opens the next one.
	CodeStreamCut = "STREAM_CUT"
	// CodeRevisionAhead: KindInvalid; the revision does not exist yet.
	CodeRevisionAhead = "REVISION_AHEAD"
)

// Open opens a generation for owner, the authenticated caller, who has sent h.
func (f *Feed) Open(ctx context.Context, owner string, about About, h lease.Hello) (*Stream, error) {
	return &Stream{}, nil
}

// Stream is one open generation.
type Stream struct{}

// Generation gives what the stream has opened.
func (s *Stream) Generation() lease.Generation { return 0 }

// Next waits for messages to the sidecar and gives them in order. The error is ctx's, or
// STREAM_CUT when there will be none any more.
func (s *Stream) Next(ctx context.Context) ([]lease.Message, error) { return nil, nil }

// Renew asks for a lease.
func (s *Stream) Renew(number uint64, fig Figures) {}

// Ack confirms invalidations up to rev.
func (s *Stream) Ack(rev authz.Revision) {}

// Forget says what no entry rests on any more.
func (s *Stream) Forget(keys []authz.Key, number uint64) {}

// Release gives up a generation of the same owner, this one or an older one.
func (s *Stream) Release(gen lease.Generation) {}

// Close says that the stream is gone. The lease runs on (L3).
func (s *Stream) Close() {}

// Interest is [lease.Grantor.Interest].
func (f *Feed) Interest(gen lease.Generation, owner string, rev authz.Revision, keys []authz.Key) (number uint64, v lease.Verdict) {
	return 0, lease.Uncacheable
}

// Await waits until the receipt of the change at rev is effective, telling progress (if
// not nil) each step, or until ctx ends: then it gives the receipt as it stands, and no
// error. It is for revisions that made a change; see AwaitAll.
func (f *Feed) Await(ctx context.Context, rev authz.Revision, progress func(lease.Receipt)) (lease.Receipt, error) {
	return lease.Receipt{}, nil
}

// AwaitAll is Await for everything up to rev: what a call has to wait for that found
// nothing to change, because somebody else's change may still be under way (R6), and what
// AwaitReceipt has to wait for, which can't know what its revision is of.
func (f *Feed) AwaitAll(ctx context.Context, rev authz.Revision, progress func(lease.Receipt)) (lease.Receipt, error) {
	return lease.Receipt{}, nil
}

// Receipt gives the receipt of the change at rev as it stands.
func (f *Feed) Receipt(rev authz.Revision) lease.Receipt { return lease.Receipt{} }

// Sidecar is one generation.
type Sidecar struct {
	lease.Info
	About
	Figures
	// Since is when the generation was opened, Remaining what is left of its lease.
	Since     time.Time
	Remaining time.Duration
}

// Sidecars lists the generations that live, by name.
func (f *Feed) Sidecars() []Sidecar { return nil }

// Quiet tells how long leases of earlier incarnations may still run (R1), zero for not.
func (f *Feed) Quiet() time.Duration { return 0 }

// Term gives the term of leases.
func (f *Feed) Term() time.Duration { return 0 }

// Head gives the newest mark dispatched, sealed.
func (f *Feed) Head() lease.Mark { return lease.Mark{} }

// Moving tells every sidecar that this PDP is about to stop. From then on nobody gets a
// new lease.
func (f *Feed) Moving() {}

// Event is a change as tails see it. Its slices must not be changed.
type Event struct {
	Revision    authz.Revision
	Stamp       authz.Stamp
	Actor, Verb string
	Keys        []authz.Key
	// Told is how many generations it concerned.
	Told int
}

// Tail tells of changes as they are dispatched.
type Tail struct {
	// C gives the events, those that fitted.
	C <-chan Event
}

// Tail begins to tell of changes, to a queue of so many.
func (f *Feed) Tail(queue int) *Tail { return &Tail{} }

// Missed gives how many events did not fit since the last call.
func (t *Tail) Missed() uint64 { return 0 }

// Close ends it. C is not closed.
func (t *Tail) Close() {}

// Stats are figures for metrics. Those of type uint64 count up from the start.
type Stats struct {
	Head authz.Revision
	// Generations live; Cut are those whose stream is gone; Buckets those whose interest is
	// kept in buckets.
	Generations, Cut, Buckets int
	// Interest is how many keys or buckets all are interested in, Queued how many messages
	// were not taken, Owed how many invalidations not acked.
	Interest, Queued, Owed int
	// Pending is how many receipts somebody is waited for, Waiting how many calls wait.
	Pending, Waiting int
	// Changes dispatched, and invalidations that they made.
	Changes, Invalidations uint64
	// Receipts that concerned anybody and are complete, and how many sidecars had acked or
	// lapsed on them.
	Receipts, Acked, Lapsed uint64
	// Opened are generations opened; Overflows those cut because they were too slow;
	// Lapses those that ended by lapse; Refused hellos with a history that is behind or
	// beside.
	Opened, Overflows, Lapses, Refused uint64
}

// Stats gives the figures.
func (f *Feed) Stats() Stats { return Stats{} }

// Close ends the Feed cleanly: it grants nothing any more, waits until every generation
// was released or has lapsed, or until ctx ends, and then stops. When all leases have
// ended it records that, so that the next start need not wait for them (R1).
func (f *Feed) Close(ctx context.Context) error { return nil }
