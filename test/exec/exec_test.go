//go:build linux

package exec

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/programs"
)

// TestCodes: the exit code is the command's, and the job has ended with it.
func TestCodes(t *testing.T) {
	r := newRig(t)
	bad := filepath.Join(r.dir, "bad")
	if err := os.WriteFile(bad, []byte("#!/nonexistent/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		command []string
		code    int
		issued  bool
		says    string
	}{
		{"success", []string{"true"}, 0, true, "effective"},
		{"failure", []string{"sh", "-c", "exit 42"}, 42, true, "effective"},
		{"a signal", []string{"sh", "-c", "kill -KILL $$"}, 137, true, "effective"},
		{"not found", []string{"no-such-command"}, 127, false, "not found"},
		{"not executable", []string{"/etc/passwd"}, 126, false, "permission denied"},
		{"no interpreter", []string{bad}, 126, true, "bad"},
		{"flags of the command", []string{"sh", "-c", `test "$1" = -run`, "sh", "-run"}, 0, true, "effective"},
	} {
		t.Run(c.name, func(t *testing.T) {
			job := r.newJob()
			p := programs.Launch(t, r.dir, nil, filepath.Join(r.dir, "pdpctl"), append(append(r.args(job), "--"), c.command...)...)
			if code := p.End(); code != c.code || !p.Log.Has(c.says) {
				t.Errorf("code %d, want %d with %q: %s", code, c.code, c.says, &p.Log)
			}
			if c.issued {
				want := jobwardv1.JobStatus_JOB_STATUS_SUCCESS
				if c.code != 0 {
					want = jobwardv1.JobStatus_JOB_STATUS_FAILED
				}
				if j := r.job(job); j.GetLive() || j.GetStatus() != want {
					t.Errorf("the job is %v, live %v", j.GetStatus(), j.GetLive())
				}
			}
		})
	}
	t.Run("an id that was used", func(t *testing.T) {
		p := r.launch("job-1", "echo no >ran")
		if code := p.End(); code != 125 || !p.Log.Has("has ended") {
			t.Errorf("code %d: %s", code, &p.Log)
		}
		if _, err := os.Stat(filepath.Join(r.dir, "ran")); err == nil {
			t.Error("the command ran without a token")
		}
	})
	t.Run("quiet", func(t *testing.T) {
		if p := r.launch(r.newJob(), "true", "-q"); p.End() != 0 || p.Log.String() != "" {
			t.Errorf("it said %s", &p.Log)
		}
	})
	t.Run("usage", func(t *testing.T) {
		for _, args := range [][]string{r.args("x"), r.args("x", "--repository-url-base", "ftp://x", "--", "true"), r.args("x", "--mask-file", "missing", "--", "true")} {
			p := programs.Launch(t, r.dir, nil, filepath.Join(r.dir, "pdpctl"), args...)
			if code := p.End(); code != 2 && code != 125 || p.Log.String() == "" {
				t.Errorf("%v: code %d %s", args, code, &p.Log)
			}
		}
	})
}

// TestEnvironment (§18.6, §11.2): what the command finds, and what it does not.
func TestEnvironment(t *testing.T) {
	r := newRig(t)
	p := r.launch("env-1", `for v in $CI_JOB_TOKEN $CI_REGISTRY_PASSWORD $CI_DEPENDENCY_PROXY_PASSWORD; do
  case $v in jobt-1?????????????????????????????????) echo token of ${#v};; *) echo no token;; esac; done
echo $CI_REGISTRY_USER $CI_DEPENDENCY_PROXY_USER $CI_JOB_ID $CI_PROJECT_PATH $CI_PIPELINE_ID $CI_COMMIT_REF_NAME
echo $CI_REPOSITORY_URL; env | grep JOBWARD_; tr '\0' '\n' </proc/$PPID/cmdline | grep -cF "$CI_JOB_TOKEN"; true`,
		"--pipeline", "7", "--ref", "main", "--repository-url-base", "https://git.example.com/r")
	if code := p.End(); code != 0 {
		t.Fatalf("code %d: %s", code, &p.Log)
	}
	want := strings.Repeat("token of 39\n", 3) + `gitlab-ci-token gitlab-ci-token env-1 acme/web/shop 7 main
https://gitlab-ci-token:[MASKED]@git.example.com/r/acme/web/shop.git
0
`
	if p.Out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &p.Out, want)
	}
}

// TestMasked (P7, §19): the token is in no output, in whatever way a script writes it, and the order within each output is kept.
func TestMasked(t *testing.T) {
	r := newRig(t)
	p := r.launch(r.newJob(), `echo "$CI_JOB_TOKEN" >token
echo "plain $CI_JOB_TOKEN"; echo "$CI_JOB_TOKEN" | base64; printf 'user:longer-name:%s' "$CI_JOB_TOKEN" | base64
printf %s "$CI_JOB_TOKEN" | cut -c1-20; printf %s "$CI_JOB_TOKEN" | (dd bs=1 count=10 && sleep 0 && dd bs=1) 2>/dev/null; echo
echo "to stderr $CI_JOB_TOKEN" >&2
i=0; while [ $i -lt 2000 ]; do echo "out $i $CI_JOB_TOKEN"; echo "err $i $CI_JOB_TOKEN" >&2; i=$((i+1)); done`)
	if code := p.End(); code != 0 {
		t.Fatalf("code %d: %s", code, p.Log.Tail())
	}
	token := r.kept("token")
	for name, said := range map[string]string{"out": p.Out.String(), "err": p.Log.String()} {
		for from := 0; from+18 <= len(token); from++ {
			if strings.Contains(said, token[from:from+18]) {
				t.Errorf("%s holds a piece of the token", name)
			}
		}
		flat := strings.ReplaceAll(said, "\n", "")
		for from := range 3 {
			if piece := base64.RawStdEncoding.EncodeToString([]byte(token[from : from+6])); strings.Contains(flat, piece) {
				t.Errorf("%s holds a piece of the token's base64", name)
			}
		}
		next := 0
		for line := range strings.Lines(said) {
			if strings.HasPrefix(line, name+" ") {
				if want := fmt.Sprintf("%s %d [MASKED]\n", name, next); line != want {
					t.Fatalf("got %q, want %q", line, want)
				}
				next++
			}
		}
		if next != 2000 {
			t.Errorf("%s has %d of 2000 lines", name, next)
		}
	}
	if !p.Out.Has("plain [MASKED]\n") || !p.Log.Has("to stderr [MASKED]\n") {
		t.Errorf("%.300s", p.Out.String())
	}
}

// TestLastWords: what was held back because a secret might have begun comes at the end.
func TestLastWords(t *testing.T) {
	r := newRig(t)
	if p := r.launch(r.newJob(), "printf 'it ends in jobt'; printf 'and so jo' >&2", "-q"); p.End() != 0 || p.Out.String() != "it ends in jobt" || p.Log.String() != "and so jo" {
		t.Errorf("%q %q", &p.Out, &p.Log)
	}
}

// TestMuch: 40 MB come out as they went in.
func TestMuch(t *testing.T) {
	r := newRig(t)
	p := r.launch(r.newJob(), "seq 1 5000000 | tee sum.in | cksum >sum; cat sum.in; rm sum.in", "-q")
	// Not kept in memory: the sum is made of what comes.
	if code := p.End(); code != 0 {
		t.Fatalf("code %d: %s", code, p.Log.Tail())
	}
	out := p.Out.String()
	if len(out) != 38888896 || !strings.HasPrefix(out, "1\n2\n3\n") || !strings.HasSuffix(out, "\n4999999\n5000000\n") {
		t.Errorf("%d bytes came", len(out))
	}
}

// TestSignals: each is passed on.
func TestSignals(t *testing.T) {
	r := newRig(t)
	for name, s := range map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2} {
		job := r.newJob()
		p := r.launch(job, "trap 'echo got "+name+"; exit 9' "+name+"; echo ready; while :; do sleep 0.05; done")
		p.Says("ready")
		if err := p.Cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if code := p.End(); code != 9 || !p.Out.Has("got "+name) {
			t.Errorf("%s: code %d, %s%s", name, code, &p.Out, &p.Log)
		}
		if r.job(job).GetLive() {
			t.Errorf("%s: the job lives", name)
		}
	}
}

// TestStubborn: a command that does not end is killed, with what it started.
func TestStubborn(t *testing.T) {
	r := newRig(t)
	const script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >inner; while :; do sleep 0.05; done' & echo ready; wait; while :; do sleep 0.05; done"
	for name, again := range map[string]bool{"second signal": true, "grace": false} {
		os.Remove(filepath.Join(r.dir, "inner"))
		flags := []string{"--grace", "100ms"}
		if again {
			flags[1] = "10m"
		}
		job := r.newJob()
		p := r.launch(job, script, flags...)
		p.Says("ready")
		inner := r.kept("inner")
		p.Cmd.Process.Signal(syscall.SIGTERM)
		for again {
			p.Cmd.Process.Signal(syscall.SIGTERM) // standard signals do not queue: two at once may be one
			select {
			case <-p.Done:
				again = false
			default:
			}
		}
		if code := p.End(); code != 137 {
			t.Errorf("%s: code %d, %s", name, code, &p.Log)
		}
		r.gone(inner)
		if r.job(job).GetLive() {
			t.Errorf("%s: the job lives", name)
		}
	}
}

// TestStopped: SIGTSTP stops the command and pdpctl, SIGCONT wakes both.
func TestStopped(t *testing.T) {
	r := newRig(t)
	p := r.launch(r.newJob(), "echo $$ >pid; trap 'echo awake; exit 0' USR1; echo ready; while :; do sleep 0.05; done", "--heartbeat", "1m")
	p.Says("ready")
	state := func(pid string) string {
		stat, _ := os.ReadFile("/proc/" + pid + "/stat")
		_, after, _ := strings.Cut(string(stat), ") ")
		return after[:min(1, len(after))]
	}
	p.Cmd.Process.Signal(syscall.SIGTSTP)
	for _, pid := range []string{r.kept("pid"), fmt.Sprint(p.Cmd.Process.Pid)} {
		programs.Eventually(t, "stop", func() bool { return state(pid) == "T" })
	}
	p.Cmd.Process.Signal(syscall.SIGCONT)
	programs.Eventually(t, "waking", func() bool { return state(r.kept("pid")) != "T" })
	p.Cmd.Process.Signal(syscall.SIGUSR1)
	if code := p.End(); code != 0 || !p.Out.Has("awake") {
		t.Errorf("code %d %s%s", code, &p.Out, &p.Log)
	}
}

// TestLeftBehind: a process that keeps the output open does not keep the job.
func TestLeftBehind(t *testing.T) {
	r := newRig(t)
	p := r.launch(r.newJob(), "(trap '' HUP PIPE; echo $$ >/dev/null; sleep 600 & echo $! >left; wait) & echo done")
	if code := p.End(); code != 0 || !p.Log.Has("left behind") || !p.Out.Has("done") {
		t.Errorf("code %d %s", code, &p.Log)
	}
	var pid int
	fmt.Sscan(r.kept("left"), &pid)
	syscall.Kill(pid, syscall.SIGKILL)
}
