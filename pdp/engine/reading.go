package engine

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// reading reads records from the view for one decision and remembers at which
// revision each was, absence included: as guards of the commit these make sure that
// the decision still holds then. A record read twice keeps its first revision, so a
// change between the two makes the commit fail, too.
type reading struct {
	view   *state.View
	guards map[state.Key]authz.Revision
}

func newReading(v *state.View) reading {
	return reading{view: v, guards: map[state.Key]authz.Revision{}}
}

func (r *reading) saw(k state.Key, rev authz.Revision) {
	if _, ok := r.guards[k]; !ok {
		r.guards[k] = rev
	}
}

// appendTo adds the guards to a batch.
func (r *reading) appendTo(b *state.Batch) {
	for k, rev := range r.guards {
		b.Guards = append(b.Guards, state.Guard{Key: k, Revision: rev})
	}
}

// directory notes the guard that keeps the structure of the directory still.
func (r *reading) directory() { r.saw(state.DirectoryKey(), r.view.DirectoryChanged()) }

// group gives nil for one that does not exist; so do project and user.
func (r *reading) group(id authz.GroupID) *state.Group {
	g, rev, ok := r.view.Group(id)
	r.saw(state.GroupKey(id), rev)
	if !ok {
		return nil
	}
	return g
}

func (r *reading) project(id authz.ProjectID) *state.Project {
	p, rev, ok := r.view.Project(id)
	r.saw(state.ProjectKey(id), rev)
	if !ok {
		return nil
	}
	return p
}

func (r *reading) user(id authz.UserID) *state.User {
	u, rev, ok := r.view.User(id)
	r.saw(state.UserKey(id), rev)
	if !ok {
		return nil
	}
	return u
}

func (r *reading) members(id authz.UserID) []state.Membership {
	m, rev := r.view.Members(id)
	r.saw(state.MembersKey(id), rev)
	return m.List
}

// allowlist gives the project's, or that of a project whose maintainers changed
// nothing, and the revision that last changed it.
func (r *reading) allowlist(id authz.ProjectID) (*state.Allowlist, authz.Revision) {
	a, rev := r.view.Allowlist(id)
	r.saw(state.AllowlistKey(id), rev)
	return a, rev
}

func (r *reading) instance() *state.Instance {
	in, rev := r.view.Instance()
	r.saw(state.InstanceKey(), rev)
	return in
}

// above gives a scope and the groups above it, nearest first, and the severest state
// among them. It gives nothing for what does not exist.
func (r *reading) above(s authz.Scope) (chain []authz.Scope, worst authz.ProjectState) {
	next := authz.GroupID(s.ID)
	if s.Kind == authz.ScopeProject {
		p := r.project(authz.ProjectID(s.ID))
		if p == nil {
			return nil, 0
		}
		chain, worst, next = append(chain, s), p.State, p.Group
	}
	for range state.MaxGroupDepth {
		if next == 0 {
			break
		}
		g := r.group(next)
		if g == nil {
			break
		}
		chain, worst, next = append(chain, authz.InGroup(g.ID)), max(worst, g.State), g.Parent
	}
	return chain, worst
}
