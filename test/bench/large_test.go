package bench

import (
	"context"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/test/worlds"
)

// BenchmarkStartX starts an engine on a store that holds world X, and then does in it what
// must not depend on its size: an Issue, the block of a user, the deletion of a project.
// Targets: ready in at most 8 s and 2 GiB.
func BenchmarkStartX(b *testing.B) {
	if !*large {
		b.Skip("measured with -args -x: minutes, and up to 4 GiB of disk")
	}
	dir := b.TempDir()
	fillStore(b, dir, worlds.X())
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // the peak starts anew
		b.Fatal(err)
	}
	began, used := time.Now(), cpuTime(b)
	st, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir, Reserve: -1, Ballast: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	opened := time.Since(began)
	e := startEngine(b, st)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(opened.Seconds(), "open-s")
	b.ReportMetric(time.Since(began).Seconds(), "ready-s")
	b.ReportMetric((cpuTime(b) - used).Seconds(), "ready-cpu-s") // of two cores at most
	b.ReportMetric(peak(b), "peak-MiB")
	b.ReportMetric(took(b, 50, func(i int) error { return issueOne(e, int64(i)) }), "issue-µs")
	ctx, by := context.Background(), engine.Actor{Name: "bench", Admin: true}
	b.ReportMetric(took(b, 50, func(i int) error {
		_, err := e.BlockUser(ctx, by, engine.UserStateRequest{User: authz.UserID(1 + i), State: authz.UserStateBlocked})
		return err
	}), "block-µs")
	b.ReportMetric(took(b, 50, func(i int) error {
		_, err := e.BeginProjectDeletion(ctx, by, engine.DeletionRequest{Project: authz.ProjectID(5000 + i)})
		return err
	}), "delete-µs")
}

// BenchmarkKillMillion blocks a user who has a million live tokens, and deletes a project
// that has: one commit each, of two records and its history.
func BenchmarkKillMillion(b *testing.B) {
	if !*large {
		b.Skip("measured with -args -x")
	}
	w := worlds.World{Groups: 1, Depth: 1, Projects: 2, Users: 2, Memberships: 2, Entries: 0, Jobs: 1_000_000, Runners: 10}
	dir := b.TempDir()
	fillStore(b, dir, w)
	st, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir, Reserve: -1, Ballast: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	e := startEngine(b, st)
	ctx, by := context.Background(), engine.Actor{Name: "bench", Admin: true}
	before, _ := st.Head()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took(b, 1, func(int) error {
		_, err := e.BlockUser(ctx, by, engine.UserStateRequest{User: 1, State: authz.UserStateBlocked})
		return err
	}), "block-µs")
	b.ReportMetric(took(b, 1, func(int) error {
		_, err := e.BeginProjectDeletion(ctx, by, engine.DeletionRequest{Project: 1})
		return err
	}), "delete-µs")
	records := 0
	err = st.History(ctx, before.Revision, func(c state.Change) error { records += len(c.Keys); return nil })
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(records), "records")
}

// took gives the median time of n calls in µs.
func took(b *testing.B, n int, do func(i int) error) float64 {
	b.Helper()
	var all []float64
	for i := range n {
		began := time.Now()
		if err := do(i); err != nil {
			b.Fatal(err)
		}
		all = append(all, float64(time.Since(began).Microseconds()))
	}
	return middle(all)
}

// peak is the most memory that this process has had since its peak was reset, in MiB.
func peak(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmHWM:") {
			var kib float64
			for _, c := range line {
				if c >= '0' && c <= '9' {
					kib = kib*10 + float64(c-'0')
				}
			}
			return kib / 1024
		}
	}
	b.Fatal("this system tells no peak memory")
	return 0
}
