package registry

import (
	"context"
	"net/http"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/proxy"
)

// door is the label of this door in the metrics that all doors have.
const door = "Registry"

// The metrics that only this door has.
const (
	metricLogins = "jobward.registry.logins"         // by outcome
	metricExpiry = "jobward.registry.signing.expiry" // seconds until no registry takes what is signed; below zero after that
)

// loginOutcome is what became of a login.
type loginOutcome uint8

const (
	loginGranted     loginOutcome = iota // all that was asked for, and nothing too
	loginPartly                          // some of it
	loginNothing                         // none of it, and a token that opens nothing
	loginDead                            // the job token opens nothing anywhere
	loginUserRefused                     // the user who caused the job may use nothing
	loginMalformed                       // credentials that cannot be a job's
	loginBadRequest                      // no login at all, or for another service
	loginUndecided                       // nobody could tell, or nothing can be signed
	numLoginOutcomes
)

var loginOutcomes = [numLoginOutcomes]string{"granted", "partly", "nothing", "dead", "user_refused", "malformed", "bad_request", "undecided"}

// loginRefused sorts the refusal of a login.
func loginRefused(no *refusal) loginOutcome {
	switch {
	case no.status == http.StatusServiceUnavailable:
		return loginUndecided
	case no.status != http.StatusUnauthorized:
		return loginBadRequest
	case no.reason == authz.TokenMalformed:
		return loginMalformed
	case pep.UserRefused(no.reason):
		return loginUserRefused
	}
	return loginDead
}

// loginGiven compares what was asked for with what was given.
func loginGiven(asked, given []scope) loginOutcome {
	switch {
	case len(asked) > 0 && len(given) == 0:
		return loginNothing
	case len(asked) != len(given):
		return loginPartly
	}
	for i := range asked {
		if asked[i] != given[i] {
			return loginPartly
		}
	}
	return loginGranted
}

// counts counts what a Handler does. The zero value counts nothing that anybody sees.
type counts struct {
	gate   *gate.Counts
	proxy  *proxy.Counts
	logins [numLoginOutcomes]atomic.Uint64
}

func (c *counts) login(o loginOutcome) { c.logins[o].Add(1) }

// decided counts the decision that a login or a request hung on; those that are asked again while a request is under way are not counted, as at the
// other doors.
func (c *counts) decided(d *authz.Decision, err error) {
	if err == nil {
		c.gate.Decided(d)
	}
}

// start makes the metrics of a Handler. The error is the provider's.
func (c *counts) start(p metric.MeterProvider, h *Handler) (err error) {
	if c.gate, err = gate.NewCounts(p, door); err != nil {
		return err
	}
	if c.proxy, err = proxy.NewCounts(p, door); err != nil {
		return err
	}
	m := p.Meter("github.com/jobward/jobward/sidecar/registry")
	logins, err := m.Int64ObservableCounter(metricLogins, metric.WithDescription("Logins at the registry's token endpoint."))
	if err != nil {
		return err
	}
	expiry, err := m.Float64ObservableGauge(metricExpiry, metric.WithUnit("s"), metric.WithDescription("Time until the certificate of the key for registry tokens ends."))
	if err != nil {
		return err
	}
	var labels [numLoginOutcomes]metric.MeasurementOption
	for i := range labels {
		labels[i] = metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", loginOutcomes[i])))
	}
	none := metric.WithAttributeSet(*attribute.EmptySet())
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range c.logins {
			o.ObserveInt64(logins, int64(c.logins[i].Load()), labels[i])
		}
		if s, err := h.ring.get(); err == nil {
			o.ObserveFloat64(expiry, s.expires.Sub(h.now()).Seconds(), none)
		}
		return nil
	}, logins, expiry)
	return err
}
