package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
)

// BenchmarkReceipt is a Revoke over gRPC with its receipt, from a PDP that has one core to itself and 1, 100 or 1,000 sidecars, each with
// connections of its own. Targets: with one sidecar that holds the job, p50 at most that of a Revoke that nobody holds plus a round trip, the same
// for every fleet (P10): such a Revoke is one durable commit and one round trip. With all 1,000 holding it, p99 at most 50 ms.
func BenchmarkReceipt(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("sidecars=%d", size), func(b *testing.B) {
			f := startFleet(b, size)
			const rounds = 400
			var held, unheld, trip []time.Duration
			for i := range rounds {
				token := f.issue(fmt.Sprintf("held-%d", i))
				f.sidecars[0].hold(token)
				f.issue(fmt.Sprintf("free-%d", i))
				trip = append(trip, duration(func() { f.status() }))
				unheld = append(unheld, duration(func() { f.revoke(fmt.Sprintf("free-%d", i), 0) }))
				held = append(held, duration(func() { f.revoke(fmt.Sprintf("held-%d", i), 1) }))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(micros(trip, 50), "trip-p50-µs")
			b.ReportMetric(micros(unheld, 50), "unheld-p50-µs")
			b.ReportMetric(micros(held, 50), "held-p50-µs")
			b.ReportMetric(micros(held, 99), "held-p99-µs")
			b.ReportMetric(micros(held, 50)/(micros(unheld, 50)+micros(trip, 50)), "held×(commit+2trips)")
		})
	}
	b.Run("sidecars=1000/all-hold", func(b *testing.B) {
		f := startFleet(b, 1000)
		const rounds = 100
		var all []time.Duration
		var cpu time.Duration
		for i := range rounds {
			job := fmt.Sprintf("all-%d", i)
			token := f.issue(job)
			f.each(func(s *fakeSidecar) { s.hold(token) })
			before := f.pdp.cpu(b)
			all = append(all, duration(func() { f.revoke(job, 1000) }))
			cpu += f.pdp.cpu(b) - before
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(cpu.Seconds()*1000/rounds, "PDP-CPU-ms")
		b.ReportMetric(micros(all, 50)/1000, "p50-ms")
		b.ReportMetric(micros(all, 99)/1000, "p99-ms")
	})
}

// BenchmarkRevocationRate asks a PDP that has one core to itself for 1,000 revocations a second, each with its receipt, while 1,000 sidecars are
// connected that each hold some of the jobs. Target: it keeps up, and no queue grows: what is not acknowledged at the end of a second is no more
// than what came in the last few milliseconds.
func BenchmarkRevocationRate(b *testing.B) {
	const perSecond, seconds = 1000, 10
	f := startFleet(b, 1000)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < perSecond*seconds; i = next.Add(1) - 1 {
				f.sidecars[i%1000].hold(f.issue(fmt.Sprintf("rate-%d", i)))
			}
		})
	}
	wg.Wait()

	var mu sync.Mutex
	var receipts []time.Duration
	var queue []int
	before, began := f.pdp.cpu(b), time.Now()
	for i := range perSecond * seconds {
		due := began.Add(time.Duration(i) * time.Second / perSecond)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			f.revoke(fmt.Sprintf("rate-%d", i), 1)
			mu.Lock() // from when it was due: what waits for its turn waits, too
			defer mu.Unlock()
			receipts = append(receipts, time.Since(due))
		})
		if i%perSecond == perSecond-1 {
			wg.Go(func() {
				mine := f.unacknowledged()
				mu.Lock()
				defer mu.Unlock()
				queue = append(queue, mine)
			})
		}
	}
	wg.Wait()
	elapsed := time.Since(began)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perSecond*seconds/elapsed.Seconds(), "revoke/s")
	b.ReportMetric(micros(receipts, 50)/1000, "p50-ms")
	b.ReportMetric(micros(receipts, 99)/1000, "p99-ms")
	b.ReportMetric(100*(f.pdp.cpu(b)-before).Seconds()/elapsed.Seconds(), "PDP-core-%")
	b.ReportMetric(float64(slices.Max(queue)), "most-unacked")
}

func duration(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// micros is a percentile in µs.
func micros(ds []time.Duration, p int) float64 {
	ds = slices.Sorted(slices.Values(ds))
	return float64(ds[min(len(ds)*p/100, len(ds)-1)].Nanoseconds()) / 1000
}

// fleet is a shipped PDP in a process of its own, alone on the first core as far as we can say, and sidecars that do what theirs must and
// nothing else: they are not what is measured.
type fleet struct {
	b        *testing.B
	pdp      *child
	tokens   jobwardv1.TokenServiceClient
	watch    jobwardv1.WatchServiceClient
	dir      jobwardv1.DirectoryServiceClient
	sidecars []*fakeSidecar
}

func startFleet(b *testing.B, size int) *fleet {
	b.Helper()
	dir := b.TempDir()
	at := "unix:" + filepath.Join(dir, "pdp")
	f := &fleet{b: b}
	f.pdp = start(b, []string{childEnv + "=pdp"}, at, "--data-dir", filepath.Join(dir, "data"), "--grpc-addr", at, "--admin-addr", "off",
		"--shutdown-delay", "0s", "--shutdown-grace", "100ms")
	pin(b, f.pdp.pid)
	f.tokens, f.watch = jobwardv1.NewTokenServiceClient(f.pdp.conn), jobwardv1.NewWatchServiceClient(f.pdp.conn)
	f.dir = jobwardv1.NewDirectoryServiceClient(f.pdp.conn)
	f.status() // it is up
	ctx, cancel := context.WithCancel(context.Background())
	f.sidecars = make([]*fakeSidecar, size)
	for i := range f.sidecars {
		f.sidecars[i] = newFakeSidecar(ctx, b, at, fmt.Sprintf("s%d", i))
	}
	b.Cleanup(func() {
		cancel()
		f.each(func(s *fakeSidecar) { s.conn.Close(); <-s.done })
	})
	return f
}

// pin gives a process the first core, where there is another for us: the kernel keeps us off a busy one.
func pin(b *testing.B, pid int) {
	b.Helper()
	var have, first unix.CPUSet
	err := unix.SchedGetaffinity(0, &have)
	if first.Set(0); err == nil && have.Count() > 1 {
		err = unix.SchedSetaffinity(pid, &first)
	}
	if err != nil || have.Count() < 2 {
		b.Logf("not pinned to a core: %v", err)
	}
}

func (f *fleet) each(do func(*fakeSidecar)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for _, s := range f.sidecars {
		slots <- struct{}{}
		wg.Go(func() { do(s); <-slots })
	}
	wg.Wait()
}

func (f *fleet) status() {
	if _, err := f.dir.GetStatus(context.Background(), &jobwardv1.GetStatusRequest{}); err != nil {
		f.b.Error(err)
	}
}

func (f *fleet) issue(job string) string {
	got, err := f.tokens.Issue(context.Background(), &jobwardv1.IssueRequest{JobId: job, ProjectId: 11, UserId: 102})
	if err != nil {
		f.b.Error(err)
	}
	return got.GetToken()
}

// revoke ends a job that so many sidecars hold.
func (f *fleet) revoke(job string, held int32) {
	got, err := f.tokens.Revoke(context.Background(), &jobwardv1.RevokeRequest{JobIds: []string{job}})
	if r := got.GetReceipt(); err != nil || !r.GetEffective() || r.GetAcknowledged() != held {
		f.b.Errorf("%s: %v %v, and %d sidecars hold it", job, err, r, held)
	}
}

func (f *fleet) unacknowledged() (n int) {
	got, err := f.watch.ListSidecars(context.Background(), &jobwardv1.ListSidecarsRequest{})
	if err != nil {
		f.b.Error(err)
	}
	for _, s := range got.GetSidecars() {
		n += int(s.GetUnacknowledged())
	}
	return n
}

// fakeSidecar holds a lease and acknowledges. The machine must let it renew in time: one whose lease was lost fails the benchmark.
type fakeSidecar struct {
	b      *testing.B
	name   string
	conn   *grpc.ClientConn
	checks jobwardv1.DecisionServiceClient
	stream grpc.BidiStreamingClient[jobwardv1.WatchRequest, jobwardv1.WatchResponse]
	gen    uint64
	done   chan struct{}

	mu     sync.Mutex  // of sending
	silent atomic.Bool // it was stopped, and may lose its lease
}

func newFakeSidecar(ctx context.Context, b *testing.B, at, name string) *fakeSidecar {
	b.Helper()
	conn, err := grpc.NewClient(at, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(1<<20), grpc.WithStaticConnWindowSize(4<<20)) // as those of pep
	if err != nil {
		b.Fatal(err)
	}
	s := &fakeSidecar{b: b, name: name, conn: conn, checks: jobwardv1.NewDecisionServiceClient(conn), done: make(chan struct{})}
	if s.stream, err = jobwardv1.NewWatchServiceClient(conn).Watch(ctx); err != nil {
		b.Fatal(err)
	}
	s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Name: name}}})
	for s.gen == 0 {
		m, err := s.stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		s.gen = m.GetWelcome().GetGeneration()
	}
	go s.follow(ctx)
	go s.renew(ctx)
	return s
}

func (s *fakeSidecar) send(m *jobwardv1.WatchRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.silent.Load() {
		s.stream.Send(m) // an error shows in Recv
	}
}

func (s *fakeSidecar) follow(ctx context.Context) {
	defer close(s.done)
	for {
		m, err := s.stream.Recv()
		if err != nil {
			if ctx.Err() == nil && !s.silent.Load() {
				s.b.Errorf("%s: %v", s.name, err)
			}
			return
		}
		if i := m.GetInvalidation(); i != nil {
			s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Ack{Ack: &jobwardv1.InvalidationAck{Revision: i.Revision}}})
		}
	}
}

func (s *fakeSidecar) renew(ctx context.Context) {
	t := time.NewTicker(lease.DefaultTerm / 3)
	defer t.Stop()
	for n := uint64(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Renew{Renew: &jobwardv1.LeaseRenewal{Number: n}}})
		}
	}
}

// hold asks a question whose answer may be kept.
func (s *fakeSidecar) hold(token string) {
	got, err := s.checks.Check(context.Background(), &jobwardv1.CheckRequest{
		Token: token, TargetProjectId: 14, Permission: "read_packages", Generation: s.gen,
	})
	if err != nil || got.GetDecision().GetAnswerNumber() == 0 {
		s.b.Errorf("%s: nothing that may be kept: %v %v", s.name, got.GetDecision().GetReason(), err)
	}
}
