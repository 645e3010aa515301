package state

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// Decide answers req as of now at the view's present revision. The decision's keys
// belong to k and are good until its next use.
func (v *View) Decide(k *policy.Walk, req authz.Request, now authz.Stamp) authz.Decision {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return k.Decide((*world)(v), req, now)
}

// Explain answers as Decide does, and tells every rule with what it saw.
func (v *View) Explain(k *policy.Walk, req authz.Request, now authz.Stamp) (authz.Decision, []policy.Step) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return k.Explain((*world)(v), req, now)
}

// world is the view as a decision sees it: under the lock.
type world View

var _ policy.World = (*world)(nil)

func (w *world) Revision() authz.Revision     { return w.revision }
func (w *world) Instance() policy.Instance    { return w.instance.Instance }
func (w *world) Catalogue() *policy.Catalogue { return w.catalogue }

func (w *world) Token(d authz.Digest) (policy.Token, bool) {
	v := (*View)(w)
	row, replaced := v.jobOfToken(&d)
	if row == 0 {
		return policy.Token{}, false
	}
	j := v.jobs.at(row)
	return policy.Token{
		Job: authz.JobID(v.text.get(j.id)), Project: v.projectID(j.project), User: v.userID(j.user),
		Status: j.status, Erased: j.flags&jobErased != 0, Replaced: replaced, Lapsed: j.flags&jobLapsed != 0,
		Issued: j.issued, Expires: j.expires, Deadline: v.deadline(j), Limits: v.limits.at(j.limits),
	}, true
}

func (w *world) User(id authz.UserID) (policy.User, bool) {
	v := (*View)(w)
	row := v.findUser(int64(id))
	if row == 0 {
		return policy.User{}, false
	}
	u := v.users.at(row)
	if u.mod == 0 {
		return policy.User{}, false
	}
	out := policy.User{State: u.state, External: u.flags&userExternal != 0}
	if u.flags&userDead != 0 {
		out.DeadBefore = v.deadBefore(u.id | userDeath)
	}
	return out, true
}

func (w *world) Project(id authz.ProjectID) (policy.Project, bool) {
	v := (*View)(w)
	row := v.findProject(int64(id))
	if row == 0 {
		return policy.Project{}, false
	}
	p := v.projects.at(row)
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
		out.DeadBefore = v.deadBefore(p.id)
	}
	return out, true
}

func (w *world) ProjectAt(path string) (authz.ProjectID, bool) {
	v := (*View)(w)
	row := v.projectAt(path)
	return v.projectID(row), row != 0
}

func (w *world) Ancestors(id authz.ProjectID, buf []policy.Group) []policy.Group {
	v := (*View)(w)
	row := v.findProject(int64(id))
	if row == 0 {
		return buf
	}
	group := v.projects.at(row).group
	for range MaxGroupDepth {
		if group == 0 {
			break
		}
		g := v.groups.at(group)
		if g.mod == 0 {
			break
		}
		buf = append(buf, policy.Group{ID: authz.GroupID(g.id), State: g.state})
		group = g.parent
	}
	return buf
}

func (w *world) Role(user authz.UserID, scope authz.Scope) authz.Role {
	v := (*View)(w)
	return v.role(v.findUser(int64(user)), scope)
}

func (w *world) Inbound(target authz.ProjectID, caller authz.Scope) (policy.Entry, bool) {
	v := (*View)(w)
	row := v.findProject(int64(target))
	if row == 0 {
		return policy.Entry{}, false
	}
	list := v.text.get(v.projects.at(row).inbound)
	i := find(list, inboundBytes, scopeKey(caller), entryBits)
	if i < 0 {
		return policy.Entry{}, false
	}
	return v.entry(list, i), true
}

func (w *world) Outbound(source, target authz.ProjectID) bool {
	v := (*View)(w)
	row := v.findProject(int64(source))
	if row == 0 {
		return false
	}
	return find(v.text.get(v.projects.at(row).outbound), outboundBytes, uint64(target), 0) >= 0
}
