package gitlab

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// Options are what a Handler works with.
type Options struct {
	Engine *engine.Engine
	// Tokens is the format of job tokens: it tells them from keys.
	Tokens *token.Format
	// Callers tells who calls. An [identity.Development] takes anybody's word for it.
	Callers identity.Authenticator
	// ExternalURL is where the forge's own pages are, without a slash at the end: links in
	// answers begin with it. Empty leaves links out.
	ExternalURL string
	// ReceiptWait is how long a change waits until it is effective everywhere; zero takes
	// DefaultReceiptWait.
	ReceiptWait time.Duration
	// MaxUnknown is how many unknown job tokens one address may show in a second, and less
	// than zero sets no limit; zero takes DefaultMaxUnknown.
	MaxUnknown int
	// Logger takes faults at Error and every refused request at Debug; nil logs nothing.
	Logger *slog.Logger
	// Meters makes the instruments; nil measures nothing.
	Meters metric.MeterProvider
}

// Defaults and bounds.
const (
	DefaultReceiptWait = 10 * time.Second
	DefaultMaxUnknown  = 10_000
	// MaxBody is the most bytes that the body of a request may have.
	MaxBody = 64 << 10
)

// Handler serves the API. It is safe for concurrent use.
type Handler struct {
	opt     Options
	engine  *engine.Engine
	log     *slog.Logger
	routes  []*route
	meters  meters
	unknown *hot.Flood
	// everybody is who calls in development mode, else nil.
	everybody *identity.Principal
}

// New makes a Handler.
func New(opt Options) (*Handler, error) {
	if opt.Engine == nil || opt.Tokens == nil || opt.Callers == nil {
		return nil, errors.New("gitlab: engine, tokens and callers are needed")
	}
	opt.ReceiptWait = cmp.Or(opt.ReceiptWait, DefaultReceiptWait)
	opt.MaxUnknown = cmp.Or(opt.MaxUnknown, DefaultMaxUnknown)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Meters == nil {
		opt.Meters = metricnoop.NewMeterProvider()
	}
	h := &Handler{opt: opt, engine: opt.Engine, log: opt.Logger, routes: routes(), unknown: hot.NewFlood(opt.MaxUnknown)}
	if _, ok := opt.Callers.(identity.Development); ok {
		p, err := opt.Callers.Authenticate(nil, nil)
		if err != nil {
			return nil, err
		}
		h.everybody = &p
	}
	var err error
	if h.meters, err = newMeters(opt.Meters); err != nil {
		return nil, err
	}
	return h, nil
}

// call is one request under way.
type call struct {
	*Handler
	w http.ResponseWriter
	r *http.Request
	// route is nil until one is found.
	route *route
	// owner and other are the ids in the path, decoded once, as they were written.
	owner, other string
	params       params
	by           engine.Actor
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &call{Handler: h, w: w, r: r}
	out := &written{ResponseWriter: w}
	c.w = out
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			h.log.ErrorContext(r.Context(), "panic in a request; it failed and the server goes on", "panic", p, "stack", string(debug.Stack()))
			c.fail(errors.New("a panic, which is logged"))
		}
		h.meters.done(r.Context(), c.route, r.Method, out.status, time.Since(began))
	}()
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

// crossSite knows the changes that a page of another site has a browser make.
var crossSite = http.NewCrossOriginProtection()

// serve finds the route, then who calls, then what with, in this order: nobody who is
// unknown learns what is wrong with a request.
func (c *call) serve() error {
	if err := c.find(); err != nil {
		return err
	}
	if c.route.access == withKey {
		// A browser shows a certificate for whatever page asks it to.
		if crossSite.Check(c.r) != nil {
			return forbidden("a page of another site made this request")
		}
		by, err := c.caller()
		if err != nil {
			return err
		}
		c.by = by
	}
	var err error
	if c.params, err = readParams(c.w.(*written).ResponseWriter, c.r); err != nil {
		return err
	}
	return c.route.run(c)
}

// fail answers with an error, and logs it. Neither has the query or a header of the
// request in it: those can hold tokens.
func (c *call) fail(err error) {
	f := refusal(err)
	level := slog.LevelDebug
	if f.status >= http.StatusInternalServerError && authz.KindOf(err) == authz.KindInternal {
		level = slog.LevelError
	}
	c.log.Log(c.r.Context(), level, "request failed", "route", c.route.name(), "method", method(c.r.Method), "status", f.status,
		"caller", c.by.Name, "user", int64(c.by.User), "error", err)
	if c.w.(*written).status != 0 {
		return // too late
	}
	c.answer(f.status, map[string]string{f.key: strings.ToValidUTF8(f.text, "")}, f.header)
}

// written remembers the status.
type written struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *written) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController and http.MaxBytesReader.
func (w *written) Unwrap() http.ResponseWriter { return w.ResponseWriter }
