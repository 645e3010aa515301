package daemon

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/pep/peptest"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// ask makes one request with headers "Name: value" and gives the answer, and its body or why there is none.
func ask(t *testing.T, client *http.Client, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return &http.Response{}, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, err.Error()
	}
	return resp, string(body)
}

// TestWebs judges at the HTTP doors of a whole sidecar, with a real PDP: the built-in routes and one of an operator.
func TestWebs(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RequestURI, " of job ", r.Header.Get("Jobward-Job"), r.Header.Get("Job-Token"))
	}))
	defer service.Close()
	pdp := peptest.Start(t)
	dir := t.TempDir()
	routes := files.Write(t, filepath.Join(dir, "routes.yaml"), "routes:\n  - methods: [GET]\n    patterns: [\"/store/:project/files/:file\"]\n    permission: read_packages\n    project: \":project\"\n    carriers: [header]\n", 0o600)
	l, err := tryLocalWith(t, dir, func(c *pep.Config) {
		p := pdp.Config()
		c.Addresses, c.Development, c.Dial, c.Clock = p.Addresses, p.Development, p.Dial, p.Clock
	}, "--http-addr=127.0.0.1:0", "--proxy-addr=127.0.0.1:0", "--proxy-to="+service.URL, "--routes-file="+routes, "--tell-reason", "--log-level=debug")
	if err != nil {
		t.Fatal(err, l.log.String())
	}
	auth, through := "http://"+l.HTTP.String()+"/auth", "http://"+l.Proxy.String()
	token := pdp.Issue("1", peptest.App, peptest.Dev)
	head := "JOB-TOKEN: " + token
	lib, closed := fmt.Sprintf("/store/%d/files/a.bin", peptest.Lib), fmt.Sprintf("/store/%d/files/a", peptest.Closed)
	eventually(t, func() bool { r, _ := ask(t, http.DefaultClient, "GET", through+lib, head); return r.StatusCode == 200 }, l.log.String)
	if resp, body := ask(t, http.DefaultClient, "GET", through+lib, head); resp.StatusCode != 200 || body != lib+" of job 1" {
		t.Error(resp, body)
	}
	if resp, body := ask(t, http.DefaultClient, "GET", through+closed, head); resp.StatusCode != 404 || resp.Header.Get("Jobward-Reason") == "" {
		t.Error(resp, body)
	}
	if resp, body := ask(t, http.DefaultClient, "GET", through+"/api/v4/job", "Job-Token: nonsense"); resp.StatusCode != 401 {
		t.Error(resp, body)
	}
	if resp, body := ask(t, http.DefaultClient, "GET", auth, head, "X-Forwarded-Method: GET", "X-Forwarded-Uri: "+lib); resp.StatusCode != 204 || resp.Header.Get("Jobward-Job") != "1" {
		t.Error(resp, body)
	}
	if resp, body := ask(t, http.DefaultClient, "GET", auth+"/nginx", head, "X-Original-Method: GET", "X-Original-Uri: "+closed); resp.StatusCode != 403 || resp.Header.Get("Jobward-Outcome") != "404" {
		t.Error(resp, body)
	}
	pdp.Revoke("1")
	if resp, body := ask(t, http.DefaultClient, "GET", through+lib, head); resp.StatusCode != 401 {
		t.Error(resp, body)
	}
	_, body := get(t, "http://"+l.Health.String()+"/metrics")
	for _, want := range []string{`jobward_passages_total{door="Proxy",outcome="served"`, `jobward_verdicts_total{door="ForwardAuth"`, `jobward_verdicts_total{door="Proxy"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	for _, want := range []string{auth + " and /auth/nginx", through + " passes on to " + service.URL} {
		if !strings.Contains(l.out.String(), want) {
			t.Errorf("no %q in\n%s", want, l.out.String())
		}
	}
	if strings.Contains(l.log.String(), token) || strings.Contains(l.log.String(), "/store/1") {
		t.Errorf("the log tells of requests:\n%s", l.log.String())
	}
}

// TestWebsWithoutPDP lets nothing through.
func TestWebsWithoutPDP(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the service is asked") }))
	defer service.Close()
	l := runLocal(t, "--http-addr=127.0.0.1:0", "--proxy-addr=127.0.0.1:0", "--proxy-to="+service.URL)
	if resp, body := ask(t, http.DefaultClient, "GET", "http://"+l.Proxy.String()+"/api/v4/job", "JOB-TOKEN: glcbt-64_0123456789abcdefghij"); resp.StatusCode < 400 {
		t.Error(resp, body)
	}
	if resp, body := ask(t, http.DefaultClient, "GET", "http://"+l.HTTP.String()+"/auth", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /acme/lib.git/info/refs?service=git-upload-pack"); resp.StatusCode != 503 {
		t.Error(resp, body)
	}
}

// TestWebsTrust serves HTTPS where other machines reach a door, and answers only the proxies that are trusted.
func TestWebsTrust(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t, dir)
	soon := time.Now().Add(time.Hour)
	ca.Issue(dir, "server", "", soon)
	key, hash := identity.NewKey()
	args := []string{"--listen-cert-file=" + filepath.Join(dir, "server.pem"), "--listen-key-file=" + filepath.Join(dir, "server.key"), "--shutdown-delay=0s",
		"--listen-callers-file=" + files.Write(t, filepath.Join(dir, "callers.yaml"), "keys:\n  - {name: docs, sha256: "+hash+", roles: [service]}\n", 0o600),
		"--pdp-ca-file=" + ca.File, "--pdp-bearer-key-file=" + files.Write(t, filepath.Join(dir, "pdp.jobk"), key, 0o600)}
	l, err := tryLocal(t, dir, append(args, "--http-addr=0.0.0.0:0", "--trusted-proxies=192.0.2.0/24", "--proxy-addr=127.0.0.1:0", "--proxy-to=http://127.0.0.1:1")...)
	if err != nil {
		t.Fatal(err, l.log.String())
	}
	_, port, _ := strings.Cut(l.HTTP.String(), "]:")
	https := &http.Client{Transport: &http.Transport{TLSClientConfig: func() *tls.Config { c := ca.Client("", ""); c.ServerName = "localhost"; return c }()}}
	if resp, body := ask(t, https, "GET", "https://127.0.0.1:"+port+"/auth", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /a"); resp.StatusCode != 403 || !strings.Contains(body, "not one of the proxies") {
		t.Error(resp, body)
	}
	if resp, body := ask(t, http.DefaultClient, "GET", "http://127.0.0.1:"+port+"/auth"); resp.StatusCode != 400 && resp.StatusCode != 0 {
		t.Error("served without TLS", resp, body)
	}
	// Beside the sidecar there is no TLS, out of development mode too.
	if resp, body := ask(t, http.DefaultClient, "GET", "http://"+l.Proxy.String()+"/nonsense"); resp.StatusCode != 404 {
		t.Error(resp, body)
	}
}

// TestProxyCA passes requests on to an https service only if its certificate is of the CA that is named.
func TestProxyCA(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t, dir)
	cert, key := ca.Issue(dir, "service", "", time.Now().Add(time.Hour))
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }))
	service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12} // the service may be old
	service.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	service.StartTLS()
	defer service.Close()
	routes := files.Write(t, filepath.Join(dir, "routes.yaml"), "routes:\n  - methods: [GET]\n    patterns: [/open]\n    open: true\n", 0o600)
	other := certs.New(t, t.TempDir())
	for name, c := range map[string]struct {
		arg    string
		status int
	}{"its own": {"--proxy-ca-file=" + ca.File, 200}, "another": {"--proxy-ca-file=" + other.File, 502}, "the system's": {"--proxy-ca-file=", 502}} {
		l := runLocal(t, "--proxy-addr=127.0.0.1:0", "--proxy-to="+service.URL, "--routes-file="+routes, c.arg)
		if resp, body := ask(t, http.DefaultClient, "GET", "http://"+l.Proxy.String()+"/open"); resp.StatusCode != c.status || (body == "here") != (c.status == 200) {
			t.Errorf("%s: %v %s", name, resp, body)
		}
	}
}

// TestWebsStop lets a transfer under way finish within the grace, and cuts it off after that.
func TestWebsStop(t *testing.T) {
	for name, c := range map[string]struct {
		grace  string
		finish bool
	}{"finishes": {"10s", true}, "does not": {"50ms", false}} {
		t.Run(name, func(t *testing.T) {
			entered, leave := make(chan struct{}), make(chan struct{})
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				close(entered)
				select {
				case <-leave:
				case <-r.Context().Done():
				}
				io.WriteString(w, "done")
			}))
			defer service.Close()
			dir := t.TempDir()
			routes := files.Write(t, filepath.Join(dir, "routes.yaml"), "routes:\n  - methods: [GET]\n    patterns: [/open]\n    open: true\n", 0o600)
			l, err := tryLocal(t, dir, "--proxy-addr=127.0.0.1:0", "--proxy-to="+service.URL, "--shutdown-grace="+c.grace, "--routes-file="+routes)
			if err != nil {
				t.Fatal(err)
			}
			answer := make(chan string, 1)
			go func() {
				_, body := ask(t, http.DefaultClient, "GET", "http://"+l.Proxy.String()+"/open")
				answer <- body
			}()
			<-entered
			l.end()
			if c.finish {
				eventually(t, func() bool {
					r, _ := ask(t, http.DefaultClient, "GET", "http://"+l.Proxy.String()+"/nonsense")
					return r.StatusCode == 0
				}, l.log.String)
				close(leave)
			}
			if got := <-answer; (got == "done") != c.finish {
				t.Errorf("the answer was %q", got)
			}
			if err := l.stop(); err != nil {
				t.Error(err)
			}
			if cut := strings.Contains(l.log.String(), "cut off"); cut == c.finish {
				t.Errorf("cut off: %t\n%s", cut, l.log.String())
			}
		})
	}
}
