package serving

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Health is grpc.health.v1 whose watchers do not keep a graceful stop waiting. Its Shutdown says that nothing is served any more, to watchers
// too; Drain ends them.
type Health struct {
	*health.Server
	drained context.Context
	drain   context.CancelFunc
}

// NewHealth makes one that serves nothing yet.
func NewHealth() *Health {
	h := &Health{Server: health.NewServer()}
	h.drained, h.drain = context.WithCancel(context.Background())
	return h
}

// Serve says that the services which g has are served, and the whole.
func (h *Health) Serve(g *grpc.Server) {
	h.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	for name := range g.GetServiceInfo() {
		h.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
}

// Drain ends the watchers. Call Shutdown first, so that they hear why.
func (h *Health) Drain() { h.drain() }

// Watch implements healthpb.HealthServer.
func (h *Health) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(h.drained, cancel)()
	return h.Server.Watch(req, watchStream{stream, ctx})
}

// watchStream is a stream that ends with ctx.
type watchStream struct {
	healthpb.Health_WatchServer
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s watchStream) Context() context.Context { return s.ctx }
