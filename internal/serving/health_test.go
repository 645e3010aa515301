package serving

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestHealthDrains: a watcher hears that nothing is served any more, and then does not keep the server.
func TestHealthDrains(t *testing.T) {
	at := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(Transport{MaxStreams: 10, MaxConnectionAge: time.Hour, Grace: time.Second}.Options()...)
	h := NewHealth()
	healthpb.RegisterHealthServer(g, h)
	h.Serve(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	c, err := grpc.NewClient("unix:"+at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := healthpb.NewHealthClient(c).Watch(ctx, &healthpb.HealthCheckRequest{Service: "grpc.health.v1.Health"})
	if err != nil {
		t.Fatal(err)
	}
	status := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if m, err := w.Recv(); err != nil || m.Status != want {
			t.Fatal(m, err)
		}
	}
	status(healthpb.HealthCheckResponse_SERVING)
	h.Shutdown()
	status(healthpb.HealthCheckResponse_NOT_SERVING)
	h.Drain()
	CutOff(g, 10*time.Minute, slog.New(slog.DiscardHandler))
	CutOff(g, 10*time.Minute, slog.New(slog.DiscardHandler))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := w.Recv(); err == nil {
		t.Error("the watcher goes on")
	}
}
