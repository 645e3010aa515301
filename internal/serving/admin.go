package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Phase is what a program says of itself to whoever asks over HTTP. The zero value is ready and has never been; safe for concurrent use.
type Phase struct {
	mu      sync.Mutex
	notYet  string // why it is not ready; "" when it is
	started bool   // it has been ready once
}

// Set says why the program is not ready, or "" when it is.
func (p *Phase) Set(notYet string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notYet = notYet
	p.started = p.started || notYet == ""
}

func (p *Phase) get() (notYet string, started bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notYet, p.started
}

// AdminHandler serves what operators and their machines look at. There is nothing secret in it: /livez, /readyz,
// /startupz and, from metrics, /metrics.
func AdminHandler(p *Phase, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		io.WriteString(w, text+"\n")
	}
	// Alive means no more than that this process answers: a restart would cure nothing else, and would cost the start.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if notYet, _ := p.get(); notYet != "" {
			say(w, http.StatusServiceUnavailable, "not ready: "+notYet)
			return
		}
		say(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) {
		if notYet, started := p.get(); !started {
			say(w, http.StatusServiceUnavailable, "not started: "+notYet)
			return
		}
		say(w, http.StatusOK, "started")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// Admin is the HTTP side of a program.
type Admin struct {
	server http.Server
	addr   net.Addr
	done   sync.WaitGroup
}

// StartAdmin serves h on l, over TLS if config is not nil, until Close.
func StartAdmin(l net.Listener, config *tls.Config, h http.Handler, log *slog.Logger) *Admin {
	a := &Admin{addr: l.Addr()}
	a.server = http.Server{
		Handler: h, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	a.done.Go(func() {
		if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin listener ended", "error", err)
		}
	})
	return a
}

// Addr is where it listens.
func (a *Admin) Addr() net.Addr { return a.addr }

// Close lets answers under way finish for at most a second.
func (a *Admin) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := a.server.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("admin listener: %w", errors.Join(err, a.server.Close()))
	}
	a.done.Wait()
	return err
}
