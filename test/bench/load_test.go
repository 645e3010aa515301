package bench

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// inFlight is how many calls the closed loop keeps under way.
const inFlight = 64

// sample is what one round of one server gave.
type sample struct {
	ops     float64 // operations done
	perSec  float64
	cpu     float64 // server CPU in µs per operation
	p50us   float64
	p99us   float64
	elapsed time.Duration
}

func dial(tb testing.TB, addr string) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

// closedLoop runs call from workers goroutines for about d. Each call does per
// operations. call gets the number of its worker.
func closedLoop(tb testing.TB, s *server, workers, per int, d time.Duration, call func(ctx context.Context, worker, i int) error) sample {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d+30*time.Second)
	defer cancel()
	var stop atomic.Bool
	var failed atomic.Pointer[error]
	times := make([][]time.Duration, workers)
	before := s.cpu(tb)
	start := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				t := time.Now()
				if err := call(ctx, w, i); err != nil {
					failed.Store(&err)
					return
				}
				times[w] = append(times[w], time.Since(t))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if err := failed.Load(); err != nil {
		tb.Fatal(*err)
	}
	used := s.cpu(tb) - before
	all := slices.Concat(times...)
	slices.Sort(all)
	ops := float64(len(all) * per)
	return sample{
		ops: ops, perSec: ops / elapsed.Seconds(), cpu: float64(used.Microseconds()) / ops,
		p50us: float64(all[len(all)/2].Microseconds()), p99us: float64(all[len(all)*99/100].Microseconds()), elapsed: elapsed,
	}
}

// rounds runs floor and subject in turn, after one round of each that is not counted,
// and reports the medians of the subject and of the ratios pair by pair.
func rounds(b *testing.B, n int, floor, subject func() sample) {
	b.Helper()
	floor()
	subject()
	var fl, su []sample
	for range n {
		fl = append(fl, floor())
		su = append(su, subject())
	}
	ratio := make([]float64, n)
	for i := range ratio {
		ratio[i] = su[i].cpu / fl[i].cpu
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(su, func(s sample) float64 { return s.cpu }), "server-µs/op")
	b.ReportMetric(median(fl, func(s sample) float64 { return s.cpu }), "floor-µs/op")
	b.ReportMetric(middle(ratio), "×floor")
	b.ReportMetric(median(su, func(s sample) float64 { return s.perSec }), "ops/s")
	b.ReportMetric(median(fl, func(s sample) float64 { return s.perSec }), "floor-ops/s")
	b.ReportMetric(median(su, func(s sample) float64 { return s.p99us }), "p99-µs")
}

func median(all []sample, of func(sample) float64) float64 {
	v := make([]float64, len(all))
	for i, s := range all {
		v[i] = of(s)
	}
	return middle(v)
}

func middle(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
