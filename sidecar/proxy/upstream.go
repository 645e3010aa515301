package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Bounds of the way to a service.
const (
	dialTimeout     = 5 * time.Second
	continueTimeout = time.Second // what a service has to say 100 Continue before it gets the body all the same
	idleTimeout     = 90 * time.Second
	idleConns       = 256
	chunk           = 32 << 10 // what is passed on between two questions, at most
)

// Options are what an Upstream is made of.
type Options struct {
	// To is the service: http://host:port, https://host:port, or unix:PATH.
	To string
	// TLS is for https; nil verifies against the system's certificates.
	TLS *tls.Config
	// Trusted are the addresses of proxies whose X-Forwarded-* headers are believed. Who comes over a Unix socket is believed always.
	Trusted []netip.Prefix
	// Every is how often an allowed request is judged again while nothing flows; zero takes a second.
	Every time.Duration
	// Logger takes what goes wrong on the way to the service, without anything of requests; nil logs nothing.
	Logger *slog.Logger
}

// Upstream passes requests on to one service. It is safe for concurrent use.
type Upstream struct {
	opt       Options
	target    url.URL
	transport *http.Transport
	proxy     httputil.ReverseProxy
	log       *slog.Logger
}

// Target reads the text of Options.To.
func Target(to string) (u url.URL, socket string, err error) {
	if path, ok := strings.CutPrefix(to, "unix:"); ok {
		if path == "" {
			return u, "", errors.New("unix: names no file")
		}
		abs, err := filepath.Abs(path)
		return url.URL{Scheme: "http", Host: "localhost"}, abs, err
	}
	p, err := url.Parse(to)
	// The error of Parse repeats the text, which may hold a password.
	if err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Hostname() == "" || p.User != nil || strings.TrimPrefix(p.Path, "/") != "" ||
		p.RawQuery != "" || p.ForceQuery || p.Fragment != "" {
		return u, "", errors.New("is no place to pass requests on to: write http://host:port, https://host:port or unix:PATH, without a path, a query or a password")
	}
	return url.URL{Scheme: p.Scheme, Host: p.Host}, "", nil
}

// NewUpstream makes one; it connects to nothing yet. The error is about Options.To.
func NewUpstream(opt Options) (*Upstream, error) {
	target, socket, err := Target(opt.To)
	if err != nil {
		return nil, fmt.Errorf("the service: %w", err)
	}
	u := &Upstream{opt: opt, target: target, log: opt.Logger}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	u.transport = &http.Transport{
		// No proxy of the environment: the service is where the settings say. No compression: bytes are passed on as they are.
		Proxy: nil, DisableCompression: true,
		DialContext: dialer.DialContext, TLSClientConfig: opt.TLS, TLSHandshakeTimeout: dialTimeout, ExpectContinueTimeout: continueTimeout,
		MaxIdleConns: idleConns, MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: 256 << 10,
	}
	if socket != "" {
		u.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	u.proxy = httputil.ReverseProxy{
		Rewrite: u.rewrite, Transport: u.transport, FlushInterval: -1, ModifyResponse: u.answer, ErrorHandler: u.failed, BufferPool: &buffers{},
		ErrorLog: slog.NewLogLogger(u.log.Handler(), slog.LevelDebug), // broken transfers, which happen
	}
	return u, nil
}

// Close ends the connections that wait for requests.
func (u *Upstream) Close() { u.transport.CloseIdleConnections() }

// buffers lends what chunks are copied through.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[chunk]byte); ok {
		return p[:]
	}
	return make([]byte, chunk)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[chunk]byte)(p)) }
