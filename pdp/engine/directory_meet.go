package engine

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// The meet of two versions of a record is at the place of the first and lets nobody do
// what either of them would refuse: what a record can be made to be at once, before
// anything that gives rights (see Sync). A change to a version that is its own meet
// with the one before only takes rights away.

func meetGroup(a, b *state.Group) *state.Group {
	m := *a
	m.Visibility = min(a.Visibility, b.Visibility)
	m.State = max(a.State, b.State)
	return &m
}

func meetProject(a, b *state.Project) *state.Project {
	m := *a
	m.Visibility = min(a.Visibility, b.Visibility)
	m.State = max(a.State, b.State)
	for i := range m.Features {
		if openness(b.Features[i]) < openness(a.Features[i]) {
			m.Features[i] = b.Features[i]
		}
	}
	m.PublicBuilds = a.PublicBuilds && b.PublicBuilds
	m.ReadOnly = a.ReadOnly || b.ReadOnly
	m.Hidden = a.Hidden || b.Hidden
	return &m
}

// openness orders the levels of a feature.
func openness(l authz.FeatureLevel) int {
	switch l {
	case authz.FeatureDisabled:
		return 0
	case authz.FeaturePrivate:
		return 1
	case authz.FeaturePublic:
		return 3
	}
	return 2
}

func meetUser(a, b *state.User) *state.User {
	m := *a
	if a.State == authz.UserStateActive {
		m.State = b.State
	}
	m.External = a.External || b.External
	m.Admin = a.Admin && b.Admin
	return &m
}

// meetMembers gives the memberships that stand in both lists, with the lesser role.
// Both are sorted by scope.
func meetMembers(a, b []state.Membership) (m []state.Membership) {
	for len(a) > 0 && len(b) > 0 {
		switch c := compareScopes(a[0].Scope, b[0].Scope); {
		case c < 0:
			a = a[1:]
		case c > 0:
			b = b[1:]
		default:
			m = append(m, state.Membership{Scope: a[0].Scope, Role: min(a[0].Role, b[0].Role)})
			a, b = a[1:], b[1:]
		}
	}
	return m
}
