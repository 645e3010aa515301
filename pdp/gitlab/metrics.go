package gitlab

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metricREST is the time of requests, by route, method and status. Labels have few values: routes of the table, "none" for
// others, and the methods that HTTP has.
const metricREST = "jobward.rest.duration"

type meters struct{ requests metric.Float64Histogram }

func newMeters(p metric.MeterProvider) (m meters, err error) {
	m.requests, err = p.Meter("github.com/jobward/jobward/pdp/gitlab").Float64Histogram(metricREST, metric.WithUnit("s"),
		metric.WithDescription("Time of requests to the REST API, waiting for receipts included."))
	return m, err
}

func (m meters) done(ctx context.Context, r *route, verb string, status int, took time.Duration) {
	m.requests.Record(ctx, took.Seconds(), metric.WithAttributes(
		attribute.String("route", r.name()), attribute.String("method", method(verb)), attribute.String("status", strconv.Itoa(status))))
}
