package pep

import (
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// filled is a Decider with n answers, without the PDP that gave them.
func filled(tb testing.TB, n int, shape func(i int) (authz.Request, authz.Decision)) *Decider {
	tb.Helper()
	cfg := Config{
		Transport: &fakeNet{}, Logger: slog.New(slog.DiscardHandler), MaxEntries: max(n, 1000), MaxBytes: 1 << 30, ReportEvery: -1,
		MaxBackoff: time.Hour, Clock: clock.New(),
	}
	d, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range n {
		q, a := shape(i)
		k := d.keyOf(&q)
		d.table.install(d.table.hash(&k), &k, &a, 0, 0, noEnd-1)
	}
	d.lease.Store(&lease.Lease{Ends: noEnd})
	return d
}

// job i asks for target i; the answer rests on what it would in a forge with groups of depth three.
func jobAndTarget(job, target, source int) (authz.Request, authz.Decision) {
	q := ask("j"+strconv.Itoa(job), authz.ProjectID(1000+target))
	a := authz.Decision{
		Allow: true, Reason: authz.AllowedListed, Revision: 7, Job: authz.JobID("job-" + strconv.Itoa(1_000_000+job)),
		Source: authz.ProjectID(source), User: authz.UserID(1 + source%50), Target: q.Target.ID, ValidFor: time.Hour, Role: authz.RoleDeveloper,
	}
	a.Keys = []authz.Key{
		authz.TheInstance, authz.JobKey(a.Job), authz.ProjectKey(a.Source), authz.GroupKey(1), authz.GroupKey(authz.GroupID(2 + source%10)),
		authz.UserKey(a.User), authz.ProjectKey(a.Target), authz.GroupKey(authz.GroupID(20 + target%10)), authz.GroupKey(authz.GroupID(40 + target%30)),
	}
	return q, a
}

func BenchmarkHit(b *testing.B) {
	const n = 100_000
	d := filled(b, n, func(i int) (authz.Request, authz.Decision) { return jobAndTarget(i/5, i%100, i/5%100) })
	defer d.Close(context.Background())
	var reqs []authz.Request
	for i := 0; i < n; i += n / 256 {
		q, _ := jobAndTarget(i/5, i%100, i/5%100)
		reqs = append(reqs, q)
	}
	ctx := context.Background()
	for _, c := range []struct {
		name string
		mask int
	}{{"one", 0}, {"256", 255}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var at atomic.Int64
			before := cpu()
			b.RunParallel(func(pb *testing.PB) {
				i := int(at.Add(37))
				for pb.Next() {
					i++
					if out, err := d.Check(ctx, reqs[i&c.mask]); err != nil || !out.Allow || !out.Cached {
						b.Error(out, err)
						return
					}
				}
			})
			// What others do on the machine does not count here, as it does in ns/op.
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHitParts says where the time goes.
func BenchmarkHitParts(b *testing.B) {
	d := filled(b, 100_000, func(i int) (authz.Request, authz.Decision) { return jobAndTarget(i/5, i%100, i/5%100) })
	defer d.Close(context.Background())
	q, _ := jobAndTarget(7, 35, 7)
	k := d.keyOf(&q)
	b.Run("clock", func(b *testing.B) {
		for b.Loop() {
			d.clock.Now()
		}
	})
	b.Run("hash", func(b *testing.B) {
		for b.Loop() {
			d.table.hash(&k)
		}
	})
	b.Run("find", func(b *testing.B) {
		h := d.table.hash(&k)
		for b.Loop() {
			if d.table.find(h, &k) == nil {
				b.Fatal("nothing")
			}
		}
	})
}

// TestMemory prints what an answer takes, and compares with the bound that is kept.
func TestMemory(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		name  string
		most  int
		shape func(i int) (authz.Request, authz.Decision)
	}{
		{"20,000 jobs with five answers each", 150, func(i int) (authz.Request, authz.Decision) { return jobAndTarget(i/5, i%100, i/5%100) }},
		{"100,000 jobs", 230, func(i int) (authz.Request, authz.Decision) { return jobAndTarget(i, i%100, i%100) }},
		{"one job, 100,000 targets", 350, func(i int) (authz.Request, authz.Decision) { return jobAndTarget(1, i, 1) }},
		{"unknown tokens", 200, func(i int) (authz.Request, authz.Decision) {
			q, _ := jobAndTarget(i, 1, 1)
			return q, authz.Decision{Reason: authz.TokenUnknown, Revision: 7}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := heap()
			d := filled(t, n, c.shape)
			after := heap()
			per := int(after-before) / n
			t.Logf("%d bytes an answer, counted as %d", per, d.Counters().Bytes/n)
			if per > c.most {
				t.Errorf("%d bytes an answer, at most %d", per, c.most)
			}
			if counted := int(d.Counters().Bytes / n); counted < per*2/3 || counted > per*3/2 {
				t.Errorf("counted as %d bytes an answer, it is %d", counted, per)
			}
			d.Close(context.Background())
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
