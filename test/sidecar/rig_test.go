package sidecar

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/sidecar/daemon"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/programs"
)

func TestMain(m *testing.M) {
	programs.Be()
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// Ids of the sample world.
const (
	shop      = programs.Shop
	api       = 14
	warehouse = 16
)

func eventually(t *testing.T, what string, ok func() bool, otherwise ...func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			text := ""
			for _, f := range otherwise {
				text += "\n" + f()
			}
			t.Fatalf("it does not come: %s%s", what, text)
		}
	}
}

// pdp is a PDP in a process of its own.
type pdp struct{ *programs.PDP }

// startPDP starts one that is killed with the test.
func startPDP(t *testing.T, args ...string) pdp {
	t.Helper()
	return pdp{programs.StartPDP(t, t.TempDir(), args...)}
}

// kill ends it as a power cut does; it can be started again.
func (p pdp) kill() { p.end(syscall.SIGKILL) }

func (p pdp) end(s syscall.Signal) {
	p.Cmd.Process.Signal(s)
	p.End()
}

// revoke waits for the receipt.
func (p pdp) revoke(job string) *jobwardv1.Receipt { return p.Revoke(job, 0) }

// side is a sidecar in this process.
type side struct {
	daemon.Addresses
	t    *testing.T
	dir  string
	log  capture.Output
	end  context.CancelFunc
	done chan error
	conn *grpc.ClientConn
}

// startSidecar starts one that is stopped with the test, and keeps its state in dir.
func startSidecar(t *testing.T, dir, pdp string, args ...string) *side {
	t.Helper()
	cfg, err := daemon.Parse(append([]string{"--pdp-addr=" + pdp, "--state-dir=" + filepath.Join(dir, "state"), "--listen=unix:" + filepath.Join(dir, "s"),
		"--health-addr=127.0.0.1:0", "--name=test"}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &side{t: t, dir: dir, end: cancel, done: make(chan error, 1)}
	ready := make(chan daemon.Addresses, 1)
	go func() {
		s.done <- daemon.Run(ctx, daemon.Options{Config: cfg, Stdout: io.Discard, Stderr: &s.log, Ready: func(a daemon.Addresses) { ready <- a }})
	}()
	select {
	case s.Addresses = <-ready:
	case err := <-s.done:
		t.Fatal(err)
	}
	s.conn = dial(t, "unix:"+filepath.Join(dir, "s"))
	t.Cleanup(s.stop)
	return s
}

// stop ends it in order; a second time it does nothing.
func (s *side) stop() {
	s.end()
	s.conn.Close()
	select {
	case err, ok := <-s.done:
		if ok {
			close(s.done)
		}
		if err != nil {
			s.t.Error(err)
		}
	case <-time.After(patience):
		s.t.Fatalf("the sidecar does not end:\n%s", s.log.String())
	}
}

func (s *side) get(path string) (status int, body string) {
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get("http://" + s.Health.String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// ready waits until it is.
func (s *side) ready() {
	s.t.Helper()
	eventually(s.t, "ready", func() bool { code, _ := s.get("/readyz"); return code == 200 }, s.log.String)
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func question(token string) *jobwardv1.CheckRequest {
	return &jobwardv1.CheckRequest{Token: token, TargetProjectId: api, Permission: "read_packages"}
}

func (s *side) check(token string) (*jobwardv1.Decision, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := jobwardv1.NewDecisionServiceClient(s.conn).Check(ctx, question(token))
	return resp.GetDecision(), err
}

// want asks and wants this answer.
func (s *side) want(token string, reason jobwardv1.Reason, cached bool) {
	s.t.Helper()
	d, err := s.check(token)
	if err != nil || d.Reason != reason || d.Cached != cached {
		s.t.Fatalf("%v, %v; want %v, cached %t\n%s", d, err, reason, cached, s.log.String())
	}
}

const (
	allowed = jobwardv1.Reason_REASON_ALLOWED_LISTED
	over    = jobwardv1.Reason_REASON_JOB_NOT_RUNNING
	lapsed  = jobwardv1.Reason_REASON_LEASE_LAPSED
)
