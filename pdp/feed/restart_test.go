package feed

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// TestRestart: a PDP that was killed waits for the leases that it cannot know, one that
// was stopped cleanly does not (R1).
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now, Term: 3 * time.Second})
		s := b.open(lease.Hello{})
		b.next(s)
		if rec, _ := b.view.Leases(); rec == nil || !rec.Out || rec.Longest != 3*time.Second || rec.Epoch != 1 || rec.SealKey == (state.SealKey{}) {
			t.Fatalf("before the first grant: %+v", rec)
		}
		before, _ := b.store.Head()
		b.open(lease.Hello{})
		if after, _ := b.store.Head(); after != before {
			t.Error("the second hello committed something")
		}
		b.end() // with leases out, as a kill
		start := now()
		b = startBench(t, b.store.Reopen(), Options{Now: now, Term: time.Second})
		if q := b.feed.Quiet(); q != lease.GrantorTerm(3*time.Second) {
			t.Errorf("quiet for %v", q)
		}
		rev := b.revoke("a")
		if r := b.feed.Receipt(rev); r.Effective {
			t.Errorf("%+v", r)
		}
		r := b.await(rev)
		if at := now().Sub(start); !r.Effective || at < lease.GrantorTerm(3*time.Second) || at > lease.GrantorTerm(3*time.Second)+fastPace {
			t.Errorf("%+v after %v", r, at)
		}
		b.open(lease.Hello{}) // the older, longer term still counts
		if rec, _ := b.view.Leases(); rec.Longest != 3*time.Second {
			t.Errorf("%+v", rec)
		}
		if err := b.feed.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if rec, _ := b.view.Leases(); rec.Out {
			t.Errorf("after a clean stop: %+v", rec)
		}
		b = startBench(t, b.store.Reopen(), Options{Now: now, Term: time.Second})
		if q := b.feed.Quiet(); q != 0 {
			t.Errorf("quiet for %v", q)
		}
		b.open(lease.Hello{})
		if rec, _ := b.view.Leases(); rec.Longest != time.Second || !rec.Out {
			t.Errorf("%+v", rec)
		}
		b.end()
		// A planted bug: nobody is waited for.
		b = startBench(t, b.store.Reopen(), Options{Now: now, Fault: lease.FaultNoQuiet})
		if r := b.feed.Receipt(b.revoke("a")); !r.Effective {
			t.Error("FaultNoQuiet shows nothing")
		}
		b.end()
	})
}

// TestStoppedWhileQuiet: a clean stop before the forgotten leases have ended does not say
// that none is out (R1).
func TestStoppedWhileQuiet(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now})
		b.open(lease.Hello{})
		b.end()
		b = startBench(t, b.store.Reopen(), Options{Now: now})
		if err := b.feed.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if rec, _ := b.view.Leases(); !rec.Out {
			t.Error("it says that no lease is out")
		}
	})
}

// epochStore is a store that says it was restored.
type epochStore struct {
	*memstore.Store
	epoch state.Epoch
}

func (s epochStore) Attach(ctx context.Context, sink state.Sink) error {
	return s.Store.Attach(ctx, epochSink{sink, s.epoch})
}

type epochSink struct {
	state.Sink
	epoch state.Epoch
}

func (s epochSink) Loaded(mark state.Mark, stamp authz.Stamp) {
	mark.Epoch = s.epoch
	s.Sink.Loaded(mark, stamp)
}

// TestRestored: a backup does not know what was granted after it, so the longest term
// there is counts, until a clean stop (R1).
func TestRestored(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		mem := memstore.New()
		start := func() (*Feed, *state.View) {
			view := state.NewView()
			f := New(view, Options{Now: now})
			st := epochStore{mem, state.Epoch{Counter: 2}}
			if err := errors.Join(st.Attach(context.Background(), f), f.Start(context.Background(), st)); err != nil {
				t.Fatal(err)
			}
			return f, view
		}
		f, view := start()
		if q := f.Quiet(); q != lease.GrantorTerm(lease.MaxTerm) {
			t.Errorf("quiet for %v", q)
		}
		s, err := f.Open(context.Background(), "x", About{}, lease.Hello{})
		if err != nil {
			t.Fatal(err)
		}
		if rec, _ := view.Leases(); rec.Longest != lease.MaxTerm || rec.Epoch != 2 {
			t.Errorf("%+v", rec)
		}
		s.Close()
		time.Sleep(2 * lease.MaxTerm)
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
		mem = mem.Reopen()
		f, _ = start()
		if q := f.Quiet(); q != 0 {
			t.Errorf("quiet for %v", q)
		}
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// TestCarriedOver: a sidecar keeps its entries over a restart of the PDP, but for those
// that changed meanwhile (L14); not over a change whose keys cannot be told any more.
func TestCarriedOver(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now, Rules: 3})
		s := b.open(lease.Hello{})
		seen := b.next(s)[0].Head
		applied := b.feed.Head().Revision
		b.end()
		offline := func(recs ...state.Record) {
			st := b.store.Reopen()
			if err := st.Attach(context.Background(), state.NewView()); err != nil {
				t.Fatal(err)
			}
			for _, r := range recs {
				if _, err := st.Commit(context.Background(), state.Batch{Puts: []state.Record{r}}); err != nil {
					t.Fatal(err)
				}
			}
			b = startBench(t, st.Reopen(), Options{Now: now, Rules: 3})
		}
		hello := lease.Hello{Seen: seen, Vouch: true, Applied: applied, Rules: 3, Keys: []authz.Key{keyA, keyB}}
		offline(jobA, &state.Runner{ID: "r"})
		ms := b.next(b.open(hello))
		if !ms[0].Vouched || len(ms) != 3 || !slices.Equal(ms[1].Keys, []authz.Key{keyA}) {
			t.Errorf("%+v", ms)
		}
		b.end()
		// A planted bug: it is told of changes one revision too late.
		b = startBench(t, b.store.Reopen(), Options{Now: now, Rules: 3, Fault: lease.FaultResumeLate})
		if ms := b.next(b.open(hello)); !ms[0].Vouched || len(ms) != 2 {
			t.Errorf("FaultResumeLate shows nothing: %+v", ms)
		}
		b.end()
		offline(&state.Group{ID: 1, Name: "g"}, jobA)
		if ms := b.next(b.open(hello)); ms[0].Vouched {
			t.Errorf("%+v", ms)
		}
		hello.Applied = b.feed.Head().Revision
		hello.Rules = 2
		if ms := b.next(b.open(hello)); ms[0].Vouched {
			t.Errorf("other rules: %+v", ms)
		}
		b.end()
	})
}

// TestHistories: a sidecar that has seen another history is refused, and when it has proof
// everybody is (L15, R13, P6).
func TestHistories(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		var stop error
		b := newBench(t, Options{Now: now, OnHistory: func(err error) { stop = err }})
		defer b.end()
		b.put(jobA)
		s := b.open(lease.Hello{})
		seen := b.next(s)[0].Head
		for range 20 {
			b.revoke("a")
		}
		try := func(m lease.Mark) string {
			stop = nil
			_, err := b.feed.Open(context.Background(), "x", About{}, lease.Hello{Seen: m})
			if err == nil {
				return ""
			}
			return code(err)
		}
		change := func(fn func(*lease.Mark), sealed bool) lease.Mark {
			m := seen
			fn(&m)
			if sealed {
				m = seal(b.feed.key, m)
			}
			return m
		}
		for _, c := range []struct {
			name   string
			change func(*lease.Mark)
			want   string
		}{
			{"its own", func(*lease.Mark) {}, ""},
			{"none", func(m *lease.Mark) { *m = lease.Mark{} }, ""},
			{"an older epoch", func(m *lease.Mark) { m.Epoch, m.ID = 0, [16]byte{9} }, ""},
			{"ahead", func(m *lease.Mark) { m.Revision += 1000 }, CodeHistoryBehind},
			{"a later epoch", func(m *lease.Mark) { m.Epoch++ }, CodeHistoryBehind},
			{"another id", func(m *lease.Mark) { m.ID[3]++ }, CodeHistoryBeside},
			{"another chain", func(m *lease.Mark) { m.Chain[3]++ }, CodeHistoryBeside},
			{"a chain at zero", func(m *lease.Mark) { m.Revision = 0 }, CodeHistoryBeside},
		} {
			for _, sealed := range []bool{false, true} {
				if got := try(change(c.change, sealed)); got != c.want {
					t.Errorf("%s, sealed %v: %q, want %q", c.name, sealed, got, c.want)
				}
				if c.name != "none" && (stop != nil) != (sealed && c.want != "") {
					t.Errorf("%s, sealed %v: told to stop with %v", c.name, sealed, stop)
				}
			}
		}
		if st := b.feed.Stats(); st.Refused != 10 {
			t.Errorf("%d refused", st.Refused)
		}
	})
}

// TestMarksAfterHistory: a mark that is older than the store's history is believed by
// epoch and revision.
func TestMarksAfterHistory(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := startBench(t, memstore.NewKeeping(5), Options{Now: now})
		defer b.end()
		s := b.open(lease.Hello{})
		seen := b.next(s)[0].Head
		for range 20 {
			b.revoke("a")
		}
		seen.Chain[0]++
		b.open(lease.Hello{Seen: seen})
		recent, from, to, err := b.feed.recall(context.Background(), b.store)
		if head := b.feed.Head().Revision; err != nil || from != head || to != head || recent != nil {
			t.Errorf("recalled %v from %d, %v", recent, from, err)
		}
	})
}
