package server

import (
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

func errDraining() error {
	return authz.Errorf(authz.KindUnavailable, wire.CodeDraining, "this policy decision point is stopping: connect again")
}

func errPanic() error {
	return authz.Errorf(authz.KindInternal, wire.CodePanic, "something went wrong in the server; its log has the details")
}
