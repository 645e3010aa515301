package grpccheck

import (
	"context"
	"errors"
	"io"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
)

// The ratio that counts, of the server's CPU beside an empty handler, is measured in test/bench. These are ours of it.

func metered(b *testing.B) func(*Options) {
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	b.Cleanup(func() { provider.Shutdown(context.Background()) })
	return func(o *Options) { o.Meters = provider }
}

// BenchmarkAnswer is the hot path without gRPC, on a cache that takes no time.
func BenchmarkAnswer(b *testing.B) {
	r := newRig(b, metered(b))
	data, err := proto.Marshal(r.check("hit"))
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
}

// BenchmarkStream keeps 64 messages of one question under way; client and server are one process.
func BenchmarkStream(b *testing.B) {
	r := newRig(b, metered(b))
	s, err := r.decisions.CheckStream(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	req := &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{r.check("hit")}}
	window := make(chan struct{}, 64)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			window <- struct{}{}
			if s.Send(req) != nil {
				return
			}
		}
		s.CloseSend()
	}()
	for {
		out, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(out.Decisions) != 1 {
			b.Fatal(out, err)
		}
		<-window
	}
}
