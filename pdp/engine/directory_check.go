package engine

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// parked begins the names that a synchronisation gives to what has to make room for a
// moment (sync_move.go), so nothing else may be called that.
const parked = "~moving-"

// faults collects the bad fields of a request.
type faults struct{ list []authz.Violation }

// maxFaults is how many bad fields an error names.
const maxFaults = 100

func (f *faults) addf(field, format string, args ...any) {
	if len(f.list) < maxFaults {
		f.list = append(f.list, authz.Violation{Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

// err gives nil when there are none.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &authz.Error{
		Kind: authz.KindInvalid, Code: CodeInvalidField, Violations: f.list,
		Message: f.list[0].Field + ": " + f.list[0].Message,
	}
}

// checkChanges looks at everything in a batch that needs no directory.
func checkChanges(changes []Change) error {
	if len(changes) == 0 || len(changes) > MaxChanges {
		return authz.Invalid("changes", "must be 1 to %d changes, not %d", MaxChanges, len(changes))
	}
	var f faults
	first := map[changeKey]int{}
	for i := range changes {
		c := &changes[i]
		field := fmt.Sprintf("changes[%d]", i)
		if n := c.parts(); n != 1 {
			f.addf(field, "must set exactly one thing, not %d", n)
			continue
		}
		f.change(field, c)
		if j, again := first[c.key()]; again {
			f.addf(field, "changes[%d] is about the same record", j)
		} else {
			first[c.key()] = i
		}
	}
	return f.err()
}

// parts counts the fields set.
func (c *Change) parts() (n int) {
	for _, set := range []bool{
		c.Group != nil, c.Project != nil, c.User != nil, c.Membership != nil,
		c.DeleteGroup != 0, c.DeleteProject != 0, c.DeleteUser != 0, c.DeleteMembership != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// changeKey names what a change is about.
type changeKey struct {
	rec   state.Key
	scope authz.Scope // of a membership
}

func (c *Change) key() changeKey {
	switch {
	case c.Group != nil:
		return changeKey{rec: state.GroupKey(c.Group.ID)}
	case c.Project != nil:
		return changeKey{rec: state.ProjectKey(c.Project.ID)}
	case c.User != nil:
		return changeKey{rec: state.UserKey(c.User.ID)}
	case c.Membership != nil:
		return changeKey{state.MembersKey(c.Membership.User), c.Membership.Scope}
	case c.DeleteGroup != 0:
		return changeKey{rec: state.GroupKey(c.DeleteGroup)}
	case c.DeleteProject != 0:
		return changeKey{rec: state.ProjectKey(c.DeleteProject)}
	case c.DeleteUser != 0:
		return changeKey{rec: state.UserKey(c.DeleteUser)}
	}
	return changeKey{state.MembersKey(c.DeleteMembership.User), c.DeleteMembership.Scope}
}

// change checks one change of which exactly one part is set.
func (f *faults) change(field string, c *Change) {
	switch {
	case c.Group != nil:
		f.group(field+".set_group", c.Group)
	case c.Project != nil:
		f.project(field+".set_project", c.Project)
	case c.User != nil:
		f.user(field+".set_user", c.User)
	case c.Membership != nil:
		f.membership(field+".set_membership", c.Membership)
	case c.DeleteGroup != 0:
		f.id(field+".remove_group_id", int64(c.DeleteGroup))
	case c.DeleteProject != 0:
		f.id(field+".remove_project_id", int64(c.DeleteProject))
	case c.DeleteUser != 0:
		f.id(field+".remove_user_id", int64(c.DeleteUser))
	default:
		f.id(field+".remove_membership.user_id", int64(c.DeleteMembership.User))
		f.scope(field+".remove_membership.scope", c.DeleteMembership.Scope)
	}
}

func (f *faults) id(field string, id int64) {
	if id < 1 || id > authz.MaxID {
		f.addf(field, "must be 1 to %d", authz.MaxID)
	}
}

// parentID is an id, or zero where that means something.
func (f *faults) parentID(field string, id int64) {
	if id < 0 || id > authz.MaxID {
		f.addf(field, "must be 0 to %d", authz.MaxID)
	}
}

func (f *faults) scope(field string, s authz.Scope) {
	if !s.Valid() {
		f.addf(field, "must name a project or a group by its id, 1 to %d", authz.MaxID)
	}
}

// name checks a segment of a path.
func (f *faults) name(field, name string) {
	switch {
	case strings.Contains(name, "/"):
		f.addf(field, "must be one segment of a path: it has a slash")
	case name == "." || name == "..":
		f.addf(field, "%q means something else in a path", name)
	case strings.HasPrefix(name, parked):
		f.addf(field, "names that begin with %s are Jobward's own", parked)
	default:
		f.words(field, name)
	}
}

// words checks text for people.
func (f *faults) words(field, text string) {
	switch {
	case text == "" || len(text) > MaxName:
		f.addf(field, "must be 1 to %d bytes, not %d", MaxName, len(text))
	case !utf8.ValidString(text):
		f.addf(field, "must be UTF-8")
	case strings.ContainsFunc(text, unicode.IsControl):
		f.addf(field, "must have no control characters")
	}
}

func (f *faults) group(field string, g *state.Group) {
	f.id(field+".group_id", int64(g.ID))
	f.parentID(field+".parent_id", int64(g.Parent))
	f.name(field+".name", g.Name)
	if g.Visibility > authz.Public {
		f.addf(field+".visibility", "%s is none", g.Visibility)
	}
	if g.State > authz.StateDeletionScheduled {
		f.addf(field+".state", "a group is active, archived or deletion_scheduled, not %s: deletion happens to projects", g.State)
	}
}

func (f *faults) project(field string, p *state.Project) {
	f.id(field+".project_id", int64(p.ID))
	f.parentID(field+".group_id", int64(p.Group))
	f.name(field+".name", p.Name)
	switch {
	case (p.Group == 0) == (p.Namespace == ""):
		f.addf(field+".namespace", "a project is in a group (group_id) or in a personal namespace (namespace), exactly one")
	case p.Group == 0:
		f.name(field+".namespace", p.Namespace)
	}
	if p.Visibility > authz.Public {
		f.addf(field+".visibility", "%s is none", p.Visibility)
	}
	if p.State > authz.StatePendingDelete {
		f.addf(field+".state", "%s is none", p.State)
	}
	for i, level := range p.Features {
		feature := authz.Feature(i)
		switch {
		case level > authz.FeaturePublic:
			f.addf(field+".features", "%s: %s is no level", feature, level)
		case level == authz.FeaturePublic && feature != authz.FeaturePackages:
			f.addf(field+".features", "%s: only packages can be public", feature)
		}
	}
}

func (f *faults) user(field string, u *state.User) {
	f.id(field+".user_id", int64(u.ID))
	f.words(field+".name", u.Name)
	if u.State > authz.UserStateBlockedPendingApproval {
		f.addf(field+".state", "%s is none", u.State)
	}
}

func (f *faults) membership(field string, m *Membership) {
	f.id(field+".user_id", int64(m.User))
	f.scope(field+".scope", m.Scope)
	switch m.Role {
	case authz.RoleMinimal, authz.RoleGuest, authz.RolePlanner, authz.RoleReporter, authz.RoleSecurityManager,
		authz.RoleDeveloper, authz.RoleMaintainer, authz.RoleOwner:
	default:
		f.addf(field+".role", "%s is none to give", m.Role)
	}
}
