package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// BenchmarkSidecar is the shipped sidecar with its defaults, beside the shipped PDP, and a cached Check beside an empty handler with messages of
// the same size: the server's CPU per decision over ten interleaved rounds. The floor of CheckStream is an empty handler of a stream
// with one question in a message, beside the empty unary one. Targets: Check at most 1.15 times the empty call; CheckStream with 64
// messages under way at least 6 times the decisions of Check per CPU second,
// which one question in a message does not reach and ten do: gRPC's stream without us is the larger part of it (emptystream-µs).
func BenchmarkSidecar(b *testing.B) {
	for _, network := range []string{"unix", "tcp"} {
		b.Run(network, func(b *testing.B) { benchSidecar(b, network) })
	}
}

func benchSidecar(b *testing.B, network string) {
	dir := b.TempDir()
	side, issue := startSidecar(b, os.Args[0], dir, place(b, network, filepath.Join(dir, "sidecar")))
	ours := jobwardv1.NewDecisionServiceClient(side.conn)
	req := &jobwardv1.CheckRequest{Token: issue("bench"), TargetProjectId: 14, Permission: "read_packages"}
	answer := cachedAnswer(b, ours, req)
	raw, err := proto.Marshal(answer)
	if err != nil || bytes.IndexByte(raw, 0) >= 0 {
		b.Fatal("the answer cannot be handed to the floor", err)
	}
	emptyAt := place(b, network, filepath.Join(dir, "empty"))
	floor := start(b, []string{childEnv + "=" + emptyAt, answerEnv + "=" + string(raw)}, strings.TrimPrefix(emptyAt, "tcp:"))
	theirs := jobwardv1.NewDecisionServiceClient(floor.conn)

	one := &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{req}}
	ten := &jobwardv1.CheckStreamRequest{}
	batch := &jobwardv1.BatchCheckRequest{Token: req.Token}
	for i := range 100 {
		batch.Questions = append(batch.Questions, &jobwardv1.Question{TargetProjectId: 14, Permission: "read_packages"})
		if i < 10 {
			ten.Questions = append(ten.Questions, req)
		}
	}
	var emptyCPU, checkCPU, batchCPU, oneCPU, tenCPU, streamCPU, emptyRate, checkRate, emptyP99, checkP99 []float64
	for i := range 11 {
		var e, c watchful
		ec, er := floor.round(b, 1, e.timed(func(ctx context.Context) error { _, err := theirs.Check(ctx, req); return err }))
		cc, cr := side.round(b, 1, c.timed(func(ctx context.Context) error { _, err := ours.Check(ctx, req); return err }))
		ba, _ := side.round(b, 100, func(ctx context.Context) error { _, err := ours.BatchCheck(ctx, batch); return err })
		on, te, es := streamRound(b, side, ours, one), streamRound(b, side, ours, ten), streamRound(b, floor, theirs, one)
		if i == 0 { // it warms up
			continue
		}
		emptyCPU, checkCPU, batchCPU, oneCPU, tenCPU = append(emptyCPU, ec), append(checkCPU, cc), append(batchCPU, ba), append(oneCPU, on), append(tenCPU, te)
		streamCPU = append(streamCPU, es)
		emptyRate, checkRate, emptyP99, checkP99 = append(emptyRate, er), append(checkRate, cr), append(emptyP99, e.p99()), append(checkP99, c.p99())
	}
	if !cachedAnswer(b, ours, req).Decision.Cached {
		b.Error("the answers were not from the cache")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(emptyCPU), "empty-µs")
	b.ReportMetric(middle(checkCPU), "check-µs")
	b.ReportMetric(middle(ratios(checkCPU, emptyCPU)), "check×empty")
	b.ReportMetric(middle(ratios(checkCPU, batchCPU)), "batch×check")
	b.ReportMetric(middle(oneCPU), "stream1-µs")
	b.ReportMetric(middle(streamCPU), "emptystream-µs")
	b.ReportMetric(middle(ratios(emptyCPU, streamCPU)), "emptystream×empty")
	b.ReportMetric(middle(ratios(emptyCPU, oneCPU)), "stream1×empty")
	b.ReportMetric(middle(ratios(checkCPU, oneCPU)), "stream1×check")
	b.ReportMetric(middle(ratios(checkCPU, tenCPU)), "stream10×check")
	b.ReportMetric(middle(emptyRate), "empty/s")
	b.ReportMetric(middle(checkRate), "check/s")
	b.ReportMetric(middle(emptyP99), "empty-p99-µs")
	b.ReportMetric(middle(checkP99), "check-p99-µs")
}

// startSidecar starts a PDP and a sidecar that calls it, in processes of their own, and gives the sidecar and what makes tokens.
func startSidecar(b *testing.B, program, dir, at string, args ...string) (side *child, issue func(job string) string) {
	b.Helper()
	pdpAt := "unix:" + filepath.Join(dir, "pdp")
	pdp := start(b, []string{childEnv + "=pdp"}, pdpAt, "--data-dir", filepath.Join(dir, "data"), "--grpc-addr", pdpAt, "--admin-addr", "off",
		"--shutdown-delay", "0s", "--shutdown-grace", "100ms")
	tokens := jobwardv1.NewTokenServiceClient(pdp.conn)
	issue = func(job string) string {
		b.Helper()
		issued, err := tokens.Issue(context.Background(), &jobwardv1.IssueRequest{JobId: job, ProjectId: 11, UserId: 102})
		if err != nil {
			b.Fatal(err)
		}
		return issued.Token
	}
	var env []string // the shipped program would take ours for a setting
	if program == os.Args[0] {
		env = []string{childEnv + "=sidecar"}
	}
	side = startProgram(b, program, env, strings.TrimPrefix(at, "tcp:"), append([]string{"--state-dir", filepath.Join(dir, "state"),
		"--listen", strings.TrimPrefix(at, "tcp:"), "--health-addr", "127.0.0.1:0", "--pdp-addr", pdpAt, "--shutdown-delay", "0s"}, args...)...)
	return side, issue
}

// cachedAnswer asks until the answer is from the cache.
func cachedAnswer(b *testing.B, c jobwardv1.DecisionServiceClient, req *jobwardv1.CheckRequest) *jobwardv1.CheckResponse {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer, err := c.Check(context.Background(), req)
		if err == nil && answer.Decision.Cached {
			return answer
		}
		if time.Now().After(end) {
			b.Fatalf("no answer from the cache: %v %v", answer, err)
		}
	}
}

// watchful times calls.
type watchful struct {
	mu  sync.Mutex
	all []time.Duration
}

// timed times what do does.
func (w *watchful) timed(do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		began := time.Now()
		err := do(ctx)
		took := time.Since(began)
		w.mu.Lock()
		w.all = append(w.all, took)
		w.mu.Unlock()
		return err
	}
}

// p99 is in µs.
func (w *watchful) p99() float64 {
	slices.Sort(w.all)
	return float64(w.all[len(w.all)*99/100].Microseconds())
}

// BenchmarkSidecarMemory fills the cache of a shipped sidecar with its defaults with 100,000 decisions (1,000 tokens, 100 questions each), keeps asking,
// and tells what the process has resident. Target: at most 40 MiB.
func BenchmarkSidecarMemory(b *testing.B) {
	dir := b.TempDir()
	shipped := filepath.Join(dir, "shipped") // this test binary is larger, and would tell of the difference
	if out, err := exec.Command("go", "build", "-o", shipped, "github.com/jobward/jobward/sidecar").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	side, issue := startSidecar(b, shipped, dir, "unix:"+filepath.Join(dir, "sidecar"))
	c := jobwardv1.NewDecisionServiceClient(side.conn)
	cachedAnswer(b, c, &jobwardv1.CheckRequest{Token: issue("first"), TargetProjectId: 14, Permission: "read_packages"})
	empty := side.resident(b)
	var batches []*jobwardv1.BatchCheckRequest
	const tokens, questions = 1000, 100
	names := []string{"read_packages", "create_package", "read_project", "read_repository", "push_code", "read_job_artifacts", "read_jobs", "read_releases", "read_deployments", "read_environments"}
	for i := range tokens {
		batch := &jobwardv1.BatchCheckRequest{Token: issue(fmt.Sprint("job-", i))}
		for q := range questions {
			batch.Questions = append(batch.Questions, &jobwardv1.Question{TargetProjectId: int64(11 + q/10), Permission: names[q%10]})
		}
		batches = append(batches, batch)
	}
	most := 0.0
	began := time.Now()
	for pass := 0; pass < 2 || time.Since(began) < 10*time.Second; pass++ {
		cached := 0
		for _, batch := range batches {
			resp, err := c.BatchCheck(context.Background(), batch)
			if err != nil {
				b.Fatal(err)
			}
			for _, d := range resp.Decisions {
				if d.Cached {
					cached++
				}
			}
		}
		most = max(most, side.resident(b))
		if pass > 0 && cached < tokens*questions*95/100 {
			b.Errorf("pass %d: %d of %d answers are from the cache", pass, cached, tokens*questions)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(empty, "empty-MiB")
	b.ReportMetric(side.resident(b), "full-MiB")
	b.ReportMetric(most, "peak-MiB")
}

// resident is what the child has in memory, in MiB.
func (c *child) resident(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return float64(kb) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
