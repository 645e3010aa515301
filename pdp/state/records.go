package state

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// ThisRevision stands, in a record of a [Batch], for the revision that the commit
// will get. Stores replace it before they store or deliver the record.
const ThisRevision = ^authz.Revision(0)

// Kind is the kind of a record. Kinds are on disk: only ever appended.
type Kind uint8

// The kinds of record.
const (
	KindInstance  Kind = 1 + iota // settings of the installation; one record
	KindCatalogue                 // the operator's extension of the catalogue; one record
	KindGroup
	KindProject
	KindUser
	KindMembers   // all memberships of one user
	KindAllowlist // settings and both lists of one project
	KindJob       // a job and its newest token
	KindReplaced  // the digest of a token that a later one replaced
	KindRunner    // the newest heartbeat of a runner
	KindDeath     // what keeps old tokens of a project or user dead
	KindRequest   // a request id, and what its call did
	KindLeases    // what a start has to know of leases; one record
	KindDirectory // what keeps two changes of the directory apart; one record
	NumKinds      = int(iota) + 1
)

// Record is one piece of state: one of the pointer types of this file. A record
// given to a store or taken from one must not be changed afterwards.
type Record interface {
	// Key gives the record's place in the store.
	Key() Key
}

// Instance holds the settings of the whole installation (PROTOCOL R15: settings are
// committed records).
type Instance struct {
	policy.Instance
	// MaxProjectEntries and MaxGroupEntries bound each allowlist of each project,
	// counted separately (SEMANTICS §0.5).
	MaxProjectEntries, MaxGroupEntries int
}

// Catalogue holds the operator's extension of the permission catalogue: the JSON
// document that [policy.Extend] reads, or nothing.
type Catalogue struct {
	Document []byte
}

// Directory holds nothing: its revision is what counts. Every structural change of the
// directory (what exists, where, and who has which role) puts it and is guarded on it, so
// that of two PDPs on one store that change the directory from one state only one gets
// through. Edits of allowlists, and changes of the state of one project or user, leave it
// alone. No decision reads it.
type Directory struct{}

// Group is a namespace that can hold groups and projects.
type Group struct {
	ID authz.GroupID
	// Parent is zero for a group at the top.
	Parent authz.GroupID
	// Name is the last segment of the path.
	Name       string
	Visibility authz.Visibility
	State      authz.ProjectState
}

// Project is what the forge says of a project. What its maintainers say stands in
// its [Allowlist].
type Project struct {
	ID authz.ProjectID
	// Group is the group the project is in; zero for one in a personal namespace, which
	// Namespace then names.
	Group     authz.GroupID
	Namespace string
	// Name is the last segment of the path.
	Name         string
	Visibility   authz.Visibility
	State        authz.ProjectState
	Features     [authz.NumFeatures]authz.FeatureLevel
	PublicBuilds bool
	ReadOnly     bool
	Hidden       bool
}

// User is somebody who can cause jobs.
type User struct {
	ID       authz.UserID
	Name     string
	State    authz.UserState
	External bool
	// Admin marks an instance administrator: it counts for editing instance settings on
	// behalf of the user, never for a job token.
	Admin bool
}

// Members are all memberships of one user, sorted by scope.
type Members struct {
	User authz.UserID
	List []Membership
}

// Membership is a role on a project, or on a group and everything below it.
type Membership struct {
	Scope authz.Scope
	Role  authz.Role
}

// Allowlist holds what a project's maintainers decide. A project without a record
// has the one that [DefaultAllowlist] gives.
type Allowlist struct {
	Project             authz.ProjectID
	InboundOn           bool
	OutboundOn          bool
	PushSelf, PushCross bool
	// Inbound is sorted by scope, Outbound by id.
	Inbound  []Entry
	Outbound []authz.ProjectID
}

// Entry is one entry of an inbound list.
type Entry struct {
	// Caller is the project or group let in.
	Caller authz.Scope
	policy.Entry
	// Autopopulated marks entries that were made from the authentication log.
	Autopopulated bool
}

// DefaultAllowlist is that of a project whose maintainers changed nothing: inbound
// on, everything else off, both lists empty (SEMANTICS §7.4).
func DefaultAllowlist(id authz.ProjectID) *Allowlist {
	return &Allowlist{Project: id, InboundOn: true}
}

// Job is a CI job and its newest token, or, with a zero Digest, the tombstone of a
// job that was revoked before it was issued.
type Job struct {
	ID      authz.JobID
	Digest  authz.Digest
	Project authz.ProjectID
	User    authz.UserID
	// Pipeline and Ref are for reports.
	Pipeline int64
	Ref      string
	// Runner and Term are the heartbeat: without a KeepAlive of the runner for a term,
	// the token is dead. A zero Term means no heartbeat.
	Runner string
	Term   time.Duration
	// Issued is the revision of the newest Issue, IssuedAt its time.
	Issued   authz.Revision
	IssuedAt authz.Stamp
	Expires  authz.Stamp
	Status   authz.JobStatus
	Erased   bool
	// Lapsed says that the heartbeat ran out, which was committed and is final (R12).
	Lapsed bool
	// Ended is the revision that killed the token, zero while none did (R6), EndedAt
	// its time.
	Ended   authz.Revision
	EndedAt authz.Stamp
	Limits  policy.Limits
}

// Alive reports whether nothing that the record itself says has killed the token.
func (j *Job) Alive() bool {
	return j.Ended == 0 && j.Status.Executing() && !j.Erased && !j.Lapsed && !j.Digest.IsZero()
}

// Replaced remembers a digest that is no longer the newest of its job, so that a
// question about it is told so.
type Replaced struct {
	Digest authz.Digest
	Job    authz.JobID
	At     authz.Stamp
}

// Runner is the newest heartbeat of a runner: one durable record for all its jobs.
type Runner struct {
	ID   string
	Beat authz.Stamp
}

// Death keeps tokens dead: those of the project or user that were issued before the
// revision Before, whatever becomes of the record that they belong to (R7).
type Death struct {
	// Of is a project, or a user when User is set.
	Project authz.ProjectID
	User    authz.UserID
	Before  authz.Revision
	At      authz.Stamp
}

// Request remembers that a call with this request id was carried out (AIP-155).
type Request struct {
	// ID is the caller's name and its request id, joined by a slash.
	ID string
	// Fingerprint is a hash of the call, to tell a repetition from a reuse.
	Fingerprint uint64
	// Done is the revision of the commit that carried it out.
	Done authz.Revision
	At   authz.Stamp
}

// Leases is what a PDP that starts has to know of the leases that were granted before
// (PROTOCOL R1), and the key that its marks are sealed with (R13). No decision reads it.
type Leases struct {
	// Longest is the longest term that was granted and that may still run, Out says whether
	// leases may be out at all. Both are stored before the first grant.
	Longest time.Duration
	Out     bool
	// Epoch is the counter of the epoch that this was written in: a later one was made by a
	// restore, which knows nothing of what was granted after the backup.
	Epoch uint64
	// SealKey seals marks. It is drawn once and outlives restores, so that a PDP knows the
	// marks of the histories before.
	SealKey SealKey
}

// SealKey is a secret of the PDP's own. However it is printed, it does not show.
type SealKey [32]byte

// String gives a placeholder.
func (SealKey) String() string { return "[REDACTED]" }

// Format is String for every verb and flag.
func (k SealKey) Format(st fmt.State, _ rune) { io.WriteString(st, k.String()) }

// LogValue is String, for log/slog.
func (k SealKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is String.
func (k SealKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Key gives the record's place in the store.
func (*Instance) Key() Key { return key(KindInstance, "") }

// Key gives the record's place in the store.
func (*Catalogue) Key() Key { return key(KindCatalogue, "") }

// Key gives the record's place in the store.
func (r *Group) Key() Key { return GroupKey(r.ID) }

// Key gives the record's place in the store.
func (r *Project) Key() Key { return ProjectKey(r.ID) }

// Key gives the record's place in the store.
func (r *User) Key() Key { return UserKey(r.ID) }

// Key gives the record's place in the store.
func (r *Members) Key() Key { return MembersKey(r.User) }

// Key gives the record's place in the store.
func (r *Allowlist) Key() Key { return AllowlistKey(r.Project) }

// Key gives the record's place in the store.
func (r *Job) Key() Key { return JobKey(r.ID) }

// Key gives the record's place in the store.
func (r *Replaced) Key() Key { return ReplacedKey(r.Digest) }

// Key gives the record's place in the store.
func (r *Runner) Key() Key { return RunnerKey(r.ID) }

// Key gives the record's place in the store.
func (r *Death) Key() Key {
	if r.User != 0 {
		return UserDeathKey(r.User)
	}
	return ProjectDeathKey(r.Project)
}

// Key gives the record's place in the store.
func (r *Request) Key() Key { return RequestKey(r.ID) }

// Key gives the record's place in the store.
func (*Directory) Key() Key { return DirectoryKey() }

// Key gives the record's place in the store.
func (*Leases) Key() Key { return LeasesKey() }
