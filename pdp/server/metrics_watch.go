package server

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/replica"
)

// The metrics of leases, receipts and the canary. Names of sidecars are labels in the
// canary's only, and only while a sidecar takes part.
const (
	metricLeases        = "jobward.lease.live"           // leases that have not ended
	metricLeasesCut     = "jobward.lease.cut"            // of these, those whose stream is gone: they only run out
	metricLeasesBuckets = "jobward.lease.in_buckets"     // of these, those whose interest is kept in buckets
	metricInterest      = "jobward.lease.interest"       // keys that cached answers rest on, of all leases
	metricOpened        = "jobward.lease.opened"         // hellos that opened one
	metricRefused       = "jobward.lease.refused"        // hellos whose history is not ours
	metricLapses        = "jobward.lease.lapses"         // leases that ran out
	metricOverflows     = "jobward.lease.overflows"      // leases cut because the sidecar was too slow
	metricQuiet         = "jobward.lease.quiet"          // how long leases from before the start may still run
	metricChanges       = "jobward.watch.changes"        // changes dispatched
	metricInvalidations = "jobward.watch.invalidations"  // invalidations sent
	metricQueued        = "jobward.watch.queued"         // messages not taken yet by streams
	metricOwed          = "jobward.watch.unacknowledged" // invalidations not confirmed yet
	metricReceipts      = "jobward.receipt.duration"     // of calls that wait for one, by outcome
	metricSlowest       = "jobward.replica.receipts"     // time of the same, by the outcome of the PDP that stood worst; only where there are others
	metricPending       = "jobward.receipt.pending"      // changes that somebody has not let go of yet
	metricWaiting       = "jobward.receipt.waiting"      // calls that wait for a receipt
	metricLetGo         = "jobward.receipt.sidecars"     // sidecars on receipts, by how they let go
	metricAccesses      = "jobward.access.reported"      // answers from caches that were told of
	metricAccessesLost  = "jobward.access.dropped"       // answers from caches that sidecars had no room to tell of
	metricTimeToDeny    = "jobward.canary.time_to_deny"  // how long a dead token lived, by sidecar, since Revoke began or its receipt came
	metricCanaryRuns    = "jobward.canary.runs"          // by outcome
	metricStale         = "jobward.canary.stale.allows"  // allows that began after an effective receipt; must stay zero
)

// Outcomes of receipts that are waited for.
const (
	outcomeNone     = iota // effective, and nobody had anything
	outcomeAcked           // effective, everybody has confirmed
	outcomeLapsed          // effective, somebody had to be waited out
	outcomeTimedOut        // not effective when the call had to end
	outcomeDurable         // not waited for, and not effective by itself
	numOutcomes
)

var outcomeNames = [numOutcomes]string{"effective_none", "acked", "lapsed", "timed_out", "durable"}

// watchMeters are the instruments of receipts; all others are read when somebody scrapes.
type watchMeters struct {
	receipts, replicas metric.Float64Histogram
	outcomes           [numOutcomes]metric.MeasurementOption
	slowest            [len(replicaNames)]metric.MeasurementOption
}

// receipt measures a receipt that a call gave.
func (m *watchMeters) receipt(ctx context.Context, outcome int, took time.Duration) {
	m.receipts.Record(ctx, took.Seconds(), m.outcomes[outcome])
}

// replicaNames are the outcomes of other PDPs. The later in the list, the longer they are waited for.
var replicaNames = [...]string{"settled", "gone", "fenced", "pending"}

// standing is the place of an outcome among replicaNames.
func standing(o replica.Outcome) int {
	switch o {
	case replica.Settled:
		return 0
	case replica.Gone:
		return 1
	case replica.Fenced:
		return 2
	default:
		return 3
	}
}

// peers measures a receipt by the other PDP that stands worst on it.
func (m *watchMeters) peers(ctx context.Context, others []replica.Standing, took time.Duration) {
	if len(others) == 0 {
		return
	}
	worst := 0
	for _, o := range others {
		worst = max(worst, standing(o.Outcome))
	}
	m.replicas.Record(ctx, took.Seconds(), m.slowest[worst])
}

// instruments makes observable instruments and keeps the first error.
type instruments struct {
	m   metric.Meter
	all []metric.Observable
	err error
}

func (in *instruments) gauge(name, unit, words string) metric.Int64ObservableGauge {
	g, err := in.m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(words))
	return took(in, g, err)
}

func (in *instruments) seconds(name, words string) metric.Float64ObservableGauge {
	g, err := in.m.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(words))
	return took(in, g, err)
}

func (in *instruments) counter(name, unit, words string) metric.Int64ObservableCounter {
	c, err := in.m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(words))
	return took(in, c, err)
}

func took[O metric.Observable](in *instruments, o O, err error) O {
	if in.err == nil {
		in.err = err
	}
	in.all = append(in.all, o)
	return o
}

// newWatchMeters makes the instruments of this file.
func newWatchMeters(p metric.MeterProvider, s *Server) (made watchMeters, err error) {
	m := p.Meter("github.com/jobward/jobward/pdp/server")
	made.receipts, err = m.Float64Histogram(metricReceipts, metric.WithUnit("s"), metric.WithDescription("Time that calls waited for caches to let go, by outcome."))
	if err != nil {
		return made, err
	}
	made.replicas, err = m.Float64Histogram(metricSlowest, metric.WithUnit("s"), metric.WithDescription("Time that calls waited for the caches of several PDPs, by the outcome of the one that stood worst."))
	if err != nil {
		return made, err
	}
	for i, name := range replicaNames {
		made.slowest[i] = set(attribute.String("slowest", name))
	}
	for i, name := range outcomeNames {
		made.outcomes[i] = set(attribute.String("outcome", name))
	}
	in := &instruments{m: m}
	observers := []func(metric.Observer){in.leases(s), in.accesses(s), in.canary(s)}
	if in.err != nil {
		return made, in.err
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, f := range observers {
			f(o)
		}
		return nil
	}, in.all...)
	return made, err
}

func (in *instruments) leases(s *Server) func(metric.Observer) {
	type row struct {
		o     metric.Int64Observable
		value func(*feed.Stats) int64
	}
	rows := []row{
		{in.gauge(metricLeases, "{lease}", "Leases that have not ended."), func(st *feed.Stats) int64 { return int64(st.Generations) }},
		{in.gauge(metricLeasesCut, "{lease}", "Leases whose stream is gone, and that only run out."), func(st *feed.Stats) int64 { return int64(st.Cut) }},
		{in.gauge(metricLeasesBuckets, "{lease}", "Leases whose interest is kept in buckets."), func(st *feed.Stats) int64 { return int64(st.Buckets) }},
		{in.gauge(metricInterest, "{key}", "Keys that cached answers rest on."), func(st *feed.Stats) int64 { return int64(st.Interest) }},
		{in.counter(metricOpened, "{lease}", "Leases opened."), func(st *feed.Stats) int64 { return int64(st.Opened) }},
		{in.counter(metricRefused, "{hello}", "Hellos refused because the sidecar has seen another history."), func(st *feed.Stats) int64 { return int64(st.Refused) }},
		{in.counter(metricLapses, "{lease}", "Leases that ran out."), func(st *feed.Stats) int64 { return int64(st.Lapses) }},
		{in.counter(metricOverflows, "{lease}", "Leases cut because the sidecar was too slow."), func(st *feed.Stats) int64 { return int64(st.Overflows) }},
		{in.counter(metricChanges, "{change}", "Changes dispatched."), func(st *feed.Stats) int64 { return int64(st.Changes) }},
		{in.counter(metricInvalidations, "{invalidation}", "Invalidations for sidecars."), func(st *feed.Stats) int64 { return int64(st.Invalidations) }},
		{in.gauge(metricQueued, "{message}", "Messages that streams have not taken yet."), func(st *feed.Stats) int64 { return int64(st.Queued) }},
		{in.gauge(metricOwed, "{invalidation}", "Invalidations not confirmed yet."), func(st *feed.Stats) int64 { return int64(st.Owed) }},
		{in.gauge(metricPending, "{change}", "Changes that some sidecar has not let go of yet."), func(st *feed.Stats) int64 { return int64(st.Pending) }},
		{in.gauge(metricWaiting, "{call}", "Calls that wait for a receipt."), func(st *feed.Stats) int64 { return int64(st.Waiting) }},
	}
	quiet := in.seconds(metricQuiet, "How long leases from before the start may still run; until then no receipt is effective.")
	letGo := in.counter(metricLetGo, "{sidecar}", "Sidecars on complete receipts, by how they let go.")
	acked, lapsed := set(attribute.String("how", "acked")), set(attribute.String("how", "lapsed"))
	return func(o metric.Observer) {
		st := s.feed.Stats()
		for _, r := range rows {
			o.ObserveInt64(r.o, r.value(&st))
		}
		o.ObserveFloat64(quiet, s.feed.Quiet().Seconds())
		o.ObserveInt64(letGo, int64(st.Acked), acked)
		o.ObserveInt64(letGo, int64(st.Lapsed), lapsed)
	}
}

func (in *instruments) accesses(s *Server) func(metric.Observer) {
	taken := in.counter(metricAccesses, "{decision}", "Answers from caches that sidecars told of.")
	dropped := in.counter(metricAccessesLost, "{decision}", "Answers from caches that sidecars had no room to tell of.")
	return func(o metric.Observer) {
		o.ObserveInt64(taken, int64(s.reports.taken.Load()))
		o.ObserveInt64(dropped, int64(s.reports.dropped.Load()))
	}
}

func (in *instruments) canary(s *Server) func(metric.Observer) {
	if !s.opt.Canary.On() {
		return func(metric.Observer) {}
	}
	toDeny := in.seconds(metricTimeToDeny, "How long a dead token was allowed, by sidecar, in the last run.")
	runs := in.counter(metricCanaryRuns, "{run}", "Runs of the canary, by outcome.")
	stale := in.counter(metricStale, "{allow}", "Allows that began after an effective receipt. There must be none.")
	measured, failed := set(attribute.String("outcome", "measured")), set(attribute.String("outcome", "failed"))
	return func(o metric.Observer) {
		o.ObserveInt64(runs, int64(s.canaries.measured.Load()), measured)
		o.ObserveInt64(runs, int64(s.canaries.failed.Load()), failed)
		o.ObserveInt64(stale, int64(s.canaries.stale.Load()))
		for name, r := range s.canaries.all() {
			o.ObserveFloat64(toDeny, r.sinceRevoke.Seconds(), set(attribute.String("sidecar", name), attribute.String("since", "revoke")))
			o.ObserveFloat64(toDeny, r.sinceReceipt.Seconds(), set(attribute.String("sidecar", name), attribute.String("since", "receipt")))
		}
	}
}
