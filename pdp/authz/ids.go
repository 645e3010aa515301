package authz

import (
	"encoding/hex"
	"fmt"
	"time"
)

// MaxID is the largest id a project, group or user can have: the largest integer
// that every JSON reader keeps exactly, so that ids survive any client. The
// smallest is 1; zero means "none".
const MaxID = 1<<53 - 1

// MaxJobID is the longest job id in bytes.
const MaxJobID = 128

// JobID names a CI job. The CI system chooses it; it is unique within the PDP,
// 1 to [MaxJobID] bytes of printable ASCII without spaces, and never used again
// for another job.
type JobID string

// ProjectID, GroupID and UserID are the forge's own numbers, 1 to [MaxID].
type (
	ProjectID int64
	GroupID   int64
	UserID    int64
)

// Valid reports whether the id is in range.
func (id ProjectID) Valid() bool { return id >= 1 && id <= MaxID }

// Valid reports whether the id is in range.
func (id GroupID) Valid() bool { return id >= 1 && id <= MaxID }

// Valid reports whether the id is in range.
func (id UserID) Valid() bool { return id >= 1 && id <= MaxID }

// Valid reports whether the id has the form described at [JobID].
func (id JobID) Valid() bool {
	if len(id) == 0 || len(id) > MaxJobID {
		return false
	}
	for i := 0; i < len(id); i++ {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// Revision is a point in the history of state: dense, assigned inside a commit,
// never going back within an epoch (P3). Zero is the empty store.
type Revision uint64

// Digest is the SHA-256 of a whole token text. It is all that Jobward keeps of a
// token (P7). The zero Digest stands for "not a job token at all".
type Digest [32]byte

// IsZero reports whether d stands for a text that is not a job token.
func (d Digest) IsZero() bool { return d == Digest{} }

// Nobody stands for no token at all: a question with it asks what an anonymous visitor
// may do, and the answer is about no job and no user. No text has this digest.
var Nobody = Digest{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
}

// String gives the first eight hexadecimal digits, enough to find a token's
// records by and useless for anything else.
func (d Digest) String() string { return hex.EncodeToString(d[:4]) }

// Stamp is a time as the PDP counts it: nanoseconds since the Unix epoch, never
// going back (PROTOCOL R12). Zero means "no time".
type Stamp int64

// StampOf converts a wall clock time; the zero time gives the zero Stamp.
func StampOf(t time.Time) Stamp {
	if t.IsZero() {
		return 0
	}
	return Stamp(t.UnixNano())
}

// Time converts back, in UTC; the zero Stamp gives the zero time.
func (s Stamp) Time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(s)).UTC()
}

// Add gives the stamp d later.
func (s Stamp) Add(d time.Duration) Stamp { return s + Stamp(d) }

// Sub gives the time from o to s.
func (s Stamp) Sub(o Stamp) time.Duration { return time.Duration(s - o) }

// ScopeKind tells what a [Scope] names.
type ScopeKind uint8

// The kinds of scope.
const (
	ScopeNone ScopeKind = iota
	ScopeProject
	ScopeGroup
)

// Scope names a project or a group: where a membership holds, or what an
// allowlist entry lets in. The zero Scope names nothing.
type Scope struct {
	Kind ScopeKind
	ID   int64
}

// InProject is the scope of one project.
func InProject(id ProjectID) Scope { return Scope{ScopeProject, int64(id)} }

// InGroup is the scope of a group and everything below it.
func InGroup(id GroupID) Scope { return Scope{ScopeGroup, int64(id)} }

// Valid reports whether s names a project or group with an id in range.
func (s Scope) Valid() bool {
	return (s.Kind == ScopeProject || s.Kind == ScopeGroup) && s.ID >= 1 && s.ID <= MaxID
}

// String gives "project 7", "group 3" or "nothing".
func (s Scope) String() string {
	switch s.Kind {
	case ScopeProject:
		return fmt.Sprintf("project %d", s.ID)
	case ScopeGroup:
		return fmt.Sprintf("group %d", s.ID)
	}
	return "nothing"
}
