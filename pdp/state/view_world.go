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
	w.prepare(&req)
	return k.Decide(w, req, now)
}

// Explain answers as Decide does, and tells every rule with what it saw.
func (v *View) Explain(k *policy.Walk, req authz.Request, now authz.Stamp) (authz.Decision, []policy.Step) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return k.Explain(&world{v: v}, req, now)
}

// world is the view as one decision sees it, under the lock. A decision asks about the
// same few records again and again, so it remembers where they are.
type world struct {
	v      *View
	token  authz.Digest // that job, jobID and replaced are for
	job    uint32
	jobID  string
	source place // the project of the token's job
	target place // the last other project asked for
	user   place

	replaced bool // a later token took the place of this one
	deadline authz.Stamp
	// above has seen the groups above the two projects; that they were looked at is all it says.
	above uint32
}

// place is where a project or user is: its row, 0 if there is none, and the inbound
// entries of a project or the memberships of a user.
type place struct {
	id   int64
	row  uint32
	list string
}

var _ policy.World = (*world)(nil)

// prepare looks up what a question will need before the rules ask for it one by one.
// In a large world nearly each step is a visit to main memory, and those that do not
// depend on each other overlap if they begin close together.
func (w *world) prepare(req *authz.Request) {
	v, target := w.v, int64(req.Target.ID)
	w.token = req.Token
	tokens, targets := v.digests.probe(v.hashDigest(&w.token)), v.projectIDs.probe(v.hashID(target))
	w.job = tokens.next()
	for w.job != 0 && v.jobs.at(w.job).digest != w.token {
		w.job = tokens.next()
	}
	if w.replaced = w.job == 0; w.replaced {
		w.job = v.jobReplaced(&w.token)
	}
	if w.job == 0 {
		return
	}
	w.target = place{id: target, row: targets.next()}
	for w.target.row != 0 && v.projects.at(w.target.row).id != target {
		w.target.row = targets.next()
	}
	j := v.jobs.at(w.job)
	w.source.row, w.user.row = j.project, j.user
	w.jobID = v.text.get(j.id)
	w.deadline = v.deadline(j)
	if j.user != 0 {
		u := v.users.at(j.user)
		w.user.id, w.user.list = u.id, v.text.get(u.members)
	}
	var above, over uint32
	if j.project != 0 {
		p := v.projects.at(j.project)
		w.source.id, above = p.id, p.group
	}
	if w.target.row != 0 {
		p := v.projects.at(w.target.row)
		w.target.list, over = v.text.get(p.inbound), p.group
	}
	w.above = v.climb(above, over)
}

// climb goes up from two groups side by side, for as long as both have one above them. The
// rules go up from one after the other, and each step waits for the one before it: here the
// steps of two wait together.
func (v *View) climb(a, b uint32) uint32 {
	for range MaxGroupDepth {
		if a == 0 || b == 0 || a == b {
			break
		}
		a, b = v.groups.at(a).parent, v.groups.at(b).parent
	}
	return a ^ b
}

func (w *world) project(id authz.ProjectID) *place {
	if int64(id) == w.source.id {
		return &w.source
	}
	if int64(id) != w.target.id {
		w.target = place{id: int64(id), row: w.v.findProject(int64(id))}
		if w.target.row != 0 {
			w.target.list = w.v.text.get(w.v.projects.at(w.target.row).inbound)
		}
	}
	return &w.target
}

func (w *world) member(id authz.UserID) *place {
	if int64(id) != w.user.id {
		w.user = place{id: int64(id), row: w.v.findUser(int64(id))}
		if w.user.row != 0 {
			w.user.list = w.v.text.get(w.v.users.at(w.user.row).members)
		}
	}
	return &w.user
}

func (w *world) Revision() authz.Revision     { return w.v.revision }
func (w *world) Instance() policy.Instance    { return w.v.instance.Instance }
func (w *world) Catalogue() *policy.Catalogue { return w.v.catalogue }

func (w *world) Token(d authz.Digest) (policy.Token, bool) {
	if d != w.token {
		w.prepare(&authz.Request{Token: d})
	}
	if w.job == 0 {
		return policy.Token{}, false
	}
	v, j := w.v, w.v.jobs.at(w.job)
	return policy.Token{
		Job: authz.JobID(w.jobID), Project: authz.ProjectID(w.source.id), User: authz.UserID(w.user.id),
		Status: j.status, Erased: j.flags&jobErased != 0, Replaced: w.replaced, Lapsed: j.flags&jobLapsed != 0,
		Issued: j.issued, Expires: j.expires, Deadline: w.deadline, Limits: v.limits.at(j.limits),
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
		if !g.exists {
			break
		}
		buf = append(buf, policy.Group{ID: authz.GroupID(g.id), State: g.state})
		group = g.parent
	}
	return buf
}

func (w *world) Role(user authz.UserID, scope authz.Scope) authz.Role {
	return roleIn(w.member(user).list, scope)
}

func (w *world) Inbound(target authz.ProjectID, caller authz.Scope) (policy.Entry, bool) {
	at := w.project(target)
	list := at.list
	if at == &w.source && at.row != 0 {
		list = w.v.text.get(w.v.projects.at(at.row).inbound)
	}
	i := find(list, inboundBytes, scopeKey(caller), entryBits)
	if i < 0 {
		return policy.Entry{}, false
	}
	return w.v.entry(list, i), true
}

func (w *world) Outbound(source, target authz.ProjectID) bool {
	at := w.project(source)
	if at.row == 0 {
		return false
	}
	return find(w.v.text.get(w.v.projects.at(at.row).outbound), outboundBytes, uint64(target), 0) >= 0
}
