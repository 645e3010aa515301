package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/etcd"
)

// bePDP in the environment makes this test binary the program: a test needs a process that it can kill, and one that is linked into
// the test is never an old build.
const bePDP = "PDP_TEST_BE_PDP"

// breakWhen names a file: when it is there, nothing that such a process stores gets stored.
const breakWhen = "PDP_TEST_BREAK_WHEN"

func TestMain(m *testing.M) {
	if os.Getenv(bePDP) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		c := commandLine{stdout: os.Stdout, stderr: os.Stderr}
		if flag := os.Getenv(breakWhen); flag != "" {
			c.fault = func(step badgerstore.Step, done bool) error {
				if _, err := os.Stat(flag); step == badgerstore.StepStore && err == nil {
					return errors.New("planted")
				}
				return nil
			}
		}
		os.Exit(c.run(ctx, os.Args[1:], os.Environ()))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		etcd.Clean()
		os.Exit(code)
	}))
}

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// said waits until the output contains want.
func said(t *testing.T, o *capture.Output, want string) {
	t.Helper()
	eventually(t, func() bool { return o.Has(want) }, func() string { return "no " + want + " in\n" + o.String() })
}

func eventually(t *testing.T, ok func() bool, otherwise func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(otherwise())
		}
	}
}

// small are settings for a PDP of a test: ports that are free, and little of everything.
func small(dir string, args []string) []string {
	return append([]string{"--data-dir=" + dir, "--grpc-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--ballast=16MiB", "--min-free-disk=16MiB"}, args...)
}

// local is a PDP in this process.
type local struct {
	Addresses
	t        *testing.T
	out, log capture.Output
	end      context.CancelFunc
	done     chan error
}

// runLocal starts a PDP and waits until it is ready. It is stopped with the test, if not before.
func runLocal(t *testing.T, change func(*Options), args ...string) *local {
	t.Helper()
	l, err := tryLocal(t, change, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, l.log.String())
	}
	return l
}

// tryLocal gives the error of a PDP that ends before it is ready.
func tryLocal(t *testing.T, change func(*Options), args ...string) (*local, error) {
	t.Helper()
	cmd, _, shown, err := parse(args, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &local{t: t, end: cancel, done: make(chan error, 1)}
	ready := make(chan Addresses, 1)
	opt := Options{Config: cmd.Config, Shown: shown, Stdout: &l.out, Stderr: &l.log, Ready: func(a Addresses) { ready <- a }}
	if change != nil {
		change(&opt)
	}
	go func() { l.done <- Run(ctx, opt) }()
	select {
	case l.Addresses = <-ready:
		t.Cleanup(func() {
			if err := l.stop(); err != nil {
				t.Error(err)
			}
		})
		return l, nil
	case err := <-l.done:
		cancel()
		return l, err
	case <-time.After(patience):
		t.Fatalf("not ready in time:\n%s", l.log.String())
		panic("unreachable")
	}
}

// stop ends the PDP; a second time it does nothing.
func (l *local) stop() error {
	l.end()
	return l.wait()
}

func (l *local) wait() error {
	select {
	case err, ok := <-l.done:
		if ok {
			close(l.done)
		}
		return err
	case <-time.After(patience):
		l.t.Fatalf("does not end:\n%s", l.log.String())
		return nil
	}
}

// get asks the admin listener.
func (l *local) get(path string) (status int, body string) {
	return get(l.t, http.DefaultClient, "http://"+l.Admin.String()+path)
}

// get gives the status 0 when nobody answers.
func get(t *testing.T, c *http.Client, url string) (status int, body string) {
	t.Helper()
	defer c.CloseIdleConnections()
	resp, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// dial connects without TLS; addr is host:port or unix:PATH.
func dial(t *testing.T, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// process is a PDP in a process of its own.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, log capture.Output
	done     chan struct{} // closed when it has ended
}

// launch starts the program.
func launch(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), bePDP+"=1"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() { p.signal(syscall.SIGKILL); p.end() })
	return p
}

// ready waits until calls are taken and gives the first address for them, and the admin address.
func (p *process) ready() (grpc, admin string) {
	p.t.Helper()
	var line struct {
		Msg   string
		GRPC  []string
		Admin string
	}
	eventually(p.t, func() bool {
		for text := range strings.Lines(p.log.String()) {
			if json.Unmarshal([]byte(text), &line) == nil && line.Msg == "ready" {
				return true
			}
		}
		select {
		case <-p.done:
			p.t.Fatalf("ended with %v:\n%s", p.cmd.ProcessState, p.log.String())
		default:
		}
		return false
	}, func() string { return "not ready:\n" + p.log.String() })
	return line.GRPC[0], line.Admin
}

func (p *process) signal(s os.Signal) { p.cmd.Process.Signal(s) }

// end waits for the end and gives the exit code, -1 for one that was killed.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("does not end:\n%s", p.log.String())
		return 0
	}
}
