package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
)

// SyncOptions are those of a full synchronisation.
type SyncOptions struct {
	// AsOf is the revision at or before which the list was taken.
	AsOf authz.Revision
	// ValidateOnly tells the difference and changes nothing.
	ValidateOnly bool
	// MaxRecords bounds what is staged; zero takes DefaultSyncRecords.
	MaxRecords int
}

// DefaultSyncRecords is how many records a synchronisation stages at most by default.
const DefaultSyncRecords = 20_000_000

// Diff is what a synchronisation found, and did unless it was to validate only.
type Diff struct {
	Groups, Projects, Users, Memberships DiffCount
	// Entries counts the allowlist entries that went with projects and groups that are gone.
	Entries int
	// Lines describe the first MaxDiffLines differences in words.
	Lines []string
	// Commits is how many commits it took, Revision that of the last; with nothing to do,
	// or to validate only, the one that was compared with.
	Commits  int
	Revision authz.Revision
}

// MaxDiffLines bounds [Diff.Lines].
const MaxDiffLines = 100

// DiffCount counts differences of one kind of record.
type DiffCount struct {
	Created, Changed, Removed int
	// Newer counts records that were left alone because they were changed after the list
	// was taken.
	Newer int
}

// Sync stages the whole directory. It is for one goroutine.
type Sync struct {
	e   *Engine
	by  Actor
	opt SyncOptions
}

// BeginSync starts a full synchronisation.
func (e *Engine) BeginSync(by Actor, opt SyncOptions) (*Sync, error) {
	return &Sync{e: e, by: by, opt: opt}, nil
}

// Add stages one record: a Change that is no deletion.
func (s *Sync) Add(c Change) error { return nil }

// Finish compares and commits.
func (s *Sync) Finish(ctx context.Context) (Diff, error) { return Diff{}, nil }
