package proxy_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep/peptest"
	"github.com/jobward/jobward/sidecar/proxy"
)

// TestRevokeCutsDownload has a service that sends a chunk whenever the test wants. After Revoke says that nobody allows the job any more, the next
// chunk does not arrive. Nothing but the question before the chunk can tell: the timer sleeps.
func TestRevokeCutsDownload(t *testing.T) {
	more := make(chan struct{})
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		for range more {
			if _, err := io.WriteString(w, "chunk"); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
		}
	}, func(o *proxy.Options) { o.Every = time.Hour })
	defer close(more)
	token := h.pdp.Issue("1", peptest.App, peptest.Dev)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", h.front.URL+packageOf(peptest.Lib), nil)
	req.Header.Set("Job-Token", token)
	go func() { more <- struct{}{} }()
	resp, err := h.front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 100)
	for range 10 {
		if n, err := io.ReadFull(resp.Body, buf[:5]); err != nil {
			t.Fatal(n, err)
		}
		more <- struct{}{}
	}
	io.ReadFull(resp.Body, buf[:5])
	h.pdp.Revoke("1")
	more <- struct{}{}
	if n, err := resp.Body.Read(buf); n != 0 || err == nil || err == io.EOF {
		t.Errorf("after Revoke %d bytes arrive, %v", n, err)
	}
	if o := h.outcome(); o != proxy.Cut {
		t.Errorf("outcome %d", o)
	}
}

// TestRevokeCutsUpload is the other direction; and a role that was taken away cuts as well.
func TestRevokeCutsUpload(t *testing.T) {
	for name, end := range map[string]func(*peptest.PDP){
		"revoked": func(p *peptest.PDP) { p.Revoke("1") },
		"a role":  func(p *peptest.PDP) { p.AddUser(peptest.Dev, "dev", authz.RoleGuest) },
	} {
		t.Run(name, func(t *testing.T) {
			var got atomic.Int64
			saw := make(chan error, 1)
			h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
				for buf := make([]byte, 100); ; {
					n, err := r.Body.Read(buf)
					if got.Add(int64(n)); err != nil {
						saw <- err
						return
					}
				}
			}, func(o *proxy.Options) { o.Every = time.Hour })
			token := h.pdp.Issue("1", peptest.App, peptest.Dev)
			body, send := io.Pipe()
			req, _ := http.NewRequestWithContext(t.Context(), "PUT", h.front.URL+packageOf(peptest.App), body)
			req.Header.Set("Job-Token", token)
			done := make(chan int, 1)
			go func() {
				resp, err := h.front.Client().Do(req)
				if err != nil {
					done <- 0
					return
				}
				resp.Body.Close()
				done <- resp.StatusCode
			}()
			io.WriteString(send, "12345")
			for end := time.Now().Add(patience); got.Load() < 5; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("nothing arrives")
				}
			}
			end(h.pdp)
			io.WriteString(send, "67890")
			if err := <-saw; err == io.EOF || got.Load() != 5 {
				t.Errorf("the service has %d bytes and %v", got.Load(), err)
			}
			if status := <-done; status != 401 && status != 403 && status != 404 {
				t.Errorf("the client gets %d", status)
			}
			send.Close()
			if o := h.outcome(); o != proxy.Cut {
				t.Errorf("outcome %d", o)
			}
		})
	}
}

// TestOutage (P2) lets a transfer go on while the lease runs and no PDP is there, and cuts it when the lease is over.
func TestOutage(t *testing.T) {
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	})
	token := h.pdp.Issue("1", peptest.App, peptest.Dev)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", h.front.URL+packageOf(peptest.Lib), nil)
	req.Header.Set("Job-Token", token)
	resp, err := h.front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	began := time.Now()
	h.pdp.Outage(true)
	defer h.pdp.Outage(false)
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error(n, err)
	}
	if took := time.Since(began); took < peptest.DefaultTerm/4 || took > peptest.DefaultTerm+10*time.Second {
		t.Errorf("cut after %v, with a lease of %v", took, peptest.DefaultTerm)
	}
	if o := h.outcome(); o != proxy.Cut {
		t.Errorf("outcome %d", o)
	}
}
