package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// directoryWrite is what every writing call to the directory has.
type directoryWrite struct {
	verb         string
	by           Actor
	requestID    string
	validateOnly bool
	// request is the whole call, for the fingerprint.
	request any
	// unlocked calls change the state of one record and nothing else, for which its guard
	// is enough. They are what revokes, and must not wait for a long clean-up.
	unlocked bool
}

// write carries out one commit of the directory: stage adds to a draft, which is then
// checked as a whole.
func (e *Engine) write(ctx context.Context, w directoryWrite, stage func(*draft) error) (Done, *draft, error) {
	op, err := newOnce(w.by, w.verb, w.requestID, w.request)
	if err != nil {
		return Done{}, nil, err
	}
	if !w.unlocked {
		e.directory.Lock()
		defer e.directory.Unlock()
	}
	var d *draft
	done, err := e.commitOnce(ctx, w.verb, w.by, op, func(repeated bool) (b state.Batch, err error) {
		if d = e.newDraft(!w.unlocked); repeated {
			return b, nil
		}
		if err := stage(d); err != nil {
			return b, err
		}
		if err := d.check(); err != nil || w.validateOnly {
			return b, err
		}
		if err := e.cleanUp(ctx, w.by, e.leftBehind(d.fresh), nil); err != nil {
			return b, err
		}
		b = d.batch()
		for _, ev := range d.events {
			b.Events = append(b.Events, e.event(w.verb, w.by, ev))
		}
		op.keep(&b, d.now, cmp.Or(d.before, state.ThisRevision))
		// That nothing had to change is remembered with the request id: so it is guarded, too.
		if len(b.Puts)+len(b.Deletes) > 0 {
			d.appendTo(&b)
		}
		return b, nil
	})
	if err != nil {
		return Done{}, nil, err
	}
	if !done.Repeated && d.before != 0 {
		done.Revision, done.Unchanged = d.before, false
	}
	if !w.validateOnly {
		e.cleanUpAfter(ctx, w.by, d.gone)
	}
	return done, d, nil
}

// leftBehind gives those of the projects and groups about to be created that others
// still name: what a cleanUp that was cut off has left.
func (e *Engine) leftBehind(fresh []authz.Scope) (dirty []authz.Scope) {
	for _, s := range fresh {
		named := len(e.view.ListedOn(s, 0, 1)) + len(e.view.MembersOf(s, 0, 1))
		if s.Kind == authz.ScopeProject {
			named += len(e.view.OutboundFrom(authz.ProjectID(s.ID), 0, 1))
			_, rev := e.view.Allowlist(authz.ProjectID(s.ID))
			named += min(int(rev), 1)
		}
		if named > 0 {
			dirty = append(dirty, s)
		}
	}
	return dirty
}

// cleanUpAfter cleans up after a removal that is committed. It failing changes nothing
// about that.
func (e *Engine) cleanUpAfter(ctx context.Context, by Actor, gone []authz.Scope) {
	if err := e.cleanUp(ctx, by, gone, nil); err != nil {
		e.log.Warn("entries and roles of removed projects or groups could not all be removed; they mean nothing and go before the id is used again",
			"error", err)
	}
}

// One commit of cleanUp changes about so many records and bytes: records of others'
// lists can be large.
const (
	cleanBatch = 500
	cleanBytes = 1 << 20
)

// cleanUp removes the entries on lists and the roles that name projects and groups
// which do not exist, and allowlists of such projects. Those that exist again, because
// another PDP was faster, are left alone; the guard on the Directory record keeps them from
// coming into being meanwhile. note, where not nil, is told of each commit and
// how many entries went with it.
func (e *Engine) cleanUp(ctx context.Context, by Actor, gone []authz.Scope, note func(rev authz.Revision, entries int)) error {
	for len(gone) > 0 {
		var c cleaner
		rev, err := e.commit(ctx, "clean_up", by, func() (state.Batch, error) {
			c = cleaner{reading: newReading(e.view), puts: map[state.Key]state.Record{}}
			c.directory()
			c.clean(gone)
			return c.batch(e, by), nil
		})
		if err != nil {
			return err
		}
		if note != nil && len(c.order)+len(c.deletes) > 0 {
			note(rev, c.entries)
		}
		gone = gone[c.done:]
	}
	return nil
}

// cleaner builds one commit of cleanUp.
type cleaner struct {
	reading
	puts    map[state.Key]state.Record
	order   []state.Key
	deletes []state.Key
	// done is how many of the scopes are clean after this commit.
	done           int
	bytes          int
	entries, roles int
	scopes         []string
}

func (c *cleaner) full() bool {
	return len(c.order)+len(c.deletes) >= cleanBatch || c.bytes >= cleanBytes
}

func (c *cleaner) clean(gone []authz.Scope) {
	for _, s := range gone {
		if existsIn(c.view, s) {
			c.done++
			continue
		}
		c.scope(s)
		if c.full() {
			return // s may have more: look at it again
		}
		c.done++
	}
}

func existsIn(v *state.View, s authz.Scope) (ok bool) {
	if s.Kind == authz.ScopeGroup {
		_, _, ok = v.Group(authz.GroupID(s.ID))
	} else {
		_, _, ok = v.Project(authz.ProjectID(s.ID))
	}
	return ok
}

func (c *cleaner) scope(s authz.Scope) {
	before := c.entries + c.roles
	for _, id := range c.view.ListedOn(s, 0, cleanBatch) {
		if c.full() {
			break
		}
		a := c.list(id)
		if i, ok := findEntry(a.Inbound, s); ok {
			a.Inbound = slices.Delete(a.Inbound, i, i+1)
			c.entries++
		}
	}
	for _, m := range c.view.MembersOf(s, 0, cleanBatch) {
		if c.full() {
			break
		}
		r := c.rolesOf(m.User)
		if i, ok := findMembership(r.List, s); ok {
			r.List = slices.Delete(r.List, i, i+1)
			c.roles++
		}
	}
	if s.Kind == authz.ScopeProject {
		c.project(authz.ProjectID(s.ID))
	}
	if c.entries+c.roles > before && len(c.scopes) < 10 {
		c.scopes = append(c.scopes, s.String())
	}
}

// project cleans what only projects have: being on outbound lists, and an allowlist.
func (c *cleaner) project(id authz.ProjectID) {
	for _, from := range c.view.OutboundFrom(id, 0, cleanBatch) {
		if c.full() {
			break
		}
		a := c.list(from)
		if i, ok := slices.BinarySearch(a.Outbound, id); ok {
			a.Outbound = slices.Delete(a.Outbound, i, i+1)
			c.entries++
		}
	}
	if _, rev := c.allowlist(id); rev != 0 {
		c.deletes = append(c.deletes, state.AllowlistKey(id))
	}
}

// list gives the allowlist as it will be, to change.
func (c *cleaner) list(id authz.ProjectID) *state.Allowlist {
	k := state.AllowlistKey(id)
	if rec, ok := c.puts[k]; ok {
		return rec.(*state.Allowlist)
	}
	a, _ := c.allowlist(id)
	c.bytes += allowlistBytes(a)
	c.puts[k], c.order = a, append(c.order, k)
	return a
}

// rolesOf gives a user's memberships as they will be, to change.
func (c *cleaner) rolesOf(id authz.UserID) *state.Members {
	k := state.MembersKey(id)
	if rec, ok := c.puts[k]; ok {
		return rec.(*state.Members)
	}
	m := &state.Members{User: id, List: c.members(id)}
	c.bytes += 10 * len(m.List)
	c.puts[k], c.order = m, append(c.order, k)
	return m
}

// allowlistBytes is about how long the record is.
func allowlistBytes(a *state.Allowlist) int {
	n := 8 * len(a.Outbound)
	for i := range a.Inbound {
		n += 12
		for _, p := range a.Inbound[i].Policies {
			n += 1 + len(p)
		}
	}
	return n
}

func (c *cleaner) batch(e *Engine, by Actor) state.Batch {
	b := state.Batch{Deletes: c.deletes, Urgent: true}
	for _, k := range c.order {
		if !slices.Contains(c.deletes, k) {
			b.Puts = append(b.Puts, c.puts[k])
		}
	}
	if len(b.Puts)+len(b.Deletes) == 0 {
		return state.Batch{}
	}
	b.Events = []state.Event{e.event("clean_up", by, audit.Event{
		Count:  uint64(len(b.Puts) + len(b.Deletes)),
		Detail: fmt.Sprintf("%d entries and %d roles of what is gone: %s", c.entries, c.roles, strings.Join(c.scopes, ", ")),
	})}
	c.appendTo(&b)
	return b
}
