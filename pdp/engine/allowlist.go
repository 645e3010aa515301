package engine

import (
	"github.com/jobward/jobward/pdp/authz"
)

// MaxEntryPolicies bounds the policies of one entry.
const MaxEntryPolicies = 200

// Direction tells the two lists of a project apart: who may come in, and where its
// own jobs may go.
type Direction uint8

// The directions.
const (
	Inbound Direction = iota
	Outbound
)

// AllowlistInfo is what the maintainers of a project decided, without the entries.
type AllowlistInfo struct {
	Project               authz.ProjectID
	InboundOn, OutboundOn bool
	PushSelf, PushCross   bool
	// Enforced says that the instance keeps the inbound list in force whatever InboundOn
	// says (SEMANTICS §7.4).
	Enforced bool
	// InboundProjects, InboundGroups and OutboundProjects count the entries; the implied
	// one for the project itself is not among them.
	InboundProjects, InboundGroups, OutboundProjects int
	// MaxProjects and MaxGroups are the limits, each for each direction.
	MaxProjects, MaxGroups int
	// Changed is the revision at which settings or lists were last changed, zero for
	// never. It is what [AllowlistEdit.Expected] is compared with.
	Changed authz.Revision
	// Revision is the point in history that all this was read at.
	Revision authz.Revision
}

// AllowlistEdit is what every change of an allowlist says.
type AllowlistEdit struct {
	// Project is the owner of the list.
	Project authz.ProjectID
	// Expected, where set, is the Changed of the allowlist that the caller has seen: if it
	// is another by now the call fails with KindConflict (REVISION_MISMATCH).
	Expected *authz.Revision
	// RequestID, where set, makes the call repeatable: see [Done].
	RequestID string
	// ValidateOnly makes all checks and no change.
	ValidateOnly bool
}

// AllowlistSettings changes the switches that are not nil.
type AllowlistSettings struct {
	AllowlistEdit
	InboundOn, OutboundOn, PushSelf, PushCross *bool
}

// EntryEdit adds or changes an entry.
type EntryEdit struct {
	AllowlistEdit
	Direction Direction
	// Other is the project or group let in, or the project that jobs may go to.
	Other authz.Scope
	// Default grants everything that the user's role allows. Otherwise the entry is
	// fine-grained and grants Policies, which may be none. Outbound entries have neither.
	Default  bool
	Policies []string
}

// EntryRemoval removes an entry.
type EntryRemoval struct {
	AllowlistEdit
	Direction Direction
	Other     authz.Scope
}

// Entry is one entry of a list, as readers see it.
type Entry struct {
	Direction Direction
	// Owner is the project whose list it is, Other whom it names.
	Owner authz.ProjectID
	Other authz.Scope
	// OwnerPath and OtherPath are full paths; empty when the user acted for may not see
	// the project or group.
	OwnerPath, OtherPath string
	// Default and Policies are those of [EntryEdit], Policies sorted; read only.
	Default  bool
	Policies []string
	// Autopopulated marks an entry made from the authentication log.
	Autopopulated bool
	// Implied marks the entry of a project for itself, which always holds, is not stored
	// and does not count.
	Implied bool
}

// EntryPage is a piece of a list of entries.
type EntryPage struct {
	Listing[Entry]
	// Changed is as in [AllowlistInfo].
	Changed authz.Revision
}

// EntryQuery chooses the entries of one list, projects before groups, by id.
type EntryQuery struct {
	Project   authz.ProjectID
	Direction Direction
	// Kind leaves only projects or only groups; zero leaves both.
	Kind authz.ScopeKind
	Page Page
}

// ListingQuery chooses the lists of other projects that a project is on.
type ListingQuery struct {
	Project authz.ProjectID
	// Direction is that of the lists: inbound ones let the project in, by itself or by a
	// group above it; outbound ones name it as reachable.
	Direction Direction
	Page      Page
}
