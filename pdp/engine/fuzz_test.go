package engine

import (
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// FuzzApply: no batch breaks the directory. What is taken leaves it one that a
// synchronisation would take as a list; what is refused leaves it as it was.
func FuzzApply(f *testing.F) {
	f.Add([]byte{0, 1, 0, 'a', 1, 1, 1, 'a', 2, 1, 3, 1, 1, 40, 4, 1, 5, 1, 6, 1, 7, 1, 1})
	f.Add([]byte("\x00\x01\x00a\x00\x02\x01b\x00\x01\x02a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := newEngine(t)
		for len(data) > 0 {
			n := min(1+int(data[0]>>4), 12)
			var changes []Change
			for ; n > 0 && len(data) > 0; n-- {
				var c Change
				c, data = fuzzedChange(data)
				changes = append(changes, c)
			}
			before := holding(e)
			_, err := e.Apply(t.Context(), forge(), ApplyRequest{Changes: changes})
			if err != nil {
				if k := authz.KindOf(err); k != authz.KindInvalid && k != authz.KindExists && k != authz.KindPrecondition {
					t.Fatalf("kind %d: %v", k, err)
				}
				sameWorld(t, holding(e), before)
				continue
			}
			var list staged
			for _, c := range holding(e).changes() {
				list.add(&c)
			}
			list.sort()
			if err := list.check(); err != nil {
				t.Fatal(err)
			}
			checkNoLeftovers(t, e)
		}
	})
}

// fuzzedChange reads one change: its kind, and a few bytes of small ids and names.
func fuzzedChange(data []byte) (Change, []byte) {
	var b [6]byte
	n := copy(b[:], data)
	id, other := int64(b[1]%12), int64(b[2]%12)
	name := string(b[3:5])
	s := authz.Scope{Kind: authz.ScopeKind(b[3] % 4), ID: other}
	var c Change
	switch b[0] % 8 {
	case 0:
		c.Group = &state.Group{ID: authz.GroupID(id), Parent: authz.GroupID(other), Name: name, State: authz.ProjectState(b[5] % 6)}
	case 1:
		c.Project = &state.Project{ID: authz.ProjectID(id), Group: authz.GroupID(other), Name: name, State: authz.ProjectState(b[5] % 6)}
		if other == 0 {
			c.Project.Namespace = name[:1]
		}
	case 2:
		c.User = &state.User{ID: authz.UserID(id), Name: name, State: authz.UserState(b[5] % 6)}
	case 3:
		c.Membership = &Membership{authz.UserID(id), state.Membership{Scope: s, Role: authz.Role(b[5])}}
	case 4:
		c.DeleteGroup = authz.GroupID(id)
	case 5:
		c.DeleteProject = authz.ProjectID(id)
	case 6:
		c.DeleteUser = authz.UserID(id)
	case 7:
		c.DeleteMembership = &MembershipRef{authz.UserID(id), s}
	}
	return c, data[n:]
}

// FuzzCursors: whatever a caller gives to go on after, every list answers with a page
// or with CURSOR_INVALID, and what it gives out it takes back.
func FuzzCursors(f *testing.F) {
	for _, seed := range []string{"", "self", "1", "1.2", "1.2.3", "2.9007199254740991", "-1", "1.1.1.1", "00000000000000010000000000000001"} {
		f.Add(seed, uint16(2))
	}
	f.Fuzz(func(t *testing.T, after string, limit uint16) {
		e := newEngine(t, append(listWorld(), &state.Allowlist{Project: app, Outbound: []authz.ProjectID{mine, 99}, Inbound: []state.Entry{
			{Caller: authz.InProject(open)}, {Caller: authz.InProject(99)}, {Caller: authz.InGroup(team)},
		}})...)
		ctx := t.Context()
		for name, read := range map[string]func(Page) (string, error){
			"entries": func(p Page) (string, error) {
				l, err := e.ListEntries(ctx, as(max_), EntryQuery{Project: app, Page: p})
				return l.Next, err
			},
			"listings": func(p Page) (string, error) {
				l, err := e.ListListings(ctx, as(max_), ListingQuery{Project: app, Page: p})
				return l.Next, err
			},
			"groups":   func(p Page) (string, error) { l, err := e.ListGroups(ctx, 0, p); return l.Next, err },
			"in group": func(p Page) (string, error) { l, err := e.ListGroups(ctx, partly, p); return l.Next, err },
			"projects": func(p Page) (string, error) { l, err := e.ListProjects(ctx, acme, p); return l.Next, err },
			"users":    func(p Page) (string, error) { l, err := e.ListUsers(ctx, "user1", p); return l.Next, err },
			"members":  func(p Page) (string, error) { l, err := e.ListMembers(ctx, MemberQuery{Page: p}); return l.Next, err },
			"of scope": func(p Page) (string, error) {
				l, err := e.ListMembers(ctx, MemberQuery{Scope: authz.InProject(30), Inherited: true, Page: p})
				return l.Next, err
			},
			"events": func(p Page) (string, error) { l, err := e.ListEvents(ctx, EventQuery{Page: p}); return l.Next, err },
		} {
			p := Page{After: after, Limit: int(limit)}
			next, err := read(p)
			if err != nil && authz.KindOf(err) != authz.KindInvalid {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil && next != "" {
				if _, err := read(Page{After: next, Limit: 1}); err != nil {
					t.Errorf("%s gave %q and does not take it: %v", name, next, err)
				}
			}
			if err == nil && next == after && next != "" {
				t.Errorf("%s stands still at %q", name, next)
			}
		}
	})
}
