package gitlab

import (
	"net/url"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// side is one of the two lists of a project: that of projects, or that of groups.
type side struct {
	kind authz.ScopeKind
	// param is the name of the id of whom an entry names.
	param string
}

func (s side) scope(id int64) authz.Scope { return authz.Scope{Kind: s.kind, ID: id} }

func (s side) what() string {
	if s.kind == authz.ScopeGroup {
		return "Group"
	}
	return "Project"
}

// list is GET of a list. The project itself is on its list of projects, as in GitLab.
func (s side) list(c *call) error {
	detailed := false
	with := url.Values{}
	if _, ok := c.params[paramPolicies]; ok {
		var err error
		if detailed, err = c.params.flag(paramPolicies); err != nil {
			return err
		}
		with.Set(paramPolicies, "true")
	}
	page, err := c.page(with)
	if err != nil {
		return err
	}
	p, err := c.ownProject()
	if err != nil {
		return err
	}
	entries, err := s.entries(c, p.ID)
	if err != nil {
		return err
	}
	items := []any{} // never null
	from, to := page.cut(len(entries))
	for _, en := range entries[from:to] {
		item, err := s.item(c, en, detailed)
		if err != nil {
			return err
		}
		items = append(items, item)
	}
	return c.answer(200, items, page.headers(c.r, len(entries)))
}

// entries reads the whole list, which has at most [engine.MaxListEntries]: a page by number needs to know
// how many there are.
func (s side) entries(c *call, owner authz.ProjectID) (all []engine.Entry, err error) {
	q := engine.EntryQuery{Project: owner, Kind: s.kind, Page: engine.Page{Limit: engine.MaxPage}}
	for {
		list, err := c.engine.ListEntries(c.r.Context(), c.by, q)
		if err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
		if q.Page.After = list.Next; list.Next == "" {
			return all, nil
		}
	}
}

// granted is the extension of an item that says what the entry grants.
type granted struct {
	DefaultPermissions *bool     `json:"default_permissions,omitempty"`
	JobTokenPolicies   *[]string `json:"job_token_policies,omitempty"`
	Autopopulated      *bool     `json:"autopopulated,omitempty"`
}

func grantedBy(en engine.Entry) granted {
	policies := append([]string{}, en.Policies...)
	return granted{&en.Default, &policies, &en.Autopopulated}
}

// item shows what the user may see of whom the entry names; of what they may not see only
// the id, which they need to remove the entry.
func (s side) item(c *call, en engine.Entry, detailed bool) (any, error) {
	var more granted
	if detailed {
		more = grantedBy(en)
	}
	if s.kind == authz.ScopeGroup {
		g, err := c.engine.SeeGroup(c.r.Context(), c.by, authz.GroupID(en.Other.ID))
		if err != nil && authz.KindOf(err) != authz.KindNotFound {
			return nil, err
		}
		return struct {
			basicGroup
			granted
		}{c.basicGroup(authz.GroupID(en.Other.ID), g), more}, nil
	}
	p, err := c.engine.SeeProject(c.r.Context(), c.by, authz.Target{ID: authz.ProjectID(en.Other.ID)})
	if err != nil && authz.KindOf(err) != authz.KindNotFound {
		return nil, err
	}
	return struct {
		basicProject
		granted
	}{c.basicProject(authz.ProjectID(en.Other.ID), p), more}, nil
}

// entry is the answer to an added or changed entry. "Source" is the owner of the list.
type entry struct {
	Source        authz.ProjectID `json:"source_project_id"`
	TargetProject int64           `json:"target_project_id,omitempty"`
	TargetGroup   int64           `json:"target_group_id,omitempty"`
	granted
}

func (s side) answer(c *call, status int, en engine.Entry, detailed bool) error {
	out := entry{Source: en.Owner}
	if s.kind == authz.ScopeGroup {
		out.TargetGroup = en.Other.ID
	} else {
		out.TargetProject = en.Other.ID
	}
	if detailed {
		out.granted = grantedBy(en)
	}
	return c.answer(status, out)
}

// edit is what the two parameters of the extension come to.
func (s side) edit(owner authz.ProjectID, other int64, g grant) engine.EntryEdit {
	return engine.EntryEdit{
		AllowlistEdit: engine.AllowlistEdit{Project: owner}, Other: s.scope(other), Default: g.whole, Policies: g.policies,
	}
}

// add is POST to a list. A parameter that is not known is refused, although GitLab ignores it:
// a misspelt job_token_policies would grant everything.
func (s side) add(c *call) error {
	if err := c.params.only(s.param, paramDefault, paramPolicies); err != nil {
		return err
	}
	other, err := c.params.number(s.param)
	if err != nil {
		return err
	}
	g, err := c.params.grant()
	if err != nil {
		return err
	}
	p, err := c.ownProject()
	if err != nil {
		return err
	}
	if !s.scope(other).Valid() {
		// The user's own right comes first, as for an id that could be one.
		if _, err := c.engine.GetAllowlist(c.r.Context(), c.by, p.ID); err != nil {
			return err
		}
		return s.notFound(other)
	}
	en, done, err := c.engine.AddEntry(c.r.Context(), c.by, s.edit(p.ID, other, g))
	if authz.KindOf(err) == authz.KindNotFound {
		if !s.sees(c, other) {
			return s.notFound(other)
		}
		return badRequest("%s %d: to let it in you have to be a member of it, guest at least", strings.ToLower(s.what()), other)
	}
	if err != nil {
		return ofGrant(err)
	}
	c.settle(done)
	return s.answer(c, 201, en, g.given)
}

func (s side) notFound(id int64) error {
	return said(404, s.what()+" Not Found", "%s %d does not exist, or you may not see it", s.param, id)
}

// sees reports whether the user may see a project or group.
func (s side) sees(c *call, id int64) bool {
	var err error
	if s.kind == authz.ScopeGroup {
		_, err = c.engine.SeeGroup(c.r.Context(), c.by, authz.GroupID(id))
	} else {
		_, err = c.engine.SeeProject(c.r.Context(), c.by, authz.Target{ID: authz.ProjectID(id)})
	}
	return err == nil
}

// target reads whom a path names in its end: an id, which may be that of something hidden, or the full path
// of something that the user may see.
func (s side) target(c *call) (int64, error) {
	if n, ok := readNumber(c.other); ok {
		if !s.scope(n).Valid() {
			return 0, notFound(s.what())
		}
		return n, nil
	}
	// What begins like a number is a number gone wrong.
	if first := c.other[0]; !strings.Contains(c.other, "/") && (s.kind == authz.ScopeProject || !letter(first)) {
		return 0, badParam("%s is invalid", s.param)
	}
	if s.kind == authz.ScopeProject {
		p, err := c.seen(c.other)
		return int64(p.ID), err
	}
	at, ok := readTarget(c.other)
	if !ok {
		return 0, notFound(s.what())
	}
	g, err := c.engine.GetGroupAt(c.r.Context(), at.Path)
	if err == nil {
		g, err = c.engine.SeeGroup(c.r.Context(), c.by, g.ID)
	}
	if authz.KindOf(err) == authz.KindNotFound {
		return 0, notFound(s.what())
	}
	return int64(g.ID), err
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// change is PUT and PATCH of an entry, an extension: GitLab has it in GraphQL only.
func (s side) change(c *call) error {
	if err := c.params.only(paramDefault, paramPolicies); err != nil {
		return err
	}
	g, err := c.params.grant()
	if err != nil {
		return err
	}
	if !g.given {
		return badParam("%s, %s are missing, at least one parameter must be provided", paramDefault, paramPolicies)
	}
	p, other, err := s.named(c)
	if err != nil {
		return err
	}
	en, done, err := c.engine.UpdateEntry(c.r.Context(), c.by, s.edit(p.ID, other, g))
	if err != nil {
		return s.unlisted(c, other, ofGrant(err))
	}
	c.settle(done)
	return s.answer(c, 200, en, true)
}

// remove is DELETE of an entry.
func (s side) remove(c *call) error {
	p, other, err := s.named(c)
	if err != nil {
		return err
	}
	done, err := c.engine.RemoveEntry(c.r.Context(), c.by, engine.EntryRemoval{AllowlistEdit: engine.AllowlistEdit{Project: p.ID}, Other: s.scope(other)})
	if err != nil {
		return s.unlisted(c, other, err)
	}
	c.settle(done)
	return c.done()
}

// named finds the two sides of an entry. Whose list it is comes first: to who may not edit it
// nothing is said about the other side.
func (s side) named(c *call) (engine.SeenProject, int64, error) {
	p, err := c.ownProject()
	if err == nil {
		_, err = c.engine.GetAllowlist(c.r.Context(), c.by, p.ID)
	}
	if err != nil {
		return p, 0, err
	}
	other, err := s.target(c)
	return p, other, err
}

// unlisted words that there is no such entry: 400 for what the user sees, 404 for what they do not
// see or what does not exist.
func (s side) unlisted(c *call, other int64, err error) error {
	if authz.KindOf(err) != authz.KindNotFound {
		return err
	}
	if !s.sees(c, other) {
		return s.notFound(other)
	}
	return badRequest("%s %d is not on the list", strings.ToLower(s.what()), other)
}
