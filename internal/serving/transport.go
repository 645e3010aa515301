package serving

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/jobward/jobward/internal/settings"
)

// Transport is how a gRPC server keeps connections.
type Transport struct {
	// MaxStreams bounds the calls under way on one connection.
	MaxStreams uint32
	// MaxConnectionAge ends connections after about so long; 0 lets them live.
	MaxConnectionAge time.Duration
	// Grace is how long calls under way may take then.
	Grace time.Duration
}

// Options gives the gRPC server options, without credentials.
func (t Transport) Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxConcurrentStreams(t.MaxStreams),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		// Heartbeats are messages; these pings only find connections whose other end is gone. Clients may ping as often as grpc-go lets them.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 20 * time.Second, Timeout: 10 * time.Second, MaxConnectionAge: t.MaxConnectionAge, MaxConnectionAgeGrace: t.Grace,
		}),
		grpc.WaitForHandlers(true),
		// A window of a fixed size: to find one for itself gRPC pings the other end for what comes in, which for a small message costs as much as
		// the message. 1,000 confirmations of one invalidation took the PDP half as much again.
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow),
	}
}

// What a caller may send before it is read: on one call, and on one connection.
const (
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

// CutOff ends a gRPC server: gracefully within the grace, then at once. A second time it does nothing.
func CutOff(g *grpc.Server, grace time.Duration, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	late := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == context.DeadlineExceeded {
			log.Warn("calls that had not finished were cut off", "grace", settings.Brief(grace))
			g.Stop()
		}
	})
	g.GracefulStop()
	late()
}
