package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// rig is a service, and an upstream before it whose question the test answers.
type rig struct {
	t       testing.TB
	service *httptest.Server
	front   *httptest.Server
	up      *Upstream
	passage Passage
	no      atomic.Bool // what the question is answered
	asked   atomic.Int64
	ended   chan Outcome
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func newRig(t testing.TB, service http.HandlerFunc, change ...func(*rig, *Options)) *rig {
	t.Helper()
	r := &rig{t: t, service: httptest.NewServer(service), ended: make(chan Outcome, 100)}
	t.Cleanup(r.service.Close)
	r.passage.Ask = func(context.Context) bool { r.asked.Add(1); return !r.no.Load() }
	r.front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		p := r.passage
		if p.Query == "" {
			p.Query = req.URL.RawQuery
		}
		r.up.Serve(w, req, p, func(o Outcome) { r.ended <- o })
	}))
	r.front.Config.ConnContext = ConnContext
	opt := Options{To: r.service.URL, Every: 10 * time.Millisecond}
	for _, f := range change {
		f(r, &opt)
	}
	up, err := NewUpstream(opt)
	if err != nil {
		t.Fatal(err)
	}
	r.up = up
	t.Cleanup(up.Close)
	if r.front.EnableHTTP2 {
		r.front.StartTLS()
	} else {
		r.front.Start()
	}
	t.Cleanup(r.front.Close)
	return r
}

func (r *rig) outcome() Outcome { r.t.Helper(); return ended(r.t, r.ended) }

// raw sends bytes and gives the answer to one request of this method.
func (r *rig) raw(method, text string) (*http.Response, string) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.front.Listener.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return nil, err.Error()
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, err.Error()
	}
	return resp, string(body)
}

func (r *rig) do(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	r.t.Helper()
	return do(r.t, r.front, method, path, body, headers...)
}

// do makes one request with headers "Name: value".
func do(t testing.TB, front *httptest.Server, method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, front.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := front.Client().Do(req)
	if err != nil {
		return nil, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, err.Error()
	}
	return resp, string(b)
}

func ended(t testing.TB, outcomes chan Outcome) Outcome {
	t.Helper()
	select {
	case o := <-outcomes:
		return o
	case <-time.After(patience):
		t.Fatal("the request does not end")
		return 0
	}
}

func (r *rig) eventually(ok func() bool, otherwise string) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatal(otherwise)
		}
	}
}
