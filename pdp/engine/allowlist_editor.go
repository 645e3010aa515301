package engine

import (
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// editor is somebody who reads or edits allowlists, with what they may see and do
// (SEMANTICS §16).
type editor struct {
	reading
	// self says that the caller acts as itself, which has every right.
	self     bool
	at       authz.Revision // everything read is at least as new
	id       authz.UserID
	external bool
	roles    []state.Membership
}

// editor finds who acts: the user named, who must be active, or a caller of the admin
// role itself.
func (e *Engine) editor(by Actor) (*editor, error) {
	ed := &editor{reading: newReading(e.view), id: by.User, at: e.view.Mark().Revision}
	if by.User == 0 {
		if !by.Admin {
			return nil, authz.Errorf(authz.KindForbidden, CodeUserRequired,
				"name the user that this is done for; only callers of the admin role act as themselves")
		}
		ed.self = true
		return ed, nil
	}
	u := ed.user(by.User)
	if u == nil || u.State != authz.UserStateActive {
		return nil, authz.Errorf(authz.KindForbidden, CodeUserNotActive,
			"user %d does not exist or is not active: nothing can be done on their behalf", by.User)
	}
	ed.external, ed.roles = u.External, ed.members(by.User)
	return ed, nil
}

// role gives the user's highest role on any of the scopes, guest at least.
func (ed *editor) role(chain []authz.Scope) authz.Role {
	best := authz.RoleNone
	for _, m := range ed.roles {
		if m.Role >= authz.RoleGuest && slices.Contains(chain, m.Scope) {
			best = max(best, m.Role)
		}
	}
	return best
}

// sight is what a user has of a project or group.
type sight struct {
	exists bool
	// seen: it is open to the user, or the user is a member.
	seen bool
	// member: seen by a role, or public. That is what naming it on a list asks for.
	member bool
	role   authz.Role
}

func (ed *editor) look(s authz.Scope) sight {
	if s.Kind == authz.ScopeGroup {
		return ed.lookGroup(authz.GroupID(s.ID))
	}
	return ed.lookProject(authz.ProjectID(s.ID))
}

// lookProject sees no project that is hidden or pending deletion: to everybody it does
// not exist (§14).
func (ed *editor) lookProject(id authz.ProjectID) sight {
	p := ed.project(id)
	chain, worst := ed.above(authz.InProject(id))
	if p == nil || (!ed.self && (p.Hidden || worst == authz.StatePendingDelete)) {
		return sight{}
	}
	return ed.sight(p.Visibility, chain)
}

func (ed *editor) lookGroup(id authz.GroupID) sight {
	g := ed.group(id)
	if g == nil {
		return sight{}
	}
	chain, _ := ed.above(authz.InGroup(id))
	s := ed.sight(g.Visibility, chain)
	if !s.seen {
		s.seen = ed.below(authz.InGroup(id))
	}
	// For a group it is enough that the user may read it.
	s.member = s.seen
	return s
}

func (ed *editor) sight(v authz.Visibility, chain []authz.Scope) sight {
	if ed.self {
		return sight{exists: true, seen: true, member: true, role: authz.RoleOwner}
	}
	role := ed.role(chain)
	return sight{
		exists: true, role: role,
		seen:   role != authz.RoleNone || v == authz.Public || (v == authz.Internal && !ed.external),
		member: role != authz.RoleNone || v == authz.Public,
	}
}

// below reports whether the user is a member of something below the group: who is let
// into a part of a group can read its name.
func (ed *editor) below(group authz.Scope) bool {
	for _, m := range ed.roles {
		if m.Role < authz.RoleGuest {
			continue
		}
		// Only the membership that counts is guarded: a user can have thousands.
		try := newReading(ed.view)
		if chain, _ := try.above(m.Scope); slices.Contains(chain, group) {
			for k, rev := range try.guards {
				ed.saw(k, rev)
			}
			return true
		}
	}
	return false
}

// maintain asserts that the user may edit the project's allowlist, and that the project
// is none that the user must not learn of.
func (ed *editor) maintain(id authz.ProjectID) error {
	s := ed.lookProject(id)
	switch {
	case !s.seen:
		return errUnseen("project_id", authz.InProject(id), ed.id)
	case s.role < authz.RoleMaintainer:
		return authz.Errorf(authz.KindForbidden, CodeNotMaintainer,
			"user %d is no maintainer of project %d (role %s): allowlists are their maintainers' business", ed.id, id, s.role)
	}
	return nil
}

// errUnseen is one answer for what does not exist and what the user may not see.
func errUnseen(field string, s authz.Scope, user authz.UserID) error {
	code := CodeProjectNotFound
	if s.Kind == authz.ScopeGroup {
		code = CodeGroupNotFound
	}
	if user == 0 {
		return authz.Errorf(authz.KindNotFound, code, "%s: %s does not exist", field, s)
	}
	return authz.Errorf(authz.KindNotFound, code, "%s: %s does not exist, or user %d may not see it", field, s, user)
}

// path gives the full path of what the user may see.
func (ed *editor) path(s authz.Scope) string {
	if !ed.look(s).seen {
		return ""
	}
	return pathOf(ed.view, s)
}

// pathOf gives the full path of a project or group, empty if it has none.
func pathOf(v *state.View, s authz.Scope) string {
	var path string
	if s.Kind == authz.ScopeGroup {
		path, _ = v.GroupPath(authz.GroupID(s.ID))
	} else {
		path, _ = v.PathOf(authz.ProjectID(s.ID))
	}
	return path
}
