package authz

// Reason is why a question was answered as it was. Every denial has exactly one,
// every allow names what allowed it (P8). Reasons cross the wire and stand in
// logs, so they are only ever appended.
type Reason uint8

// The reasons. The zero Reason is no answer at all and is never given out.
const (
	ReasonNone Reason = iota

	// The token (SEMANTICS §3 steps 1 to 3).
	TokenMalformed
	TokenUnknown
	TokenReplaced
	TokenExpired
	HeartbeatLapsed
	// The job and its project (§3 steps 4 to 6, §5).
	JobNotRunning
	JobErased
	SourceGone
	// The user (§6.2).
	UserMissing
	UserBlocked
	UserDeactivated
	UserBanned
	UserPendingApproval
	// The question: what the job limited itself to, and what exists.
	LimitedPermission
	LimitedTarget
	PermissionUnknown
	SurfaceClosed
	TargetNotFound
	OwnProjectOnly
	// Scope and visibility (§§7, 8).
	OutboundNotListed
	InboundNotListed
	PublicSetOnly
	PushDisabled
	// Features and roles (§8).
	FeatureIsDisabled
	FeatureMembersOnly
	PipelinesNotPublic
	NotMember
	RoleTooLow
	// The state of the target (§14).
	TargetArchived
	TargetReadOnly
	// Fine-grained permissions (§9).
	PolicyMissing
	PolicyUndeclared

	// What a sidecar says without asking (PROTOCOL R17).
	LeaseLapsed

	// The allows: the job asks about itself; its own project; a target open to
	// everybody who asks; a role, with an entry, with the list off, or where lists do
	// not apply.
	AllowedOwnJob
	AllowedSelf
	AllowedOpen
	AllowedListed
	AllowedListOff
	AllowedExempt

	// A question that showed no token (Nobody), refused where one could have helped. It
	// stands here because numbers that have crossed a wire are never given out again.
	TokenMissing

	numReasons
)

// NumReasons is the number of reasons, ReasonNone included.
const NumReasons = int(numReasons)

var reasons = [numReasons]struct{ name, text string }{
	ReasonNone:          {"none", "no answer was reached"},
	TokenMalformed:      {"token_malformed", "what was shown is not a job token"},
	TokenUnknown:        {"token_unknown", "no job has this token"},
	TokenReplaced:       {"token_replaced", "a later token was issued for the same job"},
	TokenExpired:        {"token_expired", "the token's time is over"},
	HeartbeatLapsed:     {"heartbeat_lapsed", "the runner of the job stopped saying that it runs"},
	JobNotRunning:       {"job_not_running", "the job is not running"},
	JobErased:           {"job_erased", "the job was erased"},
	SourceGone:          {"source_gone", "the job's project does not exist or is being deleted"},
	UserMissing:         {"user_missing", "the user who caused the job does not exist"},
	UserBlocked:         {"user_blocked", "the user who caused the job is blocked"},
	UserDeactivated:     {"user_deactivated", "the user who caused the job is deactivated"},
	UserBanned:          {"user_banned", "the user who caused the job is banned"},
	UserPendingApproval: {"user_pending_approval", "the user who caused the job awaits approval"},
	LimitedPermission:   {"limited_permission", "the job limited itself to other permissions"},
	LimitedTarget:       {"limited_target", "the job limited itself to other targets"},
	PermissionUnknown:   {"permission_unknown", "the catalogue has no such permission"},
	SurfaceClosed:       {"surface_closed", "this kind of access takes no job token"},
	TargetNotFound:      {"target_not_found", "the target project does not exist or is being deleted"},
	OwnProjectOnly:      {"own_project_only", "this is allowed in the job's own project only"},
	OutboundNotListed:   {"outbound_not_listed", "the source limits its outbound access and does not list the target"},
	InboundNotListed:    {"inbound_not_listed", "the target's inbound allowlist does not let the source in"},
	PublicSetOnly:       {"public_set_only", "a source that is not on the target's inbound allowlist has only what is open to everybody"},
	PushDisabled:        {"push_disabled", "the target has not switched on pushes with this job token"},
	FeatureIsDisabled:   {"feature_disabled", "the target has switched the feature off"},
	FeatureMembersOnly:  {"feature_members_only", "the target keeps the feature to members let in by its allowlist"},
	PipelinesNotPublic:  {"pipelines_not_public", "the target does not show its pipelines to the public or to guests"},
	NotMember:           {"not_member", "the user is no member of the target"},
	RoleTooLow:          {"role_too_low", "the user's role on the target is too low"},
	TargetArchived:      {"target_archived", "the target is archived or scheduled for deletion"},
	TargetReadOnly:      {"target_read_only", "the target takes no changes now"},
	PolicyMissing:       {"policy_missing", "the nearest allowlist entry does not grant the permission"},
	PolicyUndeclared:    {"policy_undeclared", "the nearest allowlist entry is fine-grained and this access declares no permission to grant"},
	LeaseLapsed:         {"lease_lapsed", "the sidecar has lost touch with the policy decision point"},
	AllowedOwnJob:       {"allowed_own_job", "any live token may ask about its own job"},
	AllowedSelf:         {"allowed_self", "the job's own project, and the user's role"},
	AllowedOpen:         {"allowed_open", "the target is open to everybody who may see it"},
	AllowedListed:       {"allowed_listed", "the target's allowlist lets the source in, and the user's role"},
	AllowedListOff:      {"allowed_list_off", "the target's allowlist is off, and the user's role"},
	AllowedExempt:       {"allowed_exempt", "allowlists do not apply to this target, and the user's role"},
	TokenMissing:        {"token_missing", "no job token was shown, and this is not open to everybody"},
}

// Allows reports whether the reason is that of an allow.
func (r Reason) Allows() bool { return r >= AllowedOwnJob && r <= AllowedExempt }

// Dead reports whether the reason is that of a token which opens nothing anywhere:
// to the outside such a refusal is 401, even on public data (SEMANTICS §0.4). So is
// [TokenMissing], which is no token's.
func (r Reason) Dead() bool { return r >= TokenMalformed && r <= SourceGone }

// String gives the stable snake_case name.
func (r Reason) String() string {
	if r < numReasons {
		return reasons[r].name
	}
	return "reason_unknown"
}

// Text gives one phrase for people.
func (r Reason) Text() string {
	if r < numReasons {
		return reasons[r].text
	}
	return "unknown reason"
}

// ParseReason finds a reason by its name.
func ParseReason(s string) (Reason, bool) {
	for i, e := range reasons {
		if e.name == s {
			return Reason(i), true
		}
	}
	return ReasonNone, false
}
