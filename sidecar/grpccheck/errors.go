package grpccheck

import (
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

func errDraining() error {
	return authz.Errorf(authz.KindUnavailable, wire.CodeDraining, "this sidecar is stopping: connect again")
}

func errPanic() error {
	return authz.Errorf(authz.KindInternal, wire.CodePanic, "something went wrong in the sidecar; its log has the details")
}

func errElsewhere(method string) error {
	return wire.Unimplemented(wire.CodeMethodUnknown,
		"a sidecar answers Check, BatchCheck, CheckStream and Introspect; call the policy decision point itself for "+method)
}

func errOff(method string) error {
	return wire.Unimplemented(wire.CodeMethodUnknown, "the settings of this sidecar leave out "+method)
}
