package partition

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/capture"
)

// Ids of the sample world.
const (
	web    = 2 // the group whose projects api lets in
	shop   = 11
	api    = 14
	deploy = 15 // lets the shop in by itself
	dana   = 102
	erin   = 103 // maintains api and deploy
)

// pdp is a PDP in a process of its own.
type pdp struct {
	*process
	t     *testing.T
	plant plant
	ns    string
	dir   string   // its data
	at    string   // its Unix socket, which no partition touches
	store []string // flags of its store
	more  []string
	args  []string
	log   capture.Output
	conn  *grpc.ClientConn
}

// newPDP gives one that is not started yet, with leases of one second. It is killed with the test.
func newPDP(t *testing.T, p plant, more ...string) *pdp {
	t.Helper()
	dir := shortDir(t)
	d := &pdp{t: t, plant: p, dir: filepath.Join(dir, "data"), at: "unix:" + filepath.Join(dir, "pdp"), more: more}
	d.store = []string{"--ballast=16MiB", "--min-free-disk=16MiB"}
	d.args = []string{"--grpc-addr=" + d.at}
	d.conn = dial(t, d.at, nil)
	t.Cleanup(func() {
		if d.process != nil {
			d.end(t, syscall.SIGKILL)
		}
	})
	return d
}

func startPDP(t *testing.T, p plant, more ...string) *pdp {
	t.Helper()
	d := newPDP(t, p, more...)
	d.start()
	return d
}

// start starts it, or starts it again, and waits until it answers.
func (d *pdp) start() {
	d.t.Helper()
	d.begin()
	d.answers()
}

// begin starts it and waits for nothing.
func (d *pdp) begin() {
	d.t.Helper()
	args := slices.Concat([]string{"--data-dir=" + d.dir, "--admin-addr=off", "--lease-term=1s", "--shutdown-delay=0s"}, d.store, d.args, d.more)
	d.process = launch(d.t, "pdp", d.ns, d.plant, &d.log, args...)
}

// answers waits until it does. The first call may still fail of the end of the process before.
func (d *pdp) answers() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, err := jobwardv1.NewDirectoryServiceClient(d.conn).GetStatus(ctx, &jobwardv1.GetStatusRequest{}, grpc.WaitForReady(true))
		if err == nil {
			return
		}
		if ctx.Err() != nil || d.gone() {
			d.t.Fatalf("%v\n%s", err, d.log.Tail())
		}
		time.Sleep(time.Millisecond)
	}
}

func (d *pdp) issue(job string) (token string) {
	d.t.Helper()
	resp, err := jobwardv1.NewTokenServiceClient(d.conn).Issue(d.t.Context(), &jobwardv1.IssueRequest{JobId: job, ProjectId: shop, UserId: dana})
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.Token
}

// revoke waits for the receipt, or does not.
func (d *pdp) revoke(job string, wait jobwardv1.ReceiptWait) *jobwardv1.Receipt {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(d.conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{job}, ReceiptWait: wait})
	if err != nil {
		d.t.Error(err)
		return &jobwardv1.Receipt{}
	}
	return resp.Receipt
}

const (
	untilEffective = jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE
	untilDurable   = jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE
)

// side is a sidecar in a process of its own.
type side struct {
	*process
	t     *testing.T
	name  string
	plant plant
	ns    string
	dir   string
	args  []string
	log   capture.Output
	conns []*grpc.ClientConn // several, as from several services
}

// newSide gives a sidecar that is not started yet and asks the PDP there. It is killed with the test.
func newSide(t *testing.T, name, pdp string, p plant, more ...string) *side {
	t.Helper()
	dir := shortDir(t)
	at := "unix:" + filepath.Join(dir, "s")
	s := &side{t: t, name: name, plant: p, dir: dir}
	s.args = append([]string{"--pdp-addr=" + pdp, "--state-dir=" + filepath.Join(dir, "state"), "--listen=" + at, "--health-addr=off", "--name=" + name, "--shutdown-delay=0s"}, more...)
	for range 4 {
		s.conns = append(s.conns, dial(t, at, nil))
	}
	t.Cleanup(func() {
		if s.process != nil {
			s.end(t, syscall.SIGKILL)
		}
	})
	return s
}

func startSide(t *testing.T, name, pdp string, p plant, more ...string) *side {
	t.Helper()
	s := newSide(t, name, pdp, p, more...)
	s.start()
	return s
}

// start starts it, or starts it again. It may not have a lease yet.
func (s *side) start() {
	s.t.Helper()
	s.process = launch(s.t, "sidecar", s.ns, s.plant, &s.log, s.args...)
}

func (s *side) check(ctx context.Context, token string) (*jobwardv1.Decision, error) {
	resp, err := jobwardv1.NewDecisionServiceClient(s.conns[0]).Check(ctx, question(token, api), grpc.WaitForReady(true))
	return resp.GetDecision(), err
}

// ask asks with patience.
func (s *side) ask(token string) (*jobwardv1.Decision, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	return s.check(ctx, token)
}

// decides asks until there is an answer.
func (s *side) decides(token string) (v verdict) {
	s.t.Helper()
	eventually(s.t, s.name+" decides", func() bool { v = judge(s.ask(token)); return v != undecided }, s.log.Tail)
	return v
}

// holds waits until the token is allowed here from the cache.
func (s *side) holds(token string) {
	s.t.Helper()
	var d *jobwardv1.Decision
	var err error
	eventually(s.t, s.name+" allows from its cache", func() bool {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		d, err = s.check(ctx, token)
		return err == nil && d.Allow && d.Cached
	}, func() string { return fmt.Sprint(d, err) }, s.log.Tail)
}

func question(token string, target int64) *jobwardv1.CheckRequest {
	return &jobwardv1.CheckRequest{Token: token, TargetProjectId: target, Permission: "read_packages"}
}

// dial connects, and again soon when the connection is lost. Without a config there is no TLS.
func dial(t *testing.T, addr string, config *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	soon := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second}
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds), grpc.WithConnectParams(soon))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// shortDir is a folder whose name leaves room for a socket's in the 108 bytes that there are.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "jw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
