package grpccheck

import (
	"cmp"
	"errors"
	"log/slog"
	"sync"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/telemetry"
)

// DefaultMaxMessage is the largest request of a Server that is not told otherwise: a BatchCheck of 1000 long paths fits.
const DefaultMaxMessage = 2 << 20

// streamWorkers is how many goroutines wait for calls; see package pdp/server, which has as many for the same reason.
const streamWorkers = 64

// Options are what a Server is made of.
type Options struct {
	// Decider answers. It stays the caller's.
	Decider Decider
	// Callers tells who calls.
	Callers identity.Authenticator
	// MaxMessage is the largest request in bytes; zero takes DefaultMaxMessage.
	MaxMessage int
	// Reflection registers gRPC reflection as well.
	Reflection bool
	// Logger takes faults at Error, and every refused call and every denial at Debug. Nil logs nothing.
	Logger *slog.Logger
	// Meters makes the instruments of metrics.go; nil measures nothing.
	Meters metric.MeterProvider
	// Producers takes those that are too costly to count there; nil tells nobody.
	Producers *telemetry.Producers
	// Tracers makes spans. Nil makes none and costs nothing: leave it nil unless spans are exported. With it, calls about decisions get a
	// span only when their traceparent is sampled; the others are traced by a stats handler, of which gRPC makes every call pay a third to
	// a half of an empty one.
	Tracers trace.TracerProvider
	// Propagator reads the trace context of calls; nil takes W3C trace context.
	Propagator propagation.TextMapPropagator
}

// Server is the services of a sidecar. It is safe for concurrent use.
type Server struct {
	opt       Options
	decider   Decider
	log       *slog.Logger
	doors     map[string]*door
	elsewhere *door // of methods that are not here
	everybody *identity.Principal
	meters    *meters
	tracer    hot.Tracer
	ids       hot.IDs
	scratch   sync.Pool // of *scratch
	outboxes  hot.Outboxes

	drain     chan struct{}
	drainOnce sync.Once
	streaming sync.WaitGroup // goroutines of streams, which may outlive their handler by a moment
}

// New makes a Server.
func New(opt Options) (*Server, error) {
	if opt.Decider == nil || opt.Callers == nil {
		return nil, errors.New("grpccheck: decider and callers are needed")
	}
	opt.MaxMessage = cmp.Or(opt.MaxMessage, DefaultMaxMessage)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Meters == nil {
		opt.Meters = metricnoop.NewMeterProvider()
	}
	if opt.Producers == nil {
		opt.Producers = &telemetry.Producers{}
	}
	if opt.Propagator == nil {
		opt.Propagator = propagation.TraceContext{}
	}
	s := &Server{
		opt: opt, decider: opt.Decider, log: opt.Logger, doors: map[string]*door{}, elsewhere: elsewhereDoor(), ids: hot.NewIDs(),
		drain: make(chan struct{}),
	}
	for _, d := range doors() {
		s.doors[d.method] = d
	}
	if _, ok := opt.Callers.(identity.Development); ok {
		// It looks at nothing, so its answer is the same for every call.
		p, err := opt.Callers.Authenticate(nil, nil)
		if err != nil {
			return nil, err
		}
		s.everybody = &p
	}
	if opt.Tracers != nil {
		s.tracer = hot.Tracer{Propagator: opt.Propagator, Tracer: opt.Tracers.Tracer("github.com/jobward/jobward/sidecar/grpccheck")}
	}
	var err error
	if s.meters, err = newMeters(opt.Meters, s); err != nil {
		return nil, err
	}
	s.scratch.New = func() any { return new(scratch) }
	return s, nil
}

// ServerOptions gives the options that a gRPC server needs to serve s. They have to come after any other of the same kind.
func (s *Server) ServerOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(hot.NewCodec(s.opt.MaxMessage)),
		// The codec refuses what is over the limit and says so properly; gRPC what is over twice that, before it is in memory.
		grpc.MaxRecvMsgSize(2 * s.opt.MaxMessage),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.UnaryInterceptor(s.interceptUnary),
		grpc.StreamInterceptor(s.interceptStream),
		grpc.UnknownServiceHandler(s.unknownMethod),
	}
	if s.tracer.Tracer != nil {
		opts = append(opts, grpc.StatsHandler(otelgrpc.NewServerHandler(
			otelgrpc.WithTracerProvider(s.opt.Tracers), otelgrpc.WithPropagators(s.opt.Propagator),
			otelgrpc.WithMeterProvider(metricnoop.NewMeterProvider()),
			otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool { d := s.doors[i.FullMethodName]; return d == nil || !d.hot }),
		)))
	}
	return opts
}

// Register registers the services, and reflection where that is wanted. Health is the daemon's.
func (s *Server) Register(g *grpc.Server) {
	r := s.Registrar(g)
	jobwardv1.RegisterDecisionServiceServer(r, &decisionService{s: s})
	jobwardv1.RegisterTokenServiceServer(r, &tokenService{s: s})
	if s.opt.Reflection {
		reflection.Register(g)
	}
}

// Registrar registers services on g so that requests which cannot be decoded are answered properly. Services registered on g itself pass the
// same doors.
func (s *Server) Registrar(g *grpc.Server) grpc.ServiceRegistrar {
	return hot.Registrar(g, func(method string, h grpc.MethodHandler) grpc.MethodHandler {
		if fast := s.hotMethod(method); fast != nil {
			return fast
		}
		return s.guarded(method, h)
	})
}

// Drain ends the streams that callers hold open, with UNAVAILABLE: they are to connect again. Other calls go on.
func (s *Server) Drain() { s.drainOnce.Do(func() { close(s.drain) }) }

// Wait waits until nothing of a stream is under way any more. It is called after the gRPC server has ended, and before the decider is
// closed.
func (s *Server) Wait() { s.streaming.Wait() }
