package state

import (
	"context"
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// Limits of one batch, so that it fits one transaction of every store. A batch over
// a limit is refused whole.
const (
	MaxBatchRecords = 10_000
	MaxBatchBytes   = 4 << 20
)

// Epoch tells histories apart: Counter is raised by every restore, and ID is random,
// so that two restores of one backup differ (PROTOCOL R13).
type Epoch struct {
	Counter uint64
	ID      [16]byte
}

// Mark names one point of one history. Chain is a checksum over everything committed
// up to Revision: two stores with the same mark hold the same.
type Mark struct {
	Epoch    Epoch
	Revision authz.Revision
	Chain    [16]byte
}

// String gives "epoch 1 revision 42 (chain 0a1b2c3d)".
func (m Mark) String() string {
	return fmt.Sprintf("epoch %d revision %d (chain %x)", m.Epoch.Counter, m.Revision, m.Chain[:4])
}

// Guard is a precondition on one record: it was last changed by the commit at
// Revision, or, for zero, does not exist.
type Guard struct {
	Key      Key
	Revision authz.Revision
}

// Batch is what one commit does. All of it happens, or nothing.
type Batch struct {
	Guards  []Guard
	Puts    []Record
	Deletes []Key
	// Stamp is the PDP's time. Stores keep the greatest one.
	Stamp authz.Stamp
	// Actor and Verb say who did what; they are kept in history.
	Actor, Verb string
	// Events are entries for the audit log, stored with the batch.
	Events []Event
	// Urgent batches only take rights away. They are taken even when the disk is so
	// full that others are refused.
	Urgent bool
}

// Event is one entry of the audit log: opaque here, encoded by package audit.
type Event struct {
	Stamp authz.Stamp
	// Revision is set by the store when an event is read: that of the batch it came
	// with, or, for a batch of events only, the head at that time.
	Revision authz.Revision
	Data     []byte
}

// Change is one committed batch, as sinks and readers of history see it. It must not
// be changed.
type Change struct {
	Revision    authz.Revision
	Stamp       authz.Stamp
	Actor, Verb string
	// Puts and Deletes are the new records and the keys of those gone, in the order of
	// the batch. From History they have no contents: Puts is nil and Keys has it all.
	Puts    []Record
	Deletes []Key
	// Keys lists every record touched.
	Keys []Key
	// Chain is that of the mark at Revision.
	Chain [16]byte
}

// Sink takes what a store holds: first everything, then every change in order. The
// store calls it from one goroutine at a time and waits for it.
type Sink interface {
	// Reset starts over: forget everything. It is the first call.
	Reset()
	// Load gives one record of the snapshot and the revision that last changed it.
	Load(rec Record, mod authz.Revision)
	// Loaded ends the snapshot: everything up to and including mark is there.
	Loaded(mark Mark, stamp authz.Stamp)
	// Apply gives committed changes, each exactly one revision after the one before.
	Apply(changes []Change)
}

// Store keeps the history. All methods are safe for concurrent use.
//
// Errors are [*authz.Error]; their kinds say what the caller can do:
//
//   - KindConflict (GUARD_FAILED): a guard did not hold, nothing was stored. Read
//     again and decide again.
//   - KindInvalid: the batch can never be stored; nothing was.
//   - KindExhausted (DISK_LOW): refused before anything was written, because space is
//     short. Urgent batches still go through.
//   - KindUnavailable (CLOSED): the store is closed; nothing was stored. STORE_UNREACHABLE: what
//     is behind the store cannot be reached now; nothing was stored, and a later try may work.
//   - KindCanceled: the caller's context ended while it waited. The batch may be stored
//     all the same.
//   - KindInternal (STATE_UNKNOWN): a write failed, and whether it was stored can only
//     be told by opening the store again. From then on every call gives this error, and
//     Failed is closed: the process has to stop (P4).
//
// Several stores may be open on one history where the kind of store allows it (etcdstore). Each
// delivers the commits of all to its sink, and Head and Attach are as of what its own sink has.
// A commit is judged at the newest head of all of them, so GUARD_FAILED may name a revision that
// this store's sink got only a moment before. An empty batch brings the sink to the head. A
// store that finds another history in the place of its own closes Failed and gives
// KindPrecondition (OTHER_HISTORY) from then on (PROTOCOL R13).
type Store interface {
	// Attach loads everything into sink and from then on delivers every change to it.
	// It is called once, before the first Commit. When it returns, the sink has
	// everything up to the head.
	Attach(ctx context.Context, sink Sink) error

	// Commit stores the batch and gives its revision. When it returns without an error
	// the batch is durable, and the sink has applied it. A batch with events only gets
	// no revision of its own: the result is the head. Batches of concurrent calls share
	// one synced write; a batch's guards see everything committed before it.
	Commit(ctx context.Context, b Batch) (authz.Revision, error)

	// Head gives the newest committed mark and the greatest stamp. It never goes back.
	Head() (Mark, authz.Stamp)

	// History calls fn for each change after the revision after, oldest first, up to the
	// head. It fails with KindPrecondition (HISTORY_GONE) when the store no longer has
	// the first of them; stores keep at least the newest 10,000. An error of fn ends it
	// and is returned as it is.
	History(ctx context.Context, after authz.Revision, fn func(Change) error) error

	// Events calls fn for stored events with from <= Stamp < to, newest first; a zero
	// to means no end. cursor is empty, or the one that fn got for the last event read,
	// to go on after it. An error of fn ends it and is returned as it is.
	Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(e Event, cursor string) error) error

	// PruneEvents removes up to limit events older than before and gives how many.
	PruneEvents(ctx context.Context, before authz.Stamp, limit int) (int, error)

	// Failed is closed when the store can no longer be trusted; see STATE_UNKNOWN.
	Failed() <-chan struct{}

	// Close waits for commits under way, makes everything durable and lets go of the
	// files. It may be called more than once.
	Close() error
}
