package state

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// Import makes an empty place into a store with the contents of another. Until Finish has
// returned without an error no [Store] opens there: it is refused with KindPrecondition
// (IMPORT_UNFINISHED), and the next Import may begin over it. Whoever dies half way leaves it
// so. An Import is used by one goroutine.
//
// Records come in any order, each once; events newest first. What is given belongs to the
// caller again when the call returns.
type Import interface {
	// Record stores a record as of the revision that last changed it.
	Record(ctx context.Context, key Key, mod authz.Revision, body []byte) error
	// Event stores an event in its place.
	Event(ctx context.Context, id EventID, e Event) error
	// Finish makes everything durable and, in its last step, a store of it. Leases of the
	// history before may run; the store makes its PDPs wait for them (PROTOCOL R1, R8).
	Finish(ctx context.Context, b Beginning) error
	// Close lets go of the place.
	Close() error
}

// Beginning is where the history of an imported store begins.
type Beginning struct {
	// Mark has a new epoch and the revision of the store that was read: no revision is used
	// twice, and records that hold revisions (Job.Issued, Death.Before) stay true.
	Mark  Mark
	Stamp authz.Stamp
	// Seq is at least that of every event.
	Seq uint64
}

// Target is what is at a place that an Import would begin in.
type Target struct {
	// Holds says what is there, for people; empty when nothing is. Unfinished says that it is
	// what an import left that did not finish.
	Holds      string
	Unfinished bool
	// Used and Room are the bytes used and, with these, available; zero Room is unknown.
	Used, Room int64
}

// CodeImportUnfinished is that of [ErrImportUnfinished].
const CodeImportUnfinished = "IMPORT_UNFINISHED"

// ErrImportUnfinished says that a place holds an import that did not finish.
func ErrImportUnfinished(where string) error {
	return authz.Errorf(authz.KindPrecondition, CodeImportUnfinished,
		"%s holds an import that was not finished, which is no store: run `pdp migrate` again, which begins anew, or go on with the store that it was to come from", where)
}

// ErrNotEmpty says that an import would overwrite something.
func ErrNotEmpty(where, what string) error {
	return authz.Errorf(authz.KindPrecondition, "TARGET_NOT_EMPTY", "%s is not empty, and nothing is ever overwritten: it holds %s; name another place", where, what)
}

// Transfer copies a store, live world included: records with the revisions that changed them,
// events, the stamp and the head's revision. History is not copied.
//
// The copy has an epoch of its own, one above that of the source, with a new random id: who has
// seen the copy refuses the source from then on, and takes the copy for what it is if it has
// seen the source (PROTOCOL R13). Its chain begins with the first 16 bytes of a SHA-256 over
// that epoch, the revision, the stamp and the digest of all records and events, so that two
// copies which differ have different marks.
type Transfer struct {
	// From is opened and has nothing attached. No PDP may use it.
	From Store
	To   Import
	// Ready is called when everything has been copied and To is about to be finished; an error
	// of it leaves To unfinished. It may be nil.
	Ready func(context.Context) error
	// Progress is called now and then; it may be nil.
	Progress func(*Contents)
}

// Run copies, and gives what was read and where the copy begins. After an error To is
// unfinished, or, when its last step failed without an answer, finished.
func (t *Transfer) Run(ctx context.Context) (*Contents, Beginning, error) {
	var b Beginning
	c, err := read(ctx, t.From, t.To, t.Progress)
	if err != nil {
		return nil, b, err
	}
	if c.Mark.Revision == 0 {
		return nil, b, authz.Errorf(authz.KindPrecondition, "NOTHING_TO_MOVE", "the store has never held anything: there is nothing to copy; start a PDP on the new place")
	}
	b = Beginning{Mark: Mark{Epoch: Epoch{Counter: c.Mark.Epoch.Counter + 1}, Revision: c.Mark.Revision}, Stamp: c.Stamp, Seq: c.Seq}
	rand.Read(b.Mark.Epoch.ID[:])
	b.Mark.Chain = c.chain(b)
	if t.Ready != nil {
		if err := t.Ready(ctx); err != nil {
			return nil, b, err
		}
	}
	return c, b, t.To.Finish(ctx, b)
}

// chain gives the checksum that the history of a copy begins with.
func (c *Contents) chain(b Beginning) (chain [16]byte) {
	h := sha256.New()
	h.Write([]byte("jobward import 1\x00"))
	h.Write(binary.BigEndian.AppendUint64(nil, b.Mark.Epoch.Counter))
	h.Write(b.Mark.Epoch.ID[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(b.Mark.Revision)))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(b.Stamp)))
	digest := c.Digest()
	h.Write(digest[:])
	copy(chain[:], h.Sum(nil))
	return chain
}

// Read reads everything that a store holds and counts it. The store has nothing attached before.
func Read(ctx context.Context, from Store, progress func(*Contents)) (*Contents, error) {
	return read(ctx, from, nil, progress)
}

func read(ctx context.Context, from Store, to Import, progress func(*Contents)) (*Contents, error) {
	r := &transferSink{ctx: ctx, to: to, progress: progress}
	if err := from.Attach(ctx, r); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	c := &r.Contents
	err := from.Events(ctx, 0, 0, "", func(e Event, cursor string) error {
		id, err := ParseCursor(cursor)
		if err != nil {
			return err
		}
		if e.Revision > c.Mark.Revision {
			return errAhead("an event", e.Revision, c.Mark)
		}
		c.addEvent(id, e)
		r.tell()
		if to == nil {
			return nil
		}
		return to.Event(ctx, id, e)
	})
	if err != nil {
		return nil, err
	}
	// A store that others have open is at the head of all of them after an empty batch.
	if _, err := from.Commit(ctx, Batch{}); err != nil {
		return nil, err
	}
	if mark, stamp := from.Head(); mark != c.Mark || stamp != c.Stamp {
		return nil, authz.Errorf(authz.KindPrecondition, "STORE_IN_USE", "the store went from %v to %v while it was read: a PDP is running on it; stop all of them", c.Mark, mark)
	}
	return c, nil
}

func errAhead(what string, rev authz.Revision, mark Mark) error {
	return authz.Errorf(authz.KindPrecondition, "STORE_DAMAGED", "%s is as of revision %d, and the store is at %v; look with `pdp fsck`", what, rev, mark)
}

// transferSink hands what a store loads to an import.
type transferSink struct {
	Contents
	ctx      context.Context
	to       Import
	progress func(*Contents)
	buf      []byte
	newest   authz.Revision
	told     uint64
	err      error
}

// Reset implements [Sink]. A store that starts over would give records twice.
func (r *transferSink) Reset() {
	if r.Records != ([NumKinds]uint64{}) {
		if r.err == nil && r.to != nil {
			r.err = authz.Errorf(authz.KindUnavailable, "STORE_UNREACHABLE", "the store could not be read in one go; run it again")
		}
		r.Contents, r.newest = Contents{}, 0
	}
}

// Load implements [Sink].
func (r *transferSink) Load(rec Record, mod authz.Revision) {
	if r.err != nil {
		return
	}
	if r.err = r.ctx.Err(); r.err != nil {
		r.err = ErrCanceled(r.ctx)
		return
	}
	key := rec.Key()
	r.buf = AppendRecord(r.buf[:0], rec)
	r.addRecord(rec, key, mod, r.buf)
	r.newest = max(r.newest, mod)
	if r.to != nil {
		r.err = r.to.Record(r.ctx, key, mod, r.buf)
	}
	r.tell()
}

// Loaded implements [Sink].
func (r *transferSink) Loaded(mark Mark, stamp authz.Stamp) {
	r.Mark, r.Stamp = mark, stamp
	if r.err == nil && r.newest > mark.Revision {
		r.err = errAhead("a record", r.newest, mark)
	}
}

// Apply implements [Sink]. That something was committed is noticed by the head.
func (r *transferSink) Apply([]Change) {}

// tellEvery is how many records and events there are between two calls of progress.
const tellEvery = 1 << 14

func (r *transferSink) tell() {
	if r.told++; r.told%tellEvery == 0 && r.progress != nil {
		r.progress(&r.Contents)
	}
}

// String gives "epoch 2 revision 42 (chain 0a1b2c3d)".
func (b Beginning) String() string { return fmt.Sprint(b.Mark) }
