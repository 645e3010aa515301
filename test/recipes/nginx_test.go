package recipes

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/test/programs"
)

// raw sends bytes over TLS and gives the status of the answer; zero for none.
func (d *restDoor) raw(text string) int {
	d.t.Helper()
	pem, err := os.ReadFile(d.ca)
	if err != nil {
		d.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c, err := tls.Dial("tcp", strings.TrimPrefix(d.url, "https://"), &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return 0
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestNginxServesWhatWasJudged: whatever stands on the wire, the service gets the request that was judged, or none.
func TestNginxServesWhatWasJudged(t *testing.T) {
	d := startNginxREST(t)
	token := d.issue("judged")
	const chart = "/api/v4/projects/11/packages/helm/stable/index.yaml"
	login := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("gitlab-ci-token:"+token)) + "\r\n"
	get := func(line, more string) string { return line + "\r\nHost: localhost\r\n" + login + more + "\r\n" }
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"as it should be":            {get("GET "+chart+" HTTP/1.1", ""), 200},
		"HTTP/1.0":                   {get("GET "+chart+" HTTP/1.0", ""), 200},
		"absolute":                   {get("GET https://elsewhere"+chart+" HTTP/1.1", ""), 200},
		"absolute, hidden":           {get("GET https://elsewhere/api/v4/projects/16/packages/helm/stable/index.yaml HTTP/1.1", ""), 404},
		"told another way":           {get("GET "+chart+" HTTP/1.1", "X-Original-URI: /x\r\nX-Original-Method: PUT\r\nX-Forwarded-Uri: /y\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Prefix: /z\r\nX-Forwarded-Host: evil\r\nForwarded: host=evil\r\n"), 200},
		"hop-by-hop":                 {get("GET "+chart+" HTTP/1.1", "Connection: close, Jobward-Job, Jobward-User, X-Original-URI, Authorization\r\n"), 200},
		"forged identity":            {get("GET "+chart+" HTTP/1.1", "Jobward-User: 1\r\nJobward-User: 1\r\njobward_user: 1\r\nJobward-Nonsense: 1\r\n"), 200},
		"parameters":                 {get("GET "+chart+"?token=1&x=%7B%7D{http.request.host} HTTP/1.1", ""), 200},
		"long":                       {get("GET "+chart+"?x="+strings.Repeat("y", 7000)+" HTTP/1.1", ""), 200},
		"both lengths":               {get("GET "+chart+" HTTP/1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"another method":             {get("GET "+chart+" HTTP/1.1", "X-HTTP-Method-Override: DELETE\r\n"), 400},
		"another method, underscore": {get("GET "+chart+" HTTP/1.1", "X_HTTP_Method_Override: DELETE\r\n"), 200},
		"another path":               {get("GET "+chart+" HTTP/1.1", "X-Original-URL: /x\r\n"), 400},
		"lower case":                 {get("get "+chart+" HTTP/1.1", ""), 400},
		"the question itself":        {get("GET /_jobward HTTP/1.1", ""), 404},
		"huge":                       {get("GET "+chart+" HTTP/1.1", strings.Repeat("X-Filler: "+strings.Repeat("x", 7000)+"\r\n", 5)), 400},
		"dots":                       {get("GET /api/v4/projects/16/../11/packages/helm/stable/index.yaml HTTP/1.1", ""), 400},
		"encoded dots":               {get("GET /api/v4/projects/16/%2e%2e/11/packages/helm/stable/index.yaml HTTP/1.1", ""), 400},
		"fragment":                   {get("GET "+chart+"#/../ HTTP/1.1", ""), 400},
		"NUL":                        {get("GET "+chart+"%00 HTTP/1.1", ""), 400},
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			before := len(d.service.seen())
			status := d.raw(c.text)
			saw := d.service.seen()[before:]
			if status != c.want {
				t.Errorf("%d, want %d", status, c.want)
			}
			if status >= 400 {
				if saw != "" {
					t.Errorf("refused, and the service got %s", saw)
				}
				return
			}
			if who := d.service.identity(); !strings.HasPrefix(saw, "GET "+chart) || strings.Contains(saw, "evil") || strings.Contains(saw, "DELETE") || strings.Contains(saw, "-Uri") || who != "job judged of 11 by 102" {
				t.Errorf("the service got %s%s", saw, who)
			}
		})
	}
}

// TestGitEnvironment: the program that serves Git, and its hooks, learn whose job it is, and neither a token nor what a client made up.
func TestGitEnvironment(t *testing.T) {
	programs.Find(t, "curl")
	// Programs take the first of two variables with one name, and a shell the last: what they are given counts.
	script := filepath.Join(t.TempDir(), "dump")
	write(t, script, "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\ntr '\\0' '\\n' <\"/proc/$$/environ\"\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	g := startGit(t, [2]string{"/usr/lib/git-core/git-http-backend", script})
	token := g.issue("env")
	cmd := exec.Command("curl", "-q", "-sS", "--insecure", "--user", "gitlab-ci-token:"+token, "--header", "Proxy: http://evil.example", "--header", "JOB-TOKEN: "+token,
		"--header", "Jobward-User: 1", "--header", "Remote-User: root", g.url+"/acme/web/shop.git/info/refs?service=git-upload-pack&x="+token)
	cmd.Env = programs.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantWithout(t, token, map[string]string{"the environment": string(out)})
	env := "\n" + string(out)
	for _, want := range []string{"QUERY_STRING=service=git-upload-pack", "REMOTE_USER=102", "JOBWARD_JOB=env", "JOBWARD_PROJECT=11", "JOBWARD_USER=102", "PATH_INFO=/acme/web/shop.git/info/refs"} {
		name, _, _ := strings.Cut(want, "=")
		if !strings.Contains(env, "\n"+want+"\n") || strings.Count(env, "\n"+name+"=") != 1 {
			t.Errorf("not once %s in%s", want, env)
		}
	}
	if strings.Contains(env, "evil.example") {
		t.Errorf("a client chooses the proxy of hooks:%s", env)
	}
}
