package statetest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Shared runs the suite of what several stores on one history promise together. open is called
// for each test and begins a new history.
func Shared(t *testing.T, open func(t *testing.T) Opener) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Opener)
	}{
		{"OneSequence", testOneSequence},
		{"EmptyBatchCatchesUp", testCatchUp},
		{"GuardsAtTheNewestHead", testNewestHead},
		{"LoadsWhatJoinWasTold", testLoadsAfterJoin},
		{"CloseLeavesTheOthers", testCloseOne},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// reached waits until a sink has come to a revision by itself.
func reached(t testing.TB, r *Recorder, rev authz.Revision) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); r.Revision() < rev; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a sink is at revision %d after 30 s, want %d", r.Revision(), rev)
		}
	}
}

// agree waits until all sinks have come to the first one's head by themselves, and compares.
func agree(t testing.TB, stores []state.Shared, sinks []*Recorder) {
	t.Helper()
	commit(t, stores[0], state.Batch{})
	want, stamp := stores[0].Head()
	for i, s := range stores {
		reached(t, sinks[i], want.Revision)
		commit(t, s, state.Batch{})
		if mark, st := s.Head(); mark != want || st != stamp {
			t.Errorf("store %d is at %v, stamp %d; the first at %v, stamp %d", i, mark, st, want, stamp)
		}
		for _, line := range Diff(sinks[i].Records(), sinks[0].Records()) {
			t.Errorf("store %d: %s", i, line)
		}
		sound(t, sinks[i])
	}
}

// testOneSequence: two commit at once. Revisions are dense, no guard holds twice, and both have
// the same, as a third that opens later has.
func testOneSequence(t *testing.T, open Opener) {
	const workers, each = 8, 15
	first, second := two(t, open)
	stores, sinks := []state.Shared{first, second}, []*Recorder{attach(t, first), attach(t, second)}
	key := state.RunnerKey("counter")
	commit(t, first, state.Batch{Puts: []state.Record{&state.Runner{ID: "counter"}}})
	commit(t, second, state.Batch{})
	var mu sync.Mutex
	revs := make(map[authz.Revision]bool)
	var wg sync.WaitGroup
	for w := range 2 * workers {
		s, r := stores[w%2], sinks[w%2]
		wg.Go(func() {
			for n := 0; n < each; {
				held := r.Records()[key]
				rev, err := s.Commit(context.Background(), state.Batch{
					Guards: []state.Guard{{Key: key, Revision: held.Mod}},
					Puts:   []state.Record{&state.Runner{ID: "counter", Beat: held.Record.(*state.Runner).Beat + 1}},
					Events: []state.Event{{Stamp: authz.Stamp(w*1e9 + n)}},
				})
				if codeOf(err) == "GUARD_FAILED" {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if r.Revision() < rev {
					t.Errorf("the committer's sink is at %d after revision %d", r.Revision(), rev)
				}
				mu.Lock()
				if revs[rev] {
					t.Errorf("revision %d was given twice", rev)
				}
				revs[rev] = true
				mu.Unlock()
				n++
			}
		})
	}
	wg.Wait()
	agree(t, stores, sinks)
	const total = 2 * workers * each
	if mark, _ := first.Head(); mark.Revision != total+1 {
		t.Errorf("%d commits led to %v", total+1, mark)
	}
	if got := sinks[0].Records()[key].Record.(*state.Runner).Beat; got != total {
		t.Errorf("counted to %d", got)
	}
	third := open()
	t.Cleanup(func() { third.Close() })
	stores, sinks = append(stores, third), append(sinks, attach(t, third))
	agree(t, stores, sinks)
	for i, s := range stores {
		if n := len(events(t, s, 0, 0)); n != total {
			t.Errorf("store %d has %d events of %d", i, n, total)
		}
		if h := history(t, s, 0); len(h) != total+1 {
			t.Errorf("store %d has %d changes of %d", i, len(h), total+1)
		}
	}
}

// testCatchUp attacks R16: after an empty batch a sink has what was committed before it, by
// whomever.
func testCatchUp(t *testing.T, open Opener) {
	first, second := two(t, open)
	attach(t, first)
	r := attach(t, second)
	for i := range authz.Revision(100) {
		rev := commit(t, first, state.Batch{Puts: []state.Record{group(1)}, Stamp: authz.Stamp(i)})
		if got := commit(t, second, state.Batch{}); got != rev || r.Mod(state.GroupKey(1)) != rev {
			t.Fatalf("an empty batch gave %d, and the sink has %d: %d was committed before", got, r.Mod(state.GroupKey(1)), rev)
		}
		if mark, stamp := second.Head(); mark.Revision != rev || stamp != authz.Stamp(i) {
			t.Fatalf("the head is %v, stamp %d", mark, stamp)
		}
	}
	sound(t, r)
}

// testNewestHead: a guard is judged at what everybody has committed, and the sink has that by
// the time that the caller is told.
func testNewestHead(t *testing.T, open Opener) {
	first, second := two(t, open)
	attach(t, first)
	r := attach(t, second)
	key := state.GroupKey(1)
	var at authz.Revision
	for range 50 {
		stale := at
		at = commit(t, first, state.Batch{Puts: []state.Record{group(1)}})
		_, err := second.Commit(context.Background(), state.Batch{Guards: []state.Guard{on(key, stale)}, Puts: []state.Record{group(1)}})
		wantCode(t, err, authz.KindConflict, "GUARD_FAILED")
		if got := r.Mod(key); got != at {
			t.Fatalf("the guard failed, and the sink has revision %d of %d", got, at)
		}
		if at = commit(t, second, state.Batch{Guards: []state.Guard{on(key, at)}, Puts: []state.Record{group(1)}}); r.Mod(key) != at {
			t.Fatalf("the sink has revision %d of %d", r.Mod(key), at)
		}
	}
	sound(t, r)
}

// testLoadsAfterJoin attacks R8: who registers and then loads has at least the head that it was
// told, while others commit.
func testLoadsAfterJoin(t *testing.T, open Opener) {
	first, second := two(t, open)
	attach(t, first)
	attach(t, second)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, s := range []state.Shared{first, second} {
		wg.Go(func() {
			for !stop.Load() {
				if _, err := s.Commit(context.Background(), state.Batch{Puts: []state.Record{group(1), user(1)}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 10 {
		s := open()
		head, err := s.Registry().Join(context.Background(), registration("new"))
		if err != nil {
			t.Error(err)
		}
		r := attach(t, s)
		if mark, _ := r.Mark(); mark.Revision < head || r.Mod(state.GroupKey(1)) != r.Mod(state.UserKey(1)) {
			t.Errorf("it was told head %d and loaded %v", head, mark)
		}
		rev := commit(t, s, state.Batch{})
		if r.Revision() < rev {
			t.Errorf("the sink is at %d after an empty batch at %d", r.Revision(), rev)
		}
		sound(t, r)
		s.Close()
	}
	stop.Store(true)
	wg.Wait()
}

func testCloseOne(t *testing.T, open Opener) {
	first, second := two(t, open)
	a, b := attach(t, first), attach(t, second)
	commit(t, first, state.Batch{Puts: []state.Record{group(1)}})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	before := a.Revision()
	rev := commit(t, second, state.Batch{Puts: []state.Record{group(2)}})
	if b.Revision() != rev || a.Revision() != before {
		t.Errorf("the open store's sink is at %d of %d, the closed one's at %d after %d", b.Revision(), rev, a.Revision(), before)
	}
	select {
	case <-second.Failed():
		t.Error("a store failed as another was closed")
	default:
	}
	if !slices.ContainsFunc(history(t, second, 0), func(c state.Change) bool { return slices.Contains(c.Keys, state.GroupKey(1)) }) {
		t.Error("what the closed store had committed is gone")
	}
}
