package engine

import (
	"context"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// visit is called with an id and its index in the list, -1 for what is not there.
type visit func(id int64, i int) error

// merge visits every id that is in the view or in the list, in order. page gives ids in
// the view after one.
func merge(ctx context.Context, page func(after int64) []int64, n int, idAt func(i int) int64, fn visit) error {
	i := 0
	for after, more := int64(0), true; more; {
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		ids := page(after)
		more = len(ids) == MaxPage
		for _, id := range ids {
			for ; i < n && idAt(i) < id; i++ {
				if err := fn(idAt(i), i); err != nil {
					return err
				}
			}
			at := -1
			if i < n && idAt(i) == id {
				at, i = i, i+1
			}
			if err := fn(id, at); err != nil {
				return err
			}
			after = id
		}
	}
	for ; i < n; i++ {
		if err := fn(idAt(i), i); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sync) eachGroup(ctx context.Context, fn visit) error {
	return merge(ctx, func(after int64) (ids []int64) {
		for _, g := range s.e.view.Groups(authz.GroupID(after), MaxPage) {
			ids = append(ids, int64(g.ID))
		}
		return ids
	}, len(s.list.groups), func(i int) int64 { return s.list.groups[i].id }, fn)
}

func (s *Sync) eachProject(ctx context.Context, fn visit) error {
	return merge(ctx, func(after int64) (ids []int64) {
		for _, p := range s.e.view.Projects(authz.ProjectID(after), MaxPage) {
			ids = append(ids, int64(p.ID))
		}
		return ids
	}, len(s.list.projects), func(i int) int64 { return s.list.projects[i].id }, fn)
}

func (s *Sync) eachUser(ctx context.Context, fn visit) error {
	return merge(ctx, func(after int64) (ids []int64) {
		for _, u := range s.e.view.Users(authz.UserID(after), MaxPage) {
			ids = append(ids, int64(u.ID))
		}
		return ids
	}, len(s.list.users), func(i int) int64 { return s.list.users[i].id }, fn)
}

// The versions of a record: the one that is there and the one that the list has, either
// nil when there is none, and whether the first, or its absence, is younger than the list
// and not the same.

func (s *Sync) group(id int64, i int) (old, want *state.Group, younger bool) {
	old, rev, _ := s.e.view.Group(authz.GroupID(id))
	if i >= 0 {
		want = s.list.group(i)
	}
	return old, want, s.younger(rev) && !same(old, want)
}

func (s *Sync) project(id int64, i int) (old, want *state.Project, younger bool) {
	old, rev, _ := s.e.view.Project(authz.ProjectID(id))
	if i >= 0 {
		want = s.list.project(i)
	}
	switch {
	case same(old, want):
	case s.younger(rev):
		younger = true
	case old == nil:
		death, _, died := s.e.view.DeathOfProject(authz.ProjectID(id))
		younger = died && s.younger(death.Before)
	case want != nil && s.opt.AsOf == 0:
		younger = old.State >= authz.StateDeletionInProgress && want.State < authz.StateDeletionInProgress
	}
	return old, want, younger
}

func (s *Sync) user(id int64, i int) (old, want *state.User, younger bool) {
	old, rev, _ := s.e.view.User(authz.UserID(id))
	if i >= 0 {
		want = s.list.user(i)
	}
	switch {
	case same(old, want):
	case s.younger(rev):
		younger = true
	case old == nil:
		death, _, died := s.e.view.DeathOfUser(authz.UserID(id))
		younger = died && s.younger(death.Before)
	}
	return old, want, younger
}

// userFor and projectFor tell it to whoever stages a change. They note a guard first:
// a block, or the beginning of a deletion, which do not wait for the lock, either are
// seen to be younger, or make the commit fail and look again.

func (s *Sync) userFor(d *draft, id int64, i int) (old, want *state.User, younger bool) {
	d.user(authz.UserID(id))
	return s.user(id, i)
}

func (s *Sync) projectFor(d *draft, id int64, i int) (old, want *state.Project, younger bool) {
	d.project(authz.ProjectID(id))
	return s.project(id, i)
}

func (s *Sync) members(id int64) (old, want []state.Membership, younger bool) {
	m, rev := s.e.view.Members(authz.UserID(id))
	want = s.list.rolesOf(id)
	return m.List, want, s.younger(rev) && !slices.Equal(m.List, want)
}

func same[T comparable](a, b *T) bool {
	return (a == nil && b == nil) || (a != nil && b != nil && *a == *b)
}

// compare fills the counts and lines of the difference.
func (s *Sync) compare(ctx context.Context) error {
	err := s.eachProject(ctx, func(id int64, i int) error {
		old, want, younger := s.project(id, i)
		scope := authz.InProject(authz.ProjectID(id))
		count(&s.diff.Projects, old, want, younger)
		s.line(same(old, want) || younger, old != nil && (want == nil || *meetProject(old, want) != *old),
			func() string { return projectWords(old, want, s.path(scope, want == nil)) })
		return nil
	})
	if err != nil {
		return err
	}
	err = s.eachGroup(ctx, func(id int64, i int) error {
		old, want, younger := s.group(id, i)
		scope := authz.InGroup(authz.GroupID(id))
		count(&s.diff.Groups, old, want, younger)
		s.line(same(old, want) || younger, old != nil && (want == nil || *meetGroup(old, want) != *old),
			func() string { return groupWords(old, want, s.path(scope, want == nil)) })
		return nil
	})
	if err != nil {
		return err
	}
	err = s.eachUser(ctx, func(id int64, i int) error {
		old, want, younger := s.user(id, i)
		count(&s.diff.Users, old, want, younger)
		s.line(same(old, want) || younger, old != nil && (want == nil || *meetUser(old, want) != *old),
			func() string { return userWords(old, want) })
		s.compareRoles(id, old == nil && younger)
		return nil
	})
	s.diff.Lines = append(s.diff.Lines, s.gives[:min(len(s.gives), MaxDiffLines-len(s.diff.Lines))]...)
	return err
}

// path gives the path of something that goes, or that the list has.
func (s *Sync) path(scope authz.Scope, goes bool) string {
	if goes {
		return pathOf(s.e.view, scope)
	}
	return s.list.path(scope)
}

// compareRoles compares one user's memberships. Those of a user who was removed after
// the list was taken are younger with them.
func (s *Sync) compareRoles(id int64, userYounger bool) {
	old, want, younger := s.members(id)
	younger = younger || userYounger
	c := &s.diff.Memberships
	user := authz.UserID(id)
	eachRole(old, want, func(scope authz.Scope, was, now authz.Role) {
		left := younger || (was == 0 && s.barred(scope))
		switch {
		case was == now:
			c.Unchanged++
		case left:
			c.Younger++
		case was == 0:
			c.Created++
		case now == 0:
			c.Removed++
		default:
			c.Updated++
		}
		s.line(was == now || left, now < was, func() string {
			return roleWords(user, scope, s.path(scope, !s.list.has(scope)), was, now)
		})
	})
}

// barred reports whether a project of the list is not to be created, because it was
// removed after the list was taken.
func (s *Sync) barred(scope authz.Scope) bool {
	if scope.Kind != authz.ScopeProject {
		return false
	}
	death, _, died := s.e.view.DeathOfProject(authz.ProjectID(scope.ID))
	if !died || !s.younger(death.Before) {
		return false
	}
	_, _, there := s.e.view.Project(authz.ProjectID(scope.ID))
	return !there
}

// eachRole calls fn for each scope in one of two lists, with RoleNone where it is not.
func eachRole(a, b []state.Membership, fn func(s authz.Scope, a, b authz.Role)) {
	for len(a) > 0 || len(b) > 0 {
		c := 0
		switch {
		case len(a) == 0:
			c = 1
		case len(b) == 0:
			c = -1
		default:
			c = compareScopes(a[0].Scope, b[0].Scope)
		}
		switch {
		case c < 0:
			fn(a[0].Scope, a[0].Role, authz.RoleNone)
			a = a[1:]
		case c > 0:
			fn(b[0].Scope, authz.RoleNone, b[0].Role)
			b = b[1:]
		default:
			fn(a[0].Scope, a[0].Role, b[0].Role)
			a, b = a[1:], b[1:]
		}
	}
}

func count[T comparable](c *DiffCount, old, want *T, younger bool) {
	switch {
	case same(old, want):
		c.Unchanged++
	case younger:
		c.Younger++
	case old == nil:
		c.Created++
	case want == nil:
		c.Removed++
	default:
		c.Updated++
	}
}

// line keeps a difference in words, unless there is none to tell.
func (s *Sync) line(nothing, takes bool, words func() string) {
	switch {
	case nothing:
	case takes && len(s.diff.Lines) < MaxDiffLines:
		s.diff.Lines = append(s.diff.Lines, words())
	case !takes && len(s.gives) < MaxDiffLines:
		s.gives = append(s.gives, words())
	}
}
