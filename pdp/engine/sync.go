package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// SyncOptions are those of a full synchronisation.
type SyncOptions struct {
	// AsOf is a revision that the caller read before it took its list (see
	// GetDirectoryStatus). What was changed after it is younger than the list: it is left
	// alone, whether the list has something else for it or nothing. Zero leaves nothing
	// alone but what is changed while the synchronisation runs, and projects that are
	// being deleted: these stay as they are while the list has them.
	AsOf authz.Revision
	// ValidateOnly tells the difference and changes nothing.
	ValidateOnly bool
	// MaxRecords bounds what is staged; zero takes DefaultSyncRecords.
	MaxRecords int
}

// DefaultSyncRecords is how many records a synchronisation stages at most by default.
// A staged membership takes 16 bytes, a group, project or user 24 to 48 and its names;
// while the list grows that can be twice as much. A million each of projects and users,
// a hundred thousand groups and ten million memberships took 270 MB once staged.
const DefaultSyncRecords = 20_000_000

// Diff is what a synchronisation found, and did unless it was to validate only.
type Diff struct {
	Groups, Projects, Users, Memberships DiffCount
	// Entries counts the allowlist entries that went with projects and groups that are
	// gone. It is zero with ValidateOnly.
	Entries int
	// Lines describe the first MaxDiffLines differences in words, those that take
	// something away first.
	Lines []string
	// Commits is how many commits it took, Revision that of the last; with nothing to do,
	// or to validate only, the one that was compared with.
	Commits  int
	Revision authz.Revision
}

// Awaits says what the receipt waits for: what the list takes away may have been taken
// away before, by a synchronisation that was cut off, so it is everything.
func (d Diff) Awaits() Awaits { return Awaits{Revision: d.Revision, All: true} }

// MaxDiffLines bounds [Diff.Lines].
const MaxDiffLines = 100

// DiffCount counts differences of one kind of record.
type DiffCount struct {
	Created, Updated, Removed, Unchanged int
	// Younger counts what differs and is left alone because it was changed after the list
	// was taken.
	Younger int
}

// Sync is a full synchronisation: the whole directory is staged in memory, and then
// made the one that holds. It is for one goroutine, and for one use.
//
// Finish compares the list with the view and commits the difference in many commits,
// each bounded, each a valid directory by itself, and each checked as Apply checks its
// batch. Their order keeps what is in between from allowing what neither the directory
// before nor the one after allows:
//
//  1. What takes rights away: memberships go or shrink, users and projects become the
//     stricter of both versions ([meetProject]), what is gone is removed with a Death.
//  2. What changes places: new groups, empty; then all moves and renames in one commit;
//     then gone groups, which are empty by now.
//  3. What gives rights: final versions, new users and projects, and memberships last.
//
// Only if a list moves more than maxMoves things at once are the moves split, from the
// top down, and things under way can be seen in places that they pass through.
//
// Allowlists of projects that stay, tokens and Deaths are never touched: a token that
// is dead stays dead, whatever the list brings back (PROTOCOL R7). Memberships and
// entries on what is gone go with it.
//
// The engine's lock is held for one commit at a time, and each commit is guarded on the
// Directory record, so other changes come between, at this PDP or another, and win; of two
// synchronisations at once each leaves alone what the other has changed. If one of them leaves the rest of the list without a valid place the
// synchronisation ends with KindConflict (SYNC_OVERTAKEN). However it ends, what is done
// is done, and running it again goes on: with the same list and AsOf at this PDP as long as
// the process lives, otherwise, also at another PDP, with a list taken anew.
type Sync struct {
	e    *Engine
	by   Actor
	opt  SyncOptions
	list staged
	// base is the revision after which a change is younger than the list, own holds the
	// commits after it that are this synchronisation's.
	base authz.Revision
	own  map[authz.Revision]bool
	diff Diff
	over bool
	// gives collects the lines that take nothing away.
	gives []string
	// chunk and moves are chunkRecords and maxMoves, smaller in tests.
	chunk, moves int
}

// halfway is what a synchronisation that failed leaves at its PDP for one with the same AsOf: which
// commits were its own, so that they are not taken for younger changes.
type halfway struct {
	asOf authz.Revision
	own  map[authz.Revision]bool
}

// BeginSync starts a full synchronisation. Nothing is held and nothing has to be
// closed if it is never finished.
func (e *Engine) BeginSync(by Actor, opt SyncOptions) (*Sync, error) {
	if !e.shared { // else Finish looks, when it has what others have committed
		if err := e.checkAsOf(opt.AsOf); err != nil {
			return nil, err
		}
	}
	if opt.MaxRecords <= 0 {
		opt.MaxRecords = DefaultSyncRecords
	}
	return &Sync{e: e, by: by, opt: opt, chunk: chunkRecords, moves: maxMoves}, nil
}

func (e *Engine) checkAsOf(rev authz.Revision) error {
	if head := e.view.Mark().Revision; rev > head {
		return authz.Errorf(authz.KindInvalid, CodeSyncAhead,
			"the list is said to be as of revision %d, and the newest is %d: is it for another history?", rev, head)
	}
	return nil
}

// Add stages one record: a Change that is no deletion. The order is free. Errors are
// those of bad fields, each named by the record's id, and KindExhausted (SYNC_FULL).
func (s *Sync) Add(c Change) error {
	if s.over {
		return errSyncDone()
	}
	var f faults
	if n := c.parts(); n != 1 || (c.Group == nil && c.Project == nil && c.User == nil && c.Membership == nil) {
		return authz.Invalid("record", "must set exactly one of group, project, user and membership")
	}
	switch {
	case c.Group != nil:
		f.group(authz.InGroup(c.Group.ID).String(), c.Group)
	case c.Project != nil:
		f.project(authz.InProject(c.Project.ID).String(), c.Project)
	case c.User != nil:
		f.user(userField(c.User.ID), c.User)
	default:
		f.membership("membership of "+userField(c.Membership.User), c.Membership)
	}
	if err := f.err(); err != nil {
		return err
	}
	if s.list.len() >= s.opt.MaxRecords {
		return authz.Errorf(authz.KindExhausted, CodeSyncFull, "more than %d records; nothing was changed", s.opt.MaxRecords)
	}
	s.list.add(&c)
	return nil
}

func errSyncDone() error {
	return authz.Errorf(authz.KindPrecondition, CodeSyncDone, "this synchronisation is over; begin another")
}

// Finish checks the list, compares it with the directory, and commits the difference
// unless it is to validate only. An error that is not about the list can come after a
// part of it is done; the Diff tells how many commits there were.
func (s *Sync) Finish(ctx context.Context) (Diff, error) {
	if s.over {
		return Diff{}, errSyncDone()
	}
	s.over = true
	s.list.sort()
	if err := s.list.check(); err != nil {
		return Diff{}, err
	}
	if err := s.begin(ctx); err != nil {
		return Diff{}, err
	}
	if err := s.compare(ctx); err != nil || s.opt.ValidateOnly {
		return s.diff, err
	}
	err := s.carryOut(ctx)
	s.end(err)
	return s.diff, err
}

// begin fixes what is older than the list: with several PDPs, all that any of them had
// committed before Finish was called.
func (s *Sync) begin(ctx context.Context) error {
	if err := s.e.catchUp(ctx); err != nil {
		return err
	}
	if err := s.e.checkAsOf(s.opt.AsOf); err != nil {
		return err
	}
	s.e.directory.Lock()
	defer s.e.directory.Unlock()
	s.base, s.own = s.opt.AsOf, map[authz.Revision]bool{}
	s.diff.Revision = s.e.view.Mark().Revision
	if s.base == 0 {
		s.base = s.diff.Revision
	} else if s.e.halfway.asOf == s.base {
		s.own = s.e.halfway.own
	}
	return nil
}

func (s *Sync) end(err error) {
	s.e.directory.Lock()
	defer s.e.directory.Unlock()
	switch {
	case err != nil && s.opt.AsOf != 0:
		s.e.halfway = halfway{s.opt.AsOf, s.own}
	case s.e.halfway.asOf == s.opt.AsOf:
		s.e.halfway = halfway{}
	}
}

// younger reports whether a record last changed at rev is younger than the list.
func (s *Sync) younger(rev authz.Revision) bool { return rev > s.base && !s.own[rev] }

// The steps of carryOut, in words for the audit log.
const (
	stepTake   = "take away"
	stepGroups = "new groups"
	stepMove   = "move"
	stepGive   = "give"
)

func (s *Sync) carryOut(ctx context.Context) error {
	for _, step := range []func(context.Context) error{s.takeAway, s.newGroups, s.move, s.give} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// commit carries out one piece of a step under the engine's lock: stage adds to a
// draft.
func (s *Sync) commit(ctx context.Context, step string, stage func(*draft)) error {
	s.e.directory.Lock()
	defer s.e.directory.Unlock()
	var d *draft
	rev, err := s.e.commit(ctx, "sync_world", s.by, func() (state.Batch, error) {
		d = s.e.newDraft(true)
		d.quiet, d.trusted = true, true
		stage(d)
		if err := d.check(); err != nil {
			return state.Batch{}, &authz.Error{
				Kind: authz.KindConflict, Code: CodeSyncOvertaken, Cause: err,
				Message: "the directory was changed under the synchronisation, so that the rest of the list has no place; what is done stays, run it again with a list taken anew",
			}
		}
		if err := s.e.cleanUp(ctx, s.by, s.e.leftBehind(d.fresh), s.note); err != nil {
			return state.Batch{}, err
		}
		b := d.batch()
		if len(b.Puts)+len(b.Deletes) > 0 {
			d.appendTo(&b)
		}
		if d.changed > 0 {
			b.Events = append(b.Events, s.e.event("sync_world", s.by, audit.Event{Count: uint64(d.changed), Detail: step}))
		}
		for _, ev := range d.killings() {
			b.Events = append(b.Events, s.e.event("sync_world", s.by, ev))
		}
		return b, nil
	})
	if err != nil {
		return err
	}
	if d.changed > 0 {
		s.note(rev, 0)
	}
	return s.e.cleanUp(ctx, s.by, d.gone, s.note)
}

// note remembers a commit as the synchronisation's own.
func (s *Sync) note(rev authz.Revision, entries int) {
	s.own[rev] = true
	s.diff.Commits++
	s.diff.Revision = rev
	s.diff.Entries += entries
}

// killings gives an event for each project and user that the draft takes out of action.
func (d *draft) killings() (events []audit.Event) {
	for _, death := range d.deaths {
		events = append(events, audit.Event{
			Target: death.Project, User: death.User, Count: 1, Detail: "tokens issued before this are dead for good",
		})
	}
	return events
}
