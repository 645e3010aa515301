package state

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// Decide answers req as of now at the view's present revision. The decision's keys
// belong to k and are good until its next use.
func (v *View) Decide(k *policy.Walk, req authz.Request, now authz.Stamp) authz.Decision {
	w := v.worlds.Get().(*world)
	defer v.worlds.Put(w)
	v.mu.RLock()
	defer v.mu.RUnlock()
	*w = world{v: v}
	return k.Decide(w, req, now)
}

// Explain answers as Decide does, and tells every rule with what it saw.
func (v *View) Explain(k *policy.Walk, req authz.Request, now authz.Stamp) (authz.Decision, []policy.Step) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return k.Explain(&world{v: v}, req, now)
}

// world is the view as one decision sees it, under the lock. A decision asks about the
// same few records again and again, so it remembers where they are: looking up an id
// costs up to two visits to main memory, and a decision has only a dozen or so.
type world struct {
	v      *View
	source place // the project of the token's job
	target place // the last other project asked for
	user   place
}

// place is where a project or user is. A row of 0 says that there is none.
type place struct {
	id  int64
	row uint32
	// got says that list is there: the inbound entries of a project, the memberships of
	// a user.
	got  bool
	list string
}

var _ policy.World = (*world)(nil)

func (w *world) project(id authz.ProjectID) *place {
	if int64(id) == w.source.id {
		return &w.source
	}
	if int64(id) != w.target.id {
		w.target = place{id: int64(id), row: w.v.findProject(int64(id))}
	}
	return &w.target
}

func (w *world) member(id authz.UserID) *place {
	if int64(id) != w.user.id {
		w.user = place{id: int64(id), row: w.v.findUser(int64(id))}
	}
	return &w.user
}

func (w *world) Revision() authz.Revision     { return w.v.revision }
func (w *world) Instance() policy.Instance    { return w.v.instance.Instance }
func (w *world) Catalogue() *policy.Catalogue { return w.v.catalogue }

func (w *world) Token(d authz.Digest) (policy.Token, bool) {
	v := w.v
	row, replaced := v.jobOfToken(&d)
	if row == 0 {
		return policy.Token{}, false
	}
	j := v.jobs.at(row)
	w.source = place{id: int64(v.projectID(j.project)), row: j.project}
	w.user = place{id: int64(v.userID(j.user)), row: j.user}
	return policy.Token{
		Job: authz.JobID(v.text.get(j.id)), Project: authz.ProjectID(w.source.id), User: authz.UserID(w.user.id),
		Status: j.status, Erased: j.flags&jobErased != 0, Replaced: replaced, Lapsed: j.flags&jobLapsed != 0,
		Issued: j.issued, Expires: j.expires, Deadline: v.deadline(j), Limits: v.limits.at(j.limits),
	}, true
}

func (w *world) User(id authz.UserID) (policy.User, bool) {
	at := w.member(id)
	if at.row == 0 {
		return policy.User{}, false
	}
	u := w.v.users.at(at.row)
	if u.mod == 0 {
		return policy.User{}, false
	}
	out := policy.User{State: u.state, External: u.flags&userExternal != 0}
	if u.flags&userDead != 0 {
		out.DeadBefore = w.v.deadBefore(u.id | userDeath)
	}
	return out, true
}

func (w *world) Project(id authz.ProjectID) (policy.Project, bool) {
	at := w.project(id)
	if at.row == 0 {
		return policy.Project{}, false
	}
	p := w.v.projects.at(at.row)
	if p.mod == 0 {
		return policy.Project{}, false
	}
	out := policy.Project{
		Visibility: p.visibility, State: p.state, Features: p.features,
		Hidden: p.flags&projectHidden != 0, ReadOnly: p.flags&projectReadOnly != 0, PublicBuilds: p.flags&projectPublicBuilds != 0,
		InboundOn: p.flags&projectInboundOff == 0, OutboundOn: p.flags&projectOutboundOn != 0,
		PushSelf: p.flags&projectPushSelf != 0, PushCross: p.flags&projectPushCross != 0,
	}
	if p.flags&projectDead != 0 {
		out.DeadBefore = w.v.deadBefore(p.id)
	}
	return out, true
}

func (w *world) ProjectAt(path string) (authz.ProjectID, bool) {
	row := w.v.projectAt(path)
	return w.v.projectID(row), row != 0
}

func (w *world) Ancestors(id authz.ProjectID, buf []policy.Group) []policy.Group {
	at := w.project(id)
	if at.row == 0 {
		return buf
	}
	group := w.v.projects.at(at.row).group
	for range MaxGroupDepth {
		if group == 0 {
			break
		}
		g := w.v.groups.at(group)
		if g.mod == 0 {
			break
		}
		buf = append(buf, policy.Group{ID: authz.GroupID(g.id), State: g.state})
		group = g.parent
	}
	return buf
}

func (w *world) Role(user authz.UserID, scope authz.Scope) authz.Role {
	at := w.member(user)
	if !at.got && at.row != 0 {
		at.got, at.list = true, w.v.text.get(w.v.users.at(at.row).members)
	}
	return roleIn(at.list, scope)
}

func (w *world) Inbound(target authz.ProjectID, caller authz.Scope) (policy.Entry, bool) {
	at := w.project(target)
	if !at.got && at.row != 0 {
		at.got, at.list = true, w.v.text.get(w.v.projects.at(at.row).inbound)
	}
	i := find(at.list, inboundBytes, scopeKey(caller), entryBits)
	if i < 0 {
		return policy.Entry{}, false
	}
	return w.v.entry(at.list, i), true
}

func (w *world) Outbound(source, target authz.ProjectID) bool {
	at := w.project(source)
	if at.row == 0 {
		return false
	}
	return find(w.v.text.get(w.v.projects.at(at.row).outbound), outboundBytes, uint64(target), 0) >= 0
}
