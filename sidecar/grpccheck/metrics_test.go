package grpccheck

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/telemetry"
)

// TestMetrics counts answers by where they came from, and calls by how they ended.
func TestMetrics(t *testing.T) {
	var own telemetry.Producers
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(&own))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	r := newRig(t, func(o *Options) { o.Meters, o.Producers = provider, &own })
	for _, p := range []string{"hit", "hit", "miss", "lapsed"} {
		if _, err := r.decisions.Check(ctx(t), r.check(p)); err != nil {
			t.Fatal(err)
		}
	}
	r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{})
	r.tokens1.Issue(ctx(t), &jobwardv1.IssueRequest{})
	s := r.stream(t, ctx(t))
	r.send(t, s, 1, "hit", "hit", "miss")
	recv(t, s)

	var got metricdata.ResourceMetrics
	if err := reader.Collect(ctx(t), &got); err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					have = append(have, fmt.Sprintf("%s %s %d", m.Name, labels(p.Attributes), p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					have = append(have, fmt.Sprintf("%s %s %d", m.Name, labels(p.Attributes), p.Count))
				}
			}
		}
	}
	for _, want := range []string{
		"jobward.decisions door=Check effect=allow reason=allowed_listed source=cache 2",
		"jobward.decisions door=Check effect=allow reason=allowed_listed source=pdp 1",
		"jobward.decisions door=Check effect=deny reason=lease_lapsed source=sidecar 1",
		"jobward.decisions door=CheckStream effect=allow reason=allowed_listed source=cache 2",
		"jobward.decisions door=CheckStream effect=allow reason=allowed_listed source=pdp 1",
		"jobward.check.duration door=Check 5", "jobward.check.duration door=CheckStream 1",
		"jobward.rpc.duration code=OK method=jobward.v1.DecisionService/Check 4",
		"jobward.rpc.duration code=InvalidArgument method=jobward.v1.DecisionService/Check 1",
		"jobward.rpc.duration code=Unimplemented method=elsewhere 1",
		"jobward.rpc.in_flight method=jobward.v1.DecisionService/CheckStream 1",
	} {
		if !slices.Contains(have, want) {
			t.Errorf("no %s in\n%s", want, have)
		}
	}
}

func labels(set attribute.Set) string {
	var all []string
	for _, kv := range set.ToSlice() {
		all = append(all, string(kv.Key)+"="+kv.Value.String())
	}
	return strings.Join(all, " ")
}
