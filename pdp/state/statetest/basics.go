package statetest

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

func testNewStore(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	mark, stamp := h.Store.Head()
	if mark.Revision != 0 || mark.Chain != [16]byte{} || stamp != 0 {
		t.Errorf("a new store is at %v, stamp %d", mark, stamp)
	}
	if mark.Epoch.Counter != 1 || mark.Epoch.ID == [16]byte{} {
		t.Errorf("a new store has epoch %+v", mark.Epoch)
	}
	if got, _ := r.Mark(); got != mark {
		t.Errorf("the sink was loaded to %v, the head is %v", got, mark)
	}
	if n := len(r.Records()); n != 0 {
		t.Errorf("%d records in a new store", n)
	}
	if err := h.Store.History(context.Background(), 0, func(state.Change) error { t.Error("a new store has history"); return nil }); err != nil {
		t.Error(err)
	}
}

func testAttachOrder(t *testing.T, h Harness) {
	_, err := h.Store.Commit(context.Background(), state.Batch{Puts: []state.Record{group(1)}})
	wantCode(t, err, authz.KindPrecondition, "ATTACH_ORDER")
	attach(t, h.Store)
	wantCode(t, h.Store.Attach(context.Background(), new(Recorder)), authz.KindPrecondition, "ATTACH_ORDER")
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}})
}

func testCommitAndSink(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	first := state.Batch{Puts: []state.Record{group(1), user(7)}, Stamp: 10, Actor: "ada", Verb: "import"}
	if rev := commit(t, h.Store, first); rev != 1 {
		t.Errorf("first revision %d", rev)
	}
	if rev := commit(t, h.Store, state.Batch{Deletes: []state.Key{state.GroupKey(1)}, Puts: []state.Record{group(2)}, Stamp: 11}); rev != 2 {
		t.Errorf("second revision %d", rev)
	}
	changes := r.Changes()
	if len(changes) != 2 {
		t.Fatalf("%d changes", len(changes))
	}
	c := changes[0]
	if c.Revision != 1 || c.Stamp != 10 || c.Actor != "ada" || c.Verb != "import" || !reflect.DeepEqual(c.Puts, first.Puts) ||
		!reflect.DeepEqual(c.Keys, []state.Key{state.GroupKey(1), state.UserKey(7)}) {
		t.Errorf("first change %+v", c)
	}
	if c := changes[1]; !reflect.DeepEqual(c.Deletes, []state.Key{state.GroupKey(1)}) ||
		!reflect.DeepEqual(c.Keys, []state.Key{state.GroupKey(2), state.GroupKey(1)}) {
		t.Errorf("second change %+v", c)
	}
	want := map[state.Key]Held{state.GroupKey(2): {group(2), 2}, state.UserKey(7): {user(7), 1}}
	if got := r.Records(); !reflect.DeepEqual(got, want) {
		t.Errorf("records %v", got)
	}
	if mark, stamp := h.Store.Head(); mark.Revision != 2 || stamp != 11 || mark.Chain == [16]byte{} {
		t.Errorf("head %v stamp %d", mark, stamp)
	}
	sound(t, r)
}

func testThisRevision(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}})
	j := &state.Job{ID: "j", Digest: authz.Digest{1}, Issued: state.ThisRevision, Ended: state.ThisRevision}
	b := state.Batch{Puts: []state.Record{
		j, &state.Death{Project: 3, Before: state.ThisRevision}, &state.Request{ID: "a/1", Done: state.ThisRevision},
	}}
	commit(t, h.Store, b)
	if j.Issued != state.ThisRevision {
		t.Error("the store changed the caller's record")
	}
	check := func(records map[state.Key]Held) {
		t.Helper()
		got := records[state.JobKey("j")].Record.(*state.Job)
		if got.Issued != 2 || got.Ended != 2 {
			t.Errorf("job issued at %d, ended at %d", got.Issued, got.Ended)
		}
		if d := records[state.ProjectDeathKey(3)].Record.(*state.Death); d.Before != 2 {
			t.Errorf("death before %d", d.Before)
		}
		if q := records[state.RequestKey("a/1")].Record.(*state.Request); q.Done != 2 {
			t.Errorf("request done at %d", q.Done)
		}
	}
	check(r.Records())
	if h.Reopen != nil {
		check(attach(t, h.Reopen()).Records())
	}
}

func testGuards(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	absent := []state.Guard{{Key: state.GroupKey(1)}}
	commit(t, h.Store, state.Batch{Guards: absent, Puts: []state.Record{group(1)}})
	try := func(b state.Batch) error {
		_, err := h.Store.Commit(context.Background(), b)
		return err
	}
	wantCode(t, try(state.Batch{Guards: absent, Puts: []state.Record{group(1)}}), authz.KindConflict, "GUARD_FAILED")
	commit(t, h.Store, state.Batch{Guards: []state.Guard{on(state.GroupKey(1), 1)}, Puts: []state.Record{group(1)}})
	wantCode(t, try(state.Batch{Guards: []state.Guard{on(state.GroupKey(1), 1)}, Puts: []state.Record{group(1)}}), authz.KindConflict, "GUARD_FAILED")
	// A guard on another record than those touched, and on nothing else.
	wantCode(t, try(state.Batch{Guards: []state.Guard{on(state.GroupKey(1), 2), on(state.UserKey(9), 1)}, Puts: []state.Record{group(2)}}), authz.KindConflict, "GUARD_FAILED")
	commit(t, h.Store, state.Batch{Guards: []state.Guard{on(state.GroupKey(1), 2), on(state.UserKey(9), 0)}, Deletes: []state.Key{state.GroupKey(1)}})
	commit(t, h.Store, state.Batch{Guards: absent, Puts: []state.Record{group(1)}})
	wantCode(t, try(state.Batch{Guards: absent}), authz.KindConflict, "GUARD_FAILED")
	if rev := commit(t, h.Store, state.Batch{Guards: []state.Guard{on(state.GroupKey(1), 4)}}); rev != 4 {
		t.Errorf("a batch of guards only gave revision %d, want the head", rev)
	}
	if got := r.Mod(state.GroupKey(1)); got != 4 {
		t.Errorf("group 1 was changed at %d", got)
	}
	sound(t, r)
}

func testAtomic(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}, Stamp: 5})
	before, stamp := h.Store.Head()
	_, err := h.Store.Commit(context.Background(), state.Batch{
		Guards: []state.Guard{on(state.UserKey(1), 3)}, Puts: []state.Record{user(1), group(1)}, Deletes: []state.Key{state.GroupKey(2)},
		Stamp: 99, Events: []state.Event{{Stamp: 99, Data: []byte("no")}},
	})
	wantCode(t, err, authz.KindConflict, "GUARD_FAILED")
	if mark, s := h.Store.Head(); mark != before || s != stamp {
		t.Errorf("a refused batch moved the head from %v to %v, stamp %d to %d", before, mark, stamp, s)
	}
	if n := len(events(t, h.Store, 0, 0)); n != 0 {
		t.Errorf("a refused batch left %d events", n)
	}
	if len(r.Changes()) != 1 || len(r.Records()) != 1 {
		t.Error("a refused batch reached the sink")
	}
}

func testInvalid(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	for name, b := range map[string]state.Batch{
		"nil record":         {Puts: []state.Record{nil}},
		"typed nil":          {Puts: []state.Record{(*state.Job)(nil)}},
		"put twice":          {Puts: []state.Record{group(1), group(1)}},
		"put and delete":     {Puts: []state.Record{group(1)}, Deletes: []state.Key{state.GroupKey(1)}},
		"delete twice":       {Deletes: []state.Key{state.GroupKey(1), state.GroupKey(1)}},
		"bad id":             {Puts: []state.Record{group(0)}},
		"bad key":            {Deletes: []state.Key{"nonsense"}},
		"empty key":          {Deletes: []state.Key{""}},
		"bad guard":          {Guards: []state.Guard{{Key: "nonsense"}}},
		"stamp before 1970":  {Stamp: -1},
		"event before 1970":  {Events: []state.Event{{Stamp: -1}}},
		"actor too long":     {Actor: strings.Repeat("x", state.MaxActorBytes+1)},
		"record too large":   {Puts: []state.Record{&state.Catalogue{Document: make([]byte, state.MaxRecordBytes)}}},
		"event too large":    {Events: []state.Event{{Data: make([]byte, state.MaxRecordBytes+1)}}},
		"too many deletes":   {Deletes: groupKeys(state.MaxBatchRecords + 1)},
		"many, one of twice": {Deletes: append(groupKeys(20), state.GroupKey(7))},
	} {
		_, err := h.Store.Commit(context.Background(), b)
		if authz.KindOf(err) != authz.KindInvalid {
			t.Errorf("%s: error %v, want an invalid one", name, err)
		}
	}
	if mark, _ := h.Store.Head(); mark.Revision != 0 || len(r.Changes()) != 0 {
		t.Error("an invalid batch left something")
	}
}

func testLimits(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	b := state.Batch{Stamp: 1}
	for i := range state.MaxBatchRecords {
		b.Puts = append(b.Puts, &state.Job{ID: authz.JobID(strings.Repeat("x", 40)) + authz.JobID(rune('a'+i%26)) + authz.JobID(authz.Stamp(i).Time().Format("05.000000000"))})
	}
	commit(t, h.Store, b)
	if n := len(r.Records()); n != state.MaxBatchRecords {
		t.Errorf("%d records of the largest number", n)
	}
	// As many bytes as there may be, in as few records as there can be.
	b = state.Batch{}
	for left := state.MaxBatchBytes - 1024; left > 0; left -= state.MaxRecordBytes {
		n := min(left, state.MaxRecordBytes)
		b.Puts = append(b.Puts, &state.User{ID: authz.UserID(len(b.Puts) + 1), Name: strings.Repeat("y", n-16)})
	}
	commit(t, h.Store, b)
	b.Puts = append(b.Puts, &state.Catalogue{Document: make([]byte, 4096)})
	_, err := h.Store.Commit(context.Background(), b)
	if authz.KindOf(err) != authz.KindInvalid {
		t.Errorf("a batch of too many bytes: %v", err)
	}
	// The longest history that one batch can make.
	b = state.Batch{}
	for key := range r.Records() {
		if key.Kind() == state.KindJob {
			b.Deletes = append(b.Deletes, key)
		}
	}
	commit(t, h.Store, b)
	if h.Reopen != nil {
		if n := len(attach(t, h.Reopen()).Records()); n != len(r.Records()) {
			t.Errorf("%d records after opening again, %d before", n, len(r.Records()))
		}
	}
	sound(t, r)
}

func testStamps(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}, Stamp: 100})
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(2)}, Stamp: 50})
	if _, stamp := h.Store.Head(); stamp != 100 {
		t.Errorf("stamp went to %d", stamp)
	}
	if c := r.Changes()[1]; c.Stamp != 100 {
		t.Errorf("the change after 100 has stamp %d", c.Stamp)
	}
	commit(t, h.Store, state.Batch{Stamp: 200})
	if _, stamp := h.Store.Head(); stamp != 200 {
		t.Errorf("a batch without records left the stamp at %d", stamp)
	}
	if h.Reopen != nil {
		s := h.Reopen()
		if _, stamp := s.Head(); stamp != 200 {
			t.Errorf("the stamp is %d after opening again", stamp)
		}
	}
	sound(t, r)
}

// sound fails the test when the store mistreated the sink.
func sound(t testing.TB, r *Recorder) {
	t.Helper()
	for _, f := range r.Faults() {
		t.Error(f)
	}
}

func group(id authz.GroupID) *state.Group { return &state.Group{ID: id, Name: "g"} }

func user(id authz.UserID) *state.User { return &state.User{ID: id, Name: "u"} }

func groupKeys(n int) []state.Key {
	keys := make([]state.Key, n)
	for i := range keys {
		keys[i] = state.GroupKey(authz.GroupID(i + 1))
	}
	return keys
}

func on(key state.Key, rev authz.Revision) state.Guard { return state.Guard{Key: key, Revision: rev} }
