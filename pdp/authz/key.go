package authz

import (
	"fmt"
)

// Key is a dependency: one thing that an answer rests on, its absence included
// (PROTOCOL R15). When a commit changes that thing, every answer that rests on
// its key is void. The top four bits tell the kind, the lower sixty hold the id
// (project, group, user) or a hash (job, path). Two names with one hash only
// cause an invalidation too many.
type Key uint64

// KeyKind is the kind of thing a [Key] names.
type KeyKind uint8

// The kinds of key. Instance covers settings, the permission catalogue and the
// version of the rules.
const (
	KeyInstance KeyKind = 1 + iota
	KeyJob
	KeyProject
	KeyGroup
	KeyUser
	KeyPath
)

const keyBits = 60

// TheInstance is the key of settings, catalogue and rules.
const TheInstance = Key(KeyInstance) << keyBits

// JobKey is the key of a job: its status, its token, its heartbeat.
func JobKey(id JobID) Key { return hashed(KeyJob, string(id)) }

// ProjectKey is the key of a project, its settings and its allowlists.
func ProjectKey(id ProjectID) Key { return Key(KeyProject)<<keyBits | Key(id) }

// GroupKey is the key of a group: where it is, and its state.
func GroupKey(id GroupID) Key { return Key(KeyGroup)<<keyBits | Key(id) }

// UserKey is the key of a user: state, and all memberships.
func UserKey(id UserID) Key { return Key(KeyUser)<<keyBits | Key(id) }

// PathKey is the key of what a full path leads to.
func PathKey(path string) Key { return hashed(KeyPath, path) }

// AppendPathKeys appends the keys that resolving path rests on: the path itself
// and each of its proper prefixes ("a/b/c" gives a, a/b and a/b/c), because moving
// any of them moves the whole.
func AppendPathKeys(keys []Key, path string) []Key {
	for i := 0; i < len(path); i++ {
		if path[i] == '/' {
			keys = append(keys, PathKey(path[:i]))
		}
	}
	return append(keys, PathKey(path))
}

// Kind tells what k names.
func (k Key) Kind() KeyKind { return KeyKind(k >> keyBits) }

// String gives a readable form such as "project/7" or "job/#1f00…".
func (k Key) String() string {
	low := uint64(k) & (1<<keyBits - 1)
	switch k.Kind() {
	case KeyInstance:
		return "instance"
	case KeyJob:
		return fmt.Sprintf("job/#%015x", low)
	case KeyProject:
		return fmt.Sprintf("project/%d", low)
	case KeyGroup:
		return fmt.Sprintf("group/%d", low)
	case KeyUser:
		return fmt.Sprintf("user/%d", low)
	case KeyPath:
		return fmt.Sprintf("path/#%015x", low)
	}
	return fmt.Sprintf("key/%x", uint64(k))
}

// hashed must give the same key in every process of every version, so it is FNV-1a
// and not the runtime's seeded hash.
func hashed(kind KeyKind, s string) Key {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return Key(kind)<<keyBits | Key(h>>(64-keyBits))
}
