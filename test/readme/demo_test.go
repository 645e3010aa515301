package readme

import (
	"encoding/json"
	"github.com/jobward/jobward/test/programs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// shown is what the tests read of the demonstration's JSON.
type shown struct {
	Cached []struct {
		FirstCached bool `json:"first_cached"`
		AgainCached int  `json:"again_cached"`
	}
	Revoked, Frozen *struct {
		Receipt struct {
			Effective            bool
			Acknowledged, Lapsed int
		}
		Sidecars []struct {
			Checks, Allowed, Denied int
			LastAllow               *float64 `json:"last_allow_began_ms"`
			Stale                   int      `json:"stale_allows"`
		}
		FirstAnswer string `json:"first_answer"`
	}
	Checks int
	Stale  int `json:"stale_allows"`
}

// demonstration is a "pdpctl demo" that runs. Its files are in a directory of its own.
type demonstration struct {
	*programs.Process
	t   *testing.T
	tmp string
}

// demo starts a demonstration in the directory from, with the programs beside each other as they are installed. BIN in an argument is where.
func demo(t *testing.T, from string, programNames []string, args ...string) demonstration {
	t.Helper()
	tmp, err := os.MkdirTemp("", "demo") // shorter than t.TempDir, since there are sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	bin := programs.Dir(t, programNames...)
	command := []string{"demo"}
	for _, a := range args {
		command = append(command, strings.ReplaceAll(a, "BIN", bin))
	}
	return demonstration{programs.Launch(t, from, []string{"TMPDIR=" + tmp}, filepath.Join(bin, "pdpctl"), command...), t, tmp}
}

// ends wants an exit code, words, and nothing left behind.
func (d demonstration) ends(code int, words ...string) {
	d.t.Helper()
	got := d.End()
	for _, w := range words {
		if !strings.Contains(d.Out.String()+d.Log.String(), w) {
			d.t.Errorf("no %q in\n%s%s", w, d.Out.String(), d.Log.String())
		}
	}
	if got != code {
		d.t.Errorf("code %d, want %d\n%s%s", got, code, d.Out.String(), d.Log.String())
	}
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 {
		d.t.Errorf("there is left: %v %v", left, err)
	}
	for _, command := range running(d.t, d.tmp) {
		d.t.Errorf("still runs: %s", command)
	}
}

// running are the processes that have the text in their arguments.
func running(t *testing.T, text string) (commands []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil // there is no portable way to look
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, _ := os.ReadFile(f) // it may have ended meanwhile
		if strings.Contains(string(raw), text) {
			commands = append(commands, strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
	return commands
}

// TestDemo is P1 and P2 as a newcomer sees them. It wants the figures to be there and to agree, and no time to be short.
func TestDemo(t *testing.T) {
	d := demo(t, t.TempDir(), []string{"pdp", "sidecar", "pdpctl"}, "-o", "json")
	d.ends(0)
	var r shown
	if err := json.Unmarshal([]byte(d.Out.String()), &r); err != nil {
		t.Fatalf("%v\n%s", err, d.Out.String())
	}
	if len(r.Cached) != 2 || r.Revoked == nil || r.Frozen == nil || len(r.Revoked.Sidecars) != 2 || len(r.Frozen.Sidecars) != 2 {
		t.Fatalf("parts are missing:\n%s", d.Out.String())
	}
	for _, c := range r.Cached {
		if c.FirstCached || c.AgainCached == 0 {
			t.Errorf("no miss and then hits: %+v", c)
		}
	}
	if rc := r.Revoked.Receipt; !rc.Effective || rc.Acknowledged+rc.Lapsed < 2 {
		t.Errorf("a receipt that tells not of both caches: %+v", rc)
	}
	checks := 0
	for _, s := range r.Revoked.Sidecars {
		if s.Allowed == 0 || s.Denied == 0 || s.LastAllow == nil || *s.LastAllow > 0 || s.Stale != 0 {
			t.Errorf("%+v", s)
		}
		checks += s.Checks
	}
	if rc := r.Frozen.Receipt; !rc.Effective || rc.Lapsed == 0 {
		t.Errorf("the frozen sidecar did not lose its lease: %+v", rc)
	}
	for _, s := range r.Frozen.Sidecars {
		if s.Allowed != 0 || s.Checks == 0 {
			t.Errorf("%+v", s)
		}
		checks += s.Checks
	}
	if r.Frozen.FirstAnswer == "" || strings.HasPrefix(r.Frozen.FirstAnswer, "ALLOW") || r.Stale != 0 || r.Checks != checks {
		t.Errorf("%+v", r)
	}
}

// TestDemoSees: a sidecar that believes for ever is found out.
func TestDemoSees(t *testing.T) {
	d := demo(t, t.TempDir(), []string{"pdp", "credulous", "pdpctl"}, "--quick", "--sidecar=BIN/credulous")
	d.ends(1, "BROKEN")
	if strings.Contains(d.Out.String(), "\n0 stale allows") {
		t.Errorf("none counted:\n%s", d.Out.String())
	}
}

// TestDemoRefuses: what cannot be carried out ends with words on why.
func TestDemoRefuses(t *testing.T) {
	demo(t, t.TempDir(), []string{"pdp", "pdpctl"}, "--sidecar=BIN/pdp").ends(2, "sidecar A ended with exit status", "unknown flag") // which pdp has not
	demo(t, t.TempDir(), []string{"pdp", "pdpctl"}, "--sidecar=BIN/none").ends(2, "none", "no such file")
	t.Setenv("PATH", filepath.Join(t.TempDir(), "none"))
	demo(t, t.TempDir(), []string{"pdp", "pdpctl"}).ends(2, "--sidecar FILE")
}

// TestDemoInterrupted: nothing is left, also of a sidecar that is frozen.
func TestDemoInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		d := demo(t, t.TempDir(), []string{"pdp", "sidecar", "pdpctl"})
		d.Says("Revoke waits")
		d.Cmd.Process.Signal(sig)
		d.ends(2, "interrupted")
	}
}

// TestDemoKilled: its processes go with it. Its files it cannot remove.
func TestDemoKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the kernel does not end the children of a process that is killed")
	}
	d := demo(t, t.TempDir(), []string{"pdp", "sidecar", "pdpctl"})
	d.Says("Revoke waits")
	if len(running(t, d.tmp)) != 3 {
		t.Errorf("not three processes: %q", running(t, d.tmp))
	}
	d.Cmd.Process.Kill()
	d.End()
	programs.Eventually(t, "every process has ended", func() bool { return len(running(t, d.tmp)) == 0 })
}

// TestDemoBuilds: in a checkout the programs are built when they do not stand beside pdpctl.
func TestDemoBuilds(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go in PATH to build with")
	}
	from, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	d := demo(t, from, []string{"pdpctl"}, "--quick")
	d.ends(0, "go build ./pdp ./sidecar", "\n0 stale allows")
}
