package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
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
