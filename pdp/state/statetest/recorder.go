package statetest

import (
	"bytes"
	"fmt"
	"maps"
	"sync"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Recorder is a sink that keeps everything it was given and notices what a store must not
// do. It is safe for concurrent use; the zero Recorder is ready.
type Recorder struct {
	mu      sync.Mutex
	records map[state.Key]Held
	changes []state.Change
	mark    state.Mark
	stamp   authz.Stamp
	loaded  bool
	busy    bool
	faults  []string
}

// Held is a record and the revision that last changed it.
type Held struct {
	Record state.Record
	Mod    authz.Revision
}

var _ state.Sink = (*Recorder)(nil)

// enter notices calls that overlap.
func (r *Recorder) enter() func() {
	r.mu.Lock()
	if r.busy {
		r.faultf("two calls of the sink at a time")
	}
	r.busy = true
	return func() { r.busy = false; r.mu.Unlock() }
}

func (r *Recorder) faultf(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// Reset implements [state.Sink].
func (r *Recorder) Reset() {
	defer r.enter()()
	r.records, r.changes, r.loaded = make(map[state.Key]Held), nil, false
}

// Load implements [state.Sink].
func (r *Recorder) Load(rec state.Record, mod authz.Revision) {
	defer r.enter()()
	if r.records == nil || r.loaded {
		r.faultf("Load outside of a snapshot")
		return
	}
	if _, twice := r.records[rec.Key()]; twice {
		r.faultf("%v loaded twice", rec.Key())
	}
	r.records[rec.Key()] = Held{rec, mod}
}

// Loaded implements [state.Sink].
func (r *Recorder) Loaded(mark state.Mark, stamp authz.Stamp) {
	defer r.enter()()
	r.mark, r.stamp, r.loaded = mark, stamp, true
	for key, held := range r.records {
		if held.Mod == 0 || held.Mod > mark.Revision {
			r.faultf("%v loaded as of revision %d, and the mark is %v", key, held.Mod, mark)
		}
	}
}

// Apply implements [state.Sink].
func (r *Recorder) Apply(changes []state.Change) {
	defer r.enter()()
	if !r.loaded || len(changes) == 0 {
		r.faultf("Apply of %d changes before the snapshot was there", len(changes))
	}
	for _, c := range changes {
		if c.Revision != r.mark.Revision+1 {
			r.faultf("revision %d applied after %d", c.Revision, r.mark.Revision)
		}
		if c.Stamp < r.stamp {
			r.faultf("stamp of revision %d goes back from %d to %d", c.Revision, r.stamp, c.Stamp)
		}
		if len(c.Keys) != len(c.Puts)+len(c.Deletes) {
			r.faultf("revision %d has %d keys for %d puts and %d deletes", c.Revision, len(c.Keys), len(c.Puts), len(c.Deletes))
		}
		for i, rec := range c.Puts {
			if rec.Key() != c.Keys[i] {
				r.faultf("revision %d has key %v for %v", c.Revision, c.Keys[i], rec.Key())
			}
			r.records[rec.Key()] = Held{rec, c.Revision}
		}
		for _, key := range c.Deletes {
			delete(r.records, key)
		}
		r.mark.Revision, r.stamp = c.Revision, c.Stamp
		r.changes = append(r.changes, c)
	}
}

// Faults gives what the store did wrong.
func (r *Recorder) Faults() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.faults...)
}

// Records gives a copy of what the sink holds.
func (r *Recorder) Records() map[state.Key]Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.records)
}

// Mod gives the revision that last changed the record at key, zero when it is not there.
func (r *Recorder) Mod(key state.Key) authz.Revision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.records[key].Mod
}

// Revision gives the newest revision applied or loaded.
func (r *Recorder) Revision() authz.Revision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mark.Revision
}

// Changes gives the changes applied, without those of the snapshot.
func (r *Recorder) Changes() []state.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]state.Change(nil), r.changes...)
}

// Mark gives the mark of the snapshot, with the newest revision.
func (r *Recorder) Mark() (state.Mark, authz.Stamp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mark, r.stamp
}

// Diff names the records in which two sinks differ, by their encoding: an empty list and
// none are the same.
func Diff(got, want map[state.Key]Held) (lines []string) {
	for key, w := range want {
		g, ok := got[key]
		switch {
		case !ok:
			lines = append(lines, fmt.Sprintf("%v is missing", key))
		case g.Mod != w.Mod:
			lines = append(lines, fmt.Sprintf("%v is as of revision %d, want %d", key, g.Mod, w.Mod))
		case !bytes.Equal(state.AppendRecord(nil, g.Record), state.AppendRecord(nil, w.Record)):
			lines = append(lines, fmt.Sprintf("%v is %+v, want %+v", key, g.Record, w.Record))
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			lines = append(lines, fmt.Sprintf("%v is there and should not be", key))
		}
	}
	return lines
}
