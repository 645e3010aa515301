package grpccheck

import (
	"context"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// tokenService is the one method of TokenService that a sidecar has.
type tokenService struct {
	jobwardv1.UnimplementedTokenServiceServer
	s *Server
}

// Introspect implements jobwardv1.TokenServiceServer.
func (t *tokenService) Introspect(ctx context.Context, in *jobwardv1.IntrospectRequest) (*jobwardv1.IntrospectResponse, error) {
	return t.s.decider.Introspect(ctx, in)
}
