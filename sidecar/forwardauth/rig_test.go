package forwardauth_test

import (
	"context"
	"crypto/sha256"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/forwardauth"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	good  = "jobt-good"
	other = "jobt-other"
)

// fake lets the token good do everything and nobody anything, unless it has an answer of its own.
type fake struct {
	answer *authz.Decision
	err    error
	asked  int
}

func (f *fake) Digest(text string) authz.Digest {
	if !strings.HasPrefix(text, "jobt-") {
		return authz.Digest{}
	}
	return sha256.Sum256([]byte(text))
}

func (f *fake) Check(_ context.Context, q authz.Request) (authz.Decision, error) {
	f.asked++
	switch {
	case f.err != nil:
		return authz.Decision{}, f.err
	case f.answer != nil:
		return *f.answer, nil
	case q.Token == f.Digest(good):
		return authz.Decision{Allow: true, Reason: authz.AllowedListed, Job: "job-1", Source: 10, User: 3, Target: 7, Cached: true}, nil
	case q.Token == authz.Nobody:
		return authz.Decision{Reason: authz.TokenMissing}, nil
	}
	return authz.Decision{Reason: authz.TokenUnknown}, nil
}

var table = sync.OnceValue(route.Builtin)

// proxies are those that are trusted in these tests; httptest's requests come from 192.0.2.1.
func proxies() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} }

func doorOf(f *fake) http.Handler {
	return forwardauth.New(forwardauth.Options{Gate: &gate.Gate{Asker: f, Routes: table()}, TrustedProxies: proxies()})
}

// dialects are the two paths, with the names of their headers.
var dialects = []struct{ path, method, uri string }{
	{forwardauth.Path, "X-Forwarded-Method", "X-Forwarded-Uri"},
	{forwardauth.NginxPath, "X-Original-Method", "X-Original-Uri"},
}

// subrequest asks about method and uri in dialect i.
func subrequest(i int, method, uri string) *http.Request {
	r := httptest.NewRequest("GET", dialects[i].path, nil)
	r.Header.Set(dialects[i].method, method)
	r.Header.Set(dialects[i].uri, uri)
	return r
}

const packages = "/api/v4/projects/7/packages"

func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// serve serves h on a Unix socket until the test ends.
func serve(t testing.TB, h http.Handler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return socket
}
