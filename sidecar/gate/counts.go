package gate

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/jobward/jobward/pdp/authz"
)

// The metrics of doors. jobward.decisions is that of the gRPC door, with the same labels: one sum over all doors. Labels have few values, all
// known beforehand; nothing of a request is among them.
const (
	metricDecisions = "jobward.decisions" // by effect, reason, door and source
	metricVerdicts  = "jobward.verdicts"  // by door and outcome; what was not asked about is here only
)

// sources of decisions, with the names of the gRPC door's.
const (
	fromPDP = iota
	fromCache
	fromHere
	numSources
)

// Counts counts the verdicts of one door: a Gate's, or of a door that judges by other means. A verdict costs two additions. Nil counts nothing.
type Counts struct {
	verdicts  [numOutcomes]atomic.Uint64
	decisions [numSources][authz.NumReasons]atomic.Uint64
}

// NewCounts makes the counters of a door. The error is the provider's.
func NewCounts(p metric.MeterProvider, door string) (*Counts, error) {
	c := &Counts{}
	m := p.Meter("github.com/jobward/jobward/sidecar/gate")
	verdicts, err := m.Int64ObservableCounter(metricVerdicts, metric.WithDescription("Requests judged at HTTP doors."))
	if err != nil {
		return nil, err
	}
	decisions, err := m.Int64ObservableCounter(metricDecisions, metric.WithDescription("Decisions given."))
	if err != nil {
		return nil, err
	}
	var outcomeLabels [numOutcomes]metric.MeasurementOption
	for o := range outcomeLabels {
		outcomeLabels[o] = set(attribute.String("door", door), attribute.String("outcome", Outcome(o).String()))
	}
	var decisionLabels [numSources][authz.NumReasons]metric.MeasurementOption
	for s := range decisionLabels {
		for i := range decisionLabels[s] {
			r, effect := authz.Reason(i), "deny"
			if r.Allows() {
				effect = "allow"
			}
			decisionLabels[s][i] = set(attribute.String("effect", effect), attribute.String("reason", r.String()), attribute.String("door", door),
				attribute.String("source", [numSources]string{"pdp", "cache", "sidecar"}[s]))
		}
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range c.verdicts {
			if n := c.verdicts[i].Load(); n > 0 {
				o.ObserveInt64(verdicts, int64(n), outcomeLabels[i])
			}
		}
		for s := range c.decisions {
			for i := range c.decisions[s] {
				if n := c.decisions[s][i].Load(); n > 0 {
					o.ObserveInt64(decisions, int64(n), decisionLabels[s][i])
				}
			}
		}
		return nil
	}, verdicts, decisions)
	return c, err
}

func set(kv ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(kv...))
}

// Judged counts one request.
func (c *Counts) Judged(o Outcome) {
	if c != nil {
		c.verdicts[o].Add(1)
	}
}

// Decided counts one answer of an Asker that was no error.
func (c *Counts) Decided(d *authz.Decision) {
	if c == nil || int(d.Reason) >= authz.NumReasons {
		return
	}
	from := fromPDP
	switch {
	case d.Cached:
		from = fromCache
	case d.Reason == authz.LeaseLapsed:
		from = fromHere
	}
	c.decisions[from][d.Reason].Add(1)
}
