package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// MaxRequestID is the longest request id in bytes.
const MaxRequestID = 128

// Done tells what became of a call that changes state.
type Done struct {
	// Revision is the one from which on the change holds: the call's own, or, where
	// nothing had to change, the one that was judged at. For a repeated call it is that of
	// the first; for a call that only validates, the one it was judged at.
	Revision authz.Revision
	// Repeated says that the call's request id was carried out before, and that this
	// time nothing was done.
	Repeated bool
	// Unchanged says that nothing had to change, or that the call was to validate only.
	Unchanged bool
}

// Awaits says what the call's receipt waits for. Where nothing had to change, somebody
// else's change may have done it a moment ago, perhaps this caller's own before it gave
// up waiting: then it is everything up to here (PROTOCOL R6).
func (d Done) Awaits() Awaits {
	if d.Repeated || d.Unchanged {
		return Awaits{Revision: d.Revision, All: true}
	}
	return Awaits{Revision: d.Revision, Each: []authz.Revision{d.Revision}}
}

// once makes a call with a request id happen at most once. The id belongs to the
// caller: two callers may use the same one. It is remembered by a record in the very
// commit of the call, guarded on its absence, so of two calls at the same time one
// finds the other's. A call that was refused leaves no record and can be tried again.
type once struct {
	key   string // empty without a request id
	print uint64
}

// newOnce checks a request id. req is the request as it was given: everything in it
// belongs to the fingerprint, so it must not hold what changes from try to try.
func newOnce(by Actor, verb, id string, req any) (once, error) {
	if id == "" {
		return once{}, nil
	}
	if len(id) > MaxRequestID || !authz.JobID(id).Valid() {
		return once{}, authz.Invalid("request_id", "must be 1 to %d bytes of printable ASCII without spaces", MaxRequestID)
	}
	key := by.Name + "/" + id
	if len(key) > state.MaxNameBytes {
		return once{}, authz.Invalid("request_id", "together with the caller's name must be at most %d bytes", state.MaxNameBytes-1)
	}
	text, err := json.Marshal(req)
	if err != nil {
		return once{}, fmt.Errorf("engine: the fingerprint of a request: %w", err)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d %s", verb, by.User, text)
	return once{key, h.Sum64()}, nil
}

// find tells whether the call was carried out before.
func (o once) find(v *state.View) (done Done, found bool, err error) {
	if o.key == "" {
		return Done{}, false, nil
	}
	r, _, ok := v.Request(o.key)
	if !ok {
		return Done{}, false, nil
	}
	if r.Fingerprint != o.print {
		return Done{}, false, &authz.Error{
			Kind: authz.KindInvalid, Code: CodeRequestIDReused,
			Message:    "this request id was used for another call; take a new one for each call, and the same one only to repeat it",
			Violations: []authz.Violation{{Field: "request_id", Message: "was used for another call"}},
		}
	}
	return Done{Revision: r.Done, Repeated: true}, true, nil
}

// keep adds to the batch of the call what makes it happen only once. done is the
// revision to answer a repetition with: this one's, or that of what had done it before.
func (o once) keep(b *state.Batch, now authz.Stamp, done authz.Revision) {
	if o.key == "" {
		return
	}
	b.Guards = append(b.Guards, state.Guard{Key: state.RequestKey(o.key)})
	b.Puts = append(b.Puts, &state.Request{ID: o.key, Fingerprint: o.print, Done: done, At: now})
}

// commitOnce carries out a call with a request id. decide builds the batch of one try,
// or, when the call was carried out before, gives an empty one; it adds what op.keep does.
//
// A try that fails may fail because the same call, from somebody else who repeats it, came
// between the look for its record and the rest of the reading: an entry to be added is
// there, say. So after a failure it looks again.
func (e *Engine) commitOnce(ctx context.Context, verb string, by Actor, op once, decide func(repeated bool) (state.Batch, error)) (Done, error) {
	var done Done
	rev, changed, err := e.commitChange(ctx, verb, by, func() (b state.Batch, err error) {
		var found bool
		if done, found, err = op.find(e.view); err != nil {
			return b, err
		}
		b, err = decide(found)
		if err == nil || found {
			return b, err
		}
		again, now, _ := op.find(e.view)
		if !now {
			return b, err
		}
		done = again
		return decide(true)
	})
	if err != nil {
		return Done{}, err
	}
	if !done.Repeated {
		done.Revision, done.Unchanged = rev, !changed
	}
	return done, nil
}
