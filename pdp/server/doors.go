package server

import (
	"slices"
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
	// roles may call it. Admin is in every row that any role is in: operators can do by
	// hand what anybody does.
	roles identity.RoleSet
	// open doors ask nobody who they are.
	open bool
	why  string

	// hot methods are about decisions on the hot path: no rule of a proto file is looked at,
	// and tracing is by traceparent.
	hot bool
	// fresh methods tell what there is: with several PDPs they catch up first, so that what
	// one was told is there to be read at every other.
	fresh bool
	// byHand methods have messages that the engine checks itself, or none of our rules.
	byHand bool

	inFlight atomic.Int64
	meters   doorMeters
}

// name is the method without the leading slash, as logs, spans and metrics have it.
func (d *door) name() string { return strings.TrimPrefix(d.method, "/") }

// short is the method alone.
func (d *door) short() string { return d.method[strings.LastIndexByte(d.method, '/')+1:] }

// doors is the table of who may call what.
func doors() []*door {
	all := slices.Concat(decisionDoors(), tokenDoors(), allowlistDoors(), directoryDoors(), directoryReadDoors(), watchDoors(), peerDoors(), otherDoors())
	for _, d := range all {
		switch name := d.short(); name {
		case "GetStatus", "ListSidecars", "ListReplicas": // about this PDP, also when the store is gone
		default:
			d.fresh = name == "Explain" || strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List")
		}
	}
	return all
}

// only gives the roles named, and admin.
func only(roles ...identity.Role) identity.RoleSet {
	return identity.Roles(append(roles, identity.Admin)...)
}

// decisionDoors are those of DecisionService.
func decisionDoors() []*door {
	askers := only(identity.Service, identity.Sidecar)
	return []*door{
		{method: jobwardv1.DecisionService_Check_FullMethodName, hot: true, byHand: true, roles: askers,
			why: "whoever guards something asks about the tokens that it is shown"},
		{method: jobwardv1.DecisionService_BatchCheck_FullMethodName, hot: true, byHand: true, roles: askers,
			why: "as Check, many questions at once"},
		{method: jobwardv1.DecisionService_CheckStream_FullMethodName, hot: true, byHand: true, roles: askers,
			why: "as Check, on a stream that is held"},
		{method: jobwardv1.DecisionService_Explain_FullMethodName, roles: only(),
			why: "it tells roles and lists of any project, and about jobs whose token the caller never saw"},
	}
}

// tokenDoors are those of TokenService.
func tokenDoors() []*door {
	runners, askers := only(identity.Runner), only(identity.Service, identity.Sidecar)
	return []*door{
		{method: jobwardv1.TokenService_Issue_FullMethodName, roles: runners,
			why: "who starts jobs gives them their tokens"},
		{method: jobwardv1.TokenService_Revoke_FullMethodName, roles: runners,
			why: "who starts jobs knows when they end"},
		{method: jobwardv1.TokenService_KeepAlive_FullMethodName, roles: runners,
			why: "a runner speaks for its own jobs"},
		{method: jobwardv1.TokenService_Introspect_FullMethodName, roles: askers,
			why: "whoever is shown a token may know whose it is"},
		{method: jobwardv1.TokenService_Reconcile_FullMethodName, roles: runners,
			why: "who starts jobs knows which ones run"},
		{method: jobwardv1.TokenService_GetJob_FullMethodName, roles: runners,
			why: "who starts jobs may look at what it reported"},
		{method: jobwardv1.TokenService_ListJobs_FullMethodName, roles: runners,
			why: "as GetJob"},
	}
}

// allowlistDoors are those of AllowlistService.
func allowlistDoors() []*door {
	maintainers := only(identity.Maintainer)
	return []*door{
		{method: jobwardv1.AllowlistService_GetAllowlist_FullMethodName, roles: maintainers,
			why: "front ends read lists for the user they name, whose role the engine judges"},
		{method: jobwardv1.AllowlistService_UpdateSettings_FullMethodName, roles: maintainers,
			why: "front ends edit for the user they name, whose role the engine judges"},
		{method: jobwardv1.AllowlistService_AddEntry_FullMethodName, roles: maintainers,
			why: "as UpdateSettings"},
		{method: jobwardv1.AllowlistService_UpdateEntry_FullMethodName, roles: maintainers,
			why: "as UpdateSettings"},
		{method: jobwardv1.AllowlistService_RemoveEntry_FullMethodName, roles: maintainers,
			why: "as UpdateSettings"},
		{method: jobwardv1.AllowlistService_ListEntries_FullMethodName, roles: maintainers,
			why: "as GetAllowlist"},
		{method: jobwardv1.AllowlistService_ListListings_FullMethodName, roles: maintainers,
			why: "as GetAllowlist"},
	}
}

// directoryDoors are those of DirectoryService that change something.
func directoryDoors() []*door {
	forges := only(identity.Directory)
	return []*door{
		{method: jobwardv1.DirectoryService_ApplyChanges_FullMethodName, roles: forges,
			why: "the forge says what there is"},
		{method: jobwardv1.DirectoryService_SyncWorld_FullMethodName, byHand: true, roles: forges,
			why: "the forge says all that there is"},
		{method: jobwardv1.DirectoryService_BeginProjectDeletion_FullMethodName, roles: forges,
			why: "the forge deletes projects"},
		{method: jobwardv1.DirectoryService_FinishProjectDeletion_FullMethodName, roles: forges,
			why: "the forge deletes projects"},
		{method: jobwardv1.DirectoryService_BlockUser_FullMethodName, roles: forges,
			why: "the forge blocks users"},
		{method: jobwardv1.DirectoryService_UnblockUser_FullMethodName, roles: forges,
			why: "the forge unblocks users"},
		{method: jobwardv1.DirectoryService_UpdateInstanceSettings_FullMethodName, roles: only(identity.Maintainer),
			why: "front ends edit for an instance administrator, whom the engine wants to see"},
		{method: jobwardv1.DirectoryService_UpdateCatalogue_FullMethodName, roles: only(),
			why: "it decides what every permission means"},
	}
}

// directoryReadDoors are the others of DirectoryService.
func directoryReadDoors() []*door {
	forges, readers := only(identity.Directory), only(identity.Directory, identity.Maintainer)
	return []*door{
		{method: jobwardv1.DirectoryService_GetGroup_FullMethodName, roles: readers,
			why: "front ends find the id that an allowlist entry needs"},
		{method: jobwardv1.DirectoryService_GetProject_FullMethodName, roles: readers,
			why: "front ends find the id of a project by its path"},
		{method: jobwardv1.DirectoryService_GetUser_FullMethodName, roles: readers,
			why: "front ends see that the user they act for is known"},
		{method: jobwardv1.DirectoryService_ListGroups_FullMethodName, roles: forges,
			why: "the whole directory is for who keeps it"},
		{method: jobwardv1.DirectoryService_ListProjects_FullMethodName, roles: forges,
			why: "the whole directory is for who keeps it"},
		{method: jobwardv1.DirectoryService_ListUsers_FullMethodName, roles: forges,
			why: "the whole directory is for who keeps it"},
		{method: jobwardv1.DirectoryService_ListMembers_FullMethodName, roles: forges,
			why: "memberships are for who keeps the directory"},
		{method: jobwardv1.DirectoryService_GetInstanceSettings_FullMethodName, roles: readers,
			why: "front ends show what is enforced, and the limits"},
		{method: jobwardv1.DirectoryService_GetCatalogue_FullMethodName, roles: readers,
			why: "front ends show what an entry can grant"},
		{method: jobwardv1.DirectoryService_GetStatus_FullMethodName, roles: identity.AllRoles(),
			why: "every caller may know the revision, which Reconcile and SyncWorld need"},
	}
}

// watchDoors are those of WatchService.
func watchDoors() []*door {
	sidecars := only(identity.Sidecar)
	return []*door{
		{method: jobwardv1.WatchService_Watch_FullMethodName, roles: sidecars,
			why: "what a sidecar keeps is to be true"},
		{method: jobwardv1.WatchService_Report_FullMethodName, roles: sidecars,
			why: "what a sidecar answered by itself is to be counted"},
		{method: jobwardv1.WatchService_AwaitReceipt_FullMethodName, roles: only(identity.Runner, identity.Directory, identity.Maintainer),
			why: "whoever changes something may wait for its receipt again"},
		{method: jobwardv1.WatchService_ListSidecars_FullMethodName, roles: only(),
			why: "it tells what caches there are, and how busy"},
		{method: jobwardv1.WatchService_Tail_FullMethodName, roles: only(),
			why: "it tells who asks and changes what"},
	}
}

// peerDoors are those of PeerService.
func peerDoors() []*door {
	return []*door{
		{method: jobwardv1.PeerService_Settle_FullMethodName, roles: only(identity.Peer),
			why: "the other policy decision points ask on behalf of receipts"},
		{method: jobwardv1.PeerService_ListReplicas_FullMethodName, roles: only(),
			why: "it tells what policy decision points there are, and where"},
	}
}

// otherDoors are those of the audit log, and of gRPC's own services.
func otherDoors() []*door {
	return []*door{
		{method: jobwardv1.AuditService_ListEvents_FullMethodName, roles: only(),
			why: "it tells who did what"},
		{method: healthpb.Health_Check_FullMethodName, open: true, byHand: true,
			why: "load balancers and probes have no credentials, and it says nothing but yes or no"},
		{method: healthpb.Health_List_FullMethodName, open: true, byHand: true,
			why: "as Check of health"},
		{method: healthpb.Health_Watch_FullMethodName, open: true, byHand: true,
			why: "as Check of health"},
		{method: reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName, open: true, byHand: true,
			why: "it tells the shape of the API, which is public, where the operator serves it at all"},
		{method: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", open: true, byHand: true,
			why: "the same for older tools"},
	}
}

// unlistedDoor is what methods without a row pass: any caller that is known is told
// that there is no such thing.
func unlistedDoor() *door {
	return &door{method: "/unlisted", byHand: true, roles: identity.AllRoles(), why: "nothing is behind it"}
}
