package daemon

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestWebsSlow: nobody holds a connection of a door, and with it a goroutine, by announcing a body and sending none, whoever it is and wherever. The
// answer comes, and the connection ends.
func TestWebsSlow(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	if code, _, errs := sidecar(nil, "registry-keys", keys); code != 0 {
		t.Fatal(errs)
	}
	l := runLocal(t, "--http-addr=127.0.0.1:0", "--proxy-addr=127.0.0.1:0", "--proxy-to=http://127.0.0.1:1", "--registry-addr=127.0.0.1:0", "--registry-to=http://127.0.0.1:1",
		"--registry-cert-file="+filepath.Join(keys, "registry.pem"), "--registry-key-file="+filepath.Join(keys, "registry.key"))
	var all sync.WaitGroup
	defer all.Wait()
	for at, lines := range map[net.Addr][]string{
		l.HTTP:     {"GET /auth", "GET /auth/nginx", "POST /auth", "PUT /"},
		l.Proxy:    {"POST /x", "POST /api/v4/projects/1/trigger/pipeline", "PUT /api/v4/projects/1/packages/generic/a/1/f", "GET /"},
		l.Registry: {"POST /v2/acme/app/blobs/uploads/", "GET /v2/", "GET /jwt/jwks", "GET /jwt/auth", "POST /jwt/auth", "PUT /"},
	} {
		for _, line := range lines {
			for _, body := range []string{"Content-Length: 200000", "Transfer-Encoding: chunked"} {
				all.Go(func() {
					c, err := net.Dial("tcp", at.String())
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					c.SetDeadline(time.Now().Add(9 * time.Second))
					io.WriteString(c, line+" HTTP/1.1\r\nHost: x\r\n"+body+"\r\n\r\n")
					in := bufio.NewReader(c)
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Errorf("%s, %s: %v", line, body, err)
						return
					}
					defer resp.Body.Close()
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Errorf("%s, %s: %s, and then %v", line, body, resp.Status, err)
					}
					if n, err := io.Copy(io.Discard, in); n != 0 || err != nil {
						t.Errorf("%s, %s: %s, and then %d bytes and %v, not the end", line, body, resp.Status, n, err)
					}
				})
			}
		}
	}
}
