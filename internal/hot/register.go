package hot

import (
	"context"

	"google.golang.org/grpc"
)

// Registrar registers services on g with every unary method wrapped: wrap gives the
// handler of a method ("/package.Service/Method") around the generated one. It has to
// receive by [Receive] or into an [Inbound], because the [Codec] hands no error back.
func Registrar(g *grpc.Server, wrap func(method string, h grpc.MethodHandler) grpc.MethodHandler) grpc.ServiceRegistrar {
	return registrar{g, wrap}
}

type registrar struct {
	g    *grpc.Server
	wrap func(string, grpc.MethodHandler) grpc.MethodHandler
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	own := *desc
	own.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		own.Methods[i] = grpc.MethodDesc{MethodName: m.MethodName, Handler: r.wrap("/"+desc.ServiceName+"/"+m.MethodName, m.Handler)}
	}
	r.g.RegisterService(&own, impl)
}

// Stream gives a stream whose messages are received by [Receive], and whose context is
// ctx.
func Stream(ctx context.Context, ss grpc.ServerStream) grpc.ServerStream { return &stream{ss, ctx} }

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *stream) RecvMsg(m any) error { return Receive(s.ServerStream.RecvMsg, m) }
