package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/test/worlds"
)

// Issue and Revoke, durable, in process. Targets: one caller takes at most 1.2 times one of
// Badger's own synced commits of the same bytes; 64 callers reach at least 10 times what
// Badger reaches with 64 writers that each commit alone.
func BenchmarkDurable(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			e := openEngine(b, worlds.W())
			db := openBadger(b)
			var n atomic.Int64
			var floor, issue, revoke []float64
			run := func(do func(i int64) error) float64 { return rate(b, callers, 1500*time.Millisecond, &n, do) }
			for round := range 6 {
				first := n.Load()
				is := run(func(i int64) error { return issueOne(e, i) })
				last := n.Load()
				// Revoke takes what Issue made, so it cannot run out before the time is over.
				next := atomic.Int64{}
				next.Store(first)
				re := rate(b, callers, 700*time.Millisecond, &next, func(i int64) error {
					if i >= last {
						time.Sleep(time.Millisecond)
						return errDone
					}
					return revokeOne(e, i)
				})
				fl := run(func(i int64) error { return badgerOne(db, i) })
				if round > 0 {
					floor, issue, revoke = append(floor, fl), append(issue, is), append(revoke, re)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(floor), "badger/s")
			b.ReportMetric(middle(issue), "issue/s")
			b.ReportMetric(middle(revoke), "revoke/s")
			b.ReportMetric(middle(ratios(issue, floor)), "issue×badger")
			b.ReportMetric(middle(ratios(revoke, floor)), "revoke×badger")
		})
	}
}

var errDone = fmt.Errorf("no more")

// rate runs do from callers goroutines for d and gives calls per second.
func rate(b *testing.B, callers int, d time.Duration, n *atomic.Int64, do func(i int64) error) float64 {
	b.Helper()
	var stop atomic.Bool
	time.AfterFunc(d, func() { stop.Store(true) })
	var wg sync.WaitGroup
	var done atomic.Int64
	start := time.Now()
	var end atomic.Int64
	for range callers {
		wg.Go(func() {
			for !stop.Load() {
				if err := do(n.Add(1) - 1); err == errDone {
					break
				} else if err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
				end.Store(int64(time.Since(start)))
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / time.Duration(end.Load()).Seconds()
}

func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func benchJob(i int64) authz.JobID { return authz.JobID(fmt.Sprintf("bench-%d", i)) }

func issueOne(e *engine.Engine, i int64) error {
	_, err := e.Issue(context.Background(), engine.Actor{Name: "bench"}, engine.IssueRequest{
		Job: benchJob(i), Project: authz.ProjectID(1 + i%1000), User: authz.UserID(1 + i%1000), Pipeline: i, Ref: "refs/heads/main",
	})
	return err
}

func revokeOne(e *engine.Engine, i int64) error {
	_, err := e.Revoke(context.Background(), engine.Actor{Name: "bench"}, engine.RevokeRequest{Jobs: []authz.JobID{benchJob(i)}})
	return err
}

// badgerOne is the floor: one synced commit of the bytes that an Issue stores, which are
// the job's record, its entry in history and its audit event.
func badgerOne(db *badger.DB, i int64) error {
	return db.Update(func(txn *badger.Txn) error {
		return txn.Set(fmt.Appendf(nil, "j/bench-%d", i), slices.Repeat([]byte{byte(i)}, 512))
	})
}

func openBadger(b *testing.B) *badger.DB {
	b.Helper()
	db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).WithLogger(nil).WithMemTableSize(32 << 20))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

// openEngine opens an engine on a new store that holds the world.
func openEngine(tb testing.TB, w worlds.World) *engine.Engine {
	tb.Helper()
	dir := tb.TempDir()
	fillStore(tb, dir, w)
	st, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir, Reserve: -1, Ballast: -1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { st.Close() })
	return startEngine(tb, st)
}

func startEngine(tb testing.TB, st state.Store) *engine.Engine {
	tb.Helper()
	tokens, err := token.NewFormat("jobt-")
	if err != nil {
		tb.Fatal(err)
	}
	e, err := engine.New(context.Background(), engine.Options{Store: st, Tokens: tokens})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.Close)
	return e
}

// nothing is a sink for a store that is only to be filled.
type nothing struct{}

func (nothing) Reset()                            {}
func (nothing) Load(state.Record, authz.Revision) {}
func (nothing) Loaded(state.Mark, authz.Stamp)    {}
func (nothing) Apply([]state.Change)              {}

// fillStore writes a world into a store and closes it.
func fillStore(tb testing.TB, dir string, w worlds.World) {
	tb.Helper()
	ctx := context.Background()
	st, err := badgerstore.Open(ctx, badgerstore.Options{Dir: dir, Reserve: -1, Ballast: -1})
	if err != nil {
		tb.Fatal(err)
	}
	defer st.Close()
	if err := st.Attach(ctx, nothing{}); err != nil {
		tb.Fatal(err)
	}
	var batch state.Batch
	flush := func() {
		batch.Stamp = authz.StampOf(time.Now())
		if _, err := st.Commit(ctx, batch); err != nil {
			tb.Fatal(err)
		}
		batch = state.Batch{}
	}
	w.Records(func(r state.Record) {
		batch.Puts = append(batch.Puts, r)
		if len(batch.Puts) >= 5000 {
			flush()
		}
	})
	if len(batch.Puts) > 0 {
		flush()
	}
}

// middle is the median.
func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
