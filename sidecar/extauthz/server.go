package extauthz

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/grpccheck"
)

// Judge decides requests; a [gate.Gate] is one. It is safe for concurrent use, and keeps nothing of a request.
type Judge interface {
	Judge(ctx context.Context, r *gate.Request) gate.Verdict
}

// Server answers Envoy. It is safe for concurrent use.
type Server struct {
	judge   Judge
	log     *slog.Logger
	calls   sync.Pool // of *call
	answers sync.Pool // of *answer
}

// call is the memory of one call, used again by later ones.
type call struct {
	in  inbox
	req gate.Request
}

// New makes a Server. The logger takes at Debug what is refused before it is judged, never with anything that a client sent; nil logs nothing.
func New(judge Judge, logger *slog.Logger) (*Server, error) {
	if judge == nil {
		return nil, errors.New("extauthz: a judge is needed")
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{judge: judge, log: logger}
	s.calls.New = func() any { return new(call) }
	s.answers.New = func() any { return &answer{pool: &s.answers} }
	return s, nil
}

// The names of Envoy's service. Its generated code is not linked: messages are read and written by hand, and with it come a hundred other files of
// Envoy's API, whose descriptions take five megabytes of every sidecar. So reflection names the service and cannot describe it.
const (
	serviceName = "envoy.service.auth.v3.Authorization"
	methodName  = "Check"
)

// Register registers the service on g, behind the doors of the sidecar's other services there.
func (s *Server) Register(g *grpc.Server, doors *grpccheck.Server) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName, HandlerType: (*any)(nil), Metadata: "envoy/service/auth/v3/external_auth.proto",
		Methods: []grpc.MethodDesc{{MethodName: methodName, Handler: doors.Hot("/"+serviceName+"/"+methodName, s.check)}},
	}, s)
}

// check answers one CheckRequest. An error is gRPC's own; what was wrong with the message is an answer.
func (s *Server) check(ctx context.Context, dec func(any) error, d *authz.Decision) (any, error) {
	c := s.calls.Get().(*call)
	if err := dec(&c.in); err != nil {
		return nil, err
	}
	out := s.answers.Get().(*answer)
	v := s.answer(ctx, c, out)
	d.Allow, d.Reason, d.Revision = v.Allow, v.Reason, v.Revision
	c.in.reset()
	c.req = gate.Request{}
	s.calls.Put(c) // not after a panic: then the collector has it
	return out, nil
}

// answer judges the request in c and words the answer.
func (s *Server) answer(ctx context.Context, c *call, out *answer) gate.Verdict {
	in := &c.in
	if why := in.wrong(); why != nil {
		return s.refuse(ctx, out, why)
	}
	// A copy, because what is kept of the path, in the cache for example, would keep the whole message.
	path, query, _ := strings.Cut(strings.Clone(in.path), "?")
	c.req.Method, c.req.Path, c.req.Query = in.method, path, query
	c.req.Header, c.req.Form = &in.headers, in.form()
	v := s.judge.Judge(ctx, &c.req)
	switch {
	case !v.Allow:
		out.deny(&v)
	case !out.allow(&v, in, query):
		return s.refuse(ctx, out, &unremovable)
	}
	return v
}

// refuse answers what was not judged, or cannot be let through.
func (s *Server) refuse(ctx context.Context, out *answer, why *wrong) gate.Verdict {
	s.log.DebugContext(ctx, "refused before it was judged", "why", why.text, "status", why.status)
	v := gate.Verdict{Status: why.status, Header: noStore, ContentType: "text/plain; charset=utf-8", Body: why.text}
	out.deny(&v)
	return v
}

var noStore = [][2]string{{"cache-control", "no-store"}}

// wrong is what makes a request one that is not judged.
type wrong struct {
	status int
	text   string
}

var (
	malformed   = wrong{400, "The authorization request cannot be decoded."}
	tooLarge    = wrong{413, "The authorization request is too large: have the proxy send less of the body."}
	noHTTP      = wrong{400, "The request has no HTTP attributes, no method or no path."}
	tooMany     = wrong{431, "The request has too many headers."}
	twoLogins   = wrong{400, "The request has several Authorization headers."}
	unremovable = wrong{400, "The query has a job token where it cannot be removed: put it into the header JOB-TOKEN."}
)

// wrong gives what keeps the request from being judged; nil for nothing.
func (in *inbox) wrong() *wrong {
	switch {
	case in.err != nil && wire.AsError(in.err).Kind == authz.KindExhausted:
		return &tooLarge
	case in.err != nil:
		return &malformed
	case !in.http || in.method == "" || in.path == "":
		return &noHTTP
	case in.many:
		return &tooMany
	case in.headers.ambiguous():
		return &twoLogins
	}
	return nil
}
