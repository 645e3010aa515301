package upgrade

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/programs"
)

// before is the newest commit whose programs know nothing of several PDPs.
const before = "6ac16d4ab858537b37f6d2df3baf9e3f09c2e0a4"

func TestMain(m *testing.M) {
	programs.Be()
	os.Exit(m.Run())
}

// earlier builds the programs of the earlier commit. Where git does not have it, as in a
// shallow clone, the test is skipped.
func earlier(t *testing.T) (bin string) {
	t.Helper()
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Skipf("this is no git checkout, so there is no earlier commit: %v", err)
	}
	src := t.TempDir()
	archive := exec.Command("git", "-C", string(root[:len(root)-1]), "archive", "-o", filepath.Join(src, "all.tar"), before)
	if out, err := archive.CombinedOutput(); err != nil {
		t.Skipf("git does not have commit %.7s: %v %s", before, err, out)
	}
	run := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = src, append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run("tar", "-xf", "all.tar")
	run("go", "build", "-o", "bin/", "./pdp", "./sidecar")
	return filepath.Join(src, "bin")
}

// TestUpgrade begins with programs of the earlier commit, then upgrades the PDP, and last
// the sidecar. A job that lives through it is allowed all the time, and one that is revoked
// is denied by everybody (P1).
func TestUpgrade(t *testing.T) {
	old := earlier(t)
	now := programs.Dir(t, "pdp", "sidecar")
	dir, err := os.MkdirTemp("", "up") // room for the names of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return "unix:" + filepath.Join(dir, name) }
	pdp := func(bin string) *programs.Process {
		p := programs.Launch(t, dir, nil, filepath.Join(bin, "pdp"), "--data-dir=data", "--grpc-addr="+at("p"), "--admin-addr=off", "--lease-term=2s")
		p.Says("is ready")
		return p
	}
	sidecar := func(bin string) *programs.Process {
		return programs.Launch(t, dir, nil, filepath.Join(bin, "sidecar"), "--state-dir=state", "--pdp-addr="+at("p"), "--listen="+at("s"), "--health-addr=off")
	}
	stop := func(p *programs.Process) {
		t.Helper()
		p.Cmd.Process.Signal(syscall.SIGTERM)
		if code := p.End(); code != 0 {
			t.Fatalf("code %d\n%s", code, p.Log.Tail())
		}
	}
	dial := func(addr string) *grpc.ClientConn {
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	tokens, decisions := jobwardv1.NewTokenServiceClient(dial(at("p"))), jobwardv1.NewDecisionServiceClient(dial(at("s")))
	issue := func(job string) string {
		t.Helper()
		resp, err := tokens.Issue(t.Context(), &jobwardv1.IssueRequest{JobId: job, ProjectId: programs.Shop, UserId: programs.Dana}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetToken()
	}
	// asks wants an answer, from the cache in the end.
	asks := func(token string, allow bool) {
		t.Helper()
		programs.Eventually(t, "an answer from the cache", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), programs.Patience)
			defer cancel()
			resp, err := decisions.Check(ctx, &jobwardv1.CheckRequest{Token: token, TargetProjectPath: "acme/platform/api", Permission: "read_packages"}, grpc.WaitForReady(true))
			d := resp.GetDecision()
			if err == nil && d.GetReason() != jobwardv1.Reason_REASON_LEASE_LAPSED && d.GetAllow() != allow {
				t.Fatalf("it is %v", d)
			}
			return err == nil && d.GetCached()
		})
	}
	revoke := func(job string) {
		t.Helper()
		resp, err := tokens.Revoke(t.Context(), &jobwardv1.RevokeRequest{JobIds: []string{job}}, grpc.WaitForReady(true))
		if err != nil || !resp.GetReceipt().GetEffective() || resp.GetReceipt().GetAcknowledged() != 1 {
			t.Fatalf("%v %v", resp, err)
		}
	}

	p, s := pdp(old), sidecar(old)
	lives, dead := issue("lives"), issue("dead")
	asks(lives, true)
	asks(dead, true)
	stop(p)
	p = pdp(now) // on the store of the old one; it has other rules, so nothing is carried over
	asks(lives, true)
	asks(dead, true)
	revoke("dead")
	asks(dead, false)
	stop(s)
	s = sidecar(now) // with the mark of the old one
	asks(lives, true)
	asks(dead, false)
	revoke("lives")
	asks(lives, false)
	stop(s)
	stop(p)
}
