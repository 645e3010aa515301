package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/settings"
)

// sidecar plays a sidecar by hand: it has said hello and has its first lease.
type sidecar struct {
	t       *testing.T
	stream  grpc.BidiStreamingClient[jobwardv1.WatchRequest, jobwardv1.WatchResponse]
	welcome *jobwardv1.WatchWelcome
}

func hello(t *testing.T, c grpc.ClientConnInterface, hello *jobwardv1.WatchHello) *sidecar {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	stream, err := jobwardv1.NewWatchServiceClient(c).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{t: t, stream: stream}
	s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: hello}})
	s.welcome = s.next().GetWelcome()
	if s.next().GetLease() == nil {
		t.Fatal("no lease after the welcome")
	}
	return s
}

func (s *sidecar) send(m *jobwardv1.WatchRequest) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sidecar) next() *jobwardv1.WatchResponse {
	s.t.Helper()
	m, err := s.stream.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// receipt revokes a job and gives the receipt.
func receipt(t *testing.T, c grpc.ClientConnInterface, job string, wait jobwardv1.ReceiptWait) *jobwardv1.Receipt {
	t.Helper()
	out, err := jobwardv1.NewTokenServiceClient(c).Revoke(t.Context(), &jobwardv1.RevokeRequest{JobIds: []string{job}, ReceiptWait: wait})
	if err != nil {
		t.Fatal(err)
	}
	return out.GetReceipt()
}

// TestLeasesOverKill kills a PDP whose sidecar holds a lease: the next one waits for it before any receipt is effective, and only so long (R1).
func TestLeasesOverKill(t *testing.T) {
	dir := t.TempDir()
	args := small(dir, []string{"--lease-term=2s"})
	p := launch(t, nil, args...)
	addr, _ := p.ready()
	c := dial(t, addr)
	issue(t, c, "job-1")
	hello(t, c, &jobwardv1.WatchHello{Name: "side"})
	p.signal(syscall.SIGKILL)
	p.end()

	p = launch(t, nil, args...)
	addr, _ = p.ready()
	began := time.Now()
	c = dial(t, addr)
	if r := receipt(t, c, "job-1", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE); r.GetEffective() || r.GetQuietRemaining().AsDuration() <= 0 {
		t.Errorf("at once: %v", r)
	}
	if r := receipt(t, c, "job-1", jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE); !r.GetEffective() {
		t.Errorf("in the end: %v", r)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it waited for %v", took)
	}
	said(t, &p.log, "sidecars may hold leases from before")
}

// TestLeasesOverStop stops a PDP in order: its sidecar is told, gives its lease up, and the next start waits for nobody.
func TestLeasesOverStop(t *testing.T) {
	dir := t.TempDir()
	args := small(dir, []string{"--lease-term=30s", "--shutdown-grace=1m"})
	l := runLocal(t, nil, args...)
	c := dial(t, l.GRPC[0].String())
	issue(t, c, "job-1")
	s := hello(t, c, &jobwardv1.WatchHello{Name: "side"})
	l.end()
	for s.next().GetMoving() == nil {
		continue
	}
	s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Release{Release: &jobwardv1.LeaseRelease{Generation: s.welcome.GetGeneration()}}})
	began := time.Now()
	if err := l.wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("after the release it took %v to stop", took)
	}
	l = runLocal(t, nil, args...)
	if r := receipt(t, dial(t, l.GRPC[0].String()), "job-1", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE); !r.GetEffective() {
		t.Errorf("after a stop in order: %v", r)
	}
}

// TestLeasesOutlast stops a PDP whose sidecar does nothing about it: the stop takes the grace and no longer, and the next start waits.
func TestLeasesOutlast(t *testing.T) {
	dir := t.TempDir()
	args := small(dir, []string{"--lease-term=30s", "--shutdown-grace=1s"})
	l := runLocal(t, nil, args...)
	c := dial(t, l.GRPC[0].String())
	hello(t, c, &jobwardv1.WatchHello{})
	began := time.Now()
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	l = runLocal(t, nil, args...)
	if r := receipt(t, dial(t, l.GRPC[0].String()), "j", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE); r.GetEffective() {
		t.Errorf("a lease of 30s is out: %v", r)
	}
}

// TestReplacedStore puts an older copy of the data directory in place. The first sidecar that has seen more ends the process (R13, P6).
func TestReplacedStore(t *testing.T) {
	dir := t.TempDir()
	data, older := filepath.Join(dir, "data"), filepath.Join(dir, "older")
	run := func() (*local, grpc.ClientConnInterface) {
		l := runLocal(t, nil, small(data, []string{"--lease-term=1s"})...)
		return l, dial(t, l.GRPC[0].String())
	}
	l, c := run()
	hello(t, c, &jobwardv1.WatchHello{}) // so that marks are sealed with the same key before and after
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(older, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	l, c = run()
	issue(t, c, "job-1")
	revoke(t, c, "job-1")
	seen := hello(t, c, &jobwardv1.WatchHello{}).welcome.GetHead()
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(older, data); err != nil {
		t.Fatal(err)
	}

	p := launch(t, nil, small(data, nil)...)
	addr, _ := p.ready()
	c = dial(t, addr)
	stream, err := jobwardv1.NewWatchServiceClient(c).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Seen: seen}}})
	if m, err := stream.Recv(); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "its history is behind") {
		t.Errorf("it was answered: %v, %v", m, err)
	}
	// While it ends it answers nobody else.
	if _, err := jobwardv1.NewTokenServiceClient(c).Issue(t.Context(), &jobwardv1.IssueRequest{JobId: "job-2", ProjectId: 11, UserId: 102}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the proof: %v", err)
	}
	if code := p.end(); code != settings.ExitFailed {
		t.Errorf("it ended with %d", code)
	}
	if !strings.Contains(p.log.String(), "the store was replaced by an older or another one") {
		t.Errorf("it said\n%s", p.log.String())
	}
}

// TestLeaseMetrics: what the operator's page has under which names.
func TestLeaseMetrics(t *testing.T) {
	l := runLocal(t, nil, small(t.TempDir(), []string{"--canary-project=11", "--canary-user=102", "--canary-every=1s"})...)
	c := dial(t, l.GRPC[0].String())
	hello(t, c, &jobwardv1.WatchHello{Name: "side"})
	revoke(t, c, "nobody")
	code, page := l.get("/metrics")
	if code != 200 {
		t.Fatal(code, page)
	}
	for _, want := range []string{
		"jobward_lease_live", "jobward_lease_lapses_total", "jobward_lease_interest", "jobward_lease_quiet_seconds", "jobward_watch_invalidations_total",
		"jobward_watch_unacknowledged", "jobward_receipt_duration_seconds_count", `outcome="effective_none"`, "jobward_receipt_pending",
		"jobward_access_reported_total", "jobward_canary_runs_total", "jobward_canary_stale_allows_total", "jobward_head_revision",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
}
