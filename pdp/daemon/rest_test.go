package daemon

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/test/files"
)

// ask sends one request to the REST API, and gives the status 0 when nobody answers.
func ask(t *testing.T, c *http.Client, method, url, body string, header ...string) (int, string) {
	t.Helper()
	defer c.CloseIdleConnections()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// TestRESTDevelopment: it is off unless its address is set; then it is announced, and edits the sample world.
func TestRESTDevelopment(t *testing.T) {
	off := runLocal(t, nil, small(t.TempDir(), nil)...)
	if off.REST != nil || !strings.Contains(off.log.String(), "rest=off") && !off.log.Has(`"rest":"off"`) {
		t.Errorf("it is on by itself: %v", off.REST)
	}
	l := runLocal(t, nil, small(t.TempDir(), []string{"--rest-addr=127.0.0.1:0", "--external-url=https://forge.example/"})...)
	at := "http://" + l.REST.String() + "/api/v4"
	if !l.out.Has("  REST    " + at + "\n") {
		t.Errorf("it says\n%s", l.out.String())
	}
	status, body := ask(t, http.DefaultClient, "POST", at+"/projects/acme%2Fplatform%2Fapi/job_token_scope/allowlist", `{"target_project_id":13}`, "Sudo", "erin")
	if status != 201 || body != `{"source_project_id":14,"target_project_id":13}` {
		t.Errorf("%d %s", status, body)
	}
	if _, body := ask(t, http.DefaultClient, "GET", at+"/projects/14", "", "Sudo", "erin"); !strings.Contains(body, `"web_url":"https://forge.example/acme/platform/api"`) {
		t.Errorf("no link: %s", body)
	}
	if _, metrics := l.get("/metrics"); !strings.Contains(metrics, `method="POST"`) || !strings.Contains(metrics, `route="projects/:id/job_token_scope/allowlist",status="201"`) {
		t.Error("the metrics do not have the request")
	}
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if status, _ := ask(t, http.DefaultClient, "GET", at+"/projects/14", "", "Sudo", "erin"); status != 0 {
		t.Errorf("after the stop: %d", status)
	}
}

// TestRESTSecure: HTTPS only, with keys of the callers file, on HTTP/1.1 and HTTP/2; a row that is taken away counts at the
// next request.
func TestRESTSecure(t *testing.T) {
	s := runSecure(t, "--rest-addr=127.0.0.1:0")
	key, hash := identity.NewKey()
	rows := "keys:\n- {name: user, sha256: " + hash + ", roles: [maintainer], user: 5}\n"
	files.Write(t, s.callers, rows, 0o600)
	at := s.REST.String()
	for _, h2 := range []bool{false, true} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: s.bare.Clone(), Protocols: protocols}}
		eventually(t, func() bool {
			status, body := ask(t, c, "GET", "https://"+at+"/api/v4/projects/1", "", "Private-Token", key)
			// The store is empty: the key is known, and its user is not.
			return status == 403 && strings.Contains(body, "user 5 does not exist")
		}, func() string { return "the key does not count" })
		if status, _ := ask(t, c, "GET", "https://"+at+"/api/v4/projects/1", ""); status != 401 {
			t.Errorf("without a key: %d", status)
		}
	}
	plain, body := ask(t, http.DefaultClient, "GET", "http://"+at+"/api/v4/projects/1", "", "Private-Token", key)
	if plain != 400 || strings.Contains(body, "Project") {
		t.Errorf("without TLS: %d %s", plain, body)
	}
	old := s.bare.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if status, _ := ask(t, &http.Client{Transport: &http.Transport{TLSClientConfig: old}}, "GET", "https://"+at+"/api/v4/job", ""); status != 0 {
		t.Errorf("TLS 1.2: %d", status)
	}
	_, other := identity.NewKey()
	files.Write(t, s.callers, strings.Replace(rows, hash, other, 1), 0o600)
	eventually(t, func() bool {
		status, _ := ask(t, &http.Client{Transport: &http.Transport{TLSClientConfig: s.bare.Clone()}}, "GET", "https://"+at+"/api/v4/projects/1", "", "Private-Token", key)
		return status == 401
	}, func() string { return "a key that was taken away still counts" })
	if s.log.Has(key[6:20]) {
		t.Error("the key is in the log")
	}
}

// TestRESTSocket: a Unix socket, and an address that is taken, which ends the start before anything is answered.
func TestRESTSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "rest")
	l := runLocal(t, nil, small(t.TempDir(), []string{"--rest-addr=unix:" + socket})...)
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	if status, body := ask(t, c, "GET", "http://any/api/v4/projects/14", "", "Sudo", "erin"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if _, err := tryLocal(t, nil, small(t.TempDir(), []string{"--rest-addr=" + l.GRPC[0].String()})...); err == nil || !strings.Contains(err.Error(), "rest-addr: ") || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("a taken address: %v", err)
	}
}

// TestRESTStop: a request under way at the stop, here one whose body comes slowly, is answered.
func TestRESTStop(t *testing.T) {
	l := runLocal(t, nil, small(t.TempDir(), []string{"--rest-addr=127.0.0.1:0", "--shutdown-grace=20s"})...)
	conn, err := net.Dial("tcp", l.REST.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "PATCH /api/v4/projects/14/job_token_scope HTTP/1.1\r\nHost: localhost\r\nSudo: erin\r\nContent-Type: application/json\r\nContent-Length: 16\r\nExpect: 100-continue\r\n\r\n")
	b := make([]byte, 25)
	if _, err := io.ReadFull(conn, b); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 100 ") {
		t.Fatalf("%q %v", b, err)
	}
	l.end()
	eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", l.REST.String(), time.Second)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, func() string { return "it goes on listening" })
	io.WriteString(conn, `{"enabled":true}`)
	answer, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 204 ") {
		t.Errorf("%q %v", answer, err)
	}
	if err := l.wait(); err != nil {
		t.Error(err)
	}
}

// TestRESTConnectionAge: a connection that is older than connections get is closed after the request that it then has.
func TestRESTConnectionAge(t *testing.T) {
	for _, c := range []struct{ age, most time.Duration }{{0, time.Minute}, {59 * time.Second, time.Minute}, {61 * time.Second, time.Minute}, {time.Hour, 0}} {
		h := aging(http.NotFoundHandler(), c.most)
		s := httptest.NewUnstartedServer(h)
		s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connectedKey{}, time.Now().Add(-c.age))
		}
		s.Start()
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.Close != (c.most > 0 && c.age > c.most) {
			t.Errorf("after %s of %s: closed: %t", c.age, c.most, resp.Close)
		}
		s.Close()
	}
}
