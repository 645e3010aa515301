package serving

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestPhases follows what a program says of itself from its start to its stop.
func TestPhases(t *testing.T) {
	var p Phase
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metrics") })
	h := AdminHandler(&p, metrics)
	for _, step := range []struct {
		notYet, readyz, startupz string
		ready, started           int
	}{
		{"loading", "not ready: loading\n", "not started: loading\n", 503, 503},
		{"", "ready\n", "started\n", 200, 200},
		{"stopping", "not ready: stopping\n", "started\n", 503, 200},
	} {
		p.Set(step.notYet)
		for path, want := range map[string]struct {
			code int
			body string
		}{
			"/livez": {200, "alive\n"}, "/readyz": {step.ready, step.readyz}, "/startupz": {step.started, step.startupz},
			"/metrics": {200, "metrics"}, "/": {404, "404 page not found\n"},
		} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != want.code || w.Body.String() != want.body {
				t.Errorf("%q, %s: %d %q, want %d %q", step.notYet, path, w.Code, w.Body, want.code, want.body)
			}
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/readyz", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST gives %d", w.Code)
	}
}

// TestAdminStops lets an answer under way finish, and leaves nothing behind.
func TestAdminStops(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	a := StartAdmin(l, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		io.WriteString(w, "done")
	}), slog.New(slog.DiscardHandler))
	answer := make(chan string)
	go func() {
		defer http.DefaultClient.CloseIdleConnections()
		resp, err := http.Get("http://" + a.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	closed := make(chan error)
	go func() { closed <- a.Close() }()
	close(leave)
	if got := <-answer; got != "done" {
		t.Errorf("the answer was %q", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
