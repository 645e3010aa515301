package authz

import (
	"context"
	"time"
)

// Permission is the name of something a job can be allowed to do, such as
// "read_packages". The catalogue (package policy) says which exist.
type Permission string

// Target names the project asked for, by id or by full path. Exactly one is set;
// when both are, the id counts.
type Target struct {
	ID ProjectID
	// Path is the full path, "group/sub/project", compared byte by byte.
	Path string
}

// Request is one question about one token.
type Request struct {
	// Token is the digest of the token shown. The zero digest says that what was
	// shown is no job token, [Nobody] that nothing was shown.
	Token Digest
	// Target is the project asked for.
	Target Target
	// Permission is what the job wants to do there.
	Permission Permission
	// Surface is the kind of door; SurfaceDefault takes the permission's own.
	Surface Surface
}

// Decision is the answer to one [Request]. The slices belong to the caller.
type Decision struct {
	// Allow is true exactly when Reason is one of the allowing ones.
	Allow bool
	// Reason is the one reason for the answer (P8).
	Reason Reason
	// Revision is the point in history that the question was judged at.
	Revision Revision
	// ValidFor bounds the answer by the token's own end (its timeout, or its
	// heartbeat term), counted from when the question was asked. It is zero when no
	// live token was found, and [VisitorTerm] for [Nobody], whom no end bounds. It is no
	// permission to cache: that needs a lease.
	ValidFor time.Duration

	// Job, Source and User tell whose token it was; zero when that was not found, and for
	// [Nobody].
	Job    JobID
	Source ProjectID
	User   UserID
	// Target is the project asked for; zero when there is none.
	Target ProjectID

	// Entry is the allowlist entry that let the source in, where one was needed.
	Entry Scope
	// Role is the user's highest role on the target, RoleScope where it comes from.
	// Both are filled as far as the walk had to look.
	Role      Role
	RoleScope Scope
	// Need is the least role that would have done, when Reason is NotMember or
	// RoleTooLow, or PipelinesNotPublic for want of one.
	Need Role
	// Feature is the one that closed the target, when Reason is FeatureIsDisabled or
	// FeatureMembersOnly.
	Feature Feature
	// Missing names the fine-grained permissions that the entry lacks, when Reason
	// is PolicyMissing. Read only.
	Missing []string

	// Keys are what the answer rests on (PROTOCOL R15). A cached answer has none: who
	// keeps it may not keep it from there.
	Keys []Key

	// Number counts the answers of a generation that may be kept in it; zero says that
	// this one must not be kept (PROTOCOL R3).
	Number uint64
	// Cached says that a cache gave the answer: it was judged at Revision, and nothing
	// that it rests on has changed since, up to what the cache has applied.
	Cached bool
}

// VisitorTerm is the ValidFor of every answer about [Nobody]. There is no token that
// could end, so this bounds nothing; it is long, and a caller that expects an end of
// every allow has one.
const VisitorTerm = 24 * time.Hour

// Decider answers questions about job tokens. The engine of a PDP, a client of
// one, a cache beside a service and the fakes of tests all are Deciders.
//
// A nil error comes with a decision that held at its Revision, which is not
// older than anything this Decider has answered from before. An error is an
// [*Error]; the caller must treat it as a refusal, and may ask again when
// its Kind is [KindUnavailable] or [KindExhausted].
type Decider interface {
	Check(ctx context.Context, req Request) (Decision, error)
}
