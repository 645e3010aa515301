package badgerstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// discard is a sink that takes nothing.
type discard struct{ loaded int }

func (d *discard) Reset()                            {}
func (d *discard) Load(state.Record, authz.Revision) { d.loaded++ }
func (d *discard) Loaded(state.Mark, authz.Stamp)    {}
func (d *discard) Apply([]state.Change)              {}

// issue is a batch like that of an Issue: a guard, a job, a request id and an event.
func issue(n int64) state.Batch {
	id := authz.JobID(fmt.Sprintf("job-%d", n))
	j := &state.Job{
		ID: id, Digest: authz.Digest{byte(n), byte(n >> 8), byte(n >> 16), 1}, Project: 123456, User: 654321, Pipeline: n, Ref: "refs/heads/main",
		Runner: "runner-17", Term: time.Minute, Issued: state.ThisRevision, IssuedAt: 1_800_000_000_000_000_000, Expires: 1_800_003_600_000_000_000,
	}
	return state.Batch{
		Guards: []state.Guard{{Key: state.JobKey(id)}}, Puts: []state.Record{j}, Stamp: j.IssuedAt, Actor: "spiffe://ci/coordinator", Verb: "issue",
		Events: []state.Event{{Stamp: j.IssuedAt, Data: make([]byte, 120)}},
	}
}

// bytesOf is what a batch puts on disk.
func bytesOf(b state.Batch) int {
	n := 0
	for _, rec := range b.Puts {
		n += len(rec.Key()) + len(state.AppendRecord(nil, rec))
	}
	for _, e := range b.Events {
		n += 16 + len(e.Data)
	}
	return n
}

// floor is Badger itself, syncing every transaction of one value of those bytes.
type floor struct {
	db    *badger.DB
	n     atomic.Int64
	value []byte
}

func newFloor(b *testing.B) *floor {
	db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).WithLogger(nil))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return &floor{db: db, value: make([]byte, bytesOf(issue(1))-10)}
}

func (f *floor) commit() error {
	n := f.n.Add(1)
	return f.db.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Appendf(nil, "%010d", n), f.value) })
}

// rate runs fn in so many goroutines for a while and gives calls per second and the median
// time of one.
func rate(b *testing.B, goroutines int, fn func() error) (perSecond float64, median time.Duration) {
	const during = 700 * time.Millisecond
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	start := time.Now()
	for range goroutines {
		wg.Go(func() {
			var own []time.Duration
			for time.Since(start) < during {
				at := time.Now()
				if err := fn(); err != nil {
					b.Error(err)
					return
				}
				own = append(own, time.Since(at))
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	slices.Sort(all)
	return float64(len(all)) / elapsed.Seconds(), all[len(all)/2]
}

// BenchmarkCommit compares durable commits with Badger's own, in turns of one run, as ratios:
// one caller by the median time, 64 by the rate.
func BenchmarkCommit(b *testing.B) {
	f := newFloor(b)
	s, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: b.TempDir(), Ballast: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	if err := s.Attach(context.Background(), new(discard)); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	commit := func() error {
		_, err := s.Commit(context.Background(), issue(n.Add(1)))
		return err
	}
	for b.Loop() {
		var one, oneFloor, many, manyFloor []float64
		for range 5 {
			_, p := rate(b, 1, f.commit)
			oneFloor = append(oneFloor, float64(p))
			_, p = rate(b, 1, commit)
			one = append(one, float64(p))
			r, _ := rate(b, 64, f.commit)
			manyFloor = append(manyFloor, r)
			r, _ = rate(b, 64, commit)
			many = append(many, r)
		}
		for _, l := range [][]float64{one, oneFloor, many, manyFloor} {
			slices.Sort(l)
		}
		b.ReportMetric(oneFloor[2]/1e3, "µs-badger-1")
		b.ReportMetric(one[2]/oneFloor[2], "x-one-caller")
		b.ReportMetric(manyFloor[2], "badger-64/s")
		b.ReportMetric(many[2], "ours-64/s")
		b.ReportMetric(many[2]/manyFloor[2], "x-64-callers")
	}
}
