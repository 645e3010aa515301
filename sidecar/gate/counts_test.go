package gate

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/jobward/jobward/pdp/authz"
)

func TestCounts(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	p := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer p.Shutdown(context.Background())
	for _, door := range []string{"one", "two"} {
		c, err := NewCounts(p, door)
		if err != nil {
			t.Fatal(err)
		}
		g := gateOf(allows(false))
		g.Counts = c
		for _, text := range []string{good, good, other, ""} {
			r := restReq.request()
			head(r).Set("Job-Token", text)
			g.Judge(t.Context(), r)
		}
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, m := range data.ScopeMetrics[0].Metrics {
		for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
			got[m.Name+" "+point.Attributes.Encoded(attribute.DefaultEncoder())] += point.Value
		}
	}
	for _, door := range []string{"one", "two"} {
		for want, n := range map[string]int64{
			"jobward.verdicts door=" + door + ",outcome=allowed":                                                      2,
			"jobward.verdicts door=" + door + ",outcome=dead":                                                         1,
			"jobward.verdicts door=" + door + ",outcome=no_token":                                                     1,
			"jobward.decisions door=" + door + ",effect=allow,reason=" + authz.AllowedListed.String() + ",source=pdp": 2,
			"jobward.decisions door=" + door + ",effect=deny,reason=token_unknown,source=pdp":                         1,
			"jobward.decisions door=" + door + ",effect=deny,reason=token_missing,source=pdp":                         1,
		} {
			if got[want] != n {
				t.Errorf("%s: %d, want %d", want, got[want], n)
			}
		}
	}
	if len(got) != 12 {
		t.Errorf("%v", got)
	}
	for o := range numOutcomes {
		if o.String() == "" || o.String() == "outcome_unknown" {
			t.Errorf("outcome %d has no name", o)
		}
	}
}
