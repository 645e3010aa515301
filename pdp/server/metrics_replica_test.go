package server

import (
	"context"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/jobward/jobward/pdp/replica"
)

// TestReplicaReceiptMetrics: a receipt is counted by the PDP that stands worst on it, and not at all where there is no other (R8).
func TestReplicaReceiptMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	r := termRig(t, 30*time.Second, func(o *Options) { o.Meters = provider })
	for _, outcomes := range [][]replica.Outcome{
		nil, {replica.Settled}, {replica.Settled, replica.Gone}, {replica.Gone, replica.Settled}, {replica.Fenced, replica.Gone}, {replica.Settled, replica.Pending, replica.Fenced},
	} {
		var others []replica.Standing
		for _, o := range outcomes {
			others = append(others, replica.Standing{Outcome: o})
		}
		r.server.meters.watch.peers(t.Context(), others, time.Second)
	}
	got := collect(t, reader)
	for slowest, n := range map[string]int64{"settled": 1, "gone": 2, "fenced": 1, "pending": 1} {
		if have := got["jobward.replica.receipts{slowest="+slowest+"}"]; have != n {
			t.Errorf("%s: %d, want %d", slowest, have, n)
		}
	}
}
