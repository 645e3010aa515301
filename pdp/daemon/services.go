package daemon

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/server"
)

// newServer makes the services, and a gRPC server that has them and health. Nothing is served yet.
func (d *daemon) newServer(callers identity.Authenticator) (err error) {
	opt := server.Options{
		Engine: d.engine, Tokens: d.tokens, Callers: callers, MaxMessage: int(d.MaxMessageSize), MaxUnknown: d.MaxUnknownTokens,
		Reflection: d.Reflection, Version: Version(), Logger: d.log, Meters: d.telemetry.Meters, Propagator: d.telemetry.Propagator,
	}
	if d.telemetry.Tracing {
		opt.Tracers = d.telemetry.Tracers
	}
	if d.services, err = server.New(opt); err != nil {
		return err
	}
	d.grpc = grpc.NewServer(append(d.transport(), d.services.ServerOptions()...)...)
	d.services.Register(d.grpc)
	d.health = newHealth()
	d.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	for name := range d.grpc.GetServiceInfo() {
		d.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(d.services.Registrar(d.grpc), d.health)
	return nil
}

// healthServer is grpc.health.v1 whose watchers do not keep a graceful stop waiting.
type healthServer struct {
	*health.Server
	drained context.Context
	drain   context.CancelFunc
}

func newHealth() *healthServer {
	h := &healthServer{Server: health.NewServer()}
	h.drained, h.drain = context.WithCancel(context.Background())
	return h
}

// Watch implements healthpb.HealthServer.
func (h *healthServer) Watch(req *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
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
