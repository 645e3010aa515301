package grpccheck

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/status"

	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/pdp/authz"
)

// The metrics of calls and decisions, with the PDP's names where they mean the same. Those of cache and lease are the daemon's. Labels have
// few values, all known beforehand: methods with a row in the table of doors, codes of gRPC, reasons, sources.
const (
	metricDecisions   = "jobward.decisions"      // by effect, reason, door and source
	metricCheck       = "jobward.check.duration" // of one message with questions, by door
	metricRPC         = "jobward.rpc.duration"   // of calls, by method and code; streams from their first to their last moment
	metricRPCInFlight = "jobward.rpc.in_flight"  // by method
)

// source is where an answer came from.
type source uint8

const (
	fromPDP   source = iota // it was asked for
	fromCache               // and true under the lease
	fromHere                // lease_lapsed, which the sidecar says by itself
	numSources
)

func (s source) String() string { return [numSources]string{"pdp", "cache", "sidecar"}[s] }

func sourceOf(d *authz.Decision) source {
	switch {
	case d.Cached:
		return fromCache
	case d.Reason == authz.LeaseLapsed:
		return fromHere
	}
	return fromPDP
}

// meters are the instruments.
type meters struct {
	rpc metric.Float64Histogram
}

// doorMeters is what is counted at one door.
type doorMeters struct {
	decisions [numSources][authz.NumReasons]atomic.Uint64
	check     *telemetry.Durations // nil for doors that answer no questions
	// Options made once: making them for each call costs more than the measurement.
	ok, method metric.MeasurementOption
}

func newMeters(p metric.MeterProvider, s *Server) (*meters, error) {
	const scope = "github.com/jobward/jobward/sidecar/grpccheck"
	m := p.Meter(scope)
	var made meters
	var errs [4]error
	made.rpc, errs[0] = m.Float64Histogram(metricRPC, metric.WithUnit("s"), metric.WithDescription("Time of calls."))
	var decisions metric.Int64ObservableCounter
	var inFlight metric.Int64ObservableUpDownCounter
	decisions, errs[1] = m.Int64ObservableCounter(metricDecisions, metric.WithDescription("Decisions given."))
	inFlight, errs[2] = m.Int64ObservableUpDownCounter(metricRPCInFlight, metric.WithDescription("Calls under way."))
	all := []*door{s.elsewhere}
	for _, d := range s.doors {
		all = append(all, d)
	}
	labels := map[*door]*decisionLabels{}
	var checks []*telemetry.Durations
	for _, d := range all {
		d.meters.method = set(attribute.String("method", d.name()))
		d.meters.ok = set(attribute.String("method", d.name()), attribute.String("code", "OK"))
		if d.hot {
			labels[d] = newDecisionLabels(d)
			d.meters.check = telemetry.NewDurations(attribute.String("door", d.short()))
			checks = append(checks, d.meters.check)
		}
	}
	s.opt.Producers.Add(scope, metricCheck, "Time to answer one message with questions.", checks...)
	_, errs[3] = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, d := range all {
			o.ObserveInt64(inFlight, d.inFlight.Load(), d.meters.method)
			d.meters.observe(labels[d], func(n int64, label metric.MeasurementOption) { o.ObserveInt64(decisions, n, label) })
		}
		return nil
	}, decisions, inFlight)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return &made, nil
}

// decisionLabels are those of one door.
type decisionLabels [numSources][authz.NumReasons]metric.MeasurementOption

func newDecisionLabels(d *door) *decisionLabels {
	var l decisionLabels
	for from := range l {
		for i := range l[from] {
			r, effect := authz.Reason(i), "deny"
			if r.Allows() {
				effect = "allow"
			}
			l[from][i] = set(attribute.String("effect", effect), attribute.String("reason", r.String()), attribute.String("door", d.short()),
				attribute.String("source", source(from).String()))
		}
	}
	return &l
}

// observe tells the counts that are not zero; no labels, no decisions.
func (m *doorMeters) observe(labels *decisionLabels, tell func(int64, metric.MeasurementOption)) {
	if labels == nil {
		return
	}
	for from := range m.decisions {
		for r := range m.decisions[from] {
			if n := m.decisions[from][r].Load(); n > 0 {
				tell(int64(n), labels[from][r])
			}
		}
	}
}

func set(kv ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(kv...))
}

// begin and end stand around every call.
func (m *meters) begin(d *door) { d.inFlight.Add(1) }

func (m *meters) end(ctx context.Context, d *door, took time.Duration, err error) {
	d.inFlight.Add(-1)
	label := d.meters.ok
	if err != nil {
		label = set(attribute.String("method", d.name()), attribute.String("code", status.Code(err).String()))
	}
	m.rpc.Record(ctx, took.Seconds(), label)
}

// answered measures one message with questions.
func (m *meters) answered(d *door, took time.Duration) { d.meters.check.Record(took) }

// decided counts a decision.
func (m *meters) decided(d *door, of *authz.Decision) {
	d.meters.decisions[sourceOf(of)][of.Reason].Add(1)
}
