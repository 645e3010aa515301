package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// AddEntry adds an entry to a list and gives it as it stands. The other side must be
// one that the user may name (§16): for an inbound list a project that is public or
// where they are guest, or a group that they may read, else KindNotFound as if it did
// not exist; for an outbound list a project where they are maintainer too. KindExists
// (ENTRY_EXISTS), KindPrecondition (LIST_FULL) and KindInvalid (SELF_ENTRY,
// POLICY_UNKNOWN) as they say.
func (e *Engine) AddEntry(ctx context.Context, by Actor, req EntryEdit) (Entry, Done, error) {
	grant, err := e.checkEntry(ctx, &req)
	if err != nil {
		return Entry{}, Done{}, err
	}
	en := Entry{Direction: req.Direction, Owner: req.Project, Other: req.Other, Default: grant.Default, Policies: grant.Policies}
	done, ed, err := e.edit(ctx, "add_entry", by, req.AllowlistEdit, req, func(ed *edition) error {
		if req.Direction == Outbound {
			return ed.addOutbound(authz.ProjectID(req.Other.ID))
		}
		return ed.addInbound(req.Other, grant)
	})
	if err != nil {
		return Entry{}, Done{}, err
	}
	en.OwnerPath, en.OtherPath = ed.path(authz.InProject(en.Owner)), ed.path(en.Other)
	return en, done, nil
}

// checkEntry looks at everything in a request that needs no list.
func (e *Engine) checkEntry(ctx context.Context, req *EntryEdit) (policy.Entry, error) {
	if err := checkOther(req.Project, req.Direction, req.Other); err != nil {
		return policy.Entry{}, err
	}
	if req.Direction == Outbound {
		if req.Default || len(req.Policies) > 0 {
			return policy.Entry{}, authz.Invalid("entry.policies", "an outbound entry grants nothing by itself: leave default_permissions and policies out")
		}
		return policy.Entry{Default: true}, nil
	}
	if req.Default && len(req.Policies) > 0 {
		return policy.Entry{}, authz.Invalid("entry.policies", "give policies or default_permissions, not both")
	}
	if len(req.Policies) > MaxEntryPolicies {
		return policy.Entry{}, authz.Invalid("entry.policies", "must be at most %d", MaxEntryPolicies)
	}
	// The catalogue needs no guard: a policy that is no longer in it grants nothing.
	if err := e.afresh(ctx, func() error { return e.checkPolicies(req.Policies) }); err != nil {
		return policy.Entry{}, err
	}
	if req.Default {
		return policy.Entry{Default: true}, nil
	}
	granted := slices.Clone(req.Policies)
	slices.Sort(granted)
	return policy.Entry{Policies: slices.Compact(granted)}, nil
}

func (e *Engine) checkPolicies(policies []string) error {
	known := e.view.Catalogue()
	bad := &authz.Error{Kind: authz.KindInvalid, Code: CodePolicyUnknown, Message: "the catalogue has no such policy to grant"}
	for i, p := range policies {
		if !known.HasPolicy(p) {
			bad.Violations = append(bad.Violations, authz.Violation{
				Field: fmt.Sprintf("entry.policies[%d]", i), Message: fmt.Sprintf("there is no policy %q", p),
			})
		}
	}
	if bad.Violations != nil {
		return bad
	}
	return nil
}

func checkOther(owner authz.ProjectID, d Direction, other authz.Scope) error {
	switch {
	case d > Outbound:
		return authz.Invalid("direction", "must be inbound or outbound")
	case !other.Valid():
		return authz.Invalid("entry.scope", "must name a project or a group by its id, 1 to %d", authz.MaxID)
	case d == Outbound && other.Kind != authz.ScopeProject:
		return authz.Invalid("entry.scope", "an outbound entry names a project")
	case other == authz.InProject(owner):
		const why = "a project always reaches itself: that entry is implied and can be neither added nor changed nor removed"
		return &authz.Error{
			Kind: authz.KindInvalid, Code: CodeSelfEntry, Message: why, Violations: []authz.Violation{{Field: "entry.scope", Message: why}},
		}
	}
	return nil
}

func (ed *edition) addInbound(other authz.Scope, grant policy.Entry) error {
	if !ed.look(other).member {
		return errUnseen("entry.scope", other, ed.id)
	}
	i, ok := findEntry(ed.list.Inbound, other)
	if ok {
		return errEntryExists(ed.list.Project, Inbound, other)
	}
	in := ed.instance()
	n, limit, what := countGroups(ed.list.Inbound), in.MaxGroupEntries, "groups"
	if other.Kind == authz.ScopeProject {
		n, limit, what = len(ed.list.Inbound)-n, in.MaxProjectEntries, "projects"
	}
	if n >= limit {
		return errListFull(ed.list.Project, n, limit, what)
	}
	ed.list.Inbound = slices.Insert(ed.list.Inbound, i, state.Entry{Caller: other, Entry: grant})
	ed.tell(Inbound, other, "let in", grants(grant))
	return nil
}

// addOutbound asks for maintainer in both projects.
func (ed *edition) addOutbound(other authz.ProjectID) error {
	s := ed.lookProject(other)
	switch {
	case !s.seen:
		return errUnseen("entry.scope", authz.InProject(other), ed.id)
	case s.role < authz.RoleMaintainer:
		return authz.Errorf(authz.KindForbidden, CodeNotMaintainer,
			"user %d is no maintainer of project %d (role %s): an outbound entry needs a maintainer of both projects", ed.id, other, s.role)
	}
	i, ok := slices.BinarySearch(ed.list.Outbound, other)
	if ok {
		return errEntryExists(ed.list.Project, Outbound, authz.InProject(other))
	}
	if n, limit := len(ed.list.Outbound), ed.instance().MaxProjectEntries; n >= limit {
		return errListFull(ed.list.Project, n, limit, "projects")
	}
	ed.list.Outbound = slices.Insert(ed.list.Outbound, i, other)
	ed.tell(Outbound, authz.InProject(other), "made reachable", "")
	return nil
}

// UpdateEntry changes what an inbound entry grants and gives it as it stands. The user
// need not see the other side. KindNotFound (ENTRY_NOT_FOUND) when there is none.
func (e *Engine) UpdateEntry(ctx context.Context, by Actor, req EntryEdit) (Entry, Done, error) {
	if req.Direction != Inbound {
		return Entry{}, Done{}, authz.Invalid("direction", "an outbound entry has nothing to change")
	}
	grant, err := e.checkEntry(ctx, &req)
	if err != nil {
		return Entry{}, Done{}, err
	}
	en := Entry{Owner: req.Project, Other: req.Other, Default: grant.Default, Policies: grant.Policies}
	done, ed, err := e.edit(ctx, "update_entry", by, req.AllowlistEdit, req, func(ed *edition) error {
		i, ok := findEntry(ed.list.Inbound, req.Other)
		if !ok {
			return errEntryNotFound(req.Project, Inbound, req.Other)
		}
		old := &ed.list.Inbound[i]
		if old.Default == grant.Default && slices.Equal(old.Policies, grant.Policies) {
			return nil
		}
		was := grants(old.Entry)
		old.Entry = grant
		ed.tell(Inbound, req.Other, "changed", was+" to "+grants(grant))
		return nil
	})
	if err != nil {
		return Entry{}, Done{}, err
	}
	if i, ok := findEntry(ed.list.Inbound, req.Other); ok {
		en.Autopopulated = ed.list.Inbound[i].Autopopulated
	}
	en.OwnerPath, en.OtherPath = ed.path(authz.InProject(en.Owner)), ed.path(en.Other)
	return en, done, nil
}

// RemoveEntry removes an entry. The user need not see the other side any more.
// KindNotFound (ENTRY_NOT_FOUND) when there is none.
func (e *Engine) RemoveEntry(ctx context.Context, by Actor, req EntryRemoval) (Done, error) {
	if err := checkOther(req.Project, req.Direction, req.Other); err != nil {
		return Done{}, err
	}
	done, _, err := e.edit(ctx, "remove_entry", by, req.AllowlistEdit, req, func(ed *edition) error {
		if req.Direction == Outbound {
			i, ok := slices.BinarySearch(ed.list.Outbound, authz.ProjectID(req.Other.ID))
			if !ok {
				return errEntryNotFound(req.Project, Outbound, req.Other)
			}
			ed.list.Outbound = slices.Delete(ed.list.Outbound, i, i+1)
			ed.tightens = true
			ed.tell(Outbound, req.Other, "no longer reachable", "")
			return nil
		}
		i, ok := findEntry(ed.list.Inbound, req.Other)
		if !ok {
			return errEntryNotFound(req.Project, Inbound, req.Other)
		}
		was := ed.list.Inbound[i].Entry
		ed.list.Inbound = slices.Delete(ed.list.Inbound, i, i+1)
		// Without a fine-grained entry the next one upward decides, and that may grant
		// more (§9.3): only the removal of one that restricts nothing is sure to take away.
		ed.tightens = was.Default
		ed.tell(Inbound, req.Other, "no longer let in", "had "+grants(was))
		return nil
	})
	return done, err
}

// tell fills the event: source and target are as in a decision.
func (ed *edition) tell(d Direction, other authz.Scope, what, more string) {
	detail := fmt.Sprintf("%s %s", other, what)
	if p := pathOf(ed.view, other); p != "" {
		detail = fmt.Sprintf("%s (%s) %s", other, p, what)
	}
	if more != "" {
		detail += ": " + more
	}
	ed.event.Detail = detail
	switch {
	case d == Outbound:
		ed.event.Source, ed.event.Target = ed.list.Project, authz.ProjectID(other.ID)
	case other.Kind == authz.ScopeProject:
		ed.event.Source = authz.ProjectID(other.ID)
	}
}

func grants(en policy.Entry) string {
	switch {
	case en.Default:
		return "default permissions"
	case len(en.Policies) == 0:
		return "no permissions"
	}
	return strings.Join(en.Policies, " ")
}

func (d Direction) String() string {
	if d == Outbound {
		return "outbound"
	}
	return "inbound"
}

func errEntryExists(owner authz.ProjectID, d Direction, other authz.Scope) error {
	return authz.Errorf(authz.KindExists, CodeEntryExists, "the %s list of project %d has an entry for %s already", d, owner, other)
}

func errEntryNotFound(owner authz.ProjectID, d Direction, other authz.Scope) error {
	return authz.Errorf(authz.KindNotFound, CodeEntryNotFound, "the %s list of project %d has no entry for %s", d, owner, other)
}

func errListFull(owner authz.ProjectID, n, limit int, what string) error {
	return authz.Errorf(authz.KindPrecondition, CodeListFull,
		"the list of project %d has %d %s and the instance allows %d: remove some, or let in a group that is above several", owner, n, what, limit)
}
