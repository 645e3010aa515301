package server

import (
	"context"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// caller tells who makes the call. In development mode that is the same for every one.
func (s *Server) caller(ctx context.Context) (identity.Principal, error) {
	if s.everybody != nil {
		return *s.everybody, nil
	}
	return serving.Caller(ctx, s.opt.Callers)
}

// admit lets the caller through the door d, or says why not.
func (s *Server) admit(ctx context.Context, d *door) (identity.Principal, error) {
	if d.open {
		return identity.Principal{Name: "anybody"}, nil
	}
	if err := s.ceased.Load(); err != nil {
		return identity.Principal{}, *err
	}
	p, err := s.caller(ctx)
	if err != nil {
		return p, err
	}
	if p.User != 0 {
		return p, authz.Errorf(authz.KindForbidden, wire.CodeRoleForbidden,
			"%s acts for user %d and nobody else, by the REST API alone: here callers name the user that they act for", p.Name, p.User)
	}
	if !p.Roles.Meets(d.roles) {
		return p, authz.Errorf(authz.KindForbidden, wire.CodeRoleForbidden,
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
