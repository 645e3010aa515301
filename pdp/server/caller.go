package server

import (
	"context"
	"crypto/tls"
	"errors"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// caller tells who makes the call: by the client certificate of its connection or by
// the key in its "authorization" metadata, which go nowhere else. Nothing of it is
// remembered for a connection: a certificate costs a tenth of a microsecond and a key
// three, and a row that was taken out of the callers file counts at the next call.
func (s *Server) caller(ctx context.Context) (identity.Principal, error) {
	if s.everybody != nil {
		return *s.everybody, nil
	}
	var state *tls.ConnectionState
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			state = &info.State
		}
	}
	p, err := s.opt.Callers.Authenticate(state, metadata.ValueFromIncomingContext(ctx, "authorization"))
	if err == nil {
		return p, nil
	}
	code := CodeBadCredentials
	if errors.Is(err, identity.ErrNoCredentials) {
		code = CodeNoCredentials
	}
	return identity.Principal{}, authz.Errorf(authz.KindUnauthenticated, code, "%v", err)
}

// admit lets the caller through the door d, or says why not.
func (s *Server) admit(ctx context.Context, d *door) (identity.Principal, error) {
	if d.open {
		return identity.Principal{Name: "anybody"}, nil
	}
	p, err := s.caller(ctx)
	if err != nil {
		return p, err
	}
	if !p.Roles.Meets(d.roles) {
		return p, authz.Errorf(authz.KindForbidden, CodeRoleForbidden,
			"%s has the roles: %v; to call %s one of these is needed: %v", p.Name, p.Roles, d.name(), d.roles)
	}
	return p, nil
}

type callerKey struct{}

// withCaller keeps who calls for [actorOf].
func withCaller(ctx context.Context, p *identity.Principal) context.Context {
	return context.WithValue(ctx, callerKey{}, p)
}

// actorOf gives the engine's caller, acting for a user or, for zero, as itself.
func actorOf(ctx context.Context, user int64) engine.Actor {
	p := ctx.Value(callerKey{}).(*identity.Principal)
	return engine.Actor{Name: p.Name, User: authz.UserID(user), Admin: p.Roles.Has(identity.Admin)}
}
