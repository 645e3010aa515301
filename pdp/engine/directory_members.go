package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// MemberQuery chooses memberships: those of a user, those on a scope, or all. Where
// both are set both must hold.
type MemberQuery struct {
	User  authz.UserID
	Scope authz.Scope
	// Inherited takes, with a Scope, the groups above it too: each user comes once, with
	// the highest role, and of equal ones the nearest.
	Inherited bool
	Page      Page
}

// ListMembers lists memberships by user, and those of one user by scope, projects
// first.
func (e *Engine) ListMembers(_ context.Context, q MemberQuery) (Listing[Membership], error) {
	if q.User != 0 && !q.User.Valid() {
		return Listing[Membership]{}, authz.Invalid("user_id", "must be 0 to %d", authz.MaxID)
	}
	if q.Scope != (authz.Scope{}) && !q.Scope.Valid() {
		return Listing[Membership]{}, authz.Invalid("scope", "must name a project or a group by its id, 1 to %d", authz.MaxID)
	}
	after, err := readMemberCursor(q.Page.After)
	if err != nil {
		return Listing[Membership]{}, err
	}
	out := Listing[Membership]{Revision: e.view.Mark().Revision}
	l := members{e: e, q: q, limit: q.Page.limit(), out: &out}
	switch {
	case q.User != 0:
		l.ofUser(q.User, after.Scope)
	case q.Scope.Valid():
		l.ofScope(after.User)
	default:
		l.all(after)
	}
	return out, nil
}

// members reads one page of memberships.
type members struct {
	e     *Engine
	q     MemberQuery
	limit int
	out   *Listing[Membership]
}

// add adds one membership; false says that the page was full before and now has a
// Next.
func (l *members) add(m Membership) bool {
	if n := len(l.out.Items); n == l.limit {
		last := l.out.Items[n-1]
		l.out.Next = fmt.Sprintf("%d.%d.%d", last.User, last.Scope.Kind, last.Scope.ID)
		return false
	}
	l.out.Items = append(l.out.Items, m)
	return true
}

func readMemberCursor(c string) (MembershipRef, error) {
	if c == "" {
		return MembershipRef{}, nil
	}
	user, scope, _ := strings.Cut(c, ".")
	id, err := Page{After: user}.afterID()
	if err != nil {
		return MembershipRef{}, err
	}
	s, err := readScopeCursor(scope)
	return MembershipRef{User: authz.UserID(id), Scope: s}, err
}

// ofUser adds a user's memberships after a scope that the query asks for.
func (l *members) ofUser(user authz.UserID, after authz.Scope) bool {
	m, _ := l.e.view.Members(user)
	if l.q.Scope.Valid() && l.q.Inherited {
		best, ok := bestOf(m.List, l.e.above(l.q.Scope))
		return !ok || after.Valid() || l.add(Membership{user, best})
	}
	for _, held := range m.List {
		if compareScopes(held.Scope, after) <= 0 || (l.q.Scope.Valid() && held.Scope != l.q.Scope) {
			continue
		}
		if !l.add(Membership{user, held}) {
			return false
		}
	}
	return true
}

func (e *Engine) above(s authz.Scope) []authz.Scope {
	r := newReading(e.view)
	chain, _ := r.above(s)
	return chain
}

// bestOf gives the highest role on any of the scopes of chain, the nearest of equals.
func bestOf(list []state.Membership, chain []authz.Scope) (best state.Membership, ok bool) {
	for _, s := range chain {
		if i, has := findMembership(list, s); has && (!ok || list[i].Role > best.Role) {
			best, ok = list[i], true
		}
	}
	return best, ok
}

// ofScope adds the members of the scope, and where asked for of the groups above it,
// with ids above after.
func (l *members) ofScope(after authz.UserID) {
	chain := []authz.Scope{l.q.Scope}
	if l.q.Inherited {
		chain = l.e.above(l.q.Scope)
	}
	// The first limit+1 of each list together hold the first limit+1 of all.
	var all []Membership
	for _, s := range chain {
		for _, m := range l.e.view.MembersOf(s, after, l.limit+1) {
			all = append(all, Membership{m.User, state.Membership{Scope: s, Role: m.Role}})
		}
	}
	slices.SortStableFunc(all, func(a, b Membership) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(b.Role, a.Role))
	})
	last := authz.UserID(0)
	for _, m := range all {
		if m.User == last {
			continue
		}
		if last = m.User; !l.add(m) {
			return
		}
	}
}

// all adds every membership there is, from a user on. It looks at a bounded number of
// users.
func (l *members) all(after MembershipRef) {
	if after.User != 0 && !l.ofUser(after.User, after.Scope) {
		return
	}
	seen := after.User
	for range userScan / MaxPage {
		users := l.e.view.Users(seen, MaxPage)
		for _, u := range users {
			if !l.ofUser(u.ID, authz.Scope{}) {
				return
			}
			seen = u.ID
		}
		if len(users) < MaxPage {
			return
		}
	}
	l.out.Next = fmt.Sprintf("%d.%d.%d", seen, authz.ScopeGroup, int64(authz.MaxID))
}
