package daemon

import (
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/server"
)

// newServer makes the services, and a gRPC server that has them and health. Nothing is served yet.
func (d *daemon) newServer(callers identity.Authenticator) (err error) {
	opt := server.Options{
		Engine: d.engine, Tokens: d.tokens, Callers: callers, MaxMessage: int(d.MaxMessageSize), MaxUnknown: d.MaxUnknownTokens,
		MaxInterest: d.MaxInterest, Canary: server.Canary{Project: authz.ProjectID(d.CanaryProject), User: authz.UserID(d.CanaryUser), Every: d.CanaryEvery},
		Reflection: d.Reflection, Version: telemetry.Version(), Logger: d.log, Meters: d.telemetry.Meters, Producers: d.telemetry.Producers, Propagator: d.telemetry.Propagator,
	}
	if d.telemetry.Tracing {
		opt.Tracers = d.telemetry.Tracers
	}
	if d.member != nil {
		opt.Replica, opt.Now, opt.Fence = d.member, d.now, d.ReplicaFence
	}
	if d.services, err = server.New(opt); err != nil {
		return err
	}
	d.grpc = grpc.NewServer(append(d.transport(), d.services.ServerOptions()...)...)
	d.services.Register(d.grpc)
	d.health = serving.NewHealth()
	d.health.Serve(d.grpc)
	healthpb.RegisterHealthServer(d.services.Registrar(d.grpc), d.health)
	return nil
}
