package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// GetAllowlist tells the settings of a project's allowlist. The user acted for must be
// maintainer of the project, as for everything about allowlists; KindNotFound
// (PROJECT_NOT_FOUND) for a project that the user may not see, KindForbidden
// (NOT_MAINTAINER) for others.
func (e *Engine) GetAllowlist(_ context.Context, by Actor, project authz.ProjectID) (AllowlistInfo, error) {
	ed, err := e.maintainer(by, project)
	if err != nil {
		return AllowlistInfo{}, err
	}
	a, rev := ed.allowlist(project)
	return ed.info(a, rev), nil
}

// maintainer finds who acts and asserts that they may edit the project's allowlist.
func (e *Engine) maintainer(by Actor, project authz.ProjectID) (*editor, error) {
	if !project.Valid() {
		return nil, authz.Invalid("project_id", "must be 1 to %d", authz.MaxID)
	}
	ed, err := e.editor(by)
	if err != nil {
		return nil, err
	}
	return ed, ed.maintain(project)
}

func (ed *editor) info(a *state.Allowlist, changed authz.Revision) AllowlistInfo {
	in := ed.instance()
	groups := countGroups(a.Inbound)
	return AllowlistInfo{
		Project: a.Project, InboundOn: a.InboundOn, OutboundOn: a.OutboundOn, PushSelf: a.PushSelf, PushCross: a.PushCross,
		Enforced: in.EnforceInbound, InboundProjects: len(a.Inbound) - groups, InboundGroups: groups, OutboundProjects: len(a.Outbound),
		MaxProjects: in.MaxProjectEntries, MaxGroups: in.MaxGroupEntries,
		Changed: changed, Revision: ed.at,
	}
}

func countGroups(list []state.Entry) (n int) {
	for i := range list {
		if list[i].Caller.Kind == authz.ScopeGroup {
			n++
		}
	}
	return n
}

// ListEntries lists the entries of one of a project's lists. The inbound list begins
// with the implied entry of the project for itself.
func (e *Engine) ListEntries(_ context.Context, by Actor, q EntryQuery) (EntryPage, error) {
	ed, err := e.maintainer(by, q.Project)
	if err != nil {
		return EntryPage{}, err
	}
	after, err := readEntryCursor(q.Page.After)
	if err != nil {
		return EntryPage{}, err
	}
	a, rev := ed.allowlist(q.Project)
	page := EntryPage{Changed: rev, Listing: Listing[Entry]{Revision: ed.at}}
	own := pathOf(e.view, authz.InProject(q.Project))
	for _, en := range entriesOf(a, q.Direction) {
		if q.Kind != authz.ScopeNone && q.Kind != en.Other.Kind {
			continue
		}
		if q.Page.After != "" && (en.Implied || compareScopes(en.Other, after) <= 0) {
			continue
		}
		if n := len(page.Items); n == q.Page.limit() {
			page.Next = entryCursor(page.Items[n-1])
			break
		}
		en.OwnerPath, en.OtherPath = own, ed.path(en.Other)
		page.Items = append(page.Items, en)
	}
	return page, nil
}

// entriesOf gives a list as readers see it, the implied entry first.
func entriesOf(a *state.Allowlist, d Direction) []Entry {
	if d == Outbound {
		out := make([]Entry, 0, len(a.Outbound))
		for _, id := range a.Outbound {
			out = append(out, outboundEntry(a.Project, id))
		}
		return out
	}
	out := make([]Entry, 1, len(a.Inbound)+1)
	out[0] = Entry{Owner: a.Project, Other: authz.InProject(a.Project), Default: true, Implied: true}
	for i := range a.Inbound {
		out = append(out, inboundEntry(a.Project, &a.Inbound[i]))
	}
	return out
}

func inboundEntry(owner authz.ProjectID, en *state.Entry) Entry {
	return Entry{
		Direction: Inbound, Owner: owner, Other: en.Caller, Default: en.Default, Policies: en.Policies, Autopopulated: en.Autopopulated,
	}
}

func outboundEntry(owner, other authz.ProjectID) Entry {
	return Entry{Direction: Outbound, Owner: owner, Other: authz.InProject(other), Default: true}
}

func compareScopes(a, b authz.Scope) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

// impliedCursor goes on after the implied entry, which has no place of its own in the
// order of the others.
const impliedCursor = "self"

func entryCursor(en Entry) string {
	if en.Implied {
		return impliedCursor
	}
	return scopeCursor(en.Other)
}

func scopeCursor(s authz.Scope) string { return fmt.Sprintf("%d.%d", s.Kind, s.ID) }

func readEntryCursor(c string) (authz.Scope, error) {
	if c == "" || c == impliedCursor {
		return authz.Scope{}, nil
	}
	return readScopeCursor(c)
}

func readScopeCursor(c string) (authz.Scope, error) {
	a, b, err := readPair(c)
	s := authz.Scope{Kind: authz.ScopeKind(a), ID: b}
	if err != nil || a > 0xff || !s.Valid() {
		return authz.Scope{}, errCursor()
	}
	return s, nil
}

// readPair reads a cursor of two numbers that are not negative.
func readPair(c string) (a, b int64, err error) {
	left, right, _ := strings.Cut(c, ".")
	a, err1 := strconv.ParseInt(left, 10, 64)
	b, err2 := strconv.ParseInt(right, 10, 64)
	if err1 != nil || err2 != nil || a < 0 || b < 0 {
		return 0, 0, errCursor()
	}
	return a, b, nil
}

// ListListings answers "which lists am I on": the lists of other projects that let the
// project in, by itself or by a group above it, or that name it as reachable. Owners
// that the user acted for may not see are left out, so a page can be short with a Next.
// They come by owner; of one owner, the entry for the project first, then those for its
// groups, nearest first.
func (e *Engine) ListListings(_ context.Context, by Actor, q ListingQuery) (Listing[Entry], error) {
	ed, err := e.maintainer(by, q.Project)
	if err != nil {
		return Listing[Entry]{}, err
	}
	var owner, seen int64 // go on at this owner, after so many of its entries
	if q.Page.After != "" {
		if owner, seen, err = readPair(q.Page.After); err != nil {
			return Listing[Entry]{}, err
		}
	}
	l := listings{ed: ed, q: q, owner: authz.ProjectID(owner), seen: int(seen)}
	l.chain = []authz.Scope{authz.InProject(q.Project)}
	if q.Direction == Inbound {
		l.chain, _ = ed.above(l.chain[0])
	}
	return l.page(), nil
}

// listings reads one page of the lists that name a project.
type listings struct {
	ed    *editor
	q     ListingQuery
	chain []authz.Scope
	owner authz.ProjectID
	seen  int
}

func (l *listings) page() Listing[Entry] {
	out := Listing[Entry]{Revision: l.ed.at}
	limit := l.q.Page.limit()
	owners, more := l.owners(limit)
	for _, owner := range owners {
		skip := 0
		if owner == l.owner {
			skip = l.seen
		}
		for i, en := range l.entriesOn(owner) {
			if i < skip {
				continue
			}
			if len(out.Items) == limit {
				out.Next = fmt.Sprintf("%d.%d", owner, i)
				return out
			}
			out.Items = append(out.Items, en)
		}
	}
	if more {
		out.Next = fmt.Sprintf("%d.0", owners[len(owners)-1]+1)
	}
	return out
}

// owners gives the next limit owners from l.owner on, by id, and whether there may be
// more.
func (l *listings) owners(limit int) (ids []authz.ProjectID, more bool) {
	after := max(l.owner-1, 0)
	for _, s := range l.chain {
		var on []authz.ProjectID
		if l.q.Direction == Inbound {
			on = l.ed.view.ListedOn(s, after, limit)
		} else {
			on = l.ed.view.OutboundFrom(l.q.Project, after, limit)
		}
		more = more || len(on) == limit
		ids = append(ids, on...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > limit {
		return ids[:limit], true
	}
	return ids, more
}

// entriesOn gives the owner's entries that name the project or a group above it.
func (l *listings) entriesOn(owner authz.ProjectID) (out []Entry) {
	if owner == l.q.Project || !l.ed.lookProject(owner).seen {
		return nil
	}
	a, _ := l.ed.allowlist(owner)
	if l.q.Direction == Outbound {
		if slices.Contains(a.Outbound, l.q.Project) {
			out = append(out, outboundEntry(owner, l.q.Project))
		}
	} else {
		for _, s := range l.chain {
			if i, ok := findEntry(a.Inbound, s); ok {
				out = append(out, inboundEntry(owner, &a.Inbound[i]))
			}
		}
	}
	path := pathOf(l.ed.view, authz.InProject(owner))
	for i := range out {
		out[i].OwnerPath, out[i].OtherPath = path, l.ed.path(out[i].Other)
	}
	return out
}

func findEntry(list []state.Entry, caller authz.Scope) (int, bool) {
	return slices.BinarySearchFunc(list, caller, func(en state.Entry, s authz.Scope) int { return compareScopes(en.Caller, s) })
}
