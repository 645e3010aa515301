package feed

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// desk is the feed of one PDP of several on a history.
type desk struct {
	testing.TB
	feed  *Feed
	view  *state.View
	store *memstore.Handle
	// until is when it may not serve any more; replaced counts calls of OnHistory.
	until    atomic.Int64
	replaced atomic.Int32
}

// openDesk starts one. during, where set, is called when Start has read history.
func openDesk(t testing.TB, c *memstore.Cluster, opt Options, during func()) *desk {
	t.Helper()
	d := &desk{TB: t, store: c.Open(), view: state.NewView()}
	d.until.Store(1 << 62)
	opt.Shared, opt.Serving = true, func(now lease.Instant) bool { return int64(now) < d.until.Load() }
	opt.OnHistory = func(error) { d.replaced.Add(1) }
	d.feed = New(d.view, opt)
	if err := d.store.Attach(t.Context(), d.feed); err != nil {
		t.Fatal(err)
	}
	if err := d.feed.Start(t.Context(), &lateStore{d.store, during}); err != nil {
		t.Fatal(err)
	}
	return d
}

// lateStore has something happen after the first reading of history.
type lateStore struct {
	*memstore.Handle
	after func()
}

func (s *lateStore) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	err := s.Handle.History(ctx, after, fn)
	if after := s.after; after != nil {
		s.after = nil
		after()
	}
	return err
}

func (d *desk) end() {
	d.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.feed.Close(ctx); err != nil {
		d.Error(err)
	}
	d.store.Close()
}

func (d *desk) open(h lease.Hello) *Stream {
	d.Helper()
	s, err := d.feed.Open(d.Context(), "sidecar", About{}, h)
	if err != nil {
		d.Fatal(err)
	}
	return s
}

func (d *desk) take(s *Stream) []lease.Message {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), time.Minute)
	defer cancel()
	ms, err := s.Next(ctx)
	if err != nil {
		d.Fatal(err)
	}
	return ms
}

func (d *desk) rest(s *Stream, key authz.Key) lease.Verdict {
	_, v := d.feed.Interest(s.Generation(), "sidecar", d.feed.Head().Revision, []authz.Key{key})
	return v
}

// change commits a change of a job.
func (d *desk) change(id authz.JobID) authz.Revision {
	d.Helper()
	rev, err := d.store.Commit(d.Context(), state.Batch{Puts: []state.Record{&state.Job{ID: id, Digest: digestOf(int(authz.JobKey(id) % 200)), Erased: true}}})
	if err != nil {
		d.Fatal(err)
	}
	return rev
}

// TestSharedSealKey: PDPs that begin on one history at a time have one key that seals marks,
// the record of it is not touched when one of them ends, and asks nobody to wait (R8, R13).
func TestSharedSealKey(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		c := memstore.NewCluster(memstore.Options{})
		var all []*desk
		for i := range 3 {
			all = append(all, openDesk(t, c, Options{Now: now, Term: time.Duration(2+i) * time.Second}, nil))
		}
		marks := make([]lease.Mark, len(all))
		var opening sync.WaitGroup
		for i, d := range all {
			opening.Go(func() { marks[i] = d.take(d.open(lease.Hello{}))[0].Head })
		}
		opening.Wait()
		for i, d := range all {
			for _, m := range marks {
				if m.Seal = slices.Clone(m.Seal); !sealed(d.feed.key, m) {
					t.Errorf("desk %d does not know the seal of %v", i, m)
				}
			}
		}
		all[2].open(lease.Hello{})
		before := all[2].feed.Head()
		time.Sleep(10 * time.Second) // all have lapsed
		for _, d := range all[1:] {
			if err := d.feed.Close(t.Context()); err != nil {
				t.Error(err)
			}
			d.store.Close()
		}
		rec, _ := all[0].view.Leases()
		if head := all[0].feed.Head(); head.Revision != before.Revision || !rec.Out || rec.Longest != 4*time.Second || rec.SealKey != all[0].feed.key {
			t.Errorf("%+v at %v, before %v", rec, head, before)
		}
		late := openDesk(t, c, Options{Now: now}, nil)
		if q := late.feed.Quiet(); q != 0 || late.feed.Settled() != before.Revision {
			t.Errorf("quiet for %v, settled %d", q, late.feed.Settled())
		}
		late.end()
		all[0].end()
	})
}

// TestSettled: what a registration may say is settled ends below the oldest change that a
// sidecar is waited for (M6).
func TestSettled(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		c := memstore.NewCluster(memstore.Options{})
		a, b := openDesk(t, c, Options{Now: now}, nil), openDesk(t, c, Options{Now: now}, nil)
		defer a.end()
		defer b.end()
		if New(state.NewView(), Options{Now: now}).Settled() != 0 {
			t.Error("something is settled before the start")
		}
		s, other := b.open(lease.Hello{}), b.open(lease.Hello{})
		b.take(s)
		b.take(other)
		b.rest(s, keyA)
		b.rest(other, keyB)
		nobody := a.change("x")
		first, second := a.change("a"), a.change("b")
		last := a.change("y")
		if a.feed.Settled() != last {
			t.Errorf("settled %d where no sidecar is", a.feed.Settled())
		}
		if err := b.feed.AwaitApplied(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		want := func(rev authz.Revision) {
			t.Helper()
			if got := b.feed.Settled(); got != rev {
				t.Errorf("settled %d, want %d", got, rev)
			}
		}
		want(nobody)
		b.take(other)
		other.Ack(second)
		want(nobody)
		b.take(s)
		s.Ack(first)
		want(last)
		s.Close()
		if b.rest(s, keyA) != lease.Uncacheable { // its interest is gone with the ack
			t.Error("an answer may be kept on a stream that is gone")
		}
		b.rest(other, keyB)
		other.Close()
		third := a.change("b")
		b.feed.AwaitApplied(t.Context(), third)
		want(last)
		time.Sleep(lease.GrantorTerm(lease.DefaultTerm) + slowPace)
		want(third)
	})
}

// TestAwaitApplied wakes whom the view has reached, and nobody else.
func TestAwaitApplied(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		c := memstore.NewCluster(memstore.Options{})
		a, b := openDesk(t, c, Options{Now: now}, nil), openDesk(t, c, Options{Now: now}, nil)
		defer a.end()
		defer b.end()
		b.store.Hold()
		first, second := a.change("a"), a.change("b")
		ctx, cancel := context.WithCancel(t.Context())
		var there [3]atomic.Bool
		for i, rev := range []authz.Revision{first, second, second + 1} {
			go func() {
				err := b.feed.AwaitApplied(ctx, rev)
				if (err == nil) != (b.feed.Applied() >= rev) {
					t.Errorf("%d: %v at %d", rev, err, b.feed.Applied())
				}
				there[i].Store(true)
			}()
		}
		want := func(a, b, c bool) {
			t.Helper()
			synctest.Wait()
			if got := [3]bool{there[0].Load(), there[1].Load(), there[2].Load()}; got != [3]bool{a, b, c} {
				t.Errorf("%v have returned", got)
			}
		}
		want(false, false, false)
		b.store.Deliver(1)
		want(true, false, false)
		b.store.Release()
		want(true, true, false)
		cancel()
		want(true, true, true)
		if n := len(b.feed.applying); n != 0 {
			t.Errorf("%d are still waited with", n)
		}
	})
}

// TestGrantsOnlyWhileServing: a PDP that may not serve opens nothing, renews nothing and lets
// nothing be kept, from the very instant on (M1).
func TestGrantsOnlyWhileServing(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		d := openDesk(t, memstore.NewCluster(memstore.Options{}), Options{Now: now}, nil)
		defer d.end()
		s := d.open(lease.Hello{})
		d.take(s)
		ends := func() lease.Instant {
			d.feed.mu.Lock()
			defer d.feed.mu.Unlock()
			info, _ := d.feed.grantor.Info(s.Generation())
			return info.Ends
		}
		d.until.Store(int64(time.Second))
		time.Sleep(time.Second - 1)
		s.Renew(1, Figures{})
		before := ends()
		if v := d.rest(s, keyA); v != lease.Cacheable {
			t.Errorf("in the last moment: %v", v)
		}
		time.Sleep(time.Nanosecond)
		s.Renew(2, Figures{})
		if ends() != before {
			t.Error("renewed by a PDP that may not serve")
		}
		if v := d.rest(s, keyA); v != lease.Uncacheable {
			t.Errorf("an answer may be kept: %v", v)
		}
		if _, err := d.feed.Open(t.Context(), "x", About{}, lease.Hello{}); code(err) != CodeFenced || authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("a hello: %v", err)
		}
		// What was granted counts all the same (L3).
		if r := d.feed.Receipt(d.change("a")); r.Effective || r.Pending != 1 {
			t.Errorf("%+v", r)
		}
		d.until.Store(1 << 62)
		d.take(s)
		s.Renew(3, Figures{})
		if ends() == before {
			t.Error("not renewed although it serves again and was not fenced")
		}
	})
}

// TestCutAll: after a fence nothing from before is renewed, also when the PDP serves again; it
// runs out and is counted until then (L3, M3). A new hello at the same PDP is good.
func TestCutAll(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		d := openDesk(t, memstore.NewCluster(memstore.Options{}), Options{Now: now}, nil)
		defer d.end()
		s := d.open(lease.Hello{})
		d.take(s)
		d.rest(s, keyA)
		time.Sleep(time.Second)
		s.Renew(1, Figures{})
		d.feed.CutAll()
		if _, err := s.Next(t.Context()); code(err) != CodeStreamCut {
			t.Errorf("the stream goes on: %v", err)
		}
		began := now()
		s.Renew(2, Figures{})
		if v := d.rest(s, keyB); v != lease.Uncacheable {
			t.Errorf("an answer may be kept: %v", v)
		}
		again := d.open(lease.Hello{})
		d.take(again)
		again.Renew(1, Figures{})
		rev := d.change("a")
		r, err := d.feed.Await(t.Context(), rev, nil)
		took := now().Sub(began)
		if err != nil || !r.Effective || r.Lapsed != 1 || took < lease.GrantorTerm(lease.DefaultTerm) || took > lease.GrantorTerm(lease.DefaultTerm)+fastPace {
			t.Errorf("%+v, %v after %v", r, err, took)
		}
		if o := d.feed.Stats().Overflows; o != 0 {
			t.Errorf("%d were too slow", o)
		}
	})
}

// TestHelloOfAFasterReplica: a sidecar that comes from a PDP which was ahead is taken, with
// its entries, after this one has caught up; and nobody believes that the store was replaced
// (R3, R13). A store that cannot be reached is no proof of anything.
func TestHelloOfAFasterReplica(t *testing.T) {
	for name, hello := range map[string]func(old, seen lease.Mark, applied authz.Revision) lease.Hello{
		"a mark that is ahead": func(_, seen lease.Mark, _ authz.Revision) lease.Hello { return lease.Hello{Seen: seen} },
		"a mark and entries": func(_, seen lease.Mark, applied authz.Revision) lease.Hello {
			return lease.Hello{Seen: seen, Applied: applied, Vouch: true, Keys: []authz.Key{keyA, keyB}}
		},
		"entries ahead of an older mark": func(old, _ lease.Mark, applied authz.Revision) lease.Hello {
			return lease.Hello{Seen: old, Applied: applied, Vouch: true, Keys: []authz.Key{keyA, keyB}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, now func() lease.Instant) {
				c := memstore.NewCluster(memstore.Options{})
				a, b := openDesk(t, c, Options{Now: now}, nil), openDesk(t, c, Options{Now: now}, nil)
				defer a.end()
				defer b.end()
				old := a.take(a.open(lease.Hello{}))[0].Head
				synctest.Wait()
				b.store.Hold()
				b.store.Cut()
				a.change("b")
				applied := a.change("x")
				seen := a.take(a.open(lease.Hello{}))[0].Head
				a.change("a")
				h := hello(old, seen, applied)
				if b.feed.Head().Revision != old.Revision {
					t.Fatal("it does not lag")
				}
				_, err := b.feed.Open(t.Context(), "sidecar", About{}, h)
				if authz.KindOf(err) != authz.KindUnavailable || b.replaced.Load() != 0 {
					t.Errorf("while the store is out of reach: %v", err)
				}
				b.store.Mend()
				ms := b.take(b.open(h))
				if b.replaced.Load() != 0 || ms[0].Vouched != h.Vouch {
					t.Errorf("%+v", ms[0])
				}
				if h.Vouch && (ms[1].Kind != lease.Invalidation || !slices.Equal(ms[1].Keys, []authz.Key{keyA})) {
					t.Errorf("told %v", ms)
				}
			})
		})
	}
}

// TestMarkOfALostHistory: a mark that is sealed with the key of this history and ahead of its
// head says that the store was replaced, also to a PDP which has granted nothing yet (R13).
func TestMarkOfALostHistory(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		c := memstore.NewCluster(memstore.Options{})
		a, b := openDesk(t, c, Options{Now: now}, nil), openDesk(t, c, Options{Now: now}, nil)
		defer a.end()
		defer b.end()
		m := a.take(a.open(lease.Hello{}))[0].Head
		m.Revision += 100
		for sealed, want := range map[bool]int32{false: 0, true: 1} {
			h := lease.Hello{Seen: m}
			if sealed {
				h.Seen = seal(a.feed.key, m)
			}
			if _, err := b.feed.Open(t.Context(), "x", About{}, h); code(err) != CodeHistoryBehind {
				t.Errorf("sealed %t: %v", sealed, err)
			}
			if n := b.replaced.Swap(0); n != want {
				t.Errorf("sealed %t: told %d times", sealed, n)
			}
		}
	})
}

// TestStartWhileOthersCommit: what other PDPs commit while a Feed starts is not missing from
// what it vouches by (L14). Found in review: changes that came between the reading of history
// and the first grant were told to nobody.
func TestStartWhileOthersCommit(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		c := memstore.NewCluster(memstore.Options{})
		a := openDesk(t, c, Options{Now: now}, nil)
		defer a.end()
		seen := a.take(a.open(lease.Hello{}))[0].Head
		applied := a.change("x")
		b := openDesk(t, c, Options{Now: now}, func() {
			a.change("a")
			synctest.Wait() // it is in the other's view
		})
		defer b.end()
		ms := b.take(b.open(lease.Hello{Seen: seen, Applied: applied, Vouch: true, Keys: []authz.Key{keyA, keyB}}))
		if !ms[0].Vouched || ms[1].Kind != lease.Invalidation || !slices.Equal(ms[1].Keys, []authz.Key{keyA}) {
			t.Errorf("told %+v", ms)
		}
	})
}
