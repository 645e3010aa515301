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

// Metrics of a store in etcd, as this PDP sees it.
const (
	metricTransactions = "jobward.etcd.transactions" // by what became of them: done, lost to another PDP, unknown at first
	metricWatch        = "jobward.etcd.watch"        // what happened to the watch: begun, gap, compacted, reload
	metricFolds        = "jobward.etcd.folds"        // times that this PDP tidied the log
	metricSize         = "jobward.etcd.size"         // of the database that is nearest to its quota
	metricQuota        = "jobward.etcd.quota"        // its quota
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
	if err := d.measureEtcd(m); err != nil {
		return err
	}
	return d.measureReplica(m)
}

// measureEtcd registers those of a store in etcd.
func (d *daemon) measureEtcd(m metric.Meter) error {
	if d.shared == nil {
		return nil
	}
	transactions, err1 := m.Int64ObservableCounter(metricTransactions, metric.WithDescription("Transactions that this PDP sent to etcd, by what became of them."), metric.WithUnit("{transaction}"))
	watch, err2 := m.Int64ObservableCounter(metricWatch, metric.WithDescription("What happened to the watch on etcd."), metric.WithUnit("{event}"))
	folds, err3 := m.Int64ObservableCounter(metricFolds, metric.WithDescription("Times that this PDP wrote the log of changes to the records' own keys."), metric.WithUnit("{fold}"))
	size, err4 := m.Int64ObservableGauge(metricSize, metric.WithDescription("Size of the database of the etcd member that is nearest to its quota."), metric.WithUnit("By"))
	quota, err5 := m.Int64ObservableGauge(metricQuota, metric.WithDescription("Quota of that member: near it only revocations are taken."), metric.WithUnit("By"))
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	stats := d.shared.Stats()
	label := func(key, value string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String(key, value))
	}
	done, lost, unknown := label("outcome", "done"), label("outcome", "lost"), label("outcome", "unknown")
	begun, gap, compacted, reload := label("event", "begun"), label("event", "gap"), label("event", "compacted"), label("event", "reload")
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(transactions, stats.Transactions.Load(), done)
		o.ObserveInt64(transactions, stats.Lost.Load(), lost)
		o.ObserveInt64(transactions, stats.Unknown.Load(), unknown)
		o.ObserveInt64(watch, stats.Watches.Load(), begun)
		o.ObserveInt64(watch, stats.Gaps.Load(), gap)
		o.ObserveInt64(watch, stats.Compacted.Load(), compacted)
		o.ObserveInt64(watch, stats.Reloads.Load(), reload)
		o.ObserveInt64(folds, stats.Folds.Load())
		if q := stats.Quota.Load(); q > 0 {
			o.ObserveInt64(size, stats.Size.Load())
			o.ObserveInt64(quota, q)
		}
		return nil
	}, transactions, watch, folds, size, quota)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	d.stops.Add(registered.Unregister)
	return nil
}
