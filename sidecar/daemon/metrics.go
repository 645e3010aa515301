package daemon

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/jobward/jobward/sidecar/pep"
)

// Metrics of cache and lease. They are read when somebody scrapes, and cost nothing otherwise. Those of calls and decisions are package
// grpccheck's.
const (
	metricHits        = "jobward.cache.hits"        // questions answered from the cache
	metricMisses      = "jobward.cache.misses"      // questions that were not, by cause
	metricShared      = "jobward.cache.shared"      // hits that waited for another's question to the PDP
	metricEntries     = "jobward.cache.entries"     // answers held
	metricBytes       = "jobward.cache.size"        // what they take, about
	metricKeys        = "jobward.cache.keys"        // what they rest on
	metricFills       = "jobward.cache.fills"       // answers of the PDP, by outcome
	metricEvictions   = "jobward.cache.evictions"   // answers that made room
	metricExpirations = "jobward.cache.expirations" // answers whose token came to its end
	metricVoided      = "jobward.cache.invalidated" // answers that an invalidation voided
	metricPushed      = "jobward.invalidations"     // invalidations received
	metricAcks        = "jobward.invalidation.acks" // and confirmed

	metricRemaining = "jobward.lease.remaining"  // what is left of the lease; 0 without one
	metricTerm      = "jobward.lease.term"       // what it is granted for
	metricGrants    = "jobward.lease.grants"     // leases got
	metricLapses    = "jobward.lease.lapses"     // how often it ran out
	metricOpened    = "jobward.lease.opened"     // generations opened, by whether the answers held were carried over
	metricApplied   = "jobward.applied.revision" // that the answers held are true at
	metricHead      = "jobward.head.revision"    // the newest heard of
	metricEpoch     = "jobward.epoch"            // the highest seen

	metricConnects = "jobward.pdp.connects"     // streams tried, by outcome
	metricRefused  = "jobward.history.refusals" // PDPs that were not believed, because their history is behind or beside
	metricAsked    = "jobward.pdp.questions"    // questions to a PDP, by outcome
	metricReports  = "jobward.reports"          // hits for the PDP's authentication log, by outcome
)

// row is one instrument and one set of labels.
type row struct {
	name, label, value string
	unit, text         string
	gauge              bool
	read               func(*snapshot) float64
}

// snapshot is what one scrape reads.
type snapshot struct {
	pep.Counters
	pep.Status
}

// rows are the instruments.
func rows() []row {
	count := func(name, label, value, text string, read func(*snapshot) uint64) row {
		return row{name: name, label: label, value: value, text: text, read: func(s *snapshot) float64 { return float64(read(s)) }}
	}
	gauge := func(name, unit, text string, read func(*snapshot) float64) row {
		return row{name: name, unit: unit, text: text, gauge: true, read: read}
	}
	const missed, filled, opened, connected = "Questions that the cache did not answer.", "Answers of the PDP.", "Leases opened anew.", "Attempts to hold a stream of a PDP."
	const asked, reported = "Questions to a PDP.", "Answers from the cache that the PDP's authentication log was to be told of."
	return []row{
		count(metricHits, "", "", "Questions answered from the cache.", func(s *snapshot) uint64 { return s.Hits }),
		count(metricShared, "", "", "Of the hits, those that waited for another's question to the PDP.", func(s *snapshot) uint64 { return s.Joined }),
		count(metricMisses, "cause", "absent", missed, func(s *snapshot) uint64 { return s.MissAbsent }),
		count(metricMisses, "cause", "invalidated", missed, func(s *snapshot) uint64 { return s.MissInvalidated }),
		count(metricMisses, "cause", "expired", missed, func(s *snapshot) uint64 { return s.MissExpired }),
		count(metricMisses, "cause", "lapsed", missed, func(s *snapshot) uint64 { return s.MissLapsed }),
		gauge(metricEntries, "", "Answers held.", func(s *snapshot) float64 { return float64(s.Entries) }),
		gauge(metricBytes, "By", "Memory of the answers held, about.", func(s *snapshot) float64 { return float64(s.Bytes) }),
		gauge(metricKeys, "", "What the answers held rest on.", func(s *snapshot) float64 { return float64(s.Keys) }),
		count(metricFills, "outcome", "kept", filled, func(s *snapshot) uint64 { return s.Installs }),
		count(metricFills, "outcome", "fenced", filled, func(s *snapshot) uint64 { return s.Fenced }),
		count(metricFills, "outcome", "ended", filled, func(s *snapshot) uint64 { return s.Ended }),
		count(metricFills, "outcome", "uncacheable", filled, func(s *snapshot) uint64 { return s.Uncacheable }),
		count(metricFills, "outcome", "stale", filled, func(s *snapshot) uint64 { return s.Stale }),
		count(metricEvictions, "", "", "Answers that made room for others.", func(s *snapshot) uint64 { return s.Evictions }),
		count(metricExpirations, "", "", "Answers removed because their token came to its end.", func(s *snapshot) uint64 { return s.Expirations }),
		count(metricVoided, "", "", "Answers that invalidations voided.", func(s *snapshot) uint64 { return s.Voided }),
		count(metricPushed, "", "", "Invalidations received.", func(s *snapshot) uint64 { return s.Invalidations }),
		count(metricAcks, "", "", "Invalidations confirmed.", func(s *snapshot) uint64 { return s.Acks }),

		gauge(metricRemaining, "s", "What is left of the lease; 0 without one.", func(s *snapshot) float64 { return s.Remaining.Seconds() }),
		gauge(metricTerm, "s", "What the lease is granted for.", func(s *snapshot) float64 { return s.Term.Seconds() }),
		count(metricGrants, "", "", "Leases and renewals got.", func(s *snapshot) uint64 { return s.Grants }),
		count(metricLapses, "", "", "How often the lease ran out.", func(s *snapshot) uint64 { return s.Lapses }),
		count(metricOpened, "entries", "carried", opened, func(s *snapshot) uint64 { return s.Carried }),
		count(metricOpened, "entries", "empty", opened, func(s *snapshot) uint64 { return s.Leases - min(s.Leases, s.Carried) }),
		gauge(metricApplied, "", "Revision that the answers held are true at.", func(s *snapshot) float64 { return float64(s.Applied) }),
		gauge(metricHead, "", "Newest revision heard of.", func(s *snapshot) float64 { return float64(s.Head) }),
		gauge(metricEpoch, "", "Counter of the highest epoch seen.", func(s *snapshot) float64 { return float64(s.Seen.Epoch) }),

		count(metricConnects, "outcome", "lease", connected, func(s *snapshot) uint64 { return s.Connects - min(s.Connects, s.ConnectErrors) }),
		count(metricConnects, "outcome", "failed", connected, func(s *snapshot) uint64 { return s.ConnectErrors - min(s.ConnectErrors, s.HistoryRefused) }),
		count(metricConnects, "outcome", "refused", connected, func(s *snapshot) uint64 { return s.HistoryRefused }),
		count(metricRefused, "", "", "PDPs not believed because their history is behind or beside what was seen.", func(s *snapshot) uint64 { return s.HistoryRefused }),
		count(metricAsked, "outcome", "answered", asked, func(s *snapshot) uint64 { return s.Asked - min(s.Asked, s.Failed) }),
		count(metricAsked, "outcome", "failed", asked, func(s *snapshot) uint64 { return s.Failed }),
		count(metricReports, "outcome", "sent", reported, func(s *snapshot) uint64 { return s.Reported }),
		count(metricReports, "outcome", "dropped", reported, func(s *snapshot) uint64 { return s.ReportsDropped }),
	}
}

// measure registers the metrics until stop.
func (d *daemon) measure() error {
	m := d.telemetry.Meters.Meter("github.com/jobward/jobward/sidecar/daemon")
	instruments := map[string]metric.Float64Observable{}
	var all []metric.Observable
	list := rows()
	labels := make([]metric.MeasurementOption, len(list))
	for i, r := range list {
		if r.label != "" {
			labels[i] = metric.WithAttributeSet(attribute.NewSet(attribute.String(r.label, r.value)))
		} else {
			labels[i] = metric.WithAttributeSet(*attribute.EmptySet())
		}
		if instruments[r.name] != nil {
			continue
		}
		var err error
		var made metric.Float64Observable
		if r.gauge {
			made, err = m.Float64ObservableGauge(r.name, metric.WithDescription(r.text), metric.WithUnit(r.unit))
		} else {
			made, err = m.Float64ObservableCounter(r.name, metric.WithDescription(r.text))
		}
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		instruments[r.name] = made
		all = append(all, made)
	}
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := snapshot{d.decider.Counters(), d.decider.Status()}
		for i, r := range list {
			o.ObserveFloat64(instruments[r.name], r.read(&s), labels[i])
		}
		return nil
	}, all...)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	d.stops.Add(registered.Unregister)
	return nil
}
