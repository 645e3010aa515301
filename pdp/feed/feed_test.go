package feed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in virtual time, with a clock that follows it.
func bubble(t *testing.T, fn func(t *testing.T, now func() lease.Instant)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		fn(t, func() lease.Instant { return lease.Instant(time.Since(start)) })
	})
}

var (
	jobA = &state.Job{ID: "a", Digest: digestOf(1)}
	keyA = authz.JobKey("a")
	keyB = authz.JobKey("b")
)

func (b *bench) open(h lease.Hello) *Stream {
	b.Helper()
	s, err := b.feed.Open(context.Background(), "sidecar", About{Name: "s", Version: "1"}, h)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// next takes what a stream has, which must be something.
func (b *bench) next(s *Stream) []lease.Message {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ms, err := s.Next(ctx)
	if err != nil {
		b.Fatal(err)
	}
	return ms
}

func (b *bench) interested(s *Stream, keys ...authz.Key) {
	b.Helper()
	if _, v := b.feed.Interest(s.Generation(), "sidecar", b.feed.Head().Revision, keys); v != lease.Cacheable {
		b.Fatalf("verdict %d", v)
	}
}

// revoke commits a change of a job and gives its revision.
func (b *bench) revoke(id authz.JobID) authz.Revision {
	b.Helper()
	var d authz.Digest
	binary.BigEndian.PutUint64(d[:], uint64(authz.JobKey(id)))
	rev, err := b.store.Commit(context.Background(), state.Batch{Puts: []state.Record{&state.Job{ID: id, Digest: d, Erased: true}}, Actor: "ada", Verb: "revoke"})
	if err != nil {
		b.Fatal(err)
	}
	return rev
}

func (b *bench) await(rev authz.Revision) lease.Receipt {
	b.Helper()
	r, err := b.feed.Await(context.Background(), rev, nil)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func kinds(ms []lease.Message) (out []lease.Kind) {
	for _, m := range ms {
		out = append(out, m.Kind)
	}
	return out
}

func code(err error) string {
	var e *authz.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

// TestReceiptByAck: a change goes to whoever rests on it and to nobody else, and is
// effective when it was acked (R2, P10).
func TestReceiptByAck(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now})
		defer b.end()
		s, other := b.open(lease.Hello{}), b.open(lease.Hello{})
		if got := kinds(b.next(s)); !slices.Equal(got, []lease.Kind{lease.Welcome, lease.Grant}) {
			t.Fatalf("a hello gives %v", got)
		}
		b.next(other)
		b.interested(s, keyA)
		b.interested(other, keyB)
		rev := b.revoke("a")
		ms := b.next(s)
		if len(ms) != 1 || ms[0].Kind != lease.Invalidation || ms[0].Revision != rev || !slices.Equal(ms[0].Keys, []authz.Key{keyA}) {
			t.Fatalf("got %+v", ms)
		}
		if r := b.feed.Receipt(rev); r.Effective || r.Pending != 1 {
			t.Errorf("before the ack: %+v", r)
		}
		steps := 0
		go func() {
			time.Sleep(300 * time.Millisecond)
			s.Ack(rev)
		}()
		r, err := b.feed.Await(context.Background(), rev, func(lease.Receipt) { steps++ })
		if err != nil || !r.Effective || r.Acked != 1 || r.Lapsed != 0 || r.Pending != 0 || steps != 2 {
			t.Errorf("%+v after %d steps, %v", r, steps, err)
		}
		if at := now(); at != lease.Instant(300*time.Millisecond) {
			t.Errorf("effective at %v", time.Duration(at))
		}
		if ms, _ := other.take(); len(ms) != 0 {
			t.Errorf("the other was told %v", ms)
		}
		st := b.feed.Stats()
		if st.Generations != 2 || st.Receipts != 1 || st.Acked != 1 || st.Pending != 0 || st.Invalidations != 1 || st.Opened != 2 || st.Waiting != 0 || st.Head != rev {
			t.Errorf("stats %+v", st)
		}
		// Nobody rests on what changes now.
		if r := b.await(b.revoke("a")); !r.Effective || r.Acked != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// TestReceiptByLapse: who does not ack is waited for until the end of its lease and its
// margins, and not longer; a closed stream ends nothing (R2).
func TestReceiptByLapse(t *testing.T) {
	for _, broken := range []bool{false, true} {
		bubble(t, func(t *testing.T, now func() lease.Instant) {
			b := newBench(t, Options{Now: now, Term: 2 * time.Second})
			defer b.end()
			s := b.open(lease.Hello{})
			b.next(s)
			b.interested(s, keyA)
			rev := b.revoke("a")
			if broken {
				s.Close()
				if _, err := s.Next(context.Background()); code(err) != CodeStreamCut {
					t.Errorf("a closed stream gives %v", err)
				}
			} else {
				time.Sleep(time.Second)
				s.Renew(1, Figures{Entries: 7}) // granted, and the wait for rev is not prolonged
				if side := b.feed.Sidecars(); len(side) != 1 || side[0].Entries != 7 || side[0].Name != "s" || side[0].Owed != 1 || side[0].Cut || side[0].Remaining != lease.GrantorTerm(2*time.Second) {
					t.Errorf("sidecars %+v", side)
				}
			}
			r := b.await(rev)
			end := lease.GrantorTerm(2 * time.Second)
			if at := time.Duration(now()); !r.Effective || r.Lapsed != 1 || at < end || at > end+fastPace {
				t.Errorf("broken %v: %+v at %v, the lease ended at %v", broken, r, at, end)
			}
			if broken {
				if st := b.feed.Stats(); st.Lapses != 1 || st.Overflows != 0 || len(b.feed.Sidecars()) != 0 {
					t.Errorf("stats %+v", st)
				}
			}
		})
	}
}

// TestAwaitEndsWithItsContext: then it gives what there is, and asking again waits again
// (R6).
func TestAwaitEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now})
		defer b.end()
		s := b.open(lease.Hello{})
		b.next(s)
		b.interested(s, keyA)
		first := b.revoke("a")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if r, err := b.feed.Await(ctx, first, nil); err != nil || r.Effective || r.Pending != 1 || time.Duration(now()) != time.Second {
			t.Errorf("%+v, %v", r, err)
		}
		if st := b.feed.Stats(); st.Waiting != 0 || st.Pending != 1 || len(b.feed.waits) != 0 {
			t.Errorf("stats %+v", st)
		}
		later := b.revoke("b")
		if r := b.await(later); !r.Effective {
			t.Errorf("%+v", r)
		}
		// Everything up to later has first in it.
		if r, err := b.feed.AwaitAll(ctx, later, nil); err != nil || r.Effective || r.Pending == 0 || r.Revision != later {
			t.Errorf("%+v, %v", r, err)
		}
		var steps []lease.Receipt
		r, err := b.feed.AwaitAll(context.Background(), later, func(r lease.Receipt) { steps = append(steps, r) })
		if err != nil || !r.Effective || r.Lapsed != 1 || r.Revision != later {
			t.Errorf("%+v, %v", r, err)
		}
		for i, s := range steps {
			if s.Effective != (i == len(steps)-1) {
				t.Errorf("step %d of %d: %+v", i, len(steps), s)
			}
		}
		if _, err := b.feed.Await(ctx, later+1, nil); code(err) != CodeRevisionAhead {
			t.Errorf("the future: %v", err)
		}
		if _, err := b.feed.AwaitAll(ctx, later+1, nil); code(err) != CodeRevisionAhead {
			t.Errorf("the future: %v", err)
		}
	})
}

// TestBeatsAndMarks: who hears nothing else hears the head once a second at most, and now
// and then a mark to keep that its PDP will know again.
func TestBeatsAndMarks(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now, Term: time.Minute})
		defer b.end()
		s := b.open(lease.Hello{})
		b.next(s)
		var beats, marks int
		var last lease.Mark
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			b.revoke("a")
			ms, _ := s.take()
			for _, m := range ms {
				switch {
				case m.Kind != lease.Heartbeat:
					t.Fatalf("%+v", m)
				case m.Head.Epoch == 0:
					beats++
				default:
					marks++
					if last = m.Head; last.Revision > m.Revision || !sealed(b.feed.key, last) {
						t.Errorf("mark %v in a heartbeat of revision %d", last, m.Revision)
					}
				}
			}
		}
		if beats < 7 || beats > 10 || marks < 3 || marks > 5 {
			t.Errorf("%d heartbeats and %d marks in ten seconds", beats, marks)
		}
		b.open(lease.Hello{Seen: last})
		time.Sleep(10 * time.Second)
		s.take()
		time.Sleep(10 * time.Second)
		if ms, _ := s.take(); len(ms) > 0 {
			t.Errorf("with nothing to say: %+v", ms)
		}
	})
}

// TestMovingAndClose: a PDP that stops tells everybody, opens and renews nothing, and is
// done when all have released or lapsed, or when it may not wait any longer.
func TestMovingAndClose(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now})
		s, gone := b.open(lease.Hello{}), b.open(lease.Hello{})
		b.next(s)
		b.next(gone)
		gone.Close()
		b.feed.Moving()
		if got := kinds(b.next(s)); !slices.Equal(got, []lease.Kind{lease.Moving}) {
			t.Errorf("got %v", got)
		}
		if _, err := b.feed.Open(context.Background(), "x", About{}, lease.Hello{}); code(err) != CodeMoving {
			t.Errorf("a hello to a moving PDP: %v", err)
		}
		s.Renew(1, Figures{})
		if got := kinds(b.next(s)); !slices.Equal(got, []lease.Kind{lease.Grant}) {
			t.Errorf("got %v", got)
		}
		time.Sleep(time.Second)
		start := now()
		var closed sync.WaitGroup
		closed.Go(func() {
			if err := b.feed.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		s.Renew(2, Figures{})
		if ms, open := s.take(); len(ms) > 0 || !open {
			t.Errorf("renewed while closing: %v, open %v", ms, open)
		}
		time.Sleep(time.Second)
		s.Release(s.Generation())
		closed.Wait()
		if at := now().Sub(start); at < 4*time.Second || at > 5*time.Second {
			t.Errorf("closed after %v; the other lease ends after 4.15 s", at)
		}
		if _, err := s.Next(context.Background()); code(err) != CodeStreamCut {
			t.Errorf("after Close: %v", err)
		}
		if _, v := b.feed.Interest(s.Generation(), "sidecar", 1, nil); v != lease.Uncacheable {
			t.Errorf("verdict %d", v)
		}
		if err := b.feed.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if r := b.await(b.revoke("a")); !r.Effective {
			t.Errorf("a commit after Close: %+v", r)
		}
	})
}

// TestSlowReader is cut off and lapses; the others are told (R2).
func TestSlowReader(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now, MaxQueue: 4, MaxGenerations: 2})
		defer b.end()
		slow, quick := b.open(lease.Hello{}), b.open(lease.Hello{})
		b.next(quick)
		if _, err := b.feed.Open(context.Background(), "x", About{}, lease.Hello{}); code(err) != CodeTooManyGenerations {
			t.Errorf("a third generation: %v", err)
		}
		var last authz.Revision
		for range 5 {
			b.interested(quick, keyA)
			b.feed.Interest(slow.Generation(), "sidecar", b.feed.Head().Revision, []authz.Key{keyA})
			last = b.revoke("a")
			b.next(quick)
			quick.Ack(last)
		}
		if _, err := slow.Next(context.Background()); code(err) != CodeStreamCut {
			t.Errorf("the slow one: %v", err)
		}
		if st := b.feed.Stats(); st.Overflows != 1 || st.Cut != 1 || st.Owed == 0 {
			t.Errorf("stats %+v", st)
		}
		if r := b.await(last); r.Acked != 1 || r.Lapsed != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// TestTail tells of changes, and how many were missed.
func TestTail(t *testing.T) {
	b := newBench(t, Options{})
	defer b.end()
	tail := b.feed.Tail(2)
	for range 5 {
		b.revoke("a")
	}
	if n := tail.Missed(); n != 3 || tail.Missed() != 0 {
		t.Errorf("%d missed", n)
	}
	e := <-tail.C
	if e.Revision != 1 || e.Actor != "ada" || e.Verb != "revoke" || !slices.Equal(e.Keys, []authz.Key{keyA}) || e.Told != 0 {
		t.Errorf("%+v", e)
	}
	tail.Close()
	b.revoke("a")
	if n := tail.Missed(); n != 0 {
		t.Errorf("%d missed after the end", n)
	}
}

// TestOpenNeedsTheStore: no lease is granted unless a restart will know of it (R1).
func TestOpenNeedsTheStore(t *testing.T) {
	b := newBench(t, Options{})
	b.store.FailNext(false)
	if _, err := b.feed.Open(context.Background(), "x", About{}, lease.Hello{}); authz.KindOf(err) != authz.KindInternal {
		t.Errorf("%v", err)
	}
	if b.feed.Stats().Opened != 0 {
		t.Error("a lease was granted")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.feed.Close(ctx)
}
