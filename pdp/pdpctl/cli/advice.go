package cli

import (
	"fmt"
	"strings"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// remedies say in one sentence what would change a denial, and who can do it.
var remedies = map[authz.Reason]string{
	authz.TokenMalformed:      "show the text that Issue gave, whole; a shell variable that is empty or masked looks like this",
	authz.TokenUnknown:        "ask the PDP that issued the token; a job that ended long ago is forgotten",
	authz.TokenReplaced:       "use the token of the job's newest Issue",
	authz.TokenExpired:        "the runner issues the job's token with a longer timeout",
	authz.HeartbeatLapsed:     "nothing for this job; its runner must send KeepAlive within the term",
	authz.JobNotRunning:       "nothing: a token opens something only while its job runs; start a new job",
	authz.JobErased:           "nothing: the job was erased; start a new one",
	authz.SourceGone:          "nothing for this job: its project is gone or going",
	authz.UserMissing:         "the directory has to know the user who caused the job",
	authz.UserBlocked:         "an administrator unblocks the user, and the job is started anew",
	authz.UserDeactivated:     "an administrator activates the user, and the job is started anew",
	authz.UserBanned:          "an administrator lifts the ban, and the job is started anew",
	authz.UserPendingApproval: "an administrator approves the user",
	authz.LimitedPermission:   "the job's definition asks for this permission too",
	authz.LimitedTarget:       "the job's definition asks for this target too",
	authz.PermissionUnknown:   "name a permission of the catalogue: pdpctl catalogue get",
	authz.SurfaceClosed:       "use another kind of access; this one takes no job token",
	authz.TargetNotFound:      "check the target's id or path; it may have been moved or deleted",
	authz.OwnProjectOnly:      "do this from a job of the target project itself",
	authz.OutboundNotListed:   "a maintainer of the job's project adds the target to its outbound list",
	authz.InboundNotListed:    "a maintainer of the target adds the job's project, or a group above it, to its inbound allowlist",
	authz.PublicSetOnly:       "a maintainer of the target adds the job's project, or a group above it, to its inbound allowlist",
	authz.PushDisabled:        "a maintainer of the target switches on pushes by job token (and keeps its inbound list on for other projects)",
	authz.FeatureIsDisabled:   "a maintainer of the target switches the feature on",
	authz.FeatureMembersOnly:  "a maintainer of the target adds the job's project to its inbound allowlist, or opens the feature",
	authz.PipelinesNotPublic:  "the user gets the reporter role on the target, or a maintainer makes its pipelines public",
	authz.NotMember:           "an owner of the target makes the user a member",
	authz.RoleTooLow:          "an owner of the target gives the user a higher role",
	authz.TargetArchived:      "a maintainer of the target restores it",
	authz.TargetReadOnly:      "wait until the target takes changes again",
	authz.PolicyMissing:       "a maintainer of the target grants it in the allowlist entry that is nearest to the job's project",
	authz.PolicyUndeclared:    "a maintainer of the target gives the nearest allowlist entry default permissions",
	authz.LeaseLapsed:         "the sidecar has to reach a PDP again",
	authz.TokenMissing:        "show the token of a running job, as far as that one may",
}

// advice says what would help against a denial; empty for an allow.
func advice(d *jobwardv1.Decision) string {
	reason, _ := wire.ReasonFromProto(d.GetReason())
	text := remedies[reason]
	switch {
	case text == "":
	case d.GetNeededRole() != jobwardv1.Role_ROLE_UNSPECIFIED:
		text += fmt.Sprintf(" (needed: %s)", enum("ROLE", d.GetNeededRole()))
	case len(d.GetMissingPolicies()) > 0:
		text += fmt.Sprintf(" (missing: %s)", strings.Join(d.GetMissingPolicies(), ", "))
	case d.GetFeature() != jobwardv1.Feature_FEATURE_UNSPECIFIED:
		text += fmt.Sprintf(" (feature: %s)", enum("FEATURE", d.GetFeature()))
	}
	return text
}
