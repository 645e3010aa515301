package bench

import (
	"flag"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/test/worlds"
)

var large = flag.Bool("x", false, "also measure with world X (after -args): a minute, and up to 2 GiB")

// BenchmarkDecide asks the view of world W. Uniform questions are about everybody, hot
// ones about the same few.
func BenchmarkDecide(b *testing.B) { decide(b, worlds.W()) }

// BenchmarkDecideX is BenchmarkDecide for world X.
func BenchmarkDecideX(b *testing.B) {
	if !*large {
		b.Skip("takes a minute and up to 2 GiB: ask for it with -args -x")
	}
	decide(b, worlds.X())
}

func decide(b *testing.B, w worlds.World) {
	v := loaded(b, w)
	b.Run("uniform", func(b *testing.B) { ask(b, v, w, 1<<18) })
	b.Run("hot", func(b *testing.B) { ask(b, v, w, 64) })
	b.Run("unknown", func(b *testing.B) {
		w.Seed++ // other digests
		ask(b, v, w, 1<<18)
	})
}

func loaded(b *testing.B, w worlds.World) *state.View {
	b.Helper()
	before := heap()
	start := time.Now()
	v := state.NewView()
	w.Load(v)
	took := time.Since(start)
	b.Logf("loaded in %v, %.1f MiB", took, float64(heap()-before)/(1<<20))
	return v
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func ask(b *testing.B, v *state.View, w worlds.World, n int) {
	b.Helper()
	questions := make([]authz.Request, n)
	for i := range questions {
		questions[i] = w.Question(i)
	}
	var k policy.Walk
	allowed := 0
	b.ReportAllocs()
	start := cpuTime(b)
	for i := 0; b.Loop(); i++ {
		if d := v.Decide(&k, questions[i%n], worlds.Now); d.Allow {
			allowed++
		}
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(allowed)/float64(b.N), "allowed")
}

// cpuTime is steadier than the wall's where others use the machine too.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
