package daemon

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/jobward/jobward/pdp/state"
)

// Metrics of the state. They are read when somebody scrapes, and cost nothing otherwise. Those of calls and decisions are package server's.
const (
	metricRevision  = "jobward.head.revision" // grows by one with every change
	metricEpoch     = "jobward.epoch"         // raised by every restore
	metricRecords   = "jobward.records"       // by kind
	metricAuditLost = "jobward.audit.lost"    // decisions that the audit log could not keep
)

// measure registers the metrics of the state until stop.
func (d *daemon) measure() error {
	m := d.telemetry.Meters.Meter("github.com/jobward/jobward/pdp/daemon")
	revision, err1 := m.Int64ObservableGauge(metricRevision, metric.WithDescription("Revision of the newest committed change."))
	epoch, err2 := m.Int64ObservableGauge(metricEpoch, metric.WithDescription("Counter of the history's epoch."))
	records, err3 := m.Int64ObservableGauge(metricRecords, metric.WithDescription("Records held, by kind."))
	lost, err4 := m.Int64ObservableCounter(metricAuditLost, metric.WithDescription("Decisions that the audit log could not keep."), metric.WithUnit("{decision}"))
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	var labels [state.NumKinds]metric.MeasurementOption
	for kind := range labels {
		labels[kind] = metric.WithAttributes(attribute.String("kind", state.Kind(kind).String()))
	}
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		mark := d.engine.View().Mark()
		o.ObserveInt64(revision, int64(mark.Revision))
		o.ObserveInt64(epoch, int64(mark.Epoch.Counter))
		o.ObserveInt64(lost, int64(d.engine.AuditLost()))
		counts := d.engine.View().Counts()
		for kind := 1; kind < state.NumKinds; kind++ {
			o.ObserveInt64(records, int64(counts[kind]), labels[kind])
		}
		return nil
	}, revision, epoch, records, lost)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	d.stops.Add(registered.Unregister)
	return nil
}
