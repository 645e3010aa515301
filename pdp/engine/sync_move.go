package engine

import (
	"cmp"
	"context"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// moving is what the second step of a synchronisation has to do.
type moving struct {
	// groups and projects are in another place than the list has them: groups from the
	// top of the list down.
	groups, projects []item
	// gone are groups that the list does not have, from the bottom up.
	gone []item
}

// move puts everything in its place. In one commit, that is one moment: nothing passes
// through a place where it was not before and will not be after. What is too much for
// one commit is split.
func (s *Sync) move(ctx context.Context) error {
	m, err := s.moving(ctx)
	if err != nil {
		return err
	}
	n := len(m.groups) + len(m.projects) + len(m.gone)
	if n == 0 {
		return nil
	}
	if n > s.moves {
		return s.moveSplit(ctx, m)
	}
	return s.commit(ctx, stepMove, func(d *draft) {
		for _, g := range m.groups {
			s.moveGroup(d, g)
		}
		for _, p := range m.projects {
			s.moveProject(d, p)
		}
		for _, g := range m.gone {
			s.removeGroup(d, g)
		}
	})
}

func (s *Sync) moving(ctx context.Context) (m moving, err error) {
	depth := map[int64]int{}
	err = s.eachGroup(ctx, func(id int64, i int) error {
		old, want, younger := s.group(id, i)
		switch {
		case old == nil || younger:
		case want == nil:
			chain, _ := (&reading{view: s.e.view, guards: map[state.Key]authz.Revision{}}).above(authz.InGroup(old.ID))
			depth[id] = len(chain)
			m.gone = append(m.gone, item{id, i})
		case placeOf(old) != placeOf(want):
			m.groups = append(m.groups, item{id, i})
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	s.topDown(m.groups)
	slices.SortStableFunc(m.gone, func(a, b item) int { return cmp.Compare(depth[b.id], depth[a.id]) })
	err = s.eachProject(ctx, func(id int64, i int) error {
		old, want, younger := s.project(id, i)
		if old != nil && want != nil && !younger && placeOf(old) != placeOf(want) {
			m.projects = append(m.projects, item{id, i})
		}
		return nil
	})
	return m, err
}

func (s *Sync) moveGroup(d *draft, it item) {
	old, want, younger := s.group(it.id, it.i)
	if old == nil || younger {
		return
	}
	to := *old
	to.Parent, to.Name = want.Parent, want.Name
	d.setGroup(&to, authz.InGroup(old.ID).String())
}

func (s *Sync) moveProject(d *draft, it item) {
	old, want, younger := s.projectFor(d, it.id, it.i)
	if old == nil || younger {
		return
	}
	to := *old
	to.Group, to.Namespace, to.Name = want.Group, want.Namespace, want.Name
	d.setProject(&to, authz.InProject(old.ID).String())
}

// removeGroup removes a group that the list does not have, unless something younger
// than the list is in it.
func (s *Sync) removeGroup(d *draft, it item) {
	old, _, younger := s.group(it.id, it.i)
	if old == nil || younger || d.firstIn(old.ID).Valid() {
		return
	}
	d.deleteGroup(old.ID, authz.InGroup(old.ID).String())
}

// moveSplit moves in several commits. First everything that moves or goes gets a name
// to wait under, a path that leads nowhere for a moment, so that nothing is in anybody's
// way. Then all move, from the top of the list down, which makes no circles: what is
// above a group that moves is in its final place. Groups that go are empty then.
func (s *Sync) moveSplit(ctx context.Context, m moving) error {
	for _, part := range []struct {
		items []item
		stage func(*draft, item)
	}{
		{slices.Concat(m.groups, m.gone), s.parkGroup},
		{m.projects, s.parkProject},
		{m.groups, s.moveGroup},
		{m.projects, s.moveProject},
		{m.gone, s.removeGroup},
	} {
		err := s.pass(ctx, stepMove, visiting(part.items), all, func(d *draft, id int64, i int) { part.stage(d, item{id, i}) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Sync) parkGroup(d *draft, it item) {
	if old, _, younger := s.group(it.id, it.i); old != nil && !younger {
		to := *old
		to.Name = parkedName(authz.InGroup(old.ID))
		d.setGroup(&to, authz.InGroup(old.ID).String())
	}
}

func (s *Sync) parkProject(d *draft, it item) {
	if old, _, younger := s.projectFor(d, it.id, it.i); old != nil && !younger {
		to := *old
		to.Name = parkedName(authz.InProject(old.ID))
		d.setProject(&to, authz.InProject(old.ID).String())
	}
}
