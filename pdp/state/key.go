package state

import (
	"encoding/binary"

	"github.com/jobward/jobward/pdp/authz"
)

// Key is the place of a record: one byte of [Kind], then the id: eight bytes big
// endian for numbers, the text itself for names. Keys of one kind sort by id.
type Key string

// Kind tells what kind of record is at k; zero for an empty key.
func (k Key) Kind() Kind {
	if k == "" {
		return 0
	}
	return Kind(k[0])
}

// Number gives the id of a record that has a number for one, zero for others. For a
// Death it is that of the project, or of the user when OfUser is set.
func (k Key) Number() int64 {
	n, _ := k.number()
	switch k.Kind() {
	case KindGroup, KindProject, KindUser, KindMembers, KindAllowlist:
		return n
	case KindDeath:
		return n &^ userDeath
	}
	return 0
}

// OfUser reports whether k is the place of a user's Death.
func (k Key) OfUser() bool {
	n, _ := k.number()
	return k.Kind() == KindDeath && n&userDeath != 0
}

// Name gives the id of a record that has a text for one: a job's, a runner's, a
// request's; bytes for a digest's.
func (k Key) Name() string {
	if k == "" {
		return ""
	}
	return string(k[1:])
}

// InstanceKey is the place of the one Instance record.
func InstanceKey() Key { return key(KindInstance, "") }

// CatalogueKey is the place of the one Catalogue record.
func CatalogueKey() Key { return key(KindCatalogue, "") }

// GroupKey is the place of a Group.
func GroupKey(id authz.GroupID) Key { return numbered(KindGroup, int64(id)) }

// ProjectKey is the place of a Project.
func ProjectKey(id authz.ProjectID) Key { return numbered(KindProject, int64(id)) }

// UserKey is the place of a User.
func UserKey(id authz.UserID) Key { return numbered(KindUser, int64(id)) }

// MembersKey is the place of a user's Members.
func MembersKey(id authz.UserID) Key { return numbered(KindMembers, int64(id)) }

// AllowlistKey is the place of a project's Allowlist.
func AllowlistKey(id authz.ProjectID) Key { return numbered(KindAllowlist, int64(id)) }

// JobKey is the place of a Job.
func JobKey(id authz.JobID) Key { return key(KindJob, string(id)) }

// ReplacedKey is the place of a Replaced.
func ReplacedKey(d authz.Digest) Key { return key(KindReplaced, string(d[:])) }

// RunnerKey is the place of a Runner.
func RunnerKey(id string) Key { return key(KindRunner, id) }

// ProjectDeathKey is the place of a project's Death.
func ProjectDeathKey(id authz.ProjectID) Key { return numbered(KindDeath, int64(id)) }

// UserDeathKey is the place of a user's Death; users sort after all projects.
func UserDeathKey(id authz.UserID) Key { return numbered(KindDeath, int64(id)|1<<62) }

// RequestKey is the place of a Request.
func RequestKey(id string) Key { return key(KindRequest, id) }

// LeasesKey is the place of the one Leases record.
func LeasesKey() Key { return key(KindLeases, "") }

// DirectoryKey is the place of the one Directory record.
func DirectoryKey() Key { return key(KindDirectory, "") }

func key(kind Kind, id string) Key { return Key([]byte{byte(kind)}) + Key(id) }

func numbered(kind Kind, id int64) Key {
	var b [9]byte
	b[0] = byte(kind)
	binary.BigEndian.PutUint64(b[1:], uint64(id))
	return Key(b[:])
}
