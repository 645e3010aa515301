package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// ImportHarness is one kind of store that contents can be imported into.
type ImportHarness struct {
	// Import begins an import, always at the same place, which is empty before the first.
	Import func() (state.Import, error)
	// Open opens the store there as a PDP does; it is closed before the next call of anything.
	Open func() (state.Store, error)
	// Check looks at a closed store with an independent checker; it may be nil.
	Check func() error
	// Clear empties the place, and Empty reports whether it is.
	Clear func()
	Empty func() bool
	// Break makes step n of all that follow fail, counted from zero: before it was done, or
	// after. Broken reports whether it came to that, and ends it.
	Break  func(n int, done bool)
	Broken func() bool
}

// Import runs the suite of [state.Import] and [state.Transfer].
func Import(t *testing.T, open func(t *testing.T) ImportHarness) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, ImportHarness)
	}{
		{"CopyIsEqual", testCopy},
		{"NothingIsOverwritten", testNotEmpty},
		{"NothingToMove", testNothing},
		{"BrokenSteps", testBrokenImport},
		{"WrongCopiesAreNoticed", testWrongCopies},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// source makes a store with a random history; nothing is attached to it.
func source(t *testing.T, rnd *rand.Rand) *memstore.Store {
	t.Helper()
	s := memstore.New()
	r := attach(t, s)
	for range 200 {
		if _, err := s.Commit(context.Background(), batch(rnd, r)); err != nil && authz.KindOf(err) != authz.KindConflict {
			t.Fatal(err)
		}
	}
	// Many events in one second, out of order, and one batch of a size that takes several requests.
	b := state.Batch{Stamp: 5_000_000_000}
	for i := range 3000 {
		b.Events = append(b.Events, state.Event{Stamp: authz.Stamp(5_000_000_000 + rnd.Int64N(3_000_000_000)), Data: bytes.Repeat([]byte{byte(i)}, rnd.IntN(800))})
	}
	for i := range 3000 {
		b.Puts = append(b.Puts, &state.Job{ID: authz.JobID(fmt.Sprint("gitlab-", i)), Digest: authz.Digest{9, byte(i), byte(i >> 8)}, Issued: state.ThisRevision, Status: authz.JobRunning})
	}
	if _, err := s.Commit(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	return s.Reopen()
}

// transfer copies from into the place of h. wrap may put something around the import.
func transfer(h ImportHarness, from state.Store, wrap func(state.Import) state.Import) (*state.Contents, state.Beginning, error) {
	im, err := h.Import()
	if err != nil {
		return nil, state.Beginning{}, err
	}
	to := im
	if wrap != nil {
		to = wrap(im)
	}
	c, b, err := (&state.Transfer{From: from, To: to}).Run(context.Background())
	return c, b, errors.Join(err, im.Close())
}

// complaints compares the store at the place of h with the one that it was copied from, by the
// digests and one by one.
func complaints(t *testing.T, h ImportHarness, from *memstore.Store, b state.Beginning) (list []string) {
	t.Helper()
	s, err := h.Open()
	if err != nil {
		return []string{err.Error()}
	}
	original := from.Reopen()
	want, err := state.Read(t.Context(), original, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := state.Read(t.Context(), s, nil)
	if err != nil {
		s.Close()
		return []string{err.Error()}
	}
	s.Close()
	list = want.Differences(b, got)
	if s, err = h.Open(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := attach(t, s)
	original = original.Reopen()
	list = append(list, Diff(r.Records(), attach(t, original).Records())...)
	have, wanted := events(t, s, 0, 0), events(t, original, 0, 0)
	for i := range max(len(have), len(wanted)) {
		if i >= len(have) || i >= len(wanted) || fmt.Sprint(have[i]) != fmt.Sprint(wanted[i]) {
			list = append(list, fmt.Sprintf("event %d of %d differs; there are %d", i, len(wanted), len(have)))
			break
		}
	}
	return list
}

// testCopy copies a random store, compares, and goes on with the copy: its history continues at
// the revision of the source, and survives being opened again.
func testCopy(t *testing.T, h ImportHarness) {
	rnd := NewRand(t)
	from := source(t, rnd)
	c, b, err := transfer(h, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range complaints(t, h, from, b) {
		t.Error(line)
	}
	if b.Mark.Epoch.Counter != c.Mark.Epoch.Counter+1 || b.Mark.Epoch.ID == c.Mark.Epoch.ID || b.Mark.Chain == ([16]byte{}) || b.Mark.Chain == c.Mark.Chain {
		t.Errorf("the copy of %v begins at %v", c.Mark, b.Mark)
	}
	check := func() {
		t.Helper()
		if h.Check == nil {
			return
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	}
	check()
	s, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := attach(t, s)
	if err := s.History(t.Context(), b.Mark.Revision-1, nil); authz.KindOf(err) != authz.KindPrecondition {
		t.Errorf("history before the copy: %v, want HISTORY_GONE", err)
	}
	for i := range 50 {
		rev, err := s.Commit(t.Context(), state.Batch{Puts: []state.Record{user(authz.UserID(i%7 + 1))}, Events: []state.Event{{Stamp: 6_000_000_000, Data: []byte("after")}}})
		if want := b.Mark.Revision + authz.Revision(i) + 1; err != nil || rev != want {
			t.Fatalf("commit gave %d (%v), want %d", rev, err, want)
		}
	}
	if got := history(t, s, b.Mark.Revision); len(got) != 50 {
		t.Errorf("%d changes after the copy, want 50", len(got))
	}
	if n, err := s.PruneEvents(t.Context(), 5_500_000_000, 1<<20); err != nil || n == 0 {
		t.Errorf("pruned %d events: %v", n, err)
	}
	sound(t, r)
	held, left := r.Records(), events(t, s, 0, 0)
	s.Close()
	check()
	if s, err = h.Open(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, line := range Diff(attach(t, s).Records(), held) {
		t.Error("opened again:", line)
	}
	if again := events(t, s, 0, 0); fmt.Sprint(again) != fmt.Sprint(left) {
		t.Errorf("opened again there are %d events, before %d", len(again), len(left))
	}
}

// testNotEmpty imports over a store.
func testNotEmpty(t *testing.T, h ImportHarness) {
	from := source(t, NewRand(t))
	_, b, err := transfer(h, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := transfer(h, from.Reopen(), nil); codeOf(err) != "TARGET_NOT_EMPTY" {
		t.Errorf("a second import: %v", err)
	}
	for _, line := range complaints(t, h, from, b) {
		t.Error(line)
	}
}

// testNothing copies a store that has never held anything.
func testNothing(t *testing.T, h ImportHarness) {
	if _, _, err := transfer(h, memstore.New(), nil); codeOf(err) != "NOTHING_TO_MOVE" {
		t.Errorf("an empty store: %v", err)
	}
	if _, err := h.Open(); codeOf(err) != state.CodeImportUnfinished {
		t.Errorf("the place is %v, want %s", err, state.CodeImportUnfinished)
	}
}
