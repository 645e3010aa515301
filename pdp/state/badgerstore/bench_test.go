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

func newFloor(b testing.TB) *floor {
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

// rate runs fn in so many goroutines for a while and gives calls per second.
func rate(b *testing.B, goroutines int, fn func() error) float64 {
	const during = 500 * time.Millisecond
	var calls atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range goroutines {
		wg.Go(func() {
			for time.Since(start) < during {
				if err := fn(); err != nil {
					b.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(calls.Load()) / time.Since(start).Seconds()
}

// alternate times calls of a and b in turns, so that what else the machine does meets both,
// and gives the median time of each.
func alternate(b *testing.B, calls int, first, second func() error) (time.Duration, time.Duration) {
	var times [2][]time.Duration
	for range calls {
		for i, fn := range []func() error{first, second} {
			at := time.Now()
			if err := fn(); err != nil {
				b.Fatal(err)
			}
			times[i] = append(times[i], time.Since(at))
		}
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	return times[0][calls/2], times[1][calls/2]
}

// BenchmarkCommit compares durable commits with Badger's own of the same bytes, in turns of
// one run, as ratios: one caller by the median time, 64 by the rate.
func BenchmarkCommit(b *testing.B) {
	f := newFloor(b)
	s := open(b, badgerstore.Options{Dir: b.TempDir()})
	if err := s.Attach(context.Background(), new(discard)); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	commit := func() error {
		_, err := s.Commit(context.Background(), issue(n.Add(1)))
		return err
	}
	for b.Loop() {
		floor, one := alternate(b, 3000, f.commit, commit)
		b.ReportMetric(float64(floor.Microseconds()), "µs-badger-1")
		b.ReportMetric(float64(one)/float64(floor), "x-one-caller")
		var ours, badgers, ratio []float64
		for range 7 {
			alone := rate(b, 64, f.commit)
			merged := rate(b, 64, commit)
			badgers, ours, ratio = append(badgers, alone), append(ours, merged), append(ratio, merged/alone)
		}
		for _, l := range [][]float64{ours, badgers, ratio} {
			slices.Sort(l)
		}
		b.ReportMetric(badgers[3], "badger-64/s")
		b.ReportMetric(ours[3], "ours-64/s")
		b.ReportMetric(ratio[3], "x-64-callers")
	}
}
