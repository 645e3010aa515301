package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/settings"
)

// TestKillKeeps kills the process after each acknowledged change and finds the change in the next one (P4).
func TestKillKeeps(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s") // the killed one leaves it behind
	args := small(filepath.Join(dir, "data"), []string{"--grpc-addr=unix:" + socket})
	var tokens []string
	for round := range 4 {
		p := launch(t, nil, args...)
		addr, _ := p.ready()
		c := dial(t, addr)
		for i, token := range tokens {
			want := "allowed_listed"
			if i < round-1 {
				want = "job_not_running"
			}
			if got := check(t, c, token, api, "read_packages"); got != want {
				t.Errorf("round %d, job %d: %s, want %s", round, i, got, want)
			}
		}
		if round > 0 {
			revoke(t, c, fmt.Sprint("job-", round-1))
		}
		tokens = append(tokens, issue(t, c, fmt.Sprint("job-", round)))
		p.signal(syscall.SIGKILL)
		if code := p.end(); code != -1 {
			t.Fatalf("ended with %d", code)
		}
		c.Close()
	}
}

// TestStoreFails breaks the disk under a running process: it must stop by itself, with an error, and acknowledge nothing more (P4).
func TestStoreFails(t *testing.T) {
	dir := t.TempDir()
	flag := filepath.Join(dir, "broken")
	p := launch(t, []string{breakWhen + "=" + flag}, small(filepath.Join(dir, "data"), nil)...)
	addr, _ := p.ready()
	c := dial(t, addr)
	token := issue(t, c, "job-1")
	if got := check(t, c, token, api, "read_packages"); got != "allowed_listed" {
		t.Fatal(got)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := jobwardv1.NewTokenServiceClient(c).Issue(t.Context(), &jobwardv1.IssueRequest{JobId: "job-2", ProjectId: shop, UserId: dana})
	if err == nil {
		t.Error("a write that was not stored is acknowledged")
	}
	if code := p.end(); code != settings.ExitFailed || !strings.Contains(p.log.String(), "cannot tell any more what is durable") {
		t.Errorf("ended with %d:\n%s", code, p.log.String())
	}
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	again := launch(t, nil, small(filepath.Join(dir, "data"), nil)...)
	addr, _ = again.ready()
	if got := check(t, dial(t, addr), token, api, "read_packages"); got != "allowed_listed" {
		t.Errorf("after the restart: %s", got)
	}
}
