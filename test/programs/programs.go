// Package programs runs the shipped programs as processes of their own, for tests that look at the system from outside. A test binary is all of
// them: [Be] makes it the one by whose name it was called, so what runs is never an old build.
package programs

import (
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pdpdaemon "github.com/jobward/jobward/pdp/daemon"
	"github.com/jobward/jobward/pdp/pdpctl/cli"
	sidecardaemon "github.com/jobward/jobward/sidecar/daemon"
	"github.com/jobward/jobward/test/capture"
)

// Patience is how long a test waits for what must come.
const Patience = 60 * time.Second

// Be ends the process as one of our programs when it was called by the name of one. It is the first thing of a TestMain.
func Be() {
	program := filepath.Base(os.Args[0])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch program {
	case "pdp":
		os.Exit(pdpdaemon.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	case "sidecar":
		os.Exit(sidecardaemon.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	case "pdpctl":
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
}

// Dir gives a new directory with this test binary under the names.
func Dir(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if os.Link(self, filepath.Join(dir, name)) != nil {
			copyFile(t, self, filepath.Join(dir, name))
		}
	}
	return dir
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// Process is a program that runs.
type Process struct {
	t testing.TB
	// Cmd is how it was started.
	Cmd *exec.Cmd
	// Out and Log are what it wrote to standard output and standard error.
	Out, Log capture.Output
	// Done is closed when it has ended.
	Done chan struct{}
}

// Launch starts a program in a directory, with nothing of ours in its environment but env. It and its children are killed with the test.
func Launch(t testing.TB, dir string, env []string, program string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, Cmd: exec.Command(program, args...), Done: make(chan struct{})}
	p.Cmd.Dir, p.Cmd.Stdout, p.Cmd.Stderr = dir, &p.Out, &p.Log
	p.Cmd.Env = Environ(env...)
	// A group of its own, so that its children end with it, and do not keep its output open.
	p.Cmd.SysProcAttr, p.Cmd.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, 5*time.Second
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.Cmd.Wait() // the exit code is in ProcessState
		close(p.Done)
	}()
	t.Cleanup(func() {
		syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL) // unless all have ended
		<-p.Done
	})
	return p
}

// Environ is this process's environment without our programs' settings, and with more.
func Environ(more ...string) (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "JOBWARD_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// Says waits until the process has said something on standard output.
func (p *Process) Says(want string) {
	p.t.Helper()
	Eventually(p.t, want, func() bool {
		select {
		case <-p.Done:
			return true
		default:
			return p.Out.Has(want)
		}
	})
	if !p.Out.Has(want) {
		p.t.Fatalf("%s ended with %v and did not say %q:\n%s%s", p.Cmd.Path, p.Cmd.ProcessState, want, p.Out.String(), p.Log.Tail())
	}
}

// End waits for the end and gives the exit code, -1 for one that was killed.
func (p *Process) End() int {
	p.t.Helper()
	select {
	case <-p.Done:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		p.t.Fatalf("%s does not end:\n%s%s", p.Cmd.Path, p.Out.String(), p.Log.Tail())
		return 0
	}
}

// Eventually waits until ok.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come: %s", what)
		}
	}
}

// Missing skips a test whose real component is not on this machine. Under .ci/run, which installs all of them, it fails.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("JOBWARD_CI") != "" {
		t.Fatalf("%s is missing, and .ci/run should have installed it", what)
	}
	t.Skipf("%s is missing: install it to run this test", what)
}

// Find gives the path of a program of the machine, which may be where only root looks; without it the test is [Missing] it.
func Find(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			Missing(t, name)
		}
	}
	return path
}
