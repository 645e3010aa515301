package grpccheck

import (
	"cmp"
	"strings"
	"sync/atomic"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
)

// door is one row of the table: a method, who may call it, and why.
type door struct {
	method string // "/package.Service/Method"
	// roles may call it. Admin may ask what a service may, so that an operator can look.
	roles identity.RoleSet
	// open doors ask nobody who they are.
	open bool
	why  string
	// label tells its metrics from those of another method with the same last name; empty: the last name.
	label string
	// hot methods are about decisions: a span only where the caller's traceparent is sampled.
	hot bool

	inFlight atomic.Int64
	meters   doorMeters
}

// name is the method without the leading slash, as logs, spans and metrics have it.
func (d *door) name() string { return strings.TrimPrefix(d.method, "/") }

// short is the method alone, as metrics have it.
func (d *door) short() string {
	return cmp.Or(d.label, d.method[strings.LastIndexByte(d.method, '/')+1:])
}

// doors is the table of who may call what. A sidecar is not asked by other sidecars: there would be a cache behind a cache, of which no
// receipt knows.
func doors() []*door {
	askers := identity.Roles(identity.Service, identity.Admin)
	return []*door{
		{method: jobwardv1.DecisionService_Check_FullMethodName, hot: true, roles: askers,
			why: "whoever guards something asks about the tokens that it is shown"},
		{method: jobwardv1.DecisionService_BatchCheck_FullMethodName, hot: true, roles: askers,
			why: "as Check, many questions at once"},
		{method: jobwardv1.DecisionService_CheckStream_FullMethodName, hot: true, roles: askers,
			why: "as Check, on a stream that is held"},
		{method: jobwardv1.TokenService_Introspect_FullMethodName, roles: askers,
			why: "whoever is shown a token may know whose it is"},
		{method: "/envoy.service.auth.v3.Authorization/Check", label: "ExtAuthz", hot: true, roles: askers, // package extauthz
			why: "an Envoy asks for the service behind it, and learns no more than a Check tells"},
		{method: healthpb.Health_Check_FullMethodName, open: true,
			why: "probes have no credentials, and it says nothing but yes or no"},
		{method: healthpb.Health_List_FullMethodName, open: true,
			why: "as Check of health"},
		{method: healthpb.Health_Watch_FullMethodName, open: true,
			why: "as Check of health"},
		{method: reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName, open: true,
			why: "it tells the shape of the API, which is public, where the operator serves it at all"},
		{method: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", open: true,
			why: "the same for older tools"},
	}
}

// elsewhereDoor is what the methods pass that are the PDP's alone, and those that do not exist: any caller that is known is told so.
func elsewhereDoor() *door {
	return &door{method: "/elsewhere", roles: identity.AllRoles(), why: "nothing is behind it"}
}
