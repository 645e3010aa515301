package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/proxy"
)

// Bounds of Options.TTL, and what zero takes.
const (
	MinTTL     = time.Minute
	MaxTTL     = time.Hour
	DefaultTTL = 5 * time.Minute
)

const levelRefused = slog.LevelDebug

// Asker is what is asked: a *pep.Decider, or a fake.
type Asker interface {
	pep.Asker
	// CheckMany is that of [pep.Decider.CheckMany].
	CheckMany(ctx context.Context, reqs []authz.Request) ([]authz.Decision, error)
}

// Options are what a Handler is made of.
type Options struct {
	// Asker is asked; it must be set.
	Asker Asker
	// Service is what the registry calls itself, and the audience of tokens: auth.token.service in its configuration.
	Service string
	// Issuer is who gives tokens out: auth.token.issuer in the registry's configuration.
	Issuer string
	// URL is where clients find this handler, without a path: https://registry.example. Challenges name it.
	URL string
	// Keys are what tokens are signed with; it must be set.
	Keys Keys
	// TTL is how long tokens live, MinTTL to MaxTTL; zero takes DefaultTTL. A token whose job has less left lives shorter, and a minute at least.
	TTL time.Duration
	// Registry is what stands behind; it must be set.
	Registry *proxy.Upstream
	// Tell puts the reason of a refusal into the header Jobward-Reason of the answer.
	Tell bool
	// Logger takes refusals at Debug with their reason, never with a token or a name, and what is wrong with the registry behind; nil logs nothing.
	Logger *slog.Logger
	// Meters takes the metrics (see the package comment); nil counts nothing.
	Meters metric.MeterProvider
	// Now is the wall clock; nil takes time.Now.
	Now func() time.Time
}

// Handler is the whole door. It is safe for concurrent use.
type Handler struct {
	opt    Options
	ring   *ring
	seen   seen
	log    *slog.Logger
	now    func() time.Time
	counts counts
	warn   warner // of the registry behind
	unsaid warner // of logins that fail for want of a key
}

// New makes a Handler. Errors are about the options.
func New(opt Options) (*Handler, error) {
	if opt.Asker == nil || opt.Keys == nil || opt.Registry == nil {
		return nil, errors.New("a registry door needs an Asker, Keys and a Registry")
	}
	if opt.TTL == 0 {
		opt.TTL = DefaultTTL
	}
	if opt.TTL < MinTTL || opt.TTL > MaxTTL {
		return nil, fmt.Errorf("a registry token must live %s to %s, not %s", MinTTL, MaxTTL, opt.TTL)
	}
	for _, err := range []error{CheckName(opt.Service), CheckName(opt.Issuer), CheckURL(opt.URL)} {
		if err != nil {
			return nil, err
		}
	}
	opt.URL = strings.TrimSuffix(opt.URL, "/")
	h := &Handler{opt: opt, log: opt.Logger, now: opt.Now}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	var err error
	if h.ring, err = newRing(opt.Keys, opt.TTL, h.now); err != nil {
		return nil, err
	}
	if opt.Meters != nil {
		err = h.counts.start(opt.Meters, h)
	}
	return h, err
}

// CheckName judges a service or an issuer: 1 to 255 printable ASCII characters that need no quoting in a header.
func CheckName(s string) error {
	if s == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' || r == ',' }) {
		return errors.New("must have 1 to 255 printable ASCII characters, and no space, comma, quote or backslash")
	}
	return nil
}

// CheckURL judges the place where clients find the registry.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	// The error of Parse repeats the text, which may hold a password.
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(s, "?#\"\\ ,") {
		return errors.New("must be https://host or https://host:port, without a path, a query or a password")
	}
	return nil
}

// Paths of the door's own.
const (
	authPath = "/jwt/auth"
	jwksPath = "/jwt/jwks"
	root     = "/v2/"
)

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, err := proxy.RawPath(r)
	switch {
	case err != nil:
		h.refuseRequest(w, r, bad(err.Error()))
	case path == authPath:
		h.serveAuth(w, r)
	case path == jwksPath:
		h.serveKeys(w, r)
	case strings.HasPrefix(path, root) || path == "/v2":
		h.serveRegistry(w, r, path)
	default:
		h.refuseRequest(w, r, &refusal{status: http.StatusNotFound, code: codeUnsupported, outcome: gate.Unrouted, text: "there is a registry here at /v2/, and nothing else"})
	}
}
