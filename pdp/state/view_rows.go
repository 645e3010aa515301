package state

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// The rows of the view: records without strings and pointers. Text fields are refs
// into [text], fields named after another kind are row numbers. A mod of zero says
// that there is no such record: the row only holds the place of something that others
// refer to, and goes when refs does.

// groupRow has what a walk upward needs, in a quarter of a cache line: decisions go up
// from two projects. The rest of a group stands in the row of the same number in
// another slab.
type groupRow struct {
	id     int64
	parent uint32
	state  authz.ProjectState
	exists bool // there is a record
}

type groupRest struct {
	mod        authz.Revision
	name       uint32
	refs       uint32 // groups and projects directly in it
	visibility authz.Visibility
}

// projectRow also holds the project's Allowlist, which can be there without the
// project. It fills one cache line.
type projectRow struct {
	id                 int64
	mod, listMod       authz.Revision
	group, space, name uint32
	inbound, outbound  uint32
	refs               uint32 // jobs that run in it
	features           [authz.NumFeatures]authz.FeatureLevel
	visibility         authz.Visibility
	state              authz.ProjectState
	flags              uint16
}

const (
	projectPublicBuilds = 1 << iota
	projectReadOnly
	projectHidden
	projectDead // has a Death
	// The four of the allowlist. A project without one lets in nobody.
	projectInboundOff
	projectOutboundOn
	projectPushSelf
	projectPushCross

	projectList = projectInboundOff | projectOutboundOn | projectPushSelf | projectPushCross
)

// userRow also holds the user's Members.
type userRow struct {
	id             int64
	mod, memberMod authz.Revision
	name, members  uint32
	refs           uint32 // jobs caused
	state          authz.UserState
	flags          uint8
}

const (
	userExternal = 1 << iota
	userAdmin
	userDead // has a Death
)

// jobRow fills two cache lines; a decision reads the first, and expires and started.
type jobRow struct {
	digest           authz.Digest
	issued           authz.Revision
	project, user    uint32
	id, limits       uint32
	pulse            uint32 // zero when the job names no runner and has no term
	status           authz.JobStatus
	flags            uint8
	expires, started authz.Stamp
	pipeline         int64
	mod, ended       authz.Revision
	endedAt          authz.Stamp
	ref              uint32
	next, prev       uint32 // among the beating jobs of its pulse
}

const (
	jobErased = 1 << iota
	jobLapsed
)

func (j *jobRow) alive() bool {
	return j.ended == 0 && j.status.Executing() && j.flags == 0 && !j.digest.IsZero()
}

type runnerRow struct {
	mod   authz.Revision
	beat  authz.Stamp
	id    uint32
	pulse uint32 // the first of its pulses
}

// pulseRow gathers the jobs of one runner with one term: what they share, and a list
// of those that live by its heartbeat. As long as the runner has been heard of within
// the term, none of them can have lapsed.
type pulseRow struct {
	term   int64
	runner uint32
	next   uint32 // of the same runner
	refs   uint32 // jobs that have it, dead ones too
	first  uint32 // of the beating jobs
}

type replacedRow struct {
	digest authz.Digest
	mod    authz.Revision
	at     authz.Stamp
	job    uint32 // text: the job's record may be gone
}

// deathRow has the id as in the record's key: users from userDeath on.
type deathRow struct {
	id     int64
	mod    authz.Revision
	before authz.Revision
	at     authz.Stamp
}

type requestRow struct {
	mod, done   authz.Revision
	fingerprint uint64
	at          authz.Stamp
	id          uint32
}

// textKind names a text field of a row.
type textKind uint8

const (
	textGroupName textKind = iota
	textProjectName
	textProjectSpace
	textInbound
	textOutbound
	textUserName
	textMembers
	textJobID
	textJobRef
	textRunner
	textReplaced
	textRequest
)

// textField finds the field that holds the ref of an entry. The row may have been
// released or given to another since the entry was written.
func (v *View) textField(o owner) *uint32 {
	switch o.what {
	case textGroupName:
		return &v.groupRest.at(o.row).name
	case textProjectName:
		return &v.projects.at(o.row).name
	case textProjectSpace:
		return &v.projects.at(o.row).space
	case textInbound:
		return &v.projects.at(o.row).inbound
	case textOutbound:
		return &v.projects.at(o.row).outbound
	case textUserName:
		return &v.users.at(o.row).name
	case textMembers:
		return &v.users.at(o.row).members
	case textJobID:
		return &v.jobs.at(o.row).id
	case textJobRef:
		return &v.jobs.at(o.row).ref
	case textRunner:
		return &v.runners.at(o.row).id
	case textReplaced:
		return &v.replaced.at(o.row).job
	default:
		return &v.requests.at(o.row).id
	}
}

// scopeKey packs a scope into 55 bits that sort as scopes do: by kind, then id.
func scopeKey(s authz.Scope) uint64 { return uint64(s.Kind)<<53 | uint64(s.ID) }

func scopeOf(key uint64) authz.Scope {
	return authz.Scope{Kind: authz.ScopeKind(key >> 53), ID: int64(key & authz.MaxID)}
}

// A membership is 8 bytes: its scope's key and the role. An inbound entry is 12:
// the caller's key and two flags, and the number of its policies. An outbound entry is
// the 8 bytes of an id.
const (
	memberBytes   = 8
	roleBits      = 8
	inboundBytes  = 12
	entryDefault  = 1
	entryAuto     = 2
	entryBits     = 2
	outboundBytes = 8
)

// word reads the little-endian number at s[i:].
func word(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// half reads the four-byte little-endian number at s[i:].
func half(s string, i int) uint32 {
	s = s[i : i+4]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// find gives where the entry with a key is in a list of entries of size bytes, each
// starting with key<<shift; -1 if there is none.
func find(list string, size int, key uint64, shift uint) int {
	lo, hi := 0, len(list)/size
	for hi-lo > findPlain {
		mid := int(uint(lo+hi) >> 1)
		if word(list, mid*size)>>shift < key {
			lo = mid + 1
		} else {
			hi = mid + 1
		}
	}
	for i := lo * size; i < hi*size; i += size {
		if word(list, i)>>shift == key {
			return i
		}
	}
	return -1
}

// findPlain is how many entries are faster to look through than to halve: the
// processor guesses the former right.
const findPlain = 16

// The hashes of the indexes are seeded: nobody can choose names or ids that collide.

func (v *View) hashID(id int64) uint32 { return uint32(mix(uint64(id)^v.salt) >> 32) }

func (v *View) hashDigest(d *authz.Digest) uint32 {
	h := v.salt
	for i, k := range [...]uint64{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93} {
		h ^= binary.LittleEndian.Uint64(d[8*i:]) * k
	}
	return uint32(mix(h) >> 32)
}

func (v *View) hashText(s string) uint32 { return uint32(maphash.String(v.seed, s) >> 32) }

// hashName is for a name within a group's row.
func (v *View) hashName(group uint32, name string) uint32 {
	return uint32(mix(maphash.String(v.seed, name)+uint64(group)) >> 32)
}

// hashPersonal is for a name within a personal namespace.
func (v *View) hashPersonal(space, name string) uint32 {
	return uint32(mix(maphash.String(v.seed, name)+mix(maphash.String(v.seed, space))) >> 32)
}

// mix spreads every bit of x over the whole word.
func mix(x uint64) uint64 {
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return x ^ x>>32
}

// set and has are for flag words.
func set[T ~uint8 | ~uint16](flags *T, bit T, on bool) {
	*flags &^= bit
	if on {
		*flags |= bit
	}
}

// cloneLimits copies what a record has, so that the record can go.
func cloneLimits(l policy.Limits) policy.Limits {
	out := policy.Limits{}
	if l.Permissions != nil {
		out.Permissions = append([]authz.Permission{}, l.Permissions...)
	}
	if l.Targets != nil {
		out.Targets = append([]authz.Scope{}, l.Targets...)
	}
	return out
}
