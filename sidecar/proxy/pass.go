package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jobward/jobward/sidecar/gate"
)

// Passage is how one allowed request is passed on.
type Passage struct {
	// Ask tells whether it may go on; it is asked again and again (see the package comment), by several goroutines at once. Nil asks nothing.
	Ask func(context.Context) bool
	// Query is the raw query that the service gets.
	Query string
	// DropAuthorization leaves out the header Authorization.
	DropAuthorization bool
	// Set are headers for the service by name and value, which replace the client's.
	Set [][2]string
	// Refuse, which may be nil, answers the client when it was cut before anything was answered. Left out, the connection is broken.
	Refuse func(http.ResponseWriter)
}

// Outcome is what became of a request that was passed on.
type Outcome uint8

// The outcomes.
const (
	Served Outcome = iota // by the service, to the end, or until the client went
	Cut                   // it was not allowed any more
	Failed                // the service could not be reached, or broke off
)

// transit is one request on its way. It is found through the context, since httputil.ReverseProxy has no other place for it.
type transit struct {
	Passage
	watch   *watch
	path    string
	in      *http.Request // as the server made it: trailers come into this one
	body    *upload       // nil without a body
	sent    bool          // the answer's status has left; guarded by unlessCut
	broken  atomic.Bool   // the client's body ended before its end
	outcome Outcome
}

type transitKey struct{}

func transitOf(ctx context.Context) *transit { return ctx.Value(transitKey{}).(*transit) }

// Serve passes r on and its answer back. Like a handler it may panic with http.ErrAbortHandler, which breaks the client's connection; done, which may
// be nil, is called in any case. r must be one that [RawPath] takes.
func (u *Upstream) Serve(w http.ResponseWriter, r *http.Request, p Passage, done func(Outcome)) {
	path, err := RawPath(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if !upgradeless(r) {
		refuse(w, http.StatusNotImplemented, "this door passes on no upgraded connections, such as WebSocket")
		return
	}
	t := &transit{Passage: p, path: path, in: r}
	t.watch = newWatch(r.Context(), u.opt.Every, p.Ask, func() {
		if t.sent {
			breakOff(w, r)
		} else if r.ContentLength != 0 {
			wake(w)
		}
	})
	defer Hurry(w, r)
	defer func() {
		t.watch.Close()
		if t.watch.Cut() {
			t.outcome = Cut
		}
		if done != nil {
			done(t.outcome)
		}
	}()
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// Else the server reads an upload to its end, or to 256 KiB, before it lets an early answer out. Who cannot do it needs none of it.
		http.NewResponseController(w).EnableFullDuplex()
	}
	r = r.WithContext(context.WithValue(t.watch.Context(), transitKey{}, t))
	if r.Body != nil && r.ContentLength != 0 {
		t.body = &upload{ReadCloser: t.watch.Reader(r.Body), transit: t}
		r.Body = t.body
		defer t.body.finish(w) // before Hurry
	}
	u.proxy.ServeHTTP(&answer{ResponseWriter: w, transit: t}, r)
}

// rewrite makes of a client's request the one for the service. Headers that belong to one connection are gone already.
func (u *Upstream) rewrite(pr *httputil.ProxyRequest) {
	t := transitOf(pr.In.Context())
	out := pr.Out
	// Opaque is written as it is, where Path would be encoded anew.
	out.URL = &url.URL{Scheme: u.target.Scheme, Host: u.target.Host, Opaque: t.path, RawQuery: t.Query, ForceQuery: pr.In.URL.ForceQuery}
	out.Host = pr.In.Host
	clean(out.Header)
	if t.DropAuthorization {
		delete(out.Header, "Authorization")
	}
	forward(u.opt.Trusted, pr.In, out.Header)
	for _, h := range t.Set {
		out.Header.Set(h[0], h[1])
	}
	out.Trailer = nil
	for name := range pr.In.Trailer {
		if trails(name) {
			if out.Trailer == nil {
				out.Trailer = http.Header{}
			}
			out.Trailer[name] = nil
		}
	}
	if body, ok := pr.In.Body.(*upload); ok {
		body.trailer = out.Trailer
	}
}

// upload is a client's body that knows the trailers which come behind it.
type upload struct {
	io.ReadCloser
	transit *transit
	trailer http.Header // of the request to the service; its names are those announced
	ended   atomic.Bool // it was read to its end

	mu   sync.Mutex // held by a Read
	over atomic.Bool
}

var errOver = errors.New("the request was answered")

// finish waits until nobody reads any more, which net/http's transport may do after the answer: the server must have the connection for itself.
func (b *upload) finish(w http.ResponseWriter) {
	b.over.Store(true)
	b.transit.watch.Close() // a question may wait
	if b.ended.Load() || wake(w) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
}

// Read implements io.Reader.
func (b *upload) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() {
		return 0, errOver
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
		for name := range b.trailer {
			b.trailer[name] = b.transit.in.Trailer[name]
		}
	} else if err != nil {
		b.transit.broken.Store(true)
	}
	return n, err
}

// answer is the client's side of a request.
type answer struct {
	http.ResponseWriter
	transit *transit
	refusal bool // it comes from here, and not from the service
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status < 200 {
		cleanAnswer(a.Header())
	} else if !a.refusal && !a.transit.watch.unlessCut(func() { a.transit.sent = true }) {
		panic(http.ErrAbortHandler)
	}
	if b := a.transit.body; status >= 200 && b != nil && !b.ended.Load() && a.transit.in.ProtoMajor == 1 {
		// With full duplex the server would take what is left of the body for the next request, if it comes late.
		a.Header().Set("Connection", "close")
	}
	a.ResponseWriter.WriteHeader(status)
}

var errUpgraded = errors.New("the service switched protocols unasked")

// answer looks at what the service answers before anything of it is passed on.
func (u *Upstream) answer(resp *http.Response) error {
	t := transitOf(resp.Request.Context())
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errUpgraded
	}
	if !t.watch.Allowed() {
		return errCut
	}
	cleanAnswer(resp.Header)
	cleanAnswer(resp.Trailer)
	resp.Body = &download{t.watch.Reader(resp.Body), resp, t}
	return nil
}

// download is a service's body.
type download struct {
	io.ReadCloser
	resp    *http.Response
	transit *transit
}

// Read implements io.Reader.
func (b *download) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		cleanAnswer(b.resp.Trailer) // those that were not announced are here only now
	} else if err != nil && b.resp.Request.Context().Err() == nil {
		b.transit.outcome = Failed
	}
	return n, err
}

// failed answers a request that the service did not answer.
func (u *Upstream) failed(w http.ResponseWriter, r *http.Request, err error) {
	t := transitOf(r.Context())
	switch {
	case t.watch.Cut():
		if t.Refuse == nil || t.sent {
			panic(http.ErrAbortHandler)
		}
		w.(*answer).refusal = true // nothing of the service's goes through any more
		t.Refuse(w)
		return
	case r.Context().Err() != nil || t.broken.Load():
		panic(http.ErrAbortHandler) // the client has gone, or sent what is no body
	}
	t.outcome = Failed
	u.log.Warn("the service did not answer", "service", u.opt.To, "error", err)
	refuse(w, http.StatusBadGateway, "the service behind this door cannot be reached or broke off; try again later")
}

// refuse answers with words.
func refuse(w http.ResponseWriter, status int, words string) {
	h := w.Header()
	clear(h)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, words+"\n")
}

// refuseAs answers as a verdict says that its refusal looks.
func refuseAs(w http.ResponseWriter, v *gate.Verdict) {
	h := w.Header()
	clear(h)
	for _, f := range v.Header {
		h.Add(f[0], f[1])
	}
	if v.ContentType != "" {
		h.Set("Content-Type", v.ContentType)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(v.Status)
	io.WriteString(w, v.Body)
}

// RawPath gives the path of the request line, byte for byte. The error says why a request line is none that can be passed on.
func RawPath(r *http.Request) (string, error) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return "", errors.New("CONNECT and TRACE are not passed on")
	case !strings.HasPrefix(path, "/"):
		return "", errors.New("the request line must have a path that begins with a slash, and no more than a path and a query")
	case strings.HasPrefix(path, "//"):
		return "", errors.New("the path must not begin with two slashes")
	case strings.Contains(r.RequestURI, "#") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", errors.New("the path has characters that must be percent-encoded")
	}
	return path, nil
}

// upgradeless makes r a request that asks for no other protocol, and reports false when it cannot do without.
func upgradeless(r *http.Request) bool {
	if len(r.Header["Upgrade"]) == 0 {
		return true
	}
	for _, v := range r.Header["Upgrade"] {
		if !strings.EqualFold(strings.TrimSpace(v), "h2c") {
			return false
		}
	}
	delete(r.Header, "Upgrade")
	delete(r.Header, "Http2-Settings")
	return true
}
