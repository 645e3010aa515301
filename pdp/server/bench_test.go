package server

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
)

// These benchmarks have client and server in one process, so what they print is the
// sum. The ratio that counts, of the server's CPU, is measured in test/bench.

// metered is what the daemon does by default: metrics on, no exporter.
func metered(b *testing.B) func(*Options) {
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	b.Cleanup(func() { provider.Shutdown(context.Background()) })
	return func(o *Options) { o.Meters = provider }
}

func benchCheck(b *testing.B, c jobwardv1.DecisionServiceClient, req *jobwardv1.CheckRequest) {
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Check(context.Background(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheckUnix(b *testing.B) {
	r := newRig(b, metered(b))
	benchCheck(b, r.decisions, &jobwardv1.CheckRequest{Token: r.issue(b, "j1", maintainer), TargetProjectId: lib, Permission: "read_repository"})
}

// BenchmarkDeniedUnix adds what a denial costs: its place in the audit log.
func BenchmarkDeniedUnix(b *testing.B) {
	r := newRig(b, metered(b))
	benchCheck(b, r.decisions, &jobwardv1.CheckRequest{Token: r.issue(b, "j1", maintainer), TargetProjectId: closed, Permission: "read_repository"})
}

// empty answers with the same message as a real Check, ready made.
type empty struct {
	jobwardv1.UnimplementedDecisionServiceServer
	answer *jobwardv1.CheckResponse
}

func (e empty) Check(context.Context, *jobwardv1.CheckRequest) (*jobwardv1.CheckResponse, error) {
	return e.answer, nil
}

// BenchmarkEmptyUnix is the floor: an empty handler of a bare server, with messages of
// the same size.
func BenchmarkEmptyUnix(b *testing.B) {
	r := newRig(b)
	req := &jobwardv1.CheckRequest{Token: r.issue(b, "j1", maintainer), TargetProjectId: lib, Permission: "read_repository"}
	answer, err := r.decisions.Check(ctx(b), req)
	if err != nil {
		b.Fatal(err)
	}
	at := filepath.Join(b.TempDir(), "s")
	lis, err := net.Listen("unix", at)
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer()
	jobwardv1.RegisterDecisionServiceServer(g, empty{answer: proto.CloneOf(answer)})
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	b.Cleanup(func() { g.Stop(); <-done })
	benchCheck(b, jobwardv1.NewDecisionServiceClient(dial(b, "unix:"+at)), req)
}

func BenchmarkBatchCheckUnix(b *testing.B) {
	r := newRig(b, metered(b))
	req := &jobwardv1.BatchCheckRequest{Token: r.issue(b, "j1", maintainer)}
	for range 100 {
		req.Questions = append(req.Questions, &jobwardv1.Question{TargetProjectId: lib, Permission: "read_repository"})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := r.decisions.BatchCheck(context.Background(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(req.Questions)), "ns/decision")
}

// BenchmarkCheckStreamUnix keeps 64 messages of ten questions under way.
func BenchmarkCheckStreamUnix(b *testing.B) {
	r := newRig(b, metered(b))
	req := &jobwardv1.CheckStreamRequest{}
	tok := r.issue(b, "j1", maintainer)
	for range 10 {
		req.Questions = append(req.Questions, &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"})
	}
	s, err := r.decisions.CheckStream(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	var sent atomic.Int64
	window := make(chan struct{}, 64)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			window <- struct{}{}
			if s.Send(req) != nil {
				return
			}
			sent.Add(1)
		}
		s.CloseSend()
	}()
	for {
		out, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(out.Decisions) != 10 {
			b.Fatal(out, err)
		}
		<-window
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent.Load()*10), "ns/decision")
}

// BenchmarkAnswer is the hot path without gRPC: what is ours of the cost of a Check.
func BenchmarkAnswer(b *testing.B) {
	for name, target := range map[string]int64{"allowed": lib, "denied": closed} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, metered(b))
			data, err := proto.Marshal(&jobwardv1.CheckRequest{Token: r.issue(b, "j1", maintainer), TargetProjectId: target, Permission: "read_repository"})
			if err != nil {
				b.Fatal(err)
			}
			h := r.server.hotMethod(jobwardv1.DecisionService_Check_FullMethodName)
			dec := func(m any) error { return m.(hot.Inbound).Decode(data) }
			b.ReportAllocs()
			for b.Loop() {
				out, err := h(nil, context.Background(), dec, nil)
				if err != nil {
					b.Fatal(err)
				}
				out.(*hot.Outbox).Sent()
			}
		})
	}
}
