package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/telemetry"
)

// collect gives every data point as "name{labels} value", the count of histograms.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	points := map[string]int64{}
	key := func(name string, set attribute.Set) string {
		var labels []string
		for _, kv := range set.ToSlice() {
			labels = append(labels, fmt.Sprintf("%s=%s", kv.Key, kv.Value.AsString()))
		}
		return fmt.Sprintf("%s{%s}", name, strings.Join(labels, ","))
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					points[key(m.Name, p.Attributes)] = p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					points[key(m.Name, p.Attributes)] = p.Value
				}
			case metricdata.Gauge[float64]: // of seconds, in milliseconds
				for _, p := range d.DataPoints {
					points[key(m.Name, p.Attributes)] = int64(1000 * p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					points[key(m.Name, p.Attributes)] = int64(p.Count)
				}
			default:
				t.Errorf("%s is a %T", m.Name, m.Data)
			}
		}
	}
	return points
}

func TestMetrics(t *testing.T) {
	var own telemetry.Producers
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(&own))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	r := newRig(t, func(o *Options) { o.Meters, o.Producers = provider, &own })
	tok := r.issue(t, "j1", maintainer)
	check := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
	for range 3 {
		if _, err := r.decisions.Check(ctx(t), check); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{}); err == nil {
		t.Fatal("no token is answered")
	}
	if _, err := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: tok, Questions: []*jobwardv1.Question{
		{TargetProjectId: lib, Permission: "read_repository"}, {TargetProjectId: closed, Permission: "read_repository"},
	}}); err != nil {
		t.Fatal(err)
	}
	r.ask(t, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{{Token: r.tokens.Mint().Reveal(), Permission: "x"}}})
	if err := r.conn.Invoke(ctx(t), "/x/y", &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Fatal(err)
	}
	r.grpc.Stop() // waits for the ends of calls
	got := collect(t, reader)
	want := map[string]int64{
		"jobward.decisions{door=Check,effect=allow,reason=allowed_listed}":         3,
		"jobward.decisions{door=BatchCheck,effect=allow,reason=allowed_listed}":    1,
		"jobward.decisions{door=BatchCheck,effect=deny,reason=inbound_not_listed}": 1,
		"jobward.decisions{door=CheckStream,effect=deny,reason=token_unknown}":     1,
		"jobward.unknown_tokens{}":                                                           1,
		"jobward.check.duration{door=Check}":                                                 4,
		"jobward.check.duration{door=BatchCheck}":                                            1,
		"jobward.check.duration{door=CheckStream}":                                           1,
		"jobward.rpc.duration{code=OK,method=jobward.v1.DecisionService/Check}":              3,
		"jobward.rpc.duration{code=InvalidArgument,method=jobward.v1.DecisionService/Check}": 1,
		"jobward.rpc.duration{code=OK,method=jobward.v1.DecisionService/BatchCheck}":         1,
		"jobward.rpc.duration{code=OK,method=jobward.v1.DecisionService/CheckStream}":        1,
		"jobward.rpc.duration{code=OK,method=jobward.v1.TokenService/Issue}":                 1,
		"jobward.rpc.duration{code=Unimplemented,method=unlisted}":                           1,
		"jobward.rpc.in_flight{method=jobward.v1.DecisionService/Check}":                     0,
	}
	for k, n := range want {
		if have, ok := got[k]; !ok || have != n {
			t.Errorf("%s is %d (%t); want %d", k, have, ok, n)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		_, ok := want[k]
		elsewhere := false // tested by TestWatchMetrics
		for _, group := range []string{"lease", "watch", "receipt", "access", "canary"} {
			elsewhere = elsewhere || strings.HasPrefix(k, "jobward."+group+".")
		}
		if !ok && !elsewhere && !strings.HasPrefix(k, "jobward.rpc.in_flight{method=") {
			t.Errorf("%s %d is not expected", k, got[k])
		}
	}
}

// TestTraces: a decision gets a span when its caller samples, and no other; other calls
// follow the sampler of the program, which here takes all.
func TestTraces(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	defer provider.Shutdown(context.Background())
	r := newRig(t, func(o *Options) { o.Tracers = provider })
	tok := r.issue(t, "j1", maintainer)
	check := func(traceparent string, req *jobwardv1.CheckRequest) {
		c := ctx(t)
		if traceparent != "" {
			c = metadata.AppendToOutgoingContext(c, "traceparent", traceparent)
		}
		r.decisions.Check(c, req)
	}
	const trace = "0af7651916cd43dd8448eb211c80319c"
	good := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: closed, Permission: "read_repository"}
	check("", good)
	check("00-"+trace+"-b7ad6b7169203331-00", good)
	check("00-"+trace+"-b7ad6b7169203331-0x", good)
	check("nonsense", good)
	check("00-"+trace+"-b7ad6b7169203331-01", good)
	check("00-"+trace+"-b7ad6b7169203331-0b", good) // flags that are not defined
	check("00-"+trace+"-b7ad6b7169203331-03", &jobwardv1.CheckRequest{})
	r.grpc.Stop()
	var names []string
	for _, s := range exporter.GetSpans() {
		names = append(names, s.Name)
		if s.Name != "jobward.v1.DecisionService/Check" {
			continue
		}
		if s.SpanContext.TraceID().String() != trace || s.Parent.SpanID().String() != "b7ad6b7169203331" {
			t.Errorf("the span is not the caller's: %+v", s)
		}
		if text := fmt.Sprint(s.Attributes, s.Status); strings.Contains(text, tok) || !strings.Contains(text, "inbound_not_listed") && !strings.Contains(text, "INVALID_FIELD") {
			t.Errorf("the span says %s", text)
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "jobward.v1.DecisionService/Check jobward.v1.DecisionService/Check jobward.v1.TokenService/Issue" {
		t.Errorf("the spans are %s", got)
	}
}
