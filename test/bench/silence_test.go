package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
)

// BenchmarkSilence is a Revoke whose receipt has to wait: for a sidecar that has stopped at different points of its term, and right after a kill of
// the PDP, which has forgotten whose leases run. Targets: a stopped sidecar costs at most what is left of its lease as the PDP counts it, and
// 250 ms; a crash at most the longest term with its margins, and what the start takes.
func BenchmarkSilence(b *testing.B) {
	b.Run("stopped-sidecar", func(b *testing.B) {
		f := startFleet(b, 1)
		var worst, longest time.Duration
		for i := range 4 {
			ctx, cancel := context.WithCancel(context.Background())
			s := newFakeSidecar(ctx, b, f.pdp.conn.Target(), fmt.Sprintf("stops-%d", i))
			job := fmt.Sprintf("stopped-%d", i)
			s.hold(f.issue(job))
			s.stop()
			time.Sleep(time.Duration(i) * lease.DefaultTerm / 4)
			left := f.remaining(s.name)
			waited := duration(func() {
				got, err := f.tokens.Revoke(context.Background(), &jobwardv1.RevokeRequest{JobIds: []string{job}})
				if r := got.GetReceipt(); err != nil || !r.GetEffective() || r.GetLapsed() != 1 {
					b.Errorf("%s: %v %v", job, r, err)
				}
			})
			worst, longest = max(worst, waited-left), max(longest, waited)
			cancel()
			s.conn.Close()
			<-s.done
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(worst.Milliseconds()), "over-lease-ms")
		b.ReportMetric(longest.Seconds(), "longest-s")
	})
	b.Run("killed-PDP", func(b *testing.B) {
		dir := b.TempDir()
		at := "unix:" + filepath.Join(dir, "pdp")
		run := func() *exec.Cmd {
			cmd := exec.Command(os.Args[0], "--data-dir", filepath.Join(dir, "data"), "--grpc-addr", at, "--admin-addr", "off")
			cmd.Env = append(os.Environ(), childEnv+"=pdp")
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			return cmd
		}
		conn, err := grpc.NewClient(at, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		tokens, world := jobwardv1.NewTokenServiceClient(conn), jobwardv1.NewDirectoryServiceClient(conn)
		var waits []time.Duration
		pdp := run()
		for i := range 3 {
			f := &fleet{b: b, tokens: tokens, dir: world}
			f.status()
			ctx, cancel := context.WithCancel(context.Background())
			s := newFakeSidecar(ctx, b, at, "forgotten")
			job := fmt.Sprintf("forgotten-%d", i)
			s.hold(f.issue(job))
			s.stop()
			pdp.Process.Kill()
			pdp.Wait()
			pdp = run()
			f.status() // it is up again
			waits = append(waits, duration(func() { f.revoke(job, 0) }))
			cancel()
			s.conn.Close()
			<-s.done
		}
		pdp.Process.Signal(syscall.SIGTERM)
		pdp.Wait()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(micros(waits, 100)/1e6, "longest-s")
		b.ReportMetric(lease.GrantorTerm(lease.DefaultTerm).Seconds(), "bound-s")
	})
}

// stop makes a sidecar fall silent: it neither renews nor acknowledges, and its stream stands.
func (s *fakeSidecar) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent.Store(true)
}

// remaining is what is left of a sidecar's lease as the PDP counts it.
func (f *fleet) remaining(name string) time.Duration {
	got, err := f.watch.ListSidecars(context.Background(), &jobwardv1.ListSidecarsRequest{})
	if err != nil {
		f.b.Error(err)
	}
	for _, s := range got.GetSidecars() {
		if s.GetName() == name {
			return s.GetLeaseRemaining().AsDuration()
		}
	}
	f.b.Errorf("%s holds no lease", name)
	return 0
}
