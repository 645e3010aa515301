package registry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/proxy"
)

// TestCut ends a job while a blob is under way, in each direction, and before the registry has answered at all.
func TestCut(t *testing.T) {
	for name, change := range map[string]func(*fake){
		"ended":      func(f *fake) { f.reason = authz.JobNotRunning },
		"not listed": func(f *fake) { f.may["acme/app"] = nil },
		"lapsed":     func(f *fake) { f.reason = authz.LeaseLapsed },
		"undecided":  func(f *fake) { f.err = errors.New("none") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			door := httptest.NewUnstartedServer(r.h)
			door.Config.ConnContext = proxy.ConnContext
			door.Start()
			defer door.Close()
			auth := "Bearer " + r.token(alive, "repository:acme/app:pull,push")
			client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
			defer client.CloseIdleConnections()
			do := func(method, path string, body io.Reader) (*http.Response, error) {
				req, err := http.NewRequest(method, door.URL+path, body)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", auth)
				return client.Do(req)
			}
			alter := func(f func(*fake)) { r.fake.set(f) }
			restore := func() { fresh := newFake(); alter(func(f *fake) { f.reason, f.err, f.may = 0, nil, fresh.may }) }

			ended := make(chan struct{}, 1)
			r.served = func(w http.ResponseWriter, req *http.Request) {
				defer func() { ended <- struct{}{} }()
				for req.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1024)); err != nil {
						return
					}
					w.(http.Flusher).Flush()
				}
			}
			resp, err := do("GET", "/v2/acme/app/blobs/"+digest, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.CopyN(io.Discard, resp.Body, 2048)
			alter(change)
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("a pull ended as if it were whole")
			}
			resp.Body.Close()
			<-ended
			restore()

			got, begun := make(chan error, 1), make(chan struct{})
			r.served = func(_ http.ResponseWriter, req *http.Request) {
				io.ReadFull(req.Body, make([]byte, 4096))
				close(begun)
				_, err := io.Copy(io.Discard, req.Body)
				got <- err
			}
			reader, writer := io.Pipe()
			go func() {
				writer.Write(make([]byte, 4096))
				<-begun
				alter(change)
				writer.Write([]byte("more"))
				writer.Close()
			}()
			if resp, err := do("PATCH", "/v2/acme/app/blobs/uploads/1", reader); err == nil {
				if resp.StatusCode < 400 {
					t.Errorf("a push was taken: %d", resp.StatusCode)
				}
				resp.Body.Close()
			}
			reader.Close()
			if err := <-got; err == nil {
				t.Error("the registry saw the end of the push")
			}
			restore()

			// Nothing was answered yet: the client hears why.
			here := make(chan struct{})
			r.served = func(_ http.ResponseWriter, req *http.Request) { close(here); <-req.Context().Done() }
			go func() { <-here; alter(change) }()
			resp, err = do("GET", "/v2/acme/app/blobs/"+digest, nil)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode < 401 || !strings.HasPrefix(string(text), `{"errors":[{"code":"`) {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
}
