package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// The bounds of a commit of a synchronisation. Those of records and bytes leave room
// for Deaths, guards and events beside the records; that of moves is the largest that
// surely fits.
const (
	chunkRecords = 2000
	chunkBytes   = 1 << 20
	maxMoves     = 4000
)

// item is something to be staged: an id, and its index in the list.
type item struct {
	id int64
	i  int
}

// pass commits what each visits, in pieces. need gives about how many bytes a record
// will take, zero if it need not be staged; stage looks again, under the lock.
func (s *Sync) pass(ctx context.Context, step string, each func(context.Context, visit) error, need func(id int64, i int) int, stage func(d *draft, id int64, i int)) error {
	var chunk []item
	bytes := 0
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		err := s.commit(ctx, step, func(d *draft) {
			for _, it := range chunk {
				stage(d, it.id, it.i)
			}
		})
		chunk, bytes = chunk[:0], 0
		return err
	}
	err := each(ctx, func(id int64, i int) error {
		n := need(id, i)
		if n == 0 {
			return nil
		}
		chunk, bytes = append(chunk, item{id, i}), bytes+n
		if len(chunk) < s.chunk && bytes < chunkBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// recordBytes is about how long a group, project or user is.
const recordBytes = 300

func roleBytes(list []state.Membership) int { return 40 + 10*len(list) }

// takeAway is the first step: every record becomes what both versions allow, and what
// is gone goes, but for groups, which are not empty yet. Memberships come first, so that
// those on what is gone need no commit of their own.
func (s *Sync) takeAway(ctx context.Context) error {
	if err := s.takeRoles(ctx); err != nil {
		return err
	}
	err := s.pass(ctx, stepTake, s.eachUser, func(id int64, i int) int {
		old, want, younger := s.user(id, i)
		return needs(old != nil && !younger && (want == nil || *meetUser(old, want) != *old))
	}, func(d *draft, id int64, i int) {
		old, want, younger := s.userFor(d, id, i)
		switch {
		case old == nil || younger:
		case want == nil:
			d.deleteUser(old.ID, "")
		default:
			d.setUser(meetUser(old, want), "")
		}
	})
	if err != nil {
		return err
	}
	return s.takeFromScopes(ctx)
}

func (s *Sync) takeRoles(ctx context.Context) error {
	meet := func(id int64, i int) (list []state.Membership, change bool) {
		old, want, younger := s.members(id)
		if younger || i < 0 {
			return nil, false
		}
		list = meetMembers(old, want)
		return list, !slices.Equal(list, old)
	}
	return s.pass(ctx, stepTake, s.eachUser, func(id int64, i int) int {
		list, change := meet(id, i)
		if !change {
			return 0
		}
		return roleBytes(list)
	}, func(d *draft, id int64, i int) {
		if list, change := meet(id, i); change {
			d.setRoles(authz.UserID(id), list)
		}
	})
}

func (s *Sync) takeFromScopes(ctx context.Context) error {
	err := s.pass(ctx, stepTake, s.eachProject, func(id int64, i int) int {
		old, want, younger := s.project(id, i)
		return needs(old != nil && !younger && (want == nil || *meetProject(old, want) != *old))
	}, func(d *draft, id int64, i int) {
		old, want, younger := s.projectFor(d, id, i)
		switch {
		case old == nil || younger:
		case want == nil:
			d.deleteProject(old.ID, "")
		default:
			d.setProject(meetProject(old, want), "")
		}
	})
	if err != nil {
		return err
	}
	return s.pass(ctx, stepTake, s.eachGroup, func(id int64, i int) int {
		old, want, younger := s.group(id, i)
		return needs(old != nil && want != nil && !younger && *meetGroup(old, want) != *old)
	}, func(d *draft, id int64, i int) {
		if old, want, younger := s.group(id, i); old != nil && want != nil && !younger {
			d.setGroup(meetGroup(old, want), "")
		}
	})
}

// setRoles gives a user exactly these memberships.
func (d *draft) setRoles(id authz.UserID, list []state.Membership) {
	old := d.membersNow(id)
	field := userField(id)
	eachRole(old, list, func(s authz.Scope, was, now authz.Role) {
		if was == now {
			return
		}
		d.tell(now > was, nil)
		if now > was {
			d.granted = append(d.granted, grantedRole{id, s, field})
		}
	})
	d.put(&state.Members{User: id, List: list}, field)
}

// give is the last step: every record becomes what the list says, and what is new is
// created; memberships come last, when all that they name is there.
func (s *Sync) give(ctx context.Context) error {
	err := s.pass(ctx, stepGive, s.eachGroup, func(id int64, i int) int {
		old, want, younger := s.group(id, i)
		return needs(want != nil && !younger && !same(old, want))
	}, func(d *draft, id int64, i int) {
		if _, want, younger := s.group(id, i); want != nil && !younger {
			d.setGroup(want, authz.InGroup(want.ID).String())
		}
	})
	if err != nil {
		return err
	}
	err = s.pass(ctx, stepGive, s.eachUser, func(id int64, i int) int {
		old, want, younger := s.user(id, i)
		return needs(want != nil && !younger && !same(old, want))
	}, func(d *draft, id int64, i int) {
		if _, want, younger := s.userFor(d, id, i); want != nil && !younger {
			d.setUser(want, userField(want.ID))
		}
	})
	if err != nil {
		return err
	}
	err = s.pass(ctx, stepGive, s.eachProject, func(id int64, i int) int {
		old, want, younger := s.project(id, i)
		return needs(want != nil && !younger && !same(old, want))
	}, func(d *draft, id int64, i int) {
		if _, want, younger := s.projectFor(d, id, i); want != nil && !younger {
			d.setProject(want, authz.InProject(want.ID).String())
		}
	})
	if err != nil {
		return err
	}
	return s.pass(ctx, stepGive, s.eachUser, func(id int64, i int) int {
		old, want, younger := s.members(id)
		if i < 0 || younger || slices.Equal(old, want) {
			return 0
		}
		return roleBytes(want)
	}, func(d *draft, id int64, _ int) {
		old, want, younger := s.members(id)
		if younger || d.userNow(authz.UserID(id)) == nil {
			return
		}
		// What was removed meanwhile, or after the list was taken, gives no role.
		want = slices.DeleteFunc(want, func(m state.Membership) bool { return !d.exists(m.Scope) })
		if !slices.Equal(old, want) {
			d.setRoles(authz.UserID(id), want)
		}
	})
}

func needs(yes bool) int {
	if yes {
		return recordBytes
	}
	return 0
}

// newGroups creates the groups that are new, from the top down, empty. One whose place
// is not free yet gets a name to wait under.
func (s *Sync) newGroups(ctx context.Context) error {
	var fresh []item
	err := s.eachGroup(ctx, func(id int64, i int) error {
		if old, want, younger := s.group(id, i); old == nil && want != nil && !younger {
			fresh = append(fresh, item{id, i})
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.topDown(fresh)
	return s.pass(ctx, stepGroups, visiting(fresh), all, func(d *draft, id int64, i int) {
		old, want, younger := s.group(id, i)
		if old != nil || younger {
			return
		}
		if d.clash(authz.InGroup(want.ID), placeOf(want)).Valid() {
			want.Name = parkedName(authz.InGroup(want.ID))
		}
		d.setGroup(want, authz.InGroup(want.ID).String())
	})
}

// parkedName is a name to wait under.
func parkedName(s authz.Scope) string {
	if s.Kind == authz.ScopeGroup {
		return fmt.Sprintf("%sgroup-%d", parked, s.ID)
	}
	return fmt.Sprintf("%sproject-%d", parked, s.ID)
}

// topDown sorts groups of the list so that each comes after those above it.
func (s *Sync) topDown(groups []item) {
	depth := make(map[int64]int, len(groups))
	for _, g := range groups {
		depth[g.id] = s.list.depth(g.i)
	}
	slices.SortStableFunc(groups, func(a, b item) int { return cmp.Compare(depth[a.id], depth[b.id]) })
}

// visiting visits these items, and all says that each is to be staged.
func visiting(items []item) func(context.Context, visit) error {
	return func(ctx context.Context, fn visit) error {
		for _, it := range items {
			if err := fn(it.id, it.i); err != nil {
				return err
			}
		}
		return nil
	}
}

func all(int64, int) int { return recordBytes }
