package readme

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	pdpdaemon "github.com/jobward/jobward/pdp/daemon"
	"github.com/jobward/jobward/pdp/pdpctl/cli"
	sidecardaemon "github.com/jobward/jobward/sidecar/daemon"
	"github.com/jobward/jobward/test/capture"
)

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// TestMain is a program when it is called by the name of one: so what runs is never an old build.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	switch filepath.Base(os.Args[0]) {
	case "pdp":
		os.Exit(pdpdaemon.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	case "sidecar":
		os.Exit(sidecardaemon.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	case "pdpctl":
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "credulous":
		os.Exit(credulous(ctx, os.Args[1:]))
	}
	stop()
	os.Exit(m.Run())
}

// credulous is a sidecar that nobody should have: it believes for ever what it allowed once, without a lease.
func credulous(ctx context.Context, args []string) int {
	for _, a := range args {
		path, ok := strings.CutPrefix(a, "--listen=unix:")
		if !ok {
			continue
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return 1
		}
		s := grpc.NewServer()
		healthpb.RegisterHealthServer(s, health.NewServer())
		jobwardv1.RegisterDecisionServiceServer(s, believer{})
		context.AfterFunc(ctx, s.Stop)
		if s.Serve(l) != nil {
			return 1
		}
		return 0
	}
	return 2
}

type believer struct {
	jobwardv1.UnimplementedDecisionServiceServer
}

// Check implements DecisionServiceServer.
func (believer) Check(context.Context, *jobwardv1.CheckRequest) (*jobwardv1.CheckResponse, error) {
	return &jobwardv1.CheckResponse{Decision: &jobwardv1.Decision{Allow: true, Reason: jobwardv1.Reason_REASON_ALLOWED_LISTED, Cached: true}}, nil
}

// programs gives a new directory with this binary under the names.
func programs(t *testing.T, names ...string) string {
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

func copyFile(t *testing.T, from, to string) {
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

// process is a program that runs.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, log capture.Output
	done     chan struct{} // closed when it has ended
}

// launch starts a program in a directory, with nothing of ours in its environment. It is killed with the test.
func launch(t *testing.T, dir string, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.log
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "JOBWARD_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill() // unless it has ended
		<-p.done
	})
	return p
}

// says waits until the process has said something on standard output.
func (p *process) says(want string) {
	p.t.Helper()
	eventually(p.t, func() bool {
		select {
		case <-p.done:
			return true
		default:
			return strings.Contains(p.out.String(), want)
		}
	})
	if !strings.Contains(p.out.String(), want) {
		p.t.Fatalf("%s ended with %v and did not say %q:\n%s%s", p.cmd.Path, p.cmd.ProcessState, want, &p.out, &p.log)
	}
}

// end waits for the end and gives the exit code, -1 for one that was killed.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%s does not end:\n%s%s", p.cmd.Path, &p.out, &p.log)
		return 0
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}
