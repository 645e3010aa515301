package daemon

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Metrics of one PDP of several (PROTOCOL R8), as it sees itself and the others. What the caches of all did on receipts is package server's.
const (
	metricFenceLeft = "jobward.replica.fence.left"   // how long it may answer without another renewal
	metricServing   = "jobward.replica.serving"      // 1 while it may answer, else 0
	metricRenewals  = "jobward.replica.renewals"     // by result: done, failed
	metricCeased    = "jobward.replica.ceased"       // times that it ceased to answer, by why: fenced by another PDP, or silent
	metricJoined    = "jobward.replica.incarnations" // times that it registered: the first, and one for each time that it was fenced
	metricFences    = "jobward.replica.fences"       // PDPs that it fenced
	metricLists     = "jobward.replica.lists"        // reads of the list of PDPs
	metricReplicas  = "jobward.replica.peers"        // PDPs on that list when it was read last, this one included, by state: live, departed
)

// measureReplica registers those of a PDP that is one of several.
func (d *daemon) measureReplica(m metric.Meter) error {
	if d.member == nil {
		return nil
	}
	left, err1 := m.Float64ObservableGauge(metricFenceLeft, metric.WithDescription("How long this PDP may answer without another renewal of its registration."), metric.WithUnit("s"))
	serving, err2 := m.Int64ObservableGauge(metricServing, metric.WithDescription("1 while this PDP may answer, else 0."))
	renewals, err3 := m.Int64ObservableCounter(metricRenewals, metric.WithDescription("Renewals of the registration, by result."), metric.WithUnit("{renewal}"))
	ceased, err4 := m.Int64ObservableCounter(metricCeased, metric.WithDescription("Times that this PDP ceased to answer, by why: fenced by another one, or silent as etcd could not be reached or the view did not follow."), metric.WithUnit("{time}"))
	joined, err5 := m.Int64ObservableCounter(metricJoined, metric.WithDescription("Times that this PDP registered: the first, and one for each time that it was fenced."), metric.WithUnit("{incarnation}"))
	fences, err6 := m.Int64ObservableCounter(metricFences, metric.WithDescription("PDPs that this one fenced, as nothing was heard of them."), metric.WithUnit("{fence}"))
	lists, err7 := m.Int64ObservableCounter(metricLists, metric.WithDescription("Reads of the list of PDPs."), metric.WithUnit("{read}"))
	peers, err8 := m.Int64ObservableGauge(metricReplicas, metric.WithDescription("PDPs on the list when it was read last, this one included, by state."), metric.WithUnit("{replica}"))
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8} {
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	label := func(key, value string) metric.MeasurementOption {
		return metric.WithAttributes(attribute.String(key, value))
	}
	done, failed := label("result", "done"), label("result", "failed")
	fenced, silent := label("why", "fenced"), label("why", "silent")
	live, departed := label("state", "live"), label("state", "departed")
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := d.member.Stats()
		o.ObserveFloat64(left, s.Left)
		may := int64(0)
		if d.member.Serving(d.now()) {
			may = 1
		}
		o.ObserveInt64(serving, may)
		o.ObserveInt64(renewals, int64(s.Renewals), done)
		o.ObserveInt64(renewals, int64(s.Failed), failed)
		o.ObserveInt64(ceased, int64(s.Fenced), fenced)
		o.ObserveInt64(ceased, int64(s.Silent), silent)
		o.ObserveInt64(joined, int64(s.Joined))
		o.ObserveInt64(fences, int64(s.Fences))
		o.ObserveInt64(lists, int64(s.Lists))
		o.ObserveInt64(peers, int64(s.Live), live)
		o.ObserveInt64(peers, int64(s.Departed), departed)
		return nil
	}, left, serving, renewals, ceased, joined, fences, lists, peers)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	d.stops.Add(registered.Unregister)
	return nil
}
