package cli

import (
	"fmt"
	"slices"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

const worldPage = 1000

// allPages calls one until there is no further page.
func allPages(one func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := one(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

// pullWorld reads everything but jobs. It tells on standard error when the state changed meanwhile, since pages are of the moment.
func (s *session) pullWorld() ([]state.Record, error) {
	dir, err := s.directory()
	if err != nil {
		return nil, err
	}
	before, err := call(s, dir.GetStatus, &jobwardv1.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	records, err := s.pullSettings(dir)
	if err != nil {
		return nil, err
	}
	for _, pull := range []func(jobwardv1.DirectoryServiceClient, *[]state.Record) error{s.pullGroups, s.pullProjects, s.pullUsers, s.pullMembers} {
		if err := pull(dir, &records); err != nil {
			return nil, err
		}
	}
	if records, err = s.pullLists(records); err != nil {
		return nil, err
	}
	after, err := call(s, dir.GetStatus, &jobwardv1.GetStatusRequest{})
	if err == nil && after.GetRevision() != before.GetRevision() {
		fmt.Fprintf(s.err, "the state went from revision %d to %d while it was read: what changed between may be half seen\n", before.GetRevision(), after.GetRevision())
	}
	return records, err
}

func (s *session) pullSettings(dir jobwardv1.DirectoryServiceClient) ([]state.Record, error) {
	got, err := call(s, dir.GetInstanceSettings, &jobwardv1.GetInstanceSettingsRequest{})
	if err != nil {
		return nil, err
	}
	i := got.GetSettings()
	scope, ok := wire.PublicScopeFromProto(i.GetPublicScope())
	if !ok {
		return nil, unknownValue("public_scope", i.GetPublicScope())
	}
	records := []state.Record{&state.Instance{
		Instance:          policy.Instance{PublicScope: scope, EnforceInbound: i.GetEnforceInbound(), AnyoneCanPull: i.GetAnyoneCanPull()},
		MaxProjectEntries: int(i.GetMaxProjectEntries()), MaxGroupEntries: int(i.GetMaxGroupEntries()),
	}}
	cat, err := call(s, dir.GetCatalogue, &jobwardv1.GetCatalogueRequest{})
	if err == nil && len(cat.GetDocument()) > 0 {
		records = append(records, &state.Catalogue{Document: cat.GetDocument()})
	}
	return records, err
}

func unknownValue(field string, v fmt.Stringer) error {
	return fmt.Errorf("%s: the PDP says %s, which this pdpctl does not know: use a newer one", field, v)
}

func (s *session) pullGroups(dir jobwardv1.DirectoryServiceClient, to *[]state.Record) error {
	return allPages(func(token string) (string, error) {
		page, err := call(s, dir.ListGroups, &jobwardv1.ListGroupsRequest{PageSize: worldPage, PageToken: token})
		for _, g := range page.GetGroups() {
			r := &state.Group{ID: authz.GroupID(g.GetGroupId()), Parent: authz.GroupID(g.GetParentId()), Name: g.GetName()}
			var ok, ok2 bool
			r.Visibility, ok = wire.VisibilityFromProto(g.GetVisibility())
			r.State, ok2 = wire.ProjectStateFromProto(g.GetState())
			if !ok || !ok2 {
				return "", unknownValue("group", g)
			}
			*to = append(*to, r)
		}
		return page.GetNextPageToken(), err
	})
}

func (s *session) pullProjects(dir jobwardv1.DirectoryServiceClient, to *[]state.Record) error {
	return allPages(func(token string) (string, error) {
		page, err := call(s, dir.ListProjects, &jobwardv1.ListProjectsRequest{PageSize: worldPage, PageToken: token})
		for _, p := range page.GetProjects() {
			r := &state.Project{
				ID: authz.ProjectID(p.GetProjectId()), Group: authz.GroupID(p.GetGroupId()), Namespace: p.GetNamespace(), Name: p.GetName(),
				PublicBuilds: p.GetPublicBuilds(), ReadOnly: p.GetReadOnly(), Hidden: p.GetHidden(),
			}
			var ok, ok2 bool
			r.Visibility, ok = wire.VisibilityFromProto(p.GetVisibility())
			r.State, ok2 = wire.ProjectStateFromProto(p.GetState())
			for _, f := range p.GetFeatures() {
				feature, known := wire.FeatureFromProto(f.GetFeature())
				level, known2 := wire.FeatureLevelFromProto(f.GetLevel())
				if ok = ok && known && known2; ok {
					r.Features[feature] = level
				}
			}
			if !ok || !ok2 {
				return "", unknownValue("project", p)
			}
			*to = append(*to, r)
		}
		return page.GetNextPageToken(), err
	})
}

func (s *session) pullUsers(dir jobwardv1.DirectoryServiceClient, to *[]state.Record) error {
	return allPages(func(token string) (string, error) {
		page, err := call(s, dir.ListUsers, &jobwardv1.ListUsersRequest{PageSize: worldPage, PageToken: token})
		for _, u := range page.GetUsers() {
			st, ok := wire.UserStateFromProto(u.GetState())
			if !ok {
				return "", unknownValue("user", u)
			}
			*to = append(*to, &state.User{ID: authz.UserID(u.GetUserId()), Name: u.GetName(), State: st, External: u.GetExternal(), Admin: u.GetAdmin()})
		}
		return page.GetNextPageToken(), err
	})
}

func (s *session) pullMembers(dir jobwardv1.DirectoryServiceClient, to *[]state.Record) error {
	var last *state.Members // they come by user
	return allPages(func(token string) (string, error) {
		page, err := call(s, dir.ListMembers, &jobwardv1.ListMembersRequest{PageSize: worldPage, PageToken: token})
		for _, m := range page.GetMemberships() {
			scope, ok := wire.ScopeFromProto(m.GetScope())
			role, ok2 := wire.RoleFromProto(m.GetRole())
			if !ok || !ok2 {
				return "", unknownValue("membership", m)
			}
			if user := authz.UserID(m.GetUserId()); last == nil || last.User != user {
				last = &state.Members{User: user}
				*to = append(*to, last)
			}
			last.List = append(last.List, state.Membership{Scope: scope, Role: role})
		}
		return page.GetNextPageToken(), err
	})
}

// pullLists adds the allowlist of every project that ever had one.
func (s *session) pullLists(records []state.Record) ([]state.Record, error) {
	lists, err := s.allowlists()
	if err != nil {
		return nil, err
	}
	slow := s.progress()
	for i, r := range slices.Clone(records) {
		p, ok := r.(*state.Project)
		if !ok {
			continue
		}
		slow.tell("reading allowlists: %d of %d records", i, len(records))
		got, err := call(s, lists.GetAllowlist, &jobwardv1.GetAllowlistRequest{ProjectId: int64(p.ID)})
		if err != nil {
			return nil, err
		}
		if got.GetAllowlistRevision() == 0 {
			continue
		}
		set := got.GetSettings()
		a := &state.Allowlist{
			Project: p.ID, InboundOn: set.GetInboundEnabled(), OutboundOn: set.GetOutboundEnabled(), PushSelf: set.GetPushSelf(), PushCross: set.GetPushCross(),
		}
		for _, d := range []jobwardv1.Direction{jobwardv1.Direction_DIRECTION_INBOUND, jobwardv1.Direction_DIRECTION_OUTBOUND} {
			if err := s.pullEntries(lists, a, d); err != nil {
				return nil, err
			}
		}
		records = append(records, a)
	}
	return records, nil
}

func (s *session) pullEntries(lists jobwardv1.AllowlistServiceClient, a *state.Allowlist, d jobwardv1.Direction) error {
	return allPages(func(token string) (string, error) {
		page, err := call(s, lists.ListEntries, &jobwardv1.ListEntriesRequest{ProjectId: int64(a.Project), Direction: d, PageSize: worldPage, PageToken: token})
		for _, e := range page.GetEntries() {
			scope, ok := wire.ScopeFromProto(e.GetScope())
			switch {
			case !ok:
				return "", unknownValue("entry", e)
			case e.GetImplied():
			case d == jobwardv1.Direction_DIRECTION_OUTBOUND:
				a.Outbound = append(a.Outbound, authz.ProjectID(scope.ID))
			default:
				a.Inbound = append(a.Inbound, state.Entry{
					Caller: scope, Entry: policy.Entry{Default: e.GetDefaultPermissions(), Policies: e.GetPolicies()}, Autopopulated: e.GetAutopopulated(),
				})
			}
		}
		return page.GetNextPageToken(), err
	})
}
