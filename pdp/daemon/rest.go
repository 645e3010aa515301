package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/gitlab"
)

// rest is the REST API on its listener. A nil one is off.
type rest struct {
	listener net.Listener
	server   http.Server
	done     sync.WaitGroup
	// running is held by every request under way: http.Server.Close does not wait for them, and the store must.
	running sync.RWMutex
}

// listenREST takes the address of the REST API, if it has one. Nothing is served yet.
func (d *daemon) listenREST(ctx context.Context) error {
	if d.plan.rest == nil {
		return nil
	}
	l, err := serving.Listen(ctx, *d.plan.rest, fs.FileMode(d.SocketMode))
	if err != nil {
		return fmt.Errorf("rest-addr: %w", err)
	}
	d.stops.Add(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	d.rest = &rest{listener: l}
	return nil
}

// serveREST serves it. callers are those of gRPC; development mode is judged once more on the address that was really taken.
func (d *daemon) serveREST(callers identity.Authenticator) (err error) {
	if d.rest == nil {
		return nil
	}
	if d.development {
		if callers, err = identity.NewDevelopment(d.rest.listener.Addr()); err != nil {
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
	d.rest.server = http.Server{
		Handler: d.rest.handler(h, d.MaxConnectionAge),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connectedKey{}, time.Now())
		},
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
		// The answer to a change waits for its receipt, gitlab.DefaultReceiptWait at most.
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	l := d.rest.listener
	if d.restTLS != nil {
		l = tls.NewListener(l, d.restTLS.Config())
		d.stops.Background(func(ctx context.Context) {
			d.restTLS.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "TLS files of the REST API"))
		})
	}
	d.rest.done.Go(func() {
		if err := d.rest.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.fail(fmt.Errorf("the listener at %s ended: %w", d.rest.listener.Addr(), err))
		}
	})
	d.stops.Add(func() error { d.rest.shutdown(0, d.log); return nil })
	return nil
}

type connectedKey struct{}

// handler ends connections that are older than they get, because a certificate that one came with may not be good any more, with the next request on
// them. Zero lets them live.
func (r *rest) handler(h http.Handler, age time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.running.RLock()
		defer r.running.RUnlock()
		if since, ok := req.Context().Value(connectedKey{}).(time.Time); ok && age > 0 && time.Since(since) > age {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, req)
	})
}

// shutdown lets requests under way finish within the grace, then cuts them off. A second time it does nothing.
func (r *rest) shutdown(grace time.Duration, log *slog.Logger) {
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		if grace > 0 {
			log.Warn("requests that had not finished were cut off", "grace", settings.Brief(grace))
		}
		r.server.Close()
	}
	r.done.Wait()
	r.running.Lock()
	defer r.running.Unlock()
}

// cease closes it at once, without waiting for requests: nothing more is to be answered.
func (r *rest) cease() {
	if r != nil {
		r.server.Close()
	}
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
