package daemon

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

// phase is what the PDP says of itself to whoever asks over HTTP. Safe for concurrent use.
type phase struct {
	mu      sync.Mutex
	notYet  string // why it is not ready; "" when it is
	started bool   // it has been ready once
}

func (p *phase) set(notYet string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notYet = notYet
	p.started = p.started || notYet == ""
}

func (p *phase) get() (notYet string, started bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notYet, p.started
}

// adminHandler serves what operators and their machines look at. There is nothing secret in it.
func adminHandler(p *phase, metrics http.Handler) http.Handler {
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

// adminServer is the HTTP side of the PDP.
type adminServer struct {
	server http.Server
	addr   net.Addr
	done   sync.WaitGroup
}

// startAdmin serves h on l, over TLS if config is not nil, until close.
func startAdmin(l net.Listener, config *tls.Config, h http.Handler, log *slog.Logger) *adminServer {
	a := &adminServer{addr: l.Addr()}
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

// close lets answers under way finish for at most a second.
func (a *adminServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := a.server.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("admin listener: %w", errors.Join(err, a.server.Close()))
	}
	a.done.Wait()
	return err
}
