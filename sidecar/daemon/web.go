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
	"sync"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/sidecar/forwardauth"
	"github.com/jobward/jobward/sidecar/proxy"
)

// Bounds of the HTTP doors. Bodies have neither a limit nor a time: a clone takes what it takes.
const (
	headerTime  = 10 * time.Second
	answerTime  = time.Minute // of http-addr, whose answers are small
	idleTime    = 2 * time.Minute
	headerBytes = 32 << 10
)

// web is one HTTP door on its listener. A nil one is off.
type web struct {
	setting  string // that has its address
	at       serving.Address
	files    *identity.ServerTLS // nil: no TLS
	listener net.Listener
	server   http.Server
	done     sync.WaitGroup
	// running is held by every request under way: http.Server.Close does not wait for them, and what they ask must.
	running sync.RWMutex
}

// listenWeb takes the address of a door, if it has one. Nothing is served yet.
func (d *daemon) listenWeb(ctx context.Context, setting string, at *serving.Address) (*web, error) {
	if at == nil {
		return nil, nil
	}
	l, err := serving.Listen(ctx, *at, fs.FileMode(d.ListenMode))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	d.stops.Add(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	w := &web{setting: setting, at: *at, listener: l}
	if !at.Local() {
		w.files = d.webTLS
	}
	d.webs = append(d.webs, w)
	return w, nil
}

// listenWebs takes the addresses of all HTTP doors.
func (d *daemon) listenWebs(ctx context.Context) (err error) {
	if d.http, err = d.listenWeb(ctx, "http-addr", d.plan.http); err != nil {
		return err
	}
	if d.proxy, err = d.listenWeb(ctx, "proxy-addr", d.plan.proxy); err != nil {
		return err
	}
	d.registry, err = d.listenWeb(ctx, "registry-addr", d.plan.registry)
	return err
}

// serveWebs serves the HTTP doors.
func (d *daemon) serveWebs() error {
	if d.webTLS != nil {
		d.stops.Background(func(ctx context.Context) {
			d.webTLS.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "TLS files of the HTTP doors"))
		})
	}
	if d.http != nil {
		h, err := d.forwardAuth()
		if err != nil {
			return err
		}
		d.serveWeb(d.http, bodiless(h))
	}
	if d.proxy != nil {
		h, err := d.reverseProxy()
		if err != nil {
			return err
		}
		d.serveWeb(d.proxy, h)
	}
	if d.registry != nil {
		h, err := d.registryDoor()
		if err != nil {
			return err
		}
		d.serveWeb(d.registry, bodiless(h))
	}
	return nil
}

// forwardAuth makes the door that answers proxies.
func (d *daemon) forwardAuth() (http.Handler, error) {
	judge, err := d.newGate("ForwardAuth")
	if err != nil {
		return nil, err
	}
	return forwardauth.New(forwardauth.Options{
		Gate: judge, TrustedProxies: d.trusted, TrustUnix: d.development || d.TrustSocketMode, RefuseQueryTokens: d.RefuseQueryTokens,
	}), nil
}

// reverseProxy makes the door that passes on.
func (d *daemon) reverseProxy() (http.Handler, error) {
	judge, err := d.newGate("Proxy")
	if err != nil {
		return nil, err
	}
	counts, err := proxy.NewCounts(d.telemetry.Meters, "Proxy")
	if err != nil {
		return nil, err
	}
	service, err := d.behind("proxy-to", d.ProxyTo, "proxy-ca-file", d.proxyTLS)
	if err != nil {
		return nil, err
	}
	return &proxy.Door{Gate: judge, Service: service, Done: counts.Done}, nil
}

// serveWeb serves h at a door until the end.
func (d *daemon) serveWeb(w *web, h http.Handler) {
	w.server = http.Server{
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.running.RLock()
			defer w.running.RUnlock()
			defer proxy.Hurry(rw, r)
			h.ServeHTTP(rw, r)
		}),
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn), ConnContext: proxy.ConnContext, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
	}
	if w == d.http {
		w.server.WriteTimeout = answerTime // else who asks and does not read is waited for
	}
	l := w.listener
	if w.files != nil {
		l = tls.NewListener(l, w.files.Config())
	}
	w.done.Go(func() {
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.fail(fmt.Errorf("the listener at %s ended: %w", w.listener.Addr(), err))
		}
	})
	d.stops.Add(func() error { w.shutdown(0, d.log); return nil })
}

// bodiless is for doors where a GET has no body: a client that announced one and sends none cannot keep back an answer that is sent while h runs.
func bodiless(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			proxy.Hurry(w, r)
		}
		h.ServeHTTP(w, r)
	})
}

// shutdown lets requests under way finish within the grace, then cuts them off. A second time it does nothing.
func (w *web) shutdown(grace time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		if grace > 0 {
			log.Warn("requests that had not finished were cut off", "door", w.setting, "grace", settings.Brief(grace))
		}
		w.server.Close()
	}
	w.done.Wait()
	w.running.Lock()
	defer w.running.Unlock()
}

// drainWebs takes the HTTP doors out of service; all have the same grace.
func (d *daemon) drainWebs() {
	var all sync.WaitGroup
	for _, w := range d.webs {
		all.Go(func() { w.shutdown(d.ShutdownGrace, d.log) })
	}
	all.Wait()
}

// taken is where a door was really taken, for people.
func (w *web) taken() string {
	if w == nil {
		return "off"
	}
	return w.at.Taken(w.listener.Addr()).String()
}

// url is taken as people type it into a client.
func (w *web) url() string {
	switch at := w.taken(); {
	case w == nil || w.at.Network == "unix":
		return at
	case w.files != nil:
		return "https://" + at
	default:
		return "http://" + at
	}
}
