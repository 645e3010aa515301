package feed

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// TestInterestDoesNotAllocate: it is in the way of every answer that can be kept. Keys
// seen before cost nothing; new ones grow maps.
func TestInterestDoesNotAllocate(t *testing.T) {
	b := newBench(t, Options{})
	defer b.end()
	s := b.open(lease.Hello{})
	keys := []authz.Key{authz.TheInstance, keyA, authz.ProjectKey(1), authz.ProjectKey(2), authz.GroupKey(1), authz.UserKey(1)}
	rev := b.feed.Head().Revision
	if n := testing.AllocsPerRun(1000, func() { b.feed.Interest(s.Generation(), "sidecar", rev, keys) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestJobChangesCostLittle: a change that only jobs have costs its key slice and what the
// Grantor keeps of it, with a thousand sidecars that do not hold it as with none (P10).
func TestJobChangesCostLittle(t *testing.T) {
	cost := func(sidecars int) float64 {
		b := newBench(t, Options{Term: time.Minute})
		defer b.end()
		b.tail.Close()
		for range sidecars {
			s := b.open(lease.Hello{})
			b.interested(s, keyB)
		}
		b.put1(jobA)
		rev := b.feed.Head().Revision
		changes := []state.Change{{Puts: []state.Record{jobA}, Keys: []state.Key{jobA.Key()}}}
		plain := testing.AllocsPerRun(2000, func() {
			rev++
			changes[0].Revision = rev
			b.view.Apply(changes)
		})
		return testing.AllocsPerRun(2000, func() {
			rev++
			changes[0].Revision = rev
			b.feed.Apply(changes)
		}) - plain
	}
	none, many := cost(0), cost(1000)
	if none > 1 || many > none {
		t.Errorf("%v allocations without sidecars, %v with a thousand", none, many)
	}
}

// put1 commits where nobody reads the tail.
func (b *bench) put1(recs ...state.Record) {
	if _, err := b.store.Commit(context.Background(), state.Batch{Puts: recs}); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkApplyJob(b *testing.B) {
	for _, n := range []int{-1, 0, 1000} {
		b.Run(fmt.Sprint("sidecars ", n), func(b *testing.B) {
			w := newBench(b, Options{Term: time.Minute})
			defer w.end()
			w.tail.Close()
			for range n {
				w.interested(w.open(lease.Hello{}), keyB)
			}
			var sink state.Sink = w.feed
			if n < 0 {
				sink = w.view
			}
			rev := w.feed.Head().Revision
			changes := []state.Change{{Puts: []state.Record{jobA}, Keys: []state.Key{jobA.Key()}}}
			b.ReportAllocs()
			for b.Loop() {
				rev++
				changes[0].Revision = rev
				sink.Apply(changes)
			}
		})
	}
}

func BenchmarkInterest(b *testing.B) {
	w := newBench(b, Options{})
	defer w.end()
	s := w.open(lease.Hello{})
	keys := []authz.Key{authz.TheInstance, keyA, authz.ProjectKey(1), authz.ProjectKey(2), authz.GroupKey(1), authz.UserKey(1)}
	rev := w.feed.Head().Revision
	b.ReportAllocs()
	for b.Loop() {
		w.feed.Interest(s.Generation(), "sidecar", rev, keys)
	}
}

// BenchmarkRevocations is one revocation that one of a thousand sidecars holds, from
// Apply to the effective receipt, with as many calls at a time.
func BenchmarkRevocations(b *testing.B) {
	start := time.Now()
	w := newBench(b, Options{Term: time.Minute, Now: func() lease.Instant { return lease.Instant(time.Since(start)) }})
	defer w.end()
	w.tail.Close()
	var streams []*Stream
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for range 1000 {
		s := w.open(lease.Hello{})
		streams = append(streams, s)
		readers.Go(func() {
			for {
				ms, err := s.Next(ctx)
				if err != nil {
					return
				}
				for _, m := range ms {
					if m.Kind == lease.Invalidation {
						s.Ack(m.Revision)
					}
				}
			}
		})
	}
	var mu sync.Mutex
	rev := w.feed.Head().Revision
	i := 0
	b.ReportAllocs()
	b.SetParallelism(500)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mu.Lock()
			rev++
			at := rev
			i++
			id := authz.JobID(fmt.Sprint(i % 4096))
			w.feed.Interest(streams[i%1000].Generation(), "sidecar", at-1, []authz.Key{authz.JobKey(id)})
			j := &state.Job{ID: id, Digest: authz.Digest{1, byte(i), byte(i >> 8)}}
			w.feed.Apply([]state.Change{{Revision: at, Puts: []state.Record{j}, Keys: []state.Key{j.Key()}}})
			mu.Unlock()
			if r, err := w.feed.Await(context.Background(), at, nil); err != nil || !r.Effective {
				b.Errorf("%+v, %v", r, err)
			}
		}
	})
	b.StopTimer()
	cancel()
	readers.Wait()
}

// TestManyWaiters: a thousand calls that wait for as many revocations are each woken for
// their own.
func TestManyWaiters(t *testing.T) {
	bubble(t, func(t *testing.T, now func() lease.Instant) {
		b := newBench(t, Options{Now: now})
		defer b.end()
		b.tail.Close()
		s := b.open(lease.Hello{})
		b.next(s)
		var revs []authz.Revision
		for i := range 1000 {
			id := authz.JobID(fmt.Sprint(i))
			b.interested(s, authz.JobKey(id))
			revs = append(revs, b.revoke(id))
		}
		var calls sync.WaitGroup
		for _, rev := range revs {
			calls.Go(func() {
				if r := b.await(rev); !r.Effective || r.Acked != 1 {
					t.Errorf("%+v", r)
				}
			})
		}
		everything := make(chan lease.Receipt, 1)
		calls.Go(func() {
			r, err := b.feed.AwaitAll(context.Background(), revs[len(revs)-1], nil)
			if err != nil {
				t.Error(err)
			}
			everything <- r
		})
		time.Sleep(time.Millisecond)
		if st := b.feed.Stats(); st.Waiting != 1001 || st.Pending != 1000 {
			t.Errorf("stats %+v", st)
		}
		b.next(s)
		s.Ack(revs[499])
		time.Sleep(time.Millisecond)
		if st := b.feed.Stats(); st.Waiting != 501 || st.Pending != 500 {
			t.Errorf("stats %+v", st)
		}
		s.Ack(revs[999])
		calls.Wait()
		if r := <-everything; !r.Effective || r.Pending != 0 || now() > lease.Instant(100*time.Millisecond) {
			t.Errorf("%+v at %v", r, time.Duration(now()))
		}
	})
}
