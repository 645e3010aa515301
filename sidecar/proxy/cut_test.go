package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// TestCutDownload takes the permission away in the middle of an answer: no further chunk arrives, the client sees a broken transfer, and the service's
// side ends. It does so while bytes flow, while none do, while the client does not read, and over HTTP/2.
func TestCutDownload(t *testing.T) {
	for name, c := range map[string]struct {
		flows, reads, h2, length bool
	}{
		"flowing": {flows: true, reads: true}, "quiet": {reads: true}, "not read": {flows: true}, "flowing over HTTP/2": {flows: true, reads: true, h2: true},
		"quiet over HTTP/2": {reads: true, h2: true}, "not read over HTTP/2": {flows: true, h2: true}, "with a length": {flows: true, reads: true, length: true},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				if c.length {
					w.Header().Set("Content-Length", "1000000000000")
				}
				w.Write(make([]byte, 1000))
				http.NewResponseController(w).Flush()
				for c.flows {
					if _, err := w.Write(make([]byte, 10_000)); err != nil {
						return
					}
				}
				<-r.Context().Done()
			}, func(r *rig, _ *Options) { r.front.EnableHTTP2 = c.h2 })
			req, _ := http.NewRequestWithContext(t.Context(), "GET", r.front.URL+"/a", nil)
			resp, err := r.front.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if !c.reads {
				r.stalled()
			}
			r.no.Store(true)
			if o := r.outcome(); o != Cut {
				t.Errorf("outcome %d", o)
			}
			<-ended
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("the client takes the part for the whole")
			}
		})
	}
}

// stalled waits until the question is asked by nothing but the timer.
func (r *rig) stalled() {
	r.eventually(func() bool {
		before := r.asked.Load()
		time.Sleep(100 * time.Millisecond)
		return r.asked.Load()-before <= 11
	}, "bytes go on flowing though nobody reads")
}

// TestCutEmpties wants no success for clients that know the end of an answer by the end of the connection.
func TestCutEmpties(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "part")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c, err := net.Dial("tcp", r.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /a HTTP/1.0\r\n\r\n")
	buf := make([]byte, 4096)
	if _, err := c.Read(buf); err != nil {
		t.Fatal(err)
	}
	r.no.Store(true)
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Error("the connection ends as at the end of an answer")
	}
	r.outcome()
}

// TestCutUpload takes the permission away in the middle of an upload: the service gets no further chunk and no end.
func TestCutUpload(t *testing.T) {
	for name, c := range map[string]struct {
		flows, h2, refuse, length bool
	}{
		"flowing": {flows: true}, "quiet": {}, "flowing over HTTP/2": {flows: true, h2: true}, "quiet over HTTP/2": {h2: true}, "refused": {flows: true, refuse: true},
		"quiet and refused": {refuse: true}, "with a length": {flows: true, length: true},
	} {
		t.Run(name, func(t *testing.T) {
			var got atomic.Int64
			saw := make(chan error, 1)
			r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
				for buf := make([]byte, 1<<20); ; {
					n, err := r.Body.Read(buf)
					got.Add(int64(n))
					if err != nil {
						saw <- err
						return
					}
				}
			}, func(r *rig, _ *Options) { r.front.EnableHTTP2 = c.h2 })
			if c.refuse {
				r.passage.Refuse = func(w http.ResponseWriter) { refuse(w, 401, "not any more") }
			}
			body, send := io.Pipe()
			defer send.Close()
			req, _ := http.NewRequestWithContext(t.Context(), "PUT", r.front.URL+"/a", body)
			if c.length {
				req.ContentLength = 1 << 40
			}
			stop := make(chan struct{})
			go func() {
				for first := true; first || c.flows; first = false {
					if _, err := send.Write(make([]byte, 1000)); err != nil {
						return
					}
				}
				<-stop
				send.Close()
			}()
			answered := make(chan error, 1)
			go func() {
				resp, err := r.front.Client().Do(req)
				if err == nil {
					resp.Body.Close()
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
				answered <- err
			}()
			r.eventually(func() bool { return got.Load() > 0 }, "nothing arrives")
			r.no.Store(true)
			if o := r.outcome(); o != Cut {
				t.Errorf("outcome %d", o)
			}
			if err := <-saw; err == nil || err == io.EOF {
				t.Errorf("the service sees the end of an upload that was cut: %v", err)
			}
			close(stop)
			if err := <-answered; err == nil || c.refuse != (err.Error() == "status 401") && !c.flows {
				t.Errorf("the client sees %v", err)
			}
		})
	}
}

// TestCutBetween has the last bytes of an upload on their way when the permission goes: its end, which would make it count, does not arrive.
func TestCutBetween(t *testing.T) {
	saw := make(chan error, 1)
	got := make(chan struct{}, 10)
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		for buf := make([]byte, 1<<20); ; {
			_, err := r.Body.Read(buf)
			got <- struct{}{}
			if err != nil {
				saw <- err
				return
			}
		}
	}, func(_ *rig, o *Options) { o.Every = time.Hour })
	body, send := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", r.front.URL+"/a", body)
	go r.front.Client().Do(req)
	io.WriteString(send, "all of it")
	<-got
	r.no.Store(true)
	send.Close()
	if err := <-saw; err == io.EOF {
		t.Error("the service sees the end")
	}
	if r.outcome() != Cut {
		t.Error("not cut")
	}
}

// TestCutWaiting cuts a request whose service has not answered yet, and gives the client the refusal.
func TestCutWaiting(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r.passage.Refuse = func(w http.ResponseWriter) { refuse(w, 401, "not any more") }
	go func() {
		r.eventually(func() bool { return r.asked.Load() > 2 }, "it is not asked again")
		r.no.Store(true)
	}()
	if resp, body := r.do("GET", "/a", nil); resp == nil || resp.StatusCode != 401 || body != "not any more\n" {
		t.Error(resp, body)
	}
	if r.outcome() != Cut {
		t.Error("not cut")
	}
}

// TestCutAnswer has the service's answer come after the permission went.
func TestCutAnswer(t *testing.T) {
	var r *rig
	r = newRig(t, func(w http.ResponseWriter, _ *http.Request) { r.no.Store(true); io.WriteString(w, "secret") }, func(_ *rig, o *Options) { o.Every = time.Hour })
	if resp, body := r.do("GET", "/a", nil); resp != nil {
		t.Error(resp, body)
	}
	r.outcome()
}

// TestCutOnce cuts for good: what is allowed again later is another request.
func TestCutOnce(t *testing.T) {
	answer := true
	cuts := 0
	w := newWatch(t.Context(), time.Hour, func(context.Context) bool { return answer }, func() { cuts++ })
	if !w.Allowed() || w.Cut() {
		t.Error("not allowed")
	}
	answer = false
	if w.Allowed() || !w.Cut() {
		t.Error("allowed")
	}
	answer = true
	if w.Allowed() || cuts != 1 || !errors.Is(context.Cause(w.Context()), errCut) {
		t.Error("allowed again", cuts)
	}
	w.Close()
	w.Close()

	// Nothing is cut once it has ended, or when its client has gone.
	ctx, gone := context.WithCancel(t.Context())
	w = newWatch(ctx, time.Hour, func(context.Context) bool { return false }, func() { cuts++ })
	gone()
	if w.Allowed() || w.Cut() {
		t.Error("a client that has gone counts as cut")
	}
	w.Close()
	w = newWatch(t.Context(), time.Hour, func(context.Context) bool { return false }, func() { cuts++ })
	w.Close()
	if w.Allowed() || w.Cut() || cuts != 1 {
		t.Error("cut after its end")
	}
}

// TestQuestionWaits holds chunks back while the question is undecided, and lets them go on when it is allowed.
func TestQuestionWaits(t *testing.T) {
	release := make(chan struct{})
	r := newRig(t, echo)
	r.passage.Ask = func(ctx context.Context) bool {
		select {
		case <-release:
			return true
		case <-ctx.Done():
			return false
		}
	}
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	if resp, body := r.do("GET", "/a", nil); resp == nil || resp.StatusCode != 200 {
		t.Error(resp, body)
	}
}
