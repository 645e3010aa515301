package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/pdp/gitlab"
)

// listenREST takes the address of the REST API, if it has one. Nothing is served yet.
func (d *daemon) listenREST(ctx context.Context) (err error) {
	if d.plan.rest != nil {
		d.rest, err = serving.ListenWeb(ctx, &d.stops, "rest-addr", *d.plan.rest, fs.FileMode(d.SocketMode))
	}
	return err
}

// serveREST serves it. callers are those of gRPC; development mode is judged once more on the address that was really taken.
func (d *daemon) serveREST(callers identity.Authenticator) (err error) {
	if d.rest == nil {
		return nil
	}
	if d.development {
		if callers, err = identity.NewDevelopment(d.rest.Addr()); err != nil {
			return err
		}
	}
	h, err := gitlab.New(gitlab.Options{
		Engine: d.engine, Tokens: d.tokens, Callers: callers, ExternalURL: strings.TrimRight(d.ExternalURL, "/"),
		MaxUnknown: d.MaxUnknownTokens, Logger: d.log, Meters: d.telemetry.Meters,
	})
	if err != nil {
		return err
	}
	d.rest.Server = http.Server{
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connectedKey{}, time.Now())
		},
		// The answer to a change waits for its receipt, gitlab.DefaultReceiptWait at most.
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	var config *tls.Config
	if d.restTLS != nil {
		config = d.restTLS.Config()
		d.stops.Background(func(ctx context.Context) {
			d.restTLS.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "TLS files of the REST API"))
		})
	}
	d.rest.Serve(&d.stops, config, aging(h, d.MaxConnectionAge), d.log, d.fail)
	return nil
}

type connectedKey struct{}

// aging ends connections that are older than they get, because a certificate that one came with may not be good any more, with the next request on
// them. Zero lets them live.
func aging(h http.Handler, age time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if since, ok := r.Context().Value(connectedKey{}).(time.Time); ok && age > 0 && time.Since(since) > age {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// checkExternalURL wants what links can begin with.
func checkExternalURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("write the address of the forge's pages, such as https://forge.example, without user, query or fragment")
	}
	return nil
}
