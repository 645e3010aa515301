package grpccheck

import (
	"context"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
)

// Decider is what the services answer from. It is safe for concurrent use; its errors are those of [authz.Decider].
type Decider interface {
	// Look answers from the cache, if it may at this moment and the answer is true in the history that least asks for; else it reports
	// false, and the question has to be asked. It does nothing else, and does not allocate.
	Look(req *authz.Request, least hot.Least, d *authz.Decision) bool
	// Ask answers what Look did not: one decision for each request.
	Ask(ctx context.Context, reqs []authz.Request, least hot.Least, ds []authz.Decision) error
	// Introspect tells whose token it is.
	Introspect(ctx context.Context, in *jobwardv1.IntrospectRequest) (*jobwardv1.IntrospectResponse, error)
	// Tokens knows a job token by looking, as the PDP does.
	Tokens(ctx context.Context) (*token.Format, error)
}
