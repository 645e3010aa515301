package server

import (
	"cmp"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/replica"
)

// Defaults of [Options].
const (
	DefaultMaxMessage = 8 << 20
	DefaultMaxUnknown = 10_000
)

// streamWorkers is how many goroutines wait for calls. A call that finds none gets a
// goroutine of its own; one that does saves the growing of a fresh stack, a tenth of
// the cost of an empty call. Held streams keep theirs.
const streamWorkers = 64

// Options are what a Server is made of.
type Options struct {
	// Engine carries out what is called. It stays the caller's.
	Engine *engine.Engine
	// MaxInterest is how many keys of a sidecar's carried entries are taken; the same as
	// the feed's. Zero takes lease.DefaultMaxInterest.
	MaxInterest int
	// Replica is this PDP as one of several on a store; nil where it is the only one, and
	// PeerService answers that with NOT_REPLICATED. Now is the clock that it goes by, and
	// Fence its F of R8; zero takes replica.DefaultFence.
	Replica Replica
	Now     func() lease.Instant
	Fence   time.Duration
	// Canary measures how long a dead token lives at the sidecars, see [Canary].
	Canary Canary
	// Tokens knows a job token by looking; the same as the engine's.
	Tokens *token.Format
	// Callers tells who calls. An [identity.Development] makes this a server in
	// development mode, which it says in GetStatus.
	Callers identity.Authenticator
	// MaxMessage is the largest request in bytes; zero takes DefaultMaxMessage.
	MaxMessage int
	// MaxUnknown is how many unknown tokens one caller may show in a second. Beyond it
	// "unknown" is not told any more: the call fails with RESOURCE_EXHAUSTED, which
	// means "could not decide". Tokens that are known are answered all the same. Zero
	// takes DefaultMaxUnknown, less than zero sets no limit.
	MaxUnknown int
	// Reflection registers gRPC reflection as well.
	Reflection bool
	// Version of the program, for GetStatus.
	Version string
	// Logger takes faults at Error, and every refused call and every denial at Debug.
	// Nil logs nothing.
	Logger *slog.Logger
	// Meters makes the instruments of metrics.go; nil measures nothing.
	Meters metric.MeterProvider
	// Producers takes those that are too costly to count there; nil tells nobody.
	Producers *telemetry.Producers
	// Tracers makes spans. Nil makes none and costs nothing: leave it nil unless spans are
	// exported. With it, calls of a decision get a span only when their traceparent is
	// sampled; all others are traced by otelgrpc. That is a stats handler, of which gRPC
	// makes every call pay: measured, a Check that is not sampled costs a third to a half
	// of an empty call more, one that is sampled three quarters.
	Tracers trace.TracerProvider
	// Propagator reads the trace context of calls; nil takes W3C trace context.
	Propagator propagation.TextMapPropagator
}

// Server is the services of a PDP. It is safe for concurrent use.
type Server struct {
	opt       Options
	engine    *engine.Engine
	feed      *feed.Feed
	log       *slog.Logger
	doors     map[string]*door
	unlisted  *door // of methods that nobody registered
	everybody *identity.Principal
	chain     chain
	meters    *meters
	tracer    hot.Tracer
	ids       hot.IDs
	unknown   *hot.Flood
	scratch   sync.Pool // of *scratch
	outboxes  hot.Outboxes
	lanes     lanes
	tails     tails
	canaries  canaries
	reports   reports
	started   time.Time

	drain     chan struct{}
	drainOnce sync.Once
	ceased    atomic.Pointer[error] // what every call gets since Cease
}

// New makes a Server.
func New(opt Options) (*Server, error) {
	if opt.Engine == nil || opt.Tokens == nil || opt.Callers == nil {
		return nil, errors.New("server: engine, tokens and callers are needed")
	}
	if opt.Replica != nil && opt.Now == nil {
		return nil, errors.New("server: the replica's clock is needed")
	}
	opt.Fence = cmp.Or(opt.Fence, replica.DefaultFence)
	opt.MaxMessage = cmp.Or(opt.MaxMessage, DefaultMaxMessage)
	opt.MaxUnknown = cmp.Or(opt.MaxUnknown, DefaultMaxUnknown)
	opt.MaxInterest = cmp.Or(opt.MaxInterest, lease.DefaultMaxInterest)
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
		opt: opt, engine: opt.Engine, feed: opt.Engine.Feed(), log: opt.Logger, doors: map[string]*door{}, unlisted: unlistedDoor(), ids: hot.NewIDs(),
		unknown: hot.NewFlood(opt.MaxUnknown), started: time.Now(), drain: make(chan struct{}),
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
		s.tracer = hot.Tracer{Propagator: opt.Propagator, Tracer: opt.Tracers.Tracer("github.com/jobward/jobward/pdp/server")}
	}
	var err error
	if s.meters, err = newMeters(opt.Meters, s); err != nil {
		return nil, err
	}
	if s.chain, err = s.newChain(); err != nil {
		return nil, err
	}
	s.scratch.New = func() any { return new(scratch) }
	return s, nil
}

// ServerOptions gives the options that a gRPC server needs to serve s. They have to
// come after any other of the same kind.
func (s *Server) ServerOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(hot.NewCodec(s.opt.MaxMessage)),
		// The codec refuses what is over the limit and says so properly; gRPC what is over
		// twice that, before it is in memory.
		grpc.MaxRecvMsgSize(2 * s.opt.MaxMessage),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.UnaryInterceptor(s.interceptUnary),
		grpc.StreamInterceptor(s.interceptStream),
		grpc.UnknownServiceHandler(unknownMethod),
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

// Register registers all services of the PDP, and reflection where that is wanted.
// Health is the daemon's.
func (s *Server) Register(g *grpc.Server) {
	r := s.Registrar(g)
	jobwardv1.RegisterDecisionServiceServer(r, &decisionService{s: s})
	jobwardv1.RegisterTokenServiceServer(r, &tokenService{s: s})
	jobwardv1.RegisterAllowlistServiceServer(r, &allowlistService{s: s})
	jobwardv1.RegisterDirectoryServiceServer(r, &directoryService{s: s})
	jobwardv1.RegisterAuditServiceServer(r, &auditService{s: s})
	jobwardv1.RegisterWatchServiceServer(r, &watchService{s: s})
	jobwardv1.RegisterPeerServiceServer(r, &peerService{s: s})
	if s.opt.Reflection {
		reflection.Register(g)
	}
}

// Registrar registers services on g so that requests which cannot be decoded are
// answered properly. Services registered on g itself pass the same doors.
func (s *Server) Registrar(g *grpc.Server) grpc.ServiceRegistrar {
	return hot.Registrar(g, func(method string, h grpc.MethodHandler) grpc.MethodHandler {
		if fast := s.hotMethod(method); fast != nil {
			return fast
		}
		return s.guarded(method, h)
	})
}

// Cease makes every call that begins from now on fail with err, but for those of doors that are open to
// everybody, and ends the streams that callers hold open. Who is being told something has a moment to hear it before the server ends.
func (s *Server) Cease(err error) {
	s.ceased.Store(&err)
	s.Drain()
}

// Drain ends the streams that callers hold open, with UNAVAILABLE: they are to
// connect again, elsewhere. It is called when a server begins to stop gracefully,
// which waits for them. Sidecars that hold a lease are told, and their Watch streams end
// when the feed is closed, or when they have let go. Other calls go on.
func (s *Server) Drain() {
	s.drainOnce.Do(func() {
		s.feed.Moving()
		close(s.drain)
	})
}
