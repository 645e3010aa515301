package server

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

// The metrics of calls and decisions. Those of the state are the daemon's. Labels have
// few values, all known beforehand: methods with a row in the table of doors, codes of
// gRPC, reasons.
const (
	metricDecisions   = "jobward.decisions"      // by effect, reason and door
	metricUnknown     = "jobward.unknown_tokens" // unknown tokens that were shown
	metricCheck       = "jobward.check.duration" // of one message with questions, by door
	metricRPC         = "jobward.rpc.duration"   // of calls, by method and code; streams from their first to their last moment
	metricRPCInFlight = "jobward.rpc.in_flight"  // by method
)

// meters are the instruments, and the counts that are read when somebody scrapes.
type meters struct {
	rpc   metric.Float64Histogram
	watch watchMeters
}

// doorMeters is what is counted at one door.
type doorMeters struct {
	decisions [authz.NumReasons]atomic.Uint64
	check     *telemetry.Durations // nil for doors that answer no questions
	// Options made once: making them for each call costs more than the measurement.
	ok, method metric.MeasurementOption
}

func newMeters(p metric.MeterProvider, s *Server) (*meters, error) {
	const scope = "github.com/jobward/jobward/pdp/server"
	m := p.Meter(scope)
	var made meters
	var errs [6]error
	made.rpc, errs[0] = m.Float64Histogram(metricRPC, metric.WithUnit("s"), metric.WithDescription("Time of calls."))
	var decisions, unknown metric.Int64ObservableCounter
	var inFlight metric.Int64ObservableUpDownCounter
	decisions, errs[1] = m.Int64ObservableCounter(metricDecisions, metric.WithDescription("Decisions given."))
	unknown, errs[2] = m.Int64ObservableCounter(metricUnknown, metric.WithDescription("Unknown tokens shown."))
	inFlight, errs[3] = m.Int64ObservableUpDownCounter(metricRPCInFlight, metric.WithDescription("Calls under way."))
	all := []*door{s.unlisted}
	for _, d := range s.doors {
		all = append(all, d)
	}
	labels := map[*door]*[authz.NumReasons]metric.MeasurementOption{}
	var checks []*telemetry.Durations
	for _, d := range all {
		if d.hot {
			d.meters.check = telemetry.NewDurations(attribute.String("door", d.short()))
			checks = append(checks, d.meters.check)
		}
		d.meters.method = set(attribute.String("method", d.name()))
		d.meters.ok = set(attribute.String("method", d.name()), attribute.String("code", "OK"))
		labels[d] = decisionLabels(d)
	}
	s.opt.Producers.Add(scope, metricCheck, "Time to answer one message with questions.", checks...)
	_, errs[4] = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(unknown, int64(s.unknown.Shown()))
		for _, d := range all {
			o.ObserveInt64(inFlight, d.inFlight.Load(), d.meters.method)
			for r := range d.meters.decisions {
				if n := d.meters.decisions[r].Load(); n > 0 {
					o.ObserveInt64(decisions, int64(n), labels[d][r])
				}
			}
		}
		return nil
	}, decisions, unknown, inFlight)
	made.watch, errs[5] = newWatchMeters(p, s)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return &made, nil
}

func decisionLabels(d *door) *[authz.NumReasons]metric.MeasurementOption {
	var l [authz.NumReasons]metric.MeasurementOption
	for i := range l {
		r, effect := authz.Reason(i), "deny"
		if r.Allows() {
			effect = "allow"
		}
		l[i] = set(attribute.String("effect", effect), attribute.String("reason", r.String()), attribute.String("door", d.short()))
	}
	return &l
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
func (m *meters) decided(d *door, r authz.Reason) { d.meters.decisions[r].Add(1) }
