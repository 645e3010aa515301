package telemetry

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Durations is a histogram in seconds with the buckets of [Buckets], for paths on which the one of OpenTelemetry costs too much: a measurement is two
// additions, and takes a tenth of the time. It has no exemplars, and its labels are fixed. It is safe for concurrent use.
type Durations struct {
	labels attribute.Set
	since  time.Time
	counts [len(buckets) + 1]atomic.Uint64
	sum    atomic.Int64 // in ns
}

// NewDurations makes one.
func NewDurations(labels ...attribute.KeyValue) *Durations {
	return &Durations{labels: attribute.NewSet(labels...), since: time.Now()}
}

// Record measures once.
func (d *Durations) Record(took time.Duration) {
	i := 0
	for i < len(buckets) && took > buckets[i] {
		i++
	}
	d.counts[i].Add(1)
	d.sum.Add(int64(took))
}

// point is the histogram as it is now.
func (d *Durations) point(now time.Time) metricdata.HistogramDataPoint[float64] {
	p := metricdata.HistogramDataPoint[float64]{Attributes: d.labels, StartTime: d.since, Time: now, Bounds: Buckets(), Sum: time.Duration(d.sum.Load()).Seconds()}
	for i := range d.counts {
		n := d.counts[i].Load()
		p.BucketCounts = append(p.BucketCounts, n)
		p.Count += n
	}
	return p
}

// Producers adds metrics that are kept elsewhere to what is scraped and pushed; it is a producer of OpenTelemetry. It is safe for concurrent use.
// The zero value is empty.
type Producers struct {
	mu   sync.Mutex
	list []metricdata.ScopeMetrics // each with one metric, without its data
	data [][]*Durations            // of each
}

var _ sdkmetric.Producer = (*Producers)(nil)

// Add adds one metric, of which there is a histogram for each set of labels. One without measurements is left out, as OpenTelemetry does.
func (p *Producers) Add(scope, name, description string, all ...*Durations) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, metricdata.ScopeMetrics{
		Scope: instrumentation.Scope{Name: scope}, Metrics: []metricdata.Metrics{{Name: name, Description: description, Unit: "s"}},
	})
	p.data = append(p.data, all)
}

// Produce implements sdkmetric.Producer.
func (p *Producers) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	out := slices.Clone(p.list)
	for i := range out {
		h := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
		for _, d := range p.data[i] {
			if point := d.point(now); point.Count > 0 {
				h.DataPoints = append(h.DataPoints, point)
			}
		}
		m := out[i].Metrics[0]
		m.Data = h
		out[i].Metrics = []metricdata.Metrics{m}
	}
	return out, nil
}
