package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// TestHitAndRevoke asks, asks again, revokes, and asks again: the promise of the product (P1).
func TestHitAndRevoke(t *testing.T) {
	p := startPDP(t)
	s := startSidecar(t, t.TempDir(), p.Address)
	s.ready()
	for i := range 5 {
		job := fmt.Sprint("job-", i)
		token := p.Issue(job)
		s.want(token, allowed, false)
		s.want(token, allowed, true)
		r := p.revoke(job)
		if !r.Effective || r.Acknowledged != 1 || r.Lapsed+r.Pending != 0 {
			t.Errorf("the receipt: %v", r)
		}
		s.want(token, over, false)
		s.want(token, over, true)
	}
	// A job that the sidecar does not hold concerns it not.
	p.Issue("elsewhere")
	if r := p.revoke("elsewhere"); !r.Effective || r.Acknowledged != 0 {
		t.Errorf("the receipt: %v", r)
	}
	_, metrics := s.get("/metrics")
	for _, want := range []string{
		`jobward_decisions_total{door="Check",effect="allow",reason="allowed_listed",source="cache"} 5`, `jobward_decisions_total{door="Check",effect="deny",reason="job_not_running",source="pdp"} 5`,
		`jobward_cache_hits_total 10`, `jobward_cache_misses_total{cause="absent"} 5`, `jobward_cache_misses_total{cause="invalidated"} 5`, "jobward_lease_lapses_total 0",
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
}

// TestHammer lets many ask while jobs are revoked: no check that starts after a receipt is allowed, on any door.
func TestHammer(t *testing.T) {
	p := startPDP(t)
	s := startSidecar(t, t.TempDir(), p.Address)
	s.ready()
	jobs := 30
	if testing.Short() {
		jobs = 5
	}
	var asked, after atomic.Int64
	for i := range jobs {
		job := fmt.Sprint("job-", i)
		token := p.Issue(job)
		var dead, stop atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !stop.Load() {
					wasDead := dead.Load()
					d, err := s.check(token)
					if err != nil {
						t.Error(err)
						return
					}
					asked.Add(1)
					if wasDead && d.Allow {
						after.Add(1)
					}
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		if r := p.revoke(job); !r.Effective {
			t.Errorf("the receipt: %v", r)
		}
		dead.Store(true)
		time.Sleep(5 * time.Millisecond)
		stop.Store(true)
		wg.Wait()
	}
	if after.Load() > 0 {
		t.Errorf("%d checks were allowed after the receipt", after.Load())
	}
	t.Logf("%d checks, none allowed after a receipt", asked.Load())
}

// TestPDPGone kills the PDP: what is cached is answered until the lease lapses, then nothing is; when it is back, all is as it was, and its
// receipts wait out the lease that it has forgotten (P2).
func TestPDPGone(t *testing.T) {
	for _, c := range []struct {
		when string
		want func(t *testing.T, d *jobwardv1.Decision, err error) bool
	}{
		{"deny", func(_ *testing.T, d *jobwardv1.Decision, err error) bool {
			return err == nil && !d.Allow && d.Reason == lapsed && !d.Cached
		}},
		{"error", func(_ *testing.T, _ *jobwardv1.Decision, err error) bool {
			return status.Code(err) == codes.Unavailable
		}},
	} {
		t.Run(c.when, func(t *testing.T) {
			p := startPDP(t, "--lease-term=1s")
			s := startSidecar(t, t.TempDir(), p.Address, "--when-unavailable="+c.when)
			s.ready()
			token := p.Issue("job")
			s.want(token, allowed, false)
			s.want(token, allowed, true)
			p.kill()
			killed := time.Now()
			s.want(token, allowed, true)
			var d *jobwardv1.Decision
			var err error
			for d, err = s.check(token); err == nil && d.Allow; d, err = s.check(token) {
				if !d.Cached {
					t.Fatalf("who answered this? %v", d)
				}
			}
			if took := time.Since(killed); took > 3*time.Second {
				t.Errorf("answers from the cache for %v", took)
			}
			eventually(t, "the answer after the lapse", func() bool { return c.want(t, d, err) || func() bool { d, err = s.check(token); return false }() },
				func() string { return fmt.Sprint(d, err) })
			eventually(t, "not ready", func() bool { code, _ := s.get("/readyz"); return code == 503 })
			if code, _ := s.get("/startupz"); code != 200 {
				t.Error("a lapse is no start")
			}
			p.Start()
			s.ready()
			s.want(token, allowed, false) // it has started empty
			if r := p.revoke("job"); !r.Effective {
				t.Errorf("the receipt: %v", r)
			}
			s.want(token, over, false)
		})
	}
}

// TestDrain stops a sidecar in order: it gives its lease back, and a revocation right after is effective at once.
func TestDrain(t *testing.T) {
	p := startPDP(t, "--lease-term=30s")
	s := startSidecar(t, t.TempDir(), p.Address)
	s.ready()
	token := p.Issue("job")
	s.want(token, allowed, false)
	s.want(token, allowed, true)
	s.stop()
	began := time.Now()
	r := p.revoke("job")
	if took := time.Since(began); !r.Effective || r.Pending != 0 || took > 5*time.Second {
		t.Errorf("after %v: %v", took, r)
	}
}

// TestPDPStops stops the PDP in order and starts it again: the sidecar says what it waits for, and comes back.
func TestPDPStops(t *testing.T) {
	p := startPDP(t, "--lease-term=1s", "--shutdown-delay=0s")
	s := startSidecar(t, t.TempDir(), p.Address)
	s.ready()
	token := p.Issue("job")
	s.want(token, allowed, false)
	p.end(syscall.SIGTERM)
	eventually(t, "not ready", func() bool {
		code, body := s.get("/readyz")
		return code == 503 && strings.Contains(body, "a policy decision point at "+p.Address)
	}, func() string { _, body := s.get("/readyz"); return body })
	p.Start()
	s.ready()
	if r := p.revoke("job"); !r.Effective {
		t.Errorf("the receipt: %v", r)
	}
	s.want(token, over, false)
}

// TestSetBack puts an old copy of the PDP's data in place: the sidecar, also after a restart, does not believe it (P6).
func TestSetBack(t *testing.T) {
	p := startPDP(t, "--lease-term=1s", "--shutdown-delay=0s")
	dir := t.TempDir()
	s := startSidecar(t, dir, p.Address)
	s.ready()
	token := p.Issue("job")
	p.end(syscall.SIGTERM)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(p.Data)); err != nil {
		t.Fatal(err)
	}
	p.Start()
	s.ready()
	p.revoke("job")
	for i := range 20 {
		p.Issue(fmt.Sprint("more-", i))
	}
	s.want(token, over, false)
	s.stop() // writes the mark
	p.end(syscall.SIGTERM)
	if err := os.RemoveAll(p.Data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(p.Data, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	p.Start()
	s = startSidecar(t, dir, p.Address)
	// The PDP, which was shown the mark, ends: it would be wrong for everybody (PROTOCOL R13).
	select {
	case <-p.Done:
	case <-time.After(patience):
		t.Fatalf("the PDP goes on\n%s\n%s", p.Log.String(), s.log.String())
	}
	if d, err := s.check(token); err == nil && d.Allow {
		t.Errorf("a dead token was allowed: %v", d)
	}
	// The sidecar says why it waits, also when that PDP has gone.
	if code, body := s.get("/readyz"); code != 503 || !strings.Contains(body, "whose history can be believed") || !strings.Contains(body, "its history is behind") {
		t.Errorf("%d: %s", code, body)
	}
	if !strings.Contains(p.Log.String(), "history") {
		t.Errorf("the PDP does not say why:\n%s", p.Log.String())
	}
}
