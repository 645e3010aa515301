package proxy

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metricPassages counts requests that were passed on, by door and by what became of them. How they were judged is package gate's.
const metricPassages = "jobward.passages"

const numOutcomes = Failed + 1

// String gives the stable snake_case name.
func (o Outcome) String() string {
	if o < numOutcomes {
		return [numOutcomes]string{"served", "cut", "failed"}[o]
	}
	return "outcome_unknown"
}

// Counts counts what became of requests that one door passed on. Nil counts nothing.
type Counts struct{ n [numOutcomes]atomic.Uint64 }

// NewCounts makes the counters of a door. The error is the provider's.
func NewCounts(p metric.MeterProvider, door string) (*Counts, error) {
	m := p.Meter("github.com/jobward/jobward/sidecar/proxy")
	passages, err := m.Int64ObservableCounter(metricPassages, metric.WithDescription("Requests passed on to the service."))
	if err != nil {
		return nil, err
	}
	c := &Counts{}
	var labels [numOutcomes]metric.MeasurementOption
	for o := range labels {
		labels[o] = metric.WithAttributeSet(attribute.NewSet(attribute.String("door", door), attribute.String("outcome", Outcome(o).String())))
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range c.n {
			o.ObserveInt64(passages, int64(c.n[i].Load()), labels[i])
		}
		return nil
	}, passages)
	return c, err
}

// Done counts one request; it is what [Door.Done] takes.
func (c *Counts) Done(o Outcome) {
	if c != nil && o < numOutcomes {
		c.n[o].Add(1)
	}
}
