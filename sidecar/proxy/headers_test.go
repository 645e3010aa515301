package proxy

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestHeaders looks at what the service gets of a client's headers, and the client of the service's.
func TestHeaders(t *testing.T) {
	service := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Jobward-Reason", "made up")
		w.Header().Set("X-Accel-Buffering", "no")
		w.Header().Set("Connection", "X-Secret")
		w.Header().Set("X-Secret", "1")
		w.Header().Set("Trailer", "Jobward-User, X-Sum")
		defer func() {
			w.Header().Set("Jobward-User", "9")
			w.Header().Set("X-Sum", "8")
			w.Header().Set("Trailer:Jobward-Job", "7")
		}()
		echo(w, r)
	}
	r := newRig(t, service)
	r.passage.Set = [][2]string{{"Jobward-Job", "1"}, {"Jobward-User", "dana"}}
	r.passage.DropAuthorization = true
	for _, head := range []string{
		"Jobward-User: root", "JOBWARD-USER: root", "jobward-project: 5", "Jobward_User: root", "Jobward_user: root\r\nX_Y: root", "Jobward.User: root", "Jobward-User: a\r\nJobward-User: root",
		"Job-Token: root", "job-token: root", "JOB_TOKEN: root", "Authorization: Bearer root", "Connection: Jobward-User\r\nJobward-User: root", "Connection: Jobward-Job, Jobward-User, X-Forwarded-For, Host",
		"Connection: keep-alive\r\nConnection: jobward-user", "X-Original-URL: /root", "X-Rewrite-Url: /root", "X-Http-Method-Override: root", "X-Forwarded-For: root", "X-Forwarded-Host: root",
		"X-Forwarded-Port: root", "X-Real-Ip: root", "Forwarded: for=root", "X-Forwarded-Uri: /root", "Proxy-Authorization: root", "Keep-Alive: root", "Te: root", "Trailer: Jobward-User",
	} {
		resp, body := r.raw("GET", "GET /a HTTP/1.1\r\nHost: forge.example\r\nAccept: x/y\r\n"+head+"\r\n\r\n")
		if resp == nil {
			t.Fatal(head, body)
		}
		for _, want := range []string{"\nJobward-Job: 1\n", "\nJobward-User: dana\n", "\nAccept: x/y\n", "\nX-Forwarded-For: 127.0.0.1\n", "\nX-Forwarded-Host: forge.example\n", "\nX-Forwarded-Proto: http\n"} {
			if strings.Count(body, want) != 1 {
				t.Errorf("%q: no %q in\n%s", head, want, body)
			}
		}
		if strings.Contains(body, "root") || strings.Contains(strings.ToLower(body), "_") {
			t.Errorf("%q arrives:\n%s", head, body)
		}
		h := resp.Header
		if h.Get("Jobward-Reason") != "" || h.Get("X-Secret") != "" || h.Get("X-Accel-Buffering") != "no" || resp.Trailer.Get("X-Sum") != "8" || resp.Trailer.Get("Jobward-User") != "" || resp.Trailer.Get("Jobward-Job") != "" {
			t.Errorf("%q: the client gets %v %v", head, h, resp.Trailer)
		}
	}
}

// TestForwarded keeps the word of a proxy that is trusted, and adds to it.
func TestForwarded(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	r := newRig(t, echo, func(_ *rig, o *Options) { o.Trusted = loopback() }, func(r *rig, _ *Options) {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: r.front.Config.Handler}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
	})
	head := []string{"X-Forwarded-For: 192.0.2.1, 192.0.2.2", "X-Forwarded-Host: outside.example", "X-Forwarded-Proto: https", "X-Real-Ip: 192.0.2.1", "X-Forwarded-Uri: /root"}
	_, body := r.do("GET", "/a", nil, head...)
	for _, want := range []string{"\nX-Forwarded-For: 192.0.2.1, 192.0.2.2, 127.0.0.1\n", "\nX-Forwarded-Host: outside.example\n", "\nX-Forwarded-Proto: https\n", "\nX-Real-Ip: 192.0.2.1\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if strings.Contains(body, "root") {
		t.Error(body)
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+strings.Join(head, "\r\n")+"\r\n\r\n")
	all, _ := io.ReadAll(c)
	if !strings.Contains(string(all), "\nX-Forwarded-For: 192.0.2.1, 192.0.2.2\n") {
		t.Errorf("over a socket:\n%s", all)
	}
}
