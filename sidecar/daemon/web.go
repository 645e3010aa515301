package daemon

import (
	"context"
	"crypto/tls"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
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

// web is one HTTP door. A nil one is off.
type web struct {
	*serving.Web
	at    serving.Address
	files *identity.ServerTLS // nil: no TLS
}

// listenWeb takes the address of a door, if it has one. Nothing is served yet.
func (d *daemon) listenWeb(ctx context.Context, setting string, at *serving.Address) (*web, error) {
	if at == nil {
		return nil, nil
	}
	taken, err := serving.ListenWeb(ctx, &d.stops, setting, *at, fs.FileMode(d.ListenMode))
	if err != nil {
		return nil, err
	}
	w := &web{Web: taken, at: *at}
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
	w.Server = http.Server{
		ConnContext: proxy.ConnContext, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
	}
	if w == d.http {
		w.Server.WriteTimeout = answerTime // else who asks and does not read is waited for
	}
	var config *tls.Config
	if w.files != nil {
		config = w.files.Config()
	}
	w.Serve(&d.stops, config, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer proxy.Hurry(rw, r)
		h.ServeHTTP(rw, r)
	}), d.log, d.fail)
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

// drainWebs takes the HTTP doors out of service; all have the same grace.
func (d *daemon) drainWebs() {
	var all sync.WaitGroup
	for _, w := range d.webs {
		all.Go(func() { w.Shutdown(d.ShutdownGrace, d.log) })
	}
	all.Wait()
}

// taken is where a door was really taken, for people.
func (w *web) taken() string {
	if w == nil {
		return "off"
	}
	return w.at.Taken(w.Addr()).String()
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
