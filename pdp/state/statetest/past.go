package statetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// keptHistory is how many changes every store keeps at least.
const keptHistory = 10_000

func history(t testing.TB, s state.Store, after authz.Revision) (changes []state.Change) {
	t.Helper()
	err := s.History(context.Background(), after, func(c state.Change) error {
		changes = append(changes, c)
		return nil
	})
	if err != nil {
		t.Fatalf("history after %d: %v", after, err)
	}
	return changes
}

// stored is an event as a store gave it.
type stored struct {
	state.Event
	Cursor string
}

func events(t testing.TB, s state.Store, from, to authz.Stamp) (list []stored) {
	t.Helper()
	err := s.Events(context.Background(), from, to, "", func(e state.Event, cursor string) error {
		list = append(list, stored{e, cursor})
		return nil
	})
	if err != nil {
		t.Fatalf("events: %v", err)
	}
	return list
}

func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s differ:\n got  %v\n want %v", what, got, want)
	}
}

func testHistory(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	rnd := NewRand(t)
	for range 40 {
		commit(t, h.Store, batch(rnd, r))
	}
	want := r.Changes()
	for i := range want {
		want[i].Puts = nil
	}
	for _, after := range []int{0, 1, 17, 38, 39, 40} {
		got := history(t, h.Store, authz.Revision(after))
		if len(got) != len(want)-after {
			t.Errorf("%d changes after revision %d of %d", len(got), after, len(want))
			continue
		}
		for i, c := range got {
			if len(c.Deletes) == 0 {
				c.Deletes = nil
			}
			w := want[after+i]
			if len(w.Deletes) == 0 {
				w.Deletes = nil
			}
			same(t, fmt.Sprintf("change %d", c.Revision), c, w)
		}
	}
	err := h.Store.History(context.Background(), 41, func(state.Change) error { return nil })
	wantCode(t, err, authz.KindInvalid, "REVISION_AHEAD")
}

func testHistoryEnds(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	// A second more than has to be kept, so that every store can have dropped some.
	const total = 2 * keptHistory
	var wg sync.WaitGroup
	for c := range committers {
		wg.Go(func() {
			for i := c; i < total; i += committers {
				if _, err := h.Store.Commit(context.Background(), state.Batch{Puts: []state.Record{group(authz.GroupID(1 + i%50))}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	verify := func(s state.Store) {
		t.Helper()
		if got := history(t, s, total-keptHistory); len(got) != keptHistory || got[0].Revision != total-keptHistory+1 {
			t.Errorf("the newest %d changes are not all kept: %d", keptHistory, len(got))
		}
		// The border is sharp: the oldest kept is there, the one before it is gone.
		oldest := authz.Revision(0)
		for lo, hi := authz.Revision(0), authz.Revision(total-keptHistory); lo <= hi && hi > 0; {
			mid := (lo + hi) / 2
			err := s.History(context.Background(), mid, func(state.Change) error { return errEnough })
			if errors.Is(err, errEnough) {
				oldest, hi = mid, mid-1
				continue
			}
			wantCode(t, err, authz.KindPrecondition, "HISTORY_GONE")
			lo = mid + 1
		}
		if oldest == 0 {
			t.Log("the store keeps all its history")
			return
		}
		if got := history(t, s, oldest); got[0].Revision != oldest+1 || got[len(got)-1].Revision != total {
			t.Errorf("history after %d begins with %d", oldest, got[0].Revision)
		}
	}
	verify(h.Store)
	sound(t, r)
	if h.Reopen != nil {
		h.Store = h.Reopen()
		attach(t, h.Store)
		verify(h.Store)
		h.Store.Close()
		if h.Check != nil {
			if err := h.Check(); err != nil {
				t.Error(err)
			}
		}
	}
}

var errEnough = errors.New("enough")

func testEventsOnly(t *testing.T, h Harness) {
	r := attach(t, h.Store)
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}})
	before, _ := h.Store.Head()
	rev := commit(t, h.Store, state.Batch{Stamp: 7, Events: []state.Event{{Stamp: 6, Data: []byte("a")}, {Stamp: 7, Data: nil}}})
	if rev != 1 {
		t.Errorf("events only gave revision %d, want the head", rev)
	}
	if mark, stamp := h.Store.Head(); mark != before || stamp != 7 {
		t.Errorf("events only moved the head to %v, stamp %d", mark, stamp)
	}
	if len(r.Changes()) != 1 {
		t.Error("events only reached the sink")
	}
	if got := events(t, h.Store, 0, 0); len(got) != 2 || string(got[1].Data) != "a" || got[0].Stamp != 7 {
		t.Errorf("events %v", got)
	}
}

// testEventRevision: an event read back names the revision of its batch, or the head when it came alone.
func testEventRevision(t *testing.T, h Harness) {
	attach(t, h.Store)
	commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}})
	rev := commit(t, h.Store, state.Batch{Stamp: 1, Puts: []state.Record{group(2)}, Events: []state.Event{{Stamp: 1, Data: []byte("a")}}})
	commit(t, h.Store, state.Batch{Stamp: 2, Events: []state.Event{{Stamp: 2, Data: []byte("b")}}})
	var got []authz.Revision
	err := h.Store.Events(context.Background(), 0, 0, "", func(e state.Event, _ string) error {
		got = append(got, e.Revision)
		return nil
	})
	if err != nil || len(got) != 2 || got[0] != rev || got[1] != rev {
		t.Fatalf("revisions %d, %v; want %d twice", got, err, rev)
	}
}

func testEvents(t *testing.T, h Harness) {
	attach(t, h.Store)
	// Stamps in no order, and some the same: those come in the order they were stored.
	for i, stamp := range []authz.Stamp{50, 10, 30, 30, 20, 30, 0} {
		commit(t, h.Store, state.Batch{Events: []state.Event{{Stamp: stamp, Data: []byte{byte(i)}}}})
	}
	want := []byte{0, 5, 3, 2, 4, 1, 6}
	order := func(list []stored) (ids []byte) {
		for _, e := range list {
			ids = append(ids, e.Data[0])
		}
		return ids
	}
	all := events(t, h.Store, 0, 0)
	same(t, "order", order(all), want)
	same(t, "from 20", order(events(t, h.Store, 20, 0)), want[:5])
	same(t, "before 30", order(events(t, h.Store, 0, 30)), want[4:])
	same(t, "20 to 30", order(events(t, h.Store, 20, 30)), want[4:5])
	same(t, "nothing", order(events(t, h.Store, 40, 41)), []byte(nil))
	for i, e := range all {
		var rest []stored
		err := h.Store.Events(context.Background(), 0, 0, e.Cursor, func(e state.Event, cursor string) error {
			rest = append(rest, stored{e, cursor})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("after event %d", i), order(rest), append([]byte(nil), want[i+1:]...))
	}
	// A cursor with narrower and with wider bounds than it was got with.
	var got []stored
	keep := func(e state.Event, cursor string) error { got = append(got, stored{e, cursor}); return nil }
	if err := h.Store.Events(context.Background(), 0, 20, all[0].Cursor, keep); err != nil {
		t.Fatal(err)
	}
	same(t, "cursor above the bound", order(got), want[5:])
	for _, bad := range []string{"x", "00", all[0].Cursor + "00", "ffffffffffffffffffffffffffffffff"} {
		err := h.Store.Events(context.Background(), 0, 0, bad, keep)
		if authz.KindOf(err) != authz.KindInvalid {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

func testPruneEvents(t *testing.T, h Harness) {
	attach(t, h.Store)
	var b state.Batch
	for i := range 5000 {
		b.Events = append(b.Events, state.Event{Stamp: authz.Stamp(i + 1), Data: []byte("e")})
	}
	commit(t, h.Store, b)
	prune := func(before authz.Stamp, limit, want int) {
		t.Helper()
		if n, err := h.Store.PruneEvents(context.Background(), before, limit); err != nil || n != want {
			t.Errorf("pruned %d of %d before %d: %v", n, want, before, err)
		}
	}
	prune(0, 10, 0)
	prune(1, 10, 0)
	prune(4001, 0, 0)
	prune(4001, 10, 10)
	if got := events(t, h.Store, 0, 12); len(got) != 1 || got[0].Stamp != 11 {
		t.Errorf("the oldest went first, and left %v", got)
	}
	prune(4001, 1_000_000, 3990)
	prune(4001, 1_000_000, 0)
	if got := events(t, h.Store, 0, 0); len(got) != 1000 || got[999].Stamp != 4001 {
		t.Errorf("%d events left", len(got))
	}
	if mark, _ := h.Store.Head(); mark.Revision != 0 {
		t.Errorf("pruning events led to revision %d", mark.Revision)
	}
}

func testCallbackErrors(t *testing.T, h Harness) {
	attach(t, h.Store)
	for range 3 {
		commit(t, h.Store, state.Batch{Puts: []state.Record{group(1)}, Events: []state.Event{{Stamp: 1}}})
	}
	calls := 0
	err := h.Store.History(context.Background(), 0, func(state.Change) error { calls++; return errEnough })
	if err != errEnough || calls != 1 {
		t.Errorf("history went on after an error: %d calls, error %v", calls, err)
	}
	calls = 0
	err = h.Store.Events(context.Background(), 0, 0, "", func(state.Event, string) error { calls++; return errEnough })
	if err != errEnough || calls != 1 {
		t.Errorf("events went on after an error: %d calls, error %v", calls, err)
	}
}
