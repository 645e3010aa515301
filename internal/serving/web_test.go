package serving

import (
	"log/slog"
	"net/http"
	"testing"
	"time"
)

// TestWebStops waits, when it cuts off a request, until whoever answers it has ended: what they ask is closed next.
func TestWebStops(t *testing.T) {
	var stops Stops
	w, err := ListenWeb(t.Context(), &stops, "web-addr", Address{"tcp", "127.0.0.1:0"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	fail := func(err error) { t.Error(err) }
	w.Serve(&stops, nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-leave }), slog.New(slog.DiscardHandler), fail)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	asked := make(chan error, 1)
	go func() {
		resp, err := client.Get("http://" + w.Addr().String())
		if err == nil {
			resp.Body.Close()
		}
		asked <- err
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stops.Stop() }()
	if err := <-asked; err == nil {
		t.Error("the request was not cut off")
	}
	select {
	case <-stopped:
		t.Error("it did not wait for the handler")
		stopped <- nil
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	var off *Web
	off.Shutdown(0, nil)
	off.Close()
}
