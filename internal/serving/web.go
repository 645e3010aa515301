package serving

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

	"github.com/jobward/jobward/internal/settings"
)

// Web is an HTTP server on its listener, which is done only when every request is. A nil one is off: it can be shut down and closed.
type Web struct {
	// Server is filled in before Serve, but for Handler and ErrorLog.
	Server http.Server

	setting  string
	listener net.Listener
	done     sync.WaitGroup
	// running is held by every request under way: http.Server.Close does not wait for them, and what they ask must.
	running sync.RWMutex
}

// ListenWeb takes the address that a setting names, until stops. Nothing is served yet.
func ListenWeb(ctx context.Context, stops *Stops, setting string, at Address, mode fs.FileMode) (*Web, error) {
	l, err := Listen(ctx, at, mode)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	stops.Add(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return &Web{setting: setting, listener: l}, nil
}

// Addr is where it listens.
func (w *Web) Addr() net.Addr { return w.listener.Addr() }

// Serve serves h until stops, over TLS if config is not nil. fail is told when the listener ends before that.
func (w *Web) Serve(stops *Stops, config *tls.Config, h http.Handler, log *slog.Logger, fail func(error)) {
	w.Server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.running.RLock()
		defer w.running.RUnlock()
		h.ServeHTTP(rw, r)
	})
	w.Server.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	l := w.listener
	if config != nil {
		l = tls.NewListener(l, config)
	}
	w.done.Go(func() {
		if err := w.Server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("the listener at %s ended: %w", w.Addr(), err))
		}
	})
	stops.Add(func() error { w.Shutdown(0, log); return nil })
}

// Shutdown lets requests under way finish within the grace, then cuts them off, and waits for their end. A second time it does nothing.
func (w *Web) Shutdown(grace time.Duration, log *slog.Logger) {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := w.Server.Shutdown(ctx); err != nil {
		if grace > 0 {
			log.Warn("requests that had not finished were cut off", "door", w.setting, "grace", settings.Brief(grace))
		}
		w.Server.Close()
	}
	w.done.Wait()
	w.running.Lock()
	defer w.running.Unlock()
}

// Close ends it at once and waits for nothing: no more is to be answered.
func (w *Web) Close() {
	if w != nil {
		w.Server.Close()
	}
}
