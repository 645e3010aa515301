package bench

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/daemon"
	sidecar "github.com/jobward/jobward/sidecar/daemon"
)

// Environment of a child: which server this test binary is to be, and what it answers.
const (
	childEnv  = "JOBWARD_BENCH_SERVER"
	answerEnv = "JOBWARD_BENCH_ANSWER"
	authzEnv  = "JOBWARD_BENCH_AUTHZ"
	// profileEnv is for people: where a server leaves a CPU profile of all its life.
	profileEnv = "JOBWARD_BENCH_PROFILE"
)

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch name := os.Getenv(childEnv); name {
	case "":
		os.Exit(m.Run())
	case "pdp":
		profiled := profile()
		code := daemon.Main(ctx, os.Args[1:], nil, os.Stdout, io.Discard)
		profiled()
		os.Exit(code)
	case "sidecar":
		profiled := profile()
		code := sidecar.Main(ctx, os.Args[1:], nil, os.Stdout, io.Discard)
		profiled()
		os.Exit(code)
	default:
		serveEmpty(ctx, name)
	}
}

// profile begins a CPU profile, where one is wanted, and gives what ends it.
func profile() func() {
	f, err := os.Create(os.Getenv(profileEnv))
	if err != nil || pprof.StartCPUProfile(f) != nil {
		return func() {}
	}
	return func() { pprof.StopCPUProfile(); f.Close() }
}

// empty is the floor: a bare grpc-go server whose handlers do nothing and answer with a
// message of the size of the real answer.
type empty struct {
	jobwardv1.UnimplementedDecisionServiceServer
	answer *jobwardv1.CheckResponse
}

func (e empty) Check(context.Context, *jobwardv1.CheckRequest) (*jobwardv1.CheckResponse, error) {
	return e.answer, nil
}

func (e empty) CheckStream(s jobwardv1.DecisionService_CheckStreamServer) error {
	answer := &jobwardv1.CheckStreamResponse{Id: 1, Decisions: []*jobwardv1.Decision{e.answer.Decision}}
	for {
		if _, err := s.Recv(); err != nil {
			return nil // the caller has gone
		}
		if err := s.Send(answer); err != nil {
			return err
		}
	}
}

func serveEmpty(ctx context.Context, addr string) {
	if path, ok := strings.CutPrefix(addr, "http:"); ok {
		serveEmptyWeb(ctx, path)
		return
	}
	e := empty{answer: &jobwardv1.CheckResponse{}}
	network, at, _ := strings.Cut(addr, ":")
	l, err := net.Listen(network, at)
	if err == nil {
		err = proto.Unmarshal([]byte(os.Getenv(answerEnv)), e.answer)
	}
	authz, aerr := authzAnswer()
	if err = cmp.Or(err, aerr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	g := grpc.NewServer()
	jobwardv1.RegisterDecisionServiceServer(g, e)
	authv3.RegisterAuthorizationServer(g, authz)
	context.AfterFunc(ctx, g.Stop)
	g.Serve(l)
}

// child is a server in a process of its own.
type child struct {
	pid  int
	conn *grpc.ClientConn
}

// start starts this test binary as another program.
func start(b *testing.B, env []string, addr string, args ...string) *child {
	b.Helper()
	return startProgram(b, os.Args[0], env, addr, args...)
}

func startProgram(b *testing.B, path string, env []string, addr string, args ...string) *child {
	b.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	var errout bytes.Buffer
	cmd.Stderr = &errout
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		conn.Close()
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.Errorf("%s: %v %s", addr, err, &errout)
		}
	})
	return &child{cmd.Process.Pid, conn}
}

// cpu is the CPU time that the child has used, user and system, in ticks of 10 ms.
func (c *child) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// round keeps 64 calls under way for a second and gives the server's CPU per operation in
// µs, and operations per second. Each call does per operations.
func (c *child) round(b *testing.B, per int, do func(ctx context.Context) error) (cpu, rate float64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var stop atomic.Bool
	var done atomic.Int64
	before, began := c.cpu(b), time.Now()
	time.AfterFunc(time.Second, func() { stop.Store(true) })
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for !stop.Load() {
				if err := do(ctx); err != nil {
					b.Error(err)
					return
				}
				done.Add(int64(per))
			}
		})
	}
	wg.Wait()
	ops := float64(done.Load())
	return float64((c.cpu(b) - before).Microseconds()) / ops, ops / time.Since(began).Seconds()
}

// BenchmarkCheck is the shipped PDP with its defaults (metrics on, no exporter) beside an
// empty handler: the server's CPU per decision. Targets: Check at most 1.2 times the empty
// call; BatchCheck of 100 at least 10 times, and CheckStream with 64 messages of ten
// questions under way at least 6 times, the decisions of Check per CPU second; durable
// Issue with 64 under way at least 0.7 of the empty call's rate.
func BenchmarkCheck(b *testing.B) {
	for _, network := range []string{"unix", "tcp"} {
		b.Run(network, func(b *testing.B) { benchCheck(b, network) })
	}
}

func benchCheck(b *testing.B, network string) {
	dir := b.TempDir()
	pdpAt, emptyAt := place(b, network, filepath.Join(dir, "pdp")), place(b, network, filepath.Join(dir, "empty"))
	pdp := start(b, []string{childEnv + "=pdp"}, strings.TrimPrefix(pdpAt, "tcp:"), "--data-dir", filepath.Join(dir, "data"),
		"--grpc-addr", strings.TrimPrefix(pdpAt, "tcp:"), "--admin-addr", "127.0.0.1:0", "--shutdown-delay", "0s")
	ctx := context.Background()
	issued, err := jobwardv1.NewTokenServiceClient(pdp.conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: "bench", ProjectId: 11, UserId: 102})
	if err != nil {
		b.Fatal(err)
	}
	ours := jobwardv1.NewDecisionServiceClient(pdp.conn)
	req := &jobwardv1.CheckRequest{Token: issued.Token, TargetProjectId: 14, Permission: "read_packages"}
	answer, err := ours.Check(ctx, req)
	if err != nil || !answer.Decision.Allow {
		b.Fatalf("%v %v", answer, err)
	}
	raw, err := proto.Marshal(answer)
	if err != nil || bytes.IndexByte(raw, 0) >= 0 { // an environment variable cannot hold it: give up its keys' bytes
		answer.Decision.MissingPolicies = []string{strings.Repeat("k", 8*len(answer.Decision.DependencyKeys))}
		answer.Decision.DependencyKeys = nil
		raw, err = proto.Marshal(answer)
	}
	if err != nil {
		b.Fatal(err)
	}
	floor := start(b, []string{childEnv + "=" + emptyAt, answerEnv + "=" + string(raw)}, strings.TrimPrefix(emptyAt, "tcp:"))
	theirs := jobwardv1.NewDecisionServiceClient(floor.conn)

	batch := &jobwardv1.BatchCheckRequest{Token: issued.Token}
	stream := &jobwardv1.CheckStreamRequest{}
	for i := range 100 {
		batch.Questions = append(batch.Questions, &jobwardv1.Question{TargetProjectId: 14, Permission: "read_packages"})
		if i < 10 {
			stream.Questions = append(stream.Questions, req)
		}
	}
	var emptyCPU, checkCPU, batchCPU, streamCPU, emptyRate, checkRate, issueRate []float64
	tokens := jobwardv1.NewTokenServiceClient(pdp.conn)
	var job atomic.Int64
	for i := range 6 {
		e, er := floor.round(b, 1, func(ctx context.Context) error { _, err := theirs.Check(ctx, req); return err })
		c, cr := pdp.round(b, 1, func(ctx context.Context) error { _, err := ours.Check(ctx, req); return err })
		ba, _ := pdp.round(b, 100, func(ctx context.Context) error { _, err := ours.BatchCheck(ctx, batch); return err })
		st := streamRound(b, pdp, ours, stream)
		_, is := pdp.round(b, 1, func(ctx context.Context) error {
			_, err := tokens.Issue(ctx, &jobwardv1.IssueRequest{JobId: fmt.Sprint("job-", job.Add(1)), ProjectId: 11, UserId: 102})
			return err
		})
		if i > 0 { // the first round warms up
			emptyCPU, checkCPU, batchCPU, streamCPU = append(emptyCPU, e), append(checkCPU, c), append(batchCPU, ba), append(streamCPU, st)
			emptyRate, checkRate = append(emptyRate, er), append(checkRate, cr)
			issueRate = append(issueRate, is)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(emptyCPU), "empty-µs")
	b.ReportMetric(middle(checkCPU), "check-µs")
	b.ReportMetric(middle(ratios(checkCPU, emptyCPU)), "check×empty")
	b.ReportMetric(middle(ratios(checkCPU, batchCPU)), "batch×check")
	b.ReportMetric(middle(ratios(checkCPU, streamCPU)), "stream×check")
	b.ReportMetric(middle(emptyRate), "empty/s")
	b.ReportMetric(middle(checkRate), "check/s")
	b.ReportMetric(middle(issueRate), "issue/s")
	b.ReportMetric(middle(ratios(issueRate, emptyRate)), "issue×empty/s")
}

// streamRound keeps 64 messages of ten questions under way on one stream.
func streamRound(b *testing.B, c *child, client jobwardv1.DecisionServiceClient, msg *jobwardv1.CheckStreamRequest) float64 {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := client.CheckStream(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for range 63 {
		if err := s.Send(msg); err != nil {
			b.Fatal(err)
		}
	}
	before, began, n := c.cpu(b), time.Now(), 0
	for time.Since(began) < time.Second {
		err := s.Send(msg)
		if err == nil {
			_, err = s.Recv()
		}
		if err != nil {
			b.Fatal(err)
		}
		n += len(msg.Questions)
	}
	return float64((c.cpu(b) - before).Microseconds()) / float64(n)
}

// place is where a server of this network is to listen.
func place(b *testing.B, network, path string) string {
	if network == "unix" {
		return "unix:" + path
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return "tcp:" + l.Addr().String()
}
