package server

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors"
	validation "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/selector"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// guard is what every call goes through: admission, run, and then metrics, log and
// the translation of the error. A method without a row in the table does not run.
func (s *Server) guard(ctx context.Context, method string, run func(context.Context) error) error {
	d := s.doors[method]
	if d == nil {
		d, run = s.unlisted, func(context.Context) error {
			return wire.Unimplemented(wire.CodeMethodUnknown, "there is no method "+method)
		}
	}
	start := time.Now()
	s.meters.begin(d)
	p, err := s.admit(ctx, d)
	if err == nil && d.fresh && s.opt.Replica != nil {
		err = s.engine.CatchUp(ctx)
	}
	if err == nil {
		err = run(withCaller(ctx, &p))
	}
	return s.finish(ctx, d, p.Name, start, err)
}

// finish counts and logs a call, and gives its error as it leaves.
func (s *Server) finish(ctx context.Context, d *door, caller string, start time.Time, err error) error {
	took := time.Since(start)
	if err == nil {
		s.meters.end(ctx, d, took, nil)
		return nil
	}
	out := wire.ToStatus(err)
	s.meters.end(ctx, d, took, out)
	level := slog.LevelDebug
	if authz.KindOf(wire.AsError(err)) == authz.KindInternal && d != s.unlisted {
		level = slog.LevelError
	}
	if s.log.Enabled(ctx, level) {
		e := wire.AsError(err)
		s.log.Log(ctx, level, "call failed", "method", d.name(), "caller", caller, "code", e.Code, "error", e, "took", took)
	}
	return out
}

// panicked logs a panic and gives the error to answer with.
func (s *Server) panicked(ctx context.Context, p any) error {
	s.log.ErrorContext(ctx, "panic in a call; the call failed and the server goes on", "panic", p, "stack", string(debug.Stack()))
	return errPanic()
}

// chain is what stands between the guard and a method.
type chain struct {
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor
}

// newChain makes the chain: recovery, then validation by the rules in the proto files
// for the methods that have such.
func (s *Server) newChain() (chain, error) {
	rules, err := protovalidate.New()
	if err != nil {
		return chain{}, err
	}
	v := validator{rules}
	recovered := recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error { return s.panicked(ctx, p) })
	byRules := selector.MatchFunc(func(_ context.Context, c interceptors.CallMeta) bool {
		d := s.doors[c.FullMethod()]
		return d != nil && !d.byHand
	})
	unary := [2]grpc.UnaryServerInterceptor{
		recovery.UnaryServerInterceptor(recovered),
		selector.UnaryServerInterceptor(validation.UnaryServerInterceptor(v), byRules),
	}
	stream := [2]grpc.StreamServerInterceptor{
		recovery.StreamServerInterceptor(recovered),
		selector.StreamServerInterceptor(validation.StreamServerInterceptor(v), byRules),
	}
	return chain{
		unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			return unary[0](ctx, req, info, func(ctx context.Context, req any) (any, error) { return unary[1](ctx, req, info, h) })
		},
		stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return stream[0](srv, ss, info, func(srv any, ss grpc.ServerStream) error { return stream[1](srv, ss, info, h) })
		},
	}, nil
}

// validator runs the rules, unless the message is [plain]. Of a large message it gives the first violation only:
// making them all can cost thousands of times what decoding it did.
type validator struct{ protovalidate.Validator }

// Validate implements protovalidate.Validator.
func (v validator) Validate(m proto.Message, opts ...protovalidate.ValidationOption) error {
	if plain(m) {
		return nil
	}
	if proto.Size(m) > hot.LargeMessage {
		opts = append(opts, protovalidate.WithFailFast())
	}
	return v.Validator.Validate(m, opts...)
}

// interceptUnary takes the calls of services that were registered on the gRPC server
// itself; those of the Registrar have their own way in.
func (s *Server) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	err = s.guard(ctx, info.FullMethod, func(ctx context.Context) (err error) {
		resp, err = s.chain.unary(ctx, req, info, h)
		return err
	})
	return resp, err
}

// interceptStream takes all streams.
func (s *Server) interceptStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	return s.guard(ss.Context(), info.FullMethod, func(ctx context.Context) error {
		return s.chain.stream(srv, hot.Stream(ctx, ss), info, h)
	})
}

// guarded puts the guard before the decoding of a unary method's request, so that
// nothing of a caller who may not call is decoded.
func (s *Server) guarded(method string, h grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		err = s.guard(ctx, method, func(ctx context.Context) (err error) {
			resp, err = h(srv, ctx, func(m any) error { return hot.Receive(dec, m) }, s.chain.unary)
			return err
		})
		return resp, err
	}
}

func unknownMethod(_ any, _ grpc.ServerStream) error {
	return wire.Unimplemented(wire.CodeMethodUnknown, "there is no such method")
}
