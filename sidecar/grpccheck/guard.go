package grpccheck

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"

	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// guard is what every call but the unary ones of the hot path goes through: admission, run, and then metrics, log and the translation of the
// error. A method without a row in the table does not run.
func (s *Server) guard(ctx context.Context, method string, run func(context.Context) error) error {
	d := s.doors[method]
	if d == nil {
		d, run = s.elsewhere, func(context.Context) error { return errElsewhere(method) }
	}
	start := time.Now()
	s.meters.begin(d)
	p, err := s.admit(ctx, d)
	if err == nil {
		err = s.recovered(context.WithValue(ctx, callerKey{}, p.Name), run)
	}
	return s.finish(ctx, d, p.Name, start, err)
}

type callerKey struct{}

// recovered makes an error of a panic.
func (s *Server) recovered(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked(ctx, r)
		}
	}()
	return run(ctx)
}

// admit lets the caller through the door d, or says why not.
func (s *Server) admit(ctx context.Context, d *door) (identity.Principal, error) {
	if d.open {
		return identity.Principal{Name: "anybody"}, nil
	}
	if s.everybody != nil {
		return *s.everybody, nil // it has every role
	}
	p, err := serving.Caller(ctx, s.opt.Callers)
	if err != nil {
		return p, err
	}
	if !p.Roles.Meets(d.roles) {
		return p, authz.Errorf(authz.KindForbidden, wire.CodeRoleForbidden,
			"%s has the roles: %v; to call %s one of these is needed: %v", p.Name, p.Roles, d.name(), d.roles)
	}
	return p, nil
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
	if authz.KindOf(wire.AsError(err)) == authz.KindInternal && d != s.elsewhere {
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
	s.log.ErrorContext(ctx, "panic in a call; the call failed and the sidecar goes on", "panic", p, "stack", string(debug.Stack()))
	return errPanic()
}

// interceptUnary takes the calls of services that were registered on the gRPC server itself; those of the Registrar have their own way in.
func (s *Server) interceptUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	err = s.guard(ctx, info.FullMethod, func(ctx context.Context) (err error) {
		resp, err = h(ctx, req)
		return err
	})
	return resp, err
}

// interceptStream takes all streams.
func (s *Server) interceptStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	return s.guard(ss.Context(), info.FullMethod, func(ctx context.Context) error { return h(srv, hot.Stream(ctx, ss)) })
}

// guarded puts the guard before the decoding of a unary method's request, so that nothing of a caller who may not call is decoded.
func (s *Server) guarded(method string, h grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		err = s.guard(ctx, method, func(ctx context.Context) (err error) {
			resp, err = h(srv, ctx, func(m any) error { return hot.Receive(dec, m) }, nil)
			return err
		})
		return resp, err
	}
}

// unknownMethod answers for what is not registered: it may have a row all the same, when the settings leave it out.
func (s *Server) unknownMethod(_ any, ss grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(ss)
	if s.doors[method] != nil {
		return errOff(method)
	}
	return errElsewhere(method)
}
