package server

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

func TestApplyAndRead(t *testing.T) {
	r := newRig(t)
	group := &jobwardv1.Group{GroupId: 3, ParentId: deep, Name: "new", Visibility: jobwardv1.Visibility_VISIBILITY_INTERNAL}
	project := &jobwardv1.Project{
		ProjectId: 14, GroupId: 3, Name: "p", State: jobwardv1.ProjectState_PROJECT_STATE_ARCHIVED, Hidden: true,
		Features: []*jobwardv1.FeatureSetting{{Feature: jobwardv1.Feature_FEATURE_PACKAGES, Level: jobwardv1.FeatureLevel_FEATURE_LEVEL_PUBLIC}},
	}
	user := &jobwardv1.User{UserId: 4, Name: "eve", External: true}
	member := &jobwardv1.Membership{UserId: 4, Scope: &jobwardv1.Scope{GroupId: 3}, Role: jobwardv1.Role_ROLE_REPORTER}
	req := &jobwardv1.ApplyChangesRequest{ValidateOnly: true, Changes: []*jobwardv1.Change{
		{Change: &jobwardv1.Change_SetMembership{SetMembership: member}}, {Change: &jobwardv1.Change_SetProject{SetProject: project}},
		{Change: &jobwardv1.Change_SetUser{SetUser: user}}, {Change: &jobwardv1.Change_SetGroup{SetGroup: group}},
	}}
	before := r.head()
	if out, err := r.directory.ApplyChanges(ctx(t), req); err != nil || out.Receipt.Effective || r.head() != before {
		t.Errorf("validating: %v, %v", out, err)
	}
	req.ValidateOnly = false
	out, err := r.directory.ApplyChanges(ctx(t), req)
	if err != nil || out.Changed != 4 || out.Receipt.Revision != uint64(before)+1 {
		t.Fatalf("%v, %v", out, err)
	}
	rev := out.Receipt.Revision
	want := func(what string, got proto.Message, err error, is proto.Message) {
		t.Helper()
		if err != nil || !proto.Equal(got, is) {
			t.Errorf("%s is %v, %v; want %v", what, got, err, is)
		}
	}
	group.FullPath, group.Revision, group.State = "acme/deep/new", rev, jobwardv1.ProjectState_PROJECT_STATE_ACTIVE
	g1, err := r.directory.GetGroup(ctx(t), &jobwardv1.GetGroupRequest{GroupId: 3})
	want("the group", g1.GetGroup(), err, group)
	g2, err := r.directory.GetGroup(ctx(t), &jobwardv1.GetGroupRequest{FullPath: "acme/deep/new"})
	want("the group at its path", g2.GetGroup(), err, group)
	project.FullPath, project.Revision, project.Visibility = "acme/deep/new/p", rev, jobwardv1.Visibility_VISIBILITY_PRIVATE
	p1, err := r.directory.GetProject(ctx(t), &jobwardv1.GetProjectRequest{ProjectId: 14})
	want("the project", p1.GetProject(), err, project)
	p2, err := r.directory.GetProject(ctx(t), &jobwardv1.GetProjectRequest{FullPath: "acme/deep/new/p"})
	want("the project at its path", p2.GetProject(), err, project)
	user.Revision, user.State = rev, jobwardv1.UserState_USER_STATE_ACTIVE
	u, err := r.directory.GetUser(ctx(t), &jobwardv1.GetUserRequest{UserId: 4})
	want("the user", u.GetUser(), err, user)
	m1, err := r.directory.ListMembers(ctx(t), &jobwardv1.ListMembersRequest{Scope: &jobwardv1.Scope{ProjectId: 14}, Inherited: true})
	want("the members", m1, err, &jobwardv1.ListMembersResponse{Revision: rev, Memberships: []*jobwardv1.Membership{
		{UserId: maintainer, Scope: &jobwardv1.Scope{GroupId: acme}, Role: jobwardv1.Role_ROLE_MAINTAINER}, member,
	}})
	m2, err := r.directory.ListMembers(ctx(t), &jobwardv1.ListMembersRequest{UserId: 4})
	want("the memberships", m2, err, &jobwardv1.ListMembersResponse{Revision: rev, Memberships: []*jobwardv1.Membership{member}})
	if p1.Revision != rev {
		t.Errorf("the answer is of revision %d; want %d", p1.Revision, rev)
	}

	_, err = r.directory.GetGroup(ctx(t), &jobwardv1.GetGroupRequest{GroupId: 99})
	wantError(t, err, codes.NotFound, "GROUP_NOT_FOUND")
	_, err = r.directory.GetProject(ctx(t), &jobwardv1.GetProjectRequest{FullPath: "no/such"})
	wantError(t, err, codes.NotFound, "PROJECT_NOT_FOUND")
	_, err = r.directory.GetUser(ctx(t), &jobwardv1.GetUserRequest{UserId: 99})
	wantError(t, err, codes.NotFound, "USER_NOT_FOUND")
	req.ExpectedRevision = uint64(before)
	req.Changes[0].GetSetMembership().Role = jobwardv1.Role_ROLE_GUEST
	_, err = r.directory.ApplyChanges(ctx(t), req)
	wantError(t, err, codes.Aborted, "REVISION_MISMATCH")
	_, err = r.directory.ApplyChanges(ctx(t), &jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{
		{Change: &jobwardv1.Change_RemoveGroupId{RemoveGroupId: acme}},
	}})
	wantError(t, err, codes.FailedPrecondition, "GROUP_NOT_EMPTY")
}

// TestDeletionAndBlock: the tokens of a project that is being deleted and of a user who
// is blocked are dead when the call returns.
func TestDeletionAndBlock(t *testing.T) {
	r := newRig(t)
	live := func(tok string) bool {
		t.Helper()
		out, err := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok})
		if err != nil {
			t.Fatal(err)
		}
		return out.Live
	}
	tok := r.issue(t, "j1", dev)
	if out, err := r.directory.BlockUser(ctx(t), &jobwardv1.BlockUserRequest{UserId: dev, ValidateOnly: true}); err != nil || out.Receipt.Effective || !live(tok) {
		t.Errorf("validating: %v, %v", out, err)
	}
	if out, err := r.directory.BlockUser(ctx(t), &jobwardv1.BlockUserRequest{UserId: dev}); err != nil || !out.Receipt.Effective || live(tok) {
		t.Errorf("%v, %v", out, err)
	}
	u, err := r.directory.GetUser(ctx(t), &jobwardv1.GetUserRequest{UserId: dev})
	if err != nil || u.User.State != jobwardv1.UserState_USER_STATE_BLOCKED {
		t.Errorf("%v, %v", u, err)
	}
	if _, err := r.directory.UnblockUser(ctx(t), &jobwardv1.UnblockUserRequest{UserId: dev}); err != nil || live(tok) {
		t.Errorf("after unblocking: %v", err)
	}
	_, err = r.directory.BlockUser(ctx(t), &jobwardv1.BlockUserRequest{UserId: dev, State: jobwardv1.UserState_USER_STATE_ACTIVE})
	wantInvalid(t, err, "state")

	tok = r.issue(t, "j2", maintainer)
	_, err = r.directory.FinishProjectDeletion(ctx(t), &jobwardv1.FinishProjectDeletionRequest{ProjectId: app})
	wantError(t, err, codes.FailedPrecondition, "DELETION_NOT_BEGUN")
	if out, err := r.directory.BeginProjectDeletion(ctx(t), &jobwardv1.BeginProjectDeletionRequest{ProjectId: app}); err != nil || !out.Receipt.Effective || live(tok) {
		t.Errorf("%v, %v", out, err)
	}
	if out, err := r.directory.FinishProjectDeletion(ctx(t), &jobwardv1.FinishProjectDeletionRequest{ProjectId: app}); err != nil || !out.Receipt.Effective {
		t.Errorf("%v, %v", out, err)
	}
	_, err = r.directory.GetProject(ctx(t), &jobwardv1.GetProjectRequest{ProjectId: app})
	wantError(t, err, codes.NotFound, "PROJECT_NOT_FOUND")
}

func TestInstanceSettingsAndStatus(t *testing.T) {
	r := newRig(t)
	scope := jobwardv1.PublicScope_PUBLIC_SCOPE_STRICT
	out, err := r.directory.UpdateInstanceSettings(ctx(t), &jobwardv1.UpdateInstanceSettingsRequest{
		ActingUserId: admin, PublicScope: &scope, MaxGroupEntries: proto.Int32(7),
	})
	want := &jobwardv1.InstanceSettings{PublicScope: scope, AnyoneCanPull: true, MaxProjectEntries: 200, MaxGroupEntries: 7}
	if err != nil || !proto.Equal(out.Settings, want) {
		t.Fatalf("%v, %v", out, err)
	}
	got, err := r.directory.GetInstanceSettings(ctx(t), &jobwardv1.GetInstanceSettingsRequest{})
	if err != nil || !proto.Equal(got.Settings, want) || got.SettingsRevision != out.Receipt.Revision {
		t.Errorf("%v, %v", got, err)
	}
	_, err = r.directory.UpdateInstanceSettings(ctx(t), &jobwardv1.UpdateInstanceSettingsRequest{ActingUserId: maintainer, PublicScope: &scope})
	wantError(t, err, codes.PermissionDenied, "NOT_ADMIN")

	doc := []byte(`{"policies":["read_wiki"],"permissions":[{"name":"read_wiki","surface":"rest","role":"guest","policies":["read_wiki"]}]}`)
	cat, err := r.directory.UpdateCatalogue(ctx(t), &jobwardv1.UpdateCatalogueRequest{Document: doc, ExpectedRevision: proto.Uint64(0)})
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.directory.GetCatalogue(ctx(t), &jobwardv1.GetCatalogueRequest{})
	if err != nil || string(all.Document) != string(doc) || int(cat.Permissions) != len(all.Permissions) || all.CatalogueRevision != cat.Receipt.Revision {
		t.Errorf("%v, %v", all, err)
	}
	_, err = r.directory.UpdateCatalogue(ctx(t), &jobwardv1.UpdateCatalogueRequest{Document: []byte("{")})
	wantError(t, err, codes.InvalidArgument, "CATALOGUE_INVALID")

	r.issue(t, "j1", maintainer)
	st, err := r.directory.GetStatus(ctx(t), &jobwardv1.GetStatusRequest{})
	if err != nil || st.Revision != uint64(r.head()) || st.Groups != 2 || st.Projects != 4 || st.Users != 3 || st.Jobs != 1 || !st.DevelopmentMode ||
		st.Version != "v0" || len(st.EpochId) != 32 || st.Uptime.AsDuration() <= 0 || st.PdpTime == nil {
		t.Errorf("%v, %v", st, err)
	}
}

func TestSyncWorld(t *testing.T) {
	r := newRig(t)
	header := func(validate bool) *jobwardv1.SyncWorldRequest {
		return &jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Header{Header: &jobwardv1.SyncHeader{
			AsOfRevision: uint64(r.head()), ValidateOnly: validate,
		}}}
	}
	records := func(rec *jobwardv1.SyncRecords) *jobwardv1.SyncWorldRequest {
		return &jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Records{Records: rec}}
	}
	call := func(parts ...*jobwardv1.SyncWorldRequest) (*jobwardv1.SyncWorldResponse, error) {
		t.Helper()
		s, err := r.directory.SyncWorld(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			s.Send(p) // what it fails with comes with the answer
		}
		return s.CloseAndRecv()
	}
	first := records(&jobwardv1.SyncRecords{
		Users:       []*jobwardv1.User{{UserId: maintainer, Name: "mia"}, {UserId: 5, Name: "new"}},
		Memberships: []*jobwardv1.Membership{{UserId: maintainer, Scope: &jobwardv1.Scope{GroupId: acme}, Role: 40}},
	})
	second := records(&jobwardv1.SyncRecords{
		Groups:   []*jobwardv1.Group{{GroupId: acme, Name: "acme"}, {GroupId: deep, ParentId: acme, Name: "deep"}},
		Projects: []*jobwardv1.Project{{ProjectId: app, GroupId: deep, Name: "app", PublicBuilds: true}, {ProjectId: lib, GroupId: acme, Name: "library", PublicBuilds: true}},
	})
	want := func(what string, out *jobwardv1.SyncWorldResponse, err error) {
		t.Helper()
		if err != nil || out.Users.Created != 1 || out.Users.Removed != 2 || out.Users.Unchanged != 1 || out.Projects.Updated != 1 || out.Projects.Removed != 2 ||
			out.Groups.Unchanged != 2 || out.Memberships.Removed != 1 || len(out.Samples) == 0 {
			t.Errorf("%s: %v, %v", what, out, err)
		}
	}
	before := r.head()
	out, err := call(header(true), first, second)
	if want("validating", out, err); r.head() != before || out.GetReceipt().GetEffective() || out.GetCommits() != 0 {
		t.Errorf("validating: %v, head %d", out, r.head())
	}
	out, err = call(header(false), first, second)
	if want("for good", out, err); !out.GetReceipt().GetEffective() || out.GetReceipt().GetRevision() != uint64(r.head()) || out.GetCommits() == 0 {
		t.Errorf("%v", out)
	}
	if p, err := r.directory.GetProject(ctx(t), &jobwardv1.GetProjectRequest{FullPath: "acme/library"}); err != nil || p.Project.ProjectId != lib {
		t.Errorf("%v, %v", p, err)
	}

	many := &jobwardv1.SyncRecords{}
	for i := range maxSyncRecords + 1 {
		many.Users = append(many.Users, &jobwardv1.User{UserId: int64(i + 1), Name: fmt.Sprint("u", i)})
	}
	bad := func(change func(*jobwardv1.SyncRecords)) *jobwardv1.SyncWorldRequest {
		rec := &jobwardv1.SyncRecords{Users: []*jobwardv1.User{{UserId: 1, Name: "a"}}, Projects: []*jobwardv1.Project{{ProjectId: 1, Namespace: "a", Name: "b"}}}
		change(rec)
		return records(rec)
	}
	for field, parts := range map[string][]*jobwardv1.SyncWorldRequest{
		"header":                    {first},
		"part":                      {header(true), {}},
		"records.users":             {header(true), records(many)},
		"records.users[0].state":    {header(true), bad(func(m *jobwardv1.SyncRecords) { m.Users[0].State = 99 })},
		"records.users[0].user_id":  {header(true), bad(func(m *jobwardv1.SyncRecords) { m.Users[0].UserId = -1 })},
		"records.projects[0].name":  {header(true), bad(func(m *jobwardv1.SyncRecords) { m.Projects[0].Name = "a/b" })},
		"records":                   {header(true), bad(func(m *jobwardv1.SyncRecords) { m.Projects[0].Namespace, m.Projects[0].GroupId = "", 77 })},
		"records.projects[0].state": {header(true), bad(func(m *jobwardv1.SyncRecords) { m.Projects[0].State = -1 })},
	} {
		_, err := call(parts...)
		wantInvalid(t, err, field)
	}
	_, err = call()
	wantInvalid(t, err, "header")
}

func TestListsOfTheDirectory(t *testing.T) {
	r := newRig(t)
	changes := &jobwardv1.ApplyChangesRequest{}
	for i := range int64(23) {
		changes.Changes = append(changes.Changes,
			&jobwardv1.Change{Change: &jobwardv1.Change_SetUser{SetUser: &jobwardv1.User{UserId: 100 + i, Name: fmt.Sprint("u", i)}}},
			&jobwardv1.Change{Change: &jobwardv1.Change_SetGroup{SetGroup: &jobwardv1.Group{GroupId: 100 + i, ParentId: deep, Name: fmt.Sprint("g", i)}}},
			&jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: &jobwardv1.Project{ProjectId: 100 + i, GroupId: deep, Name: fmt.Sprint("p", i)}}},
			&jobwardv1.Change{Change: &jobwardv1.Change_SetMembership{SetMembership: &jobwardv1.Membership{UserId: 100 + i, Scope: &jobwardv1.Scope{GroupId: deep}, Role: 10}}},
		)
	}
	if _, err := r.directory.ApplyChanges(ctx(t), changes); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		want int
		page func(token string) (int, string, error)
	}{
		"groups": {25, func(tok string) (int, string, error) {
			out, err := r.directory.ListGroups(ctx(t), &jobwardv1.ListGroupsRequest{PageSize: 4, PageToken: tok})
			return len(out.GetGroups()), out.GetNextPageToken(), err
		}},
		"groups in one": {23, func(tok string) (int, string, error) {
			out, err := r.directory.ListGroups(ctx(t), &jobwardv1.ListGroupsRequest{ParentId: deep, PageSize: 4, PageToken: tok})
			return len(out.GetGroups()), out.GetNextPageToken(), err
		}},
		"projects": {27, func(tok string) (int, string, error) {
			out, err := r.directory.ListProjects(ctx(t), &jobwardv1.ListProjectsRequest{PageSize: 4, PageToken: tok})
			return len(out.GetProjects()), out.GetNextPageToken(), err
		}},
		"projects in one": {24, func(tok string) (int, string, error) {
			out, err := r.directory.ListProjects(ctx(t), &jobwardv1.ListProjectsRequest{GroupId: deep, PageSize: 5, PageToken: tok})
			return len(out.GetProjects()), out.GetNextPageToken(), err
		}},
		"users": {26, func(tok string) (int, string, error) {
			out, err := r.directory.ListUsers(ctx(t), &jobwardv1.ListUsersRequest{PageSize: 7, PageToken: tok})
			return len(out.GetUsers()), out.GetNextPageToken(), err
		}},
		"users of a name": {1, func(tok string) (int, string, error) {
			out, err := r.directory.ListUsers(ctx(t), &jobwardv1.ListUsersRequest{Name: "u7", PageToken: tok})
			return len(out.GetUsers()), out.GetNextPageToken(), err
		}},
		"members": {23, func(tok string) (int, string, error) {
			out, err := r.directory.ListMembers(ctx(t), &jobwardv1.ListMembersRequest{Scope: &jobwardv1.Scope{GroupId: deep}, PageSize: 3, PageToken: tok})
			return len(out.GetMemberships()), out.GetNextPageToken(), err
		}},
		"events": {92, func(tok string) (int, string, error) {
			out, err := r.audit.ListEvents(ctx(t), &jobwardv1.ListEventsRequest{Verb: "apply_changes", PageSize: 9, PageToken: tok})
			return len(out.GetEvents()), out.GetNextPageToken(), err
		}},
	} {
		total := 0
		for tok, pages := "", 0; ; pages++ {
			n, next, err := c.page(tok)
			if err != nil || pages > 100 {
				t.Fatalf("%s: %v after %d pages", name, err, pages)
			}
			if total += n; next == "" {
				break
			}
			tok = next
		}
		if total != c.want {
			t.Errorf("%d %s; want %d", total, name, c.want)
		}
	}
}

// TestForgedPages: a page token holds a cursor that a caller can forge; whatever it is,
// it is refused or chooses what is left out.
func TestForgedPages(t *testing.T) {
	r := newRig(t)
	r.issue(t, "j1", maintainer)
	good := good("x")
	for _, cursor := range []string{"0", "-1", "x", "1", "99999999999999999999", "1.2.3", "1.1.1", "1.9.1", "p1", "2/1", "\x00", "\xff\xff", "j1", "nobody", "a b"} {
		for name, list := range map[string]func(string) error{
			"ListJobs": func(tok string) error {
				_, err := r.token.ListJobs(ctx(t), &jobwardv1.ListJobsRequest{PageToken: tok})
				return err
			},
			"ListEntries": func(tok string) error {
				m := proto.CloneOf(good["ListEntries"][0].(*jobwardv1.ListEntriesRequest))
				m.PageToken = tok
				_, err := r.allowlists.ListEntries(ctx(t), m)
				return err
			},
			"ListListings": func(tok string) error {
				m := proto.CloneOf(good["ListListings"][0].(*jobwardv1.ListListingsRequest))
				m.PageToken = tok
				_, err := r.allowlists.ListListings(ctx(t), m)
				return err
			},
			"ListGroups": func(tok string) error {
				_, err := r.directory.ListGroups(ctx(t), &jobwardv1.ListGroupsRequest{PageToken: tok})
				return err
			},
			"ListProjects": func(tok string) error {
				_, err := r.directory.ListProjects(ctx(t), &jobwardv1.ListProjectsRequest{PageToken: tok})
				return err
			},
			"ListUsers": func(tok string) error {
				_, err := r.directory.ListUsers(ctx(t), &jobwardv1.ListUsersRequest{PageToken: tok})
				return err
			},
			"ListMembers": func(tok string) error {
				m := proto.CloneOf(good["ListMembers"][0].(*jobwardv1.ListMembersRequest))
				m.PageToken = tok
				_, err := r.directory.ListMembers(ctx(t), m)
				return err
			},
			"ListEvents": func(tok string) error {
				m := proto.CloneOf(good["ListEvents"][0].(*jobwardv1.ListEventsRequest))
				m.PageToken = tok
				_, err := r.audit.ListEvents(ctx(t), m)
				return err
			},
		} {
			page, err := wire.ReadPage(good[name][0].(wire.Paged))
			if err != nil {
				t.Fatal(err)
			}
			if err := list(page.Next(cursor)); err != nil {
				e := wire.AsError(err)
				if e.Kind != authz.KindInvalid || len(e.Violations) != 1 || e.Violations[0].Field != "page_token" {
					t.Errorf("%s after %q: %v (%s, %v)", name, cursor, err, e.Code, e.Violations)
				}
			}
		}
	}
}
