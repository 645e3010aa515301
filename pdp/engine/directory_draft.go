package engine

import (
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// draft is a change of the directory under construction: the records as they will be,
// over the view as it is. The order of staging does not matter; [draft.check] looks at
// what comes out as a whole.
//
// It also sees to it that death is final (PROTOCOL R7): whatever takes a project or a
// user out of action, and whatever brings one back, puts a Death in the same batch, so
// tokens issued before are dead by one record, and so are those issued in between.
type draft struct {
	reading
	now authz.Stamp

	puts    map[state.Key]state.Record // as it will be; nil for what is deleted
	order   []state.Key                // the keys of puts, as staged
	fields  map[state.Key]string       // where the request speaks of them
	granted []grantedRole
	deaths  []*state.Death
	events  []audit.Event
	changed int
	// loosens says that something else than taking away rights is in it.
	loosens bool
	// gone and fresh are the projects and groups deleted and created.
	gone, fresh []authz.Scope
	// before is the revision of an earlier commit that did what is asked for.
	before authz.Revision
	// taken says who will be where, of those in puts.
	taken map[place]authz.Scope
	// quiet says that nothing is told but how much was changed.
	quiet bool
	// structural says that the draft is one of the changes that put the Directory record.
	structural bool
	// trusted says that depths need no check: the end of a synchronisation is known to be
	// shallow, and something on the way to it may not be.
	trusted bool
}

type grantedRole struct {
	user  authz.UserID
	scope authz.Scope
	field string
}

// newDraft begins a draft. One that is structural is guarded on the Directory record before
// it reads anything, so whatever it reads of the directory holds when it is committed.
func (e *Engine) newDraft(structural bool) *draft {
	d := &draft{
		reading: newReading(e.view), now: e.clock.Now(), structural: structural,
		puts: map[state.Key]state.Record{}, fields: map[state.Key]string{},
	}
	if structural {
		d.directory()
	}
	return d
}

func (d *draft) put(rec state.Record, field string) {
	k := rec.Key()
	if _, ok := d.puts[k]; !ok {
		d.order = append(d.order, k)
	}
	d.puts[k], d.fields[k] = rec, field
}

func (d *draft) del(k state.Key, field string) {
	if _, ok := d.puts[k]; !ok {
		d.order = append(d.order, k)
	}
	d.puts[k], d.fields[k] = nil, field
}

// tell notes a change for the audit log.
func (d *draft) tell(loosens bool, event func() audit.Event) {
	d.changed++
	d.loosens = d.loosens || loosens
	if d.quiet {
		return
	}
	ev := event()
	ev.Count = 1
	d.events = append(d.events, ev)
}

// groupNow gives a group as it will be. It notes no guard: what the directory says of
// others than those it changes is kept still by the guard on the Directory record.
func (d *draft) groupNow(id authz.GroupID) *state.Group {
	if rec, ok := d.puts[state.GroupKey(id)]; ok {
		g, _ := rec.(*state.Group)
		return g
	}
	g, _, _ := d.view.Group(id)
	return g
}

func (d *draft) projectNow(id authz.ProjectID) *state.Project {
	if rec, ok := d.puts[state.ProjectKey(id)]; ok {
		p, _ := rec.(*state.Project)
		return p
	}
	p, _, _ := d.view.Project(id)
	return p
}

func (d *draft) userNow(id authz.UserID) *state.User {
	if rec, ok := d.puts[state.UserKey(id)]; ok {
		u, _ := rec.(*state.User)
		return u
	}
	u, _, _ := d.view.User(id)
	return u
}

func (d *draft) membersNow(id authz.UserID) []state.Membership {
	if rec, ok := d.puts[state.MembersKey(id)]; ok {
		if m, ok := rec.(*state.Members); ok {
			return m.List
		}
		return nil
	}
	return d.members(id)
}

func (d *draft) exists(s authz.Scope) bool {
	if s.Kind == authz.ScopeGroup {
		return d.groupNow(authz.GroupID(s.ID)) != nil
	}
	return d.projectNow(authz.ProjectID(s.ID)) != nil
}

// stage adds one change that checkChanges has passed.
func (d *draft) stage(c *Change, field string) {
	switch {
	case c.Group != nil:
		d.setGroup(c.Group, field+".set_group")
	case c.Project != nil:
		d.setProject(c.Project, field+".set_project")
	case c.User != nil:
		d.setUser(c.User, field+".set_user")
	case c.Membership != nil:
		d.setRole(c.Membership.User, c.Membership.Membership, field+".set_membership")
	case c.DeleteGroup != 0:
		d.deleteGroup(c.DeleteGroup, field+".remove_group_id")
	case c.DeleteProject != 0:
		d.deleteProject(c.DeleteProject, field+".remove_project_id")
	case c.DeleteUser != 0:
		d.deleteUser(c.DeleteUser, field+".remove_user_id")
	default:
		d.deleteRole(c.DeleteMembership.User, c.DeleteMembership.Scope)
	}
}

func (d *draft) setGroup(g *state.Group, field string) {
	old := d.group(g.ID)
	if old != nil && *old == *g {
		return
	}
	d.put(g, field)
	if old == nil {
		d.fresh = append(d.fresh, authz.InGroup(g.ID))
	}
	d.tell(old == nil || *meetGroup(old, g) != *g, func() audit.Event {
		return audit.Event{Detail: groupWords(old, g, d.pathNow(authz.InGroup(g.ID)))}
	})
}

func (d *draft) setProject(p *state.Project, field string) {
	old := d.project(p.ID)
	if old != nil && *old == *p {
		return
	}
	d.put(p, field)
	dying := p.State >= authz.StateDeletionInProgress
	if old == nil {
		d.fresh = append(d.fresh, authz.InProject(p.ID))
		if _, _, died := d.view.DeathOfProject(p.ID); died || dying {
			d.killProject(p.ID)
		}
	} else if old.State != p.State && (dying || old.State >= authz.StateDeletionInProgress) {
		d.killProject(p.ID)
	}
	d.tell(old == nil || *meetProject(old, p) != *p, func() audit.Event {
		return audit.Event{Target: p.ID, Detail: projectWords(old, p, d.pathNow(authz.InProject(p.ID)))}
	})
}

func (d *draft) setUser(u *state.User, field string) {
	old := d.user(u.ID)
	if old != nil && *old == *u {
		return
	}
	d.put(u, field)
	if old == nil {
		if _, _, died := d.view.DeathOfUser(u.ID); died || u.State != authz.UserStateActive {
			d.killUser(u.ID)
		}
	} else if old.State != u.State {
		d.killUser(u.ID)
	}
	d.tell(old == nil || *meetUser(old, u) != *u, func() audit.Event {
		return audit.Event{User: u.ID, Detail: userWords(old, u)}
	})
}

func (d *draft) setRole(user authz.UserID, m state.Membership, field string) {
	list := d.membersNow(user)
	i, ok := findMembership(list, m.Scope)
	old := state.Membership{Scope: m.Scope}
	if ok {
		if old = list[i]; old == m {
			return
		}
	}
	list = slices.Clone(list)
	if ok {
		list[i] = m
	} else {
		list = slices.Insert(list, i, m)
	}
	d.put(&state.Members{User: user, List: list}, field)
	d.granted = append(d.granted, grantedRole{user, m.Scope, field})
	d.tell(m.Role > old.Role, func() audit.Event { return d.roleEvent(user, m.Scope, old.Role, m.Role) })
}

// deleteRole leaves an empty list where it takes the last role: a positive record, so
// that a synchronisation from an older list sees that something was taken away and
// does not give it back.
func (d *draft) deleteRole(user authz.UserID, s authz.Scope) {
	list := d.membersNow(user)
	i, ok := findMembership(list, s)
	if !ok {
		return
	}
	was := list[i].Role
	d.put(&state.Members{User: user, List: slices.Delete(slices.Clone(list), i, i+1)}, "")
	d.granted = slices.DeleteFunc(d.granted, func(g grantedRole) bool { return g.user == user && g.scope == s })
	d.tell(false, func() audit.Event { return d.roleEvent(user, s, was, authz.RoleNone) })
}

func (d *draft) roleEvent(user authz.UserID, s authz.Scope, old, role authz.Role) audit.Event {
	ev := audit.Event{User: user, Detail: roleWords(user, s, d.pathNow(s), old, role)}
	if s.Kind == authz.ScopeProject {
		ev.Target = authz.ProjectID(s.ID)
	}
	return ev
}

func findMembership(list []state.Membership, s authz.Scope) (int, bool) {
	return slices.BinarySearchFunc(list, s, func(m state.Membership, s authz.Scope) int { return compareScopes(m.Scope, s) })
}

func (d *draft) deleteGroup(id authz.GroupID, field string) {
	old := d.group(id)
	if old == nil {
		return
	}
	d.del(state.GroupKey(id), field)
	d.gone = append(d.gone, authz.InGroup(id))
	d.tell(false, func() audit.Event {
		return audit.Event{Detail: groupWords(old, nil, pathOf(d.view, authz.InGroup(id)))}
	})
}

// deleteProject removes the project and its own allowlist. What names it elsewhere is
// for [Engine.cleanUp].
func (d *draft) deleteProject(id authz.ProjectID, field string) {
	old := d.project(id)
	if old == nil {
		return
	}
	d.del(state.ProjectKey(id), field)
	if _, rev := d.allowlist(id); rev != 0 {
		d.del(state.AllowlistKey(id), field)
	}
	d.killProject(id)
	d.gone = append(d.gone, authz.InProject(id))
	d.tell(false, func() audit.Event {
		return audit.Event{Target: id, Detail: projectWords(old, nil, pathOf(d.view, authz.InProject(id)))}
	})
}

func (d *draft) deleteUser(id authz.UserID, field string) {
	old := d.user(id)
	if old == nil {
		return
	}
	d.del(state.UserKey(id), field)
	if d.members(id); d.guards[state.MembersKey(id)] != 0 {
		d.del(state.MembersKey(id), field)
	}
	d.killUser(id)
	d.tell(false, func() audit.Event { return audit.Event{User: id, Detail: userWords(old, nil)} })
}

// killProject makes every token of the project's jobs dead that was issued before this
// commit.
func (d *draft) killProject(id authz.ProjectID) {
	d.deaths = append(d.deaths, &state.Death{Project: id, Before: state.ThisRevision, At: d.now})
}

func (d *draft) killUser(id authz.UserID) {
	d.deaths = append(d.deaths, &state.Death{User: id, Before: state.ThisRevision, At: d.now})
}

// batch gives what is to be committed but for the guards. Without changes it is empty.
func (d *draft) batch() (b state.Batch) {
	for _, k := range d.order {
		if rec := d.puts[k]; rec != nil {
			b.Puts = append(b.Puts, rec)
		} else {
			b.Deletes = append(b.Deletes, k)
		}
	}
	for _, death := range d.deaths {
		b.Puts = append(b.Puts, death)
	}
	if d.structural && len(b.Puts)+len(b.Deletes) > 0 {
		b.Puts = append(b.Puts, &state.Directory{})
	}
	b.Urgent = !d.loosens
	return b
}

// pathNow gives the full path of a project or group as it will be.
func (d *draft) pathNow(s authz.Scope) string {
	var names []string
	next := authz.GroupID(s.ID)
	if s.Kind == authz.ScopeProject {
		p := d.projectNow(authz.ProjectID(s.ID))
		if p == nil {
			return ""
		}
		names = append(names, p.Name)
		if next = p.Group; next == 0 {
			names = append(names, p.Namespace)
		}
	}
	for range state.MaxGroupDepth {
		g := d.groupNow(next)
		if next == 0 || g == nil {
			break
		}
		names, next = append(names, g.Name), g.Parent
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}
