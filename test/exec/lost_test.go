//go:build linux

package exec

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/programs"
)

// TestKilled: kill -9 of pdpctl kills the command, and the token dies for want of heartbeats. Until then it lived by them.
func TestKilled(t *testing.T) {
	r := newRig(t)
	p := r.launch("killed", "echo $$ >pid; while :; do sleep 0.05; done", "--heartbeat", "1s")
	pid := r.kept("pid")
	issued := r.job("killed").GetIssueTime().AsTime()
	programs.Eventually(t, "a life longer than the term", func() bool {
		j := r.job("killed")
		if !j.GetLive() {
			t.Fatalf("it died of %v: %s", j.GetReason(), &p.Log)
		}
		return j.GetHeartbeatDeadline().AsTime().Sub(issued) > 2500*time.Millisecond
	})
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.gone(pid)
	// The heartbeats of another run on this machine are not this one's.
	other := r.launch("other", "echo ready; while [ ! -e go ]; do sleep 0.05; done", "--heartbeat", "1s")
	other.Says("ready")
	programs.Eventually(t, "the token's death", func() bool { return !r.job("killed").GetLive() })
	if got := r.job("killed").GetReason(); got != jobwardv1.Reason_REASON_HEARTBEAT_LAPSED {
		t.Errorf("it died of %v", got)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := other.End(); code != 0 {
		t.Errorf("the other ended with %d: %s", code, &other.Log)
	}
}

// TestRevokedMeanwhile: somebody else ends the job, and pdpctl says so, and with --on-lost=kill ends the command.
func TestRevokedMeanwhile(t *testing.T) {
	r := newRig(t)
	for _, kill := range []bool{false, true} {
		job := r.newJob()
		onLost := "--on-lost=warn"
		if kill {
			onLost = "--on-lost=kill"
		}
		p := r.launch(job, "trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done", "--heartbeat", "1s", onLost)
		p.Says("ready")
		if _, err := r.tokens().Revoke(context.Background(), &jobwardv1.RevokeRequest{JobIds: []string{job}}); err != nil {
			t.Fatal(err)
		}
		programs.Eventually(t, "a word", func() bool { return p.Log.Has("is dead") })
		want := 143
		if !kill {
			want = 8
			p.Cmd.Process.Signal(syscall.SIGUSR1)
		}
		if code := p.End(); code != want {
			t.Errorf("%s: code %d, %s", onLost, code, &p.Log)
		}
	}
}

// TestRestart: the PDP is away for a while, and neither the command nor its token notices.
func TestRestart(t *testing.T) {
	r := newRig(t)
	p := r.launch("restart", "echo ready; while [ ! -e go ]; do sleep 0.05; done; exit 5", "--heartbeat", "20s")
	p.Says("ready")
	r.pdp.Cmd.Process.Kill()
	r.pdp.End()
	programs.Eventually(t, "a heartbeat that fails", func() bool { return p.Log.Has("no heartbeat") })
	r.pdp.Start()
	if !r.job("restart").GetLive() {
		t.Errorf("the token died: %v", r.job("restart").GetReason())
	}
	if err := os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := p.End(); code != 5 || !p.Log.Has("revoked at revision") {
		t.Errorf("code %d: %s", code, &p.Log)
	}
	if r.job("restart").GetLive() {
		t.Error("the job lives")
	}
}

// TestBackAtTheEnd: the PDP is away when the command ends and comes back while the revocation is tried again.
func TestBackAtTheEnd(t *testing.T) {
	r := newRig(t)
	p := r.launch("back", "echo ready; while [ ! -e go ]; do sleep 0.05; done", "--heartbeat", "1m", "--receipt-wait", "1m")
	p.Says("ready")
	r.pdp.Cmd.Process.Kill()
	r.pdp.End()
	if err := os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, "the command's end", func() bool { return p.Log.Has("not revoked yet") })
	r.pdp.Start()
	if code := p.End(); code != 0 || !p.Log.Has("revoked at revision") {
		t.Errorf("code %d: %s", code, &p.Log)
	}
	if r.job("back").GetLive() {
		t.Error("the job lives")
	}
}

// TestGoneAtTheEnd: the PDP does not come back. A command that succeeded has not: 125, and words. One that failed keeps its code.
func TestGoneAtTheEnd(t *testing.T) {
	r := newRig(t)
	var runs []*programs.Process
	for _, end := range []string{"exit 0", "exit 3"} {
		p := r.launch(r.newJob(), "echo ready; while [ ! -e go ]; do sleep 0.05; done; "+end, "--heartbeat", "1m", "--receipt-wait", "1s")
		p.Says("ready")
		runs = append(runs, p)
	}
	r.pdp.Cmd.Process.Kill()
	r.pdp.End()
	if err := os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{125, 3} {
		if code := runs[i].End(); code != want || !runs[i].Log.Has("NOT revoked") || !runs[i].Log.Has("for want of heartbeats") {
			t.Errorf("code %d, want %d: %s", code, want, &runs[i].Log)
		}
	}
}

// TestNoPDP: without a token nothing runs.
func TestNoPDP(t *testing.T) {
	dir := programs.Dir(t, "pdpctl")
	p := programs.Launch(t, dir, nil, filepath.Join(dir, "pdpctl"), "--address", "unix:"+filepath.Join(dir, "none"), "--timeout", "1s",
		"exec", "--job", "j", "--project", "1", "--user", "1", "--", "sh", "-c", "echo ran")
	if code := p.End(); code != 125 || p.Out.Has("ran") || !p.Log.Has("no PDP answers") {
		t.Errorf("code %d: %s%s", code, &p.Out, &p.Log)
	}
}

// TestNobodyReads: whoever reads our output goes away, and the job is ended all the same.
func TestNobodyReads(t *testing.T) {
	r := newRig(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := r.unstarted("unread", "while :; do echo more; done")
	p.Stdout = write
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	buf := make([]byte, 10)
	if _, err := read.Read(buf); err != nil || !strings.HasPrefix(string(buf), "more") {
		t.Fatal(err, string(buf))
	}
	read.Close()
	p.Wait() // the code is that of a shell that nobody reads
	if code := p.ProcessState.ExitCode(); code != 141 && code != 1 && code != 2 {
		t.Errorf("code %d", code)
	}
	if r.job("unread").GetLive() {
		t.Error("the job lives")
	}
}
