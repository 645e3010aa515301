package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type directoryCmd struct {
	Group   groupCmd   `cmd:"" help:"Look at groups."`
	Project projectCmd `cmd:"" help:"Look at projects, and delete them."`
	User    userCmd    `cmd:"" help:"Look at users."`
	Member  memberCmd  `cmd:"" help:"Look at memberships."`
	Apply   applyCmd   `cmd:"" help:"Make the changes of a file in one commit: all of them or none."`
	Block   blockCmd   `cmd:"" help:"Take a user out of action: tokens of the user's jobs are dead for good."`
	Unblock unblockCmd `cmd:"" help:"Make a user active again. Tokens issued before stay dead."`
}

// writeFlags are the flags of every change.
type writeFlags struct {
	RequestID    string `name:"request-id" placeholder:"ID" help:"Name of this call: repeating it with the same name does nothing again."`
	ValidateOnly bool   `help:"Check everything and change nothing."`
	waitFlag
}

// expectFlag makes a change depend on nobody having made another one; nil makes it in any case.
type expectFlag struct {
	ExpectedRevision *uint64 `placeholder:"REVISION" help:"Make the change only if the last change before it was at this revision, 0 meaning never."`
}

// pageFlags bound a listing.
type pageFlags struct {
	Limit     int    `default:"1000" help:"How many to list at most."`
	PageToken string `placeholder:"TOKEN" help:"Go on where a listing before ended."`
}

// page is an answer that is one page of several.
type page interface {
	proto.Message
	GetNextPageToken() string
}

// pages joins pages into one answer of at most p.Limit records. fetch gives a page and how many records it has; a page without
// records need not be the last.
func pages[P page](p pageFlags, fetch func(size int32, token string) (P, int, error)) (P, error) {
	var all P
	if p.Limit < 1 {
		return all, errors.New("--limit is at least 1")
	}
	all, left, err := fetch(int32(min(p.Limit, 1000)), p.PageToken)
	left = p.Limit - left
	for err == nil && left > 0 && all.GetNextPageToken() != "" {
		var next P
		var n int
		next, n, err = fetch(int32(min(left, 1000)), all.GetNextPageToken())
		if err != nil {
			break
		}
		// The last page has no token, and merging keeps what the other does not set.
		m := all.ProtoReflect()
		m.Clear(m.Descriptor().Fields().ByName("next_page_token"))
		proto.Merge(all, next)
		left -= n
	}
	return all, err
}

// more says how to go on, when there is more.
func (t *table) more(token string) {
	if token != "" {
		t.linef("there is more: --page-token %s", token)
	}
}

// scope finds a project or a group; neither gives nil.
func (s *session) scope(project, group string) (*jobwardv1.Scope, error) {
	if project == "" && group == "" {
		return nil, nil
	}
	p, err := s.projectID(project)
	if err != nil {
		return nil, err
	}
	g, err := s.groupID(group)
	return &jobwardv1.Scope{ProjectId: p, GroupId: g}, err
}

func scopeText(c *jobwardv1.Scope) string {
	switch {
	case c.GetProjectId() != 0:
		return fmt.Sprintf("project %d", c.GetProjectId())
	case c.GetGroupId() != 0:
		return fmt.Sprintf("group %d", c.GetGroupId())
	}
	return "-"
}

type memberCmd struct {
	List memberListCmd `cmd:"" help:"List memberships by user."`
}

type memberListCmd struct {
	User      string `placeholder:"USER" help:"Only those of this user, by id or name."`
	Project   string `xor:"scope" placeholder:"PROJECT" help:"Only those on this project, by id or path."`
	Group     string `xor:"scope" placeholder:"GROUP" help:"Only those on this group, by id or path."`
	Inherited bool   `help:"With --project or --group: also those on the groups above, each user once with the highest role."`
	pageFlags
}

// Run is called by kong.
func (c *memberListCmd) Run(s *session) error {
	if c.Inherited && c.Project == "" && c.Group == "" {
		return errors.New("--inherited needs --project or --group")
	}
	dir, err := s.directory()
	if err != nil {
		return err
	}
	user, err := s.userID(c.User)
	if err != nil {
		return err
	}
	scope, err := s.scope(c.Project, c.Group)
	if err != nil {
		return err
	}
	resp, err := pages(c.pageFlags, func(size int32, token string) (*jobwardv1.ListMembersResponse, int, error) {
		r, err := call(s, dir.ListMembers, &jobwardv1.ListMembersRequest{UserId: user, Scope: scope, Inherited: c.Inherited, PageSize: size, PageToken: token})
		return r, len(r.GetMemberships()), err
	})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.row("USER", "ON", "ROLE")
		for _, m := range resp.GetMemberships() {
			t.row(m.GetUserId(), scopeText(m.GetScope()), enum("ROLE", m.GetRole()))
		}
		t.more(resp.GetNextPageToken())
	})
}

type applyCmd struct {
	File string `arg:"" help:"File with an ApplyChangesRequest as JSON or YAML (changes: [{set_group: {...}}, ...]); - reads standard input."`
	writeFlags
	expectFlag
}

// Run is called by kong.
func (c *applyCmd) Run(s *session) error {
	raw, err := s.readFile(c.File)
	if err != nil {
		return err
	}
	req := &jobwardv1.ApplyChangesRequest{}
	if err := unmarshal(raw, req); err != nil {
		return fmt.Errorf("%s is no ApplyChangesRequest: %w", c.File, err)
	}
	if c.RequestID != "" {
		req.RequestId = c.RequestID
	}
	if c.ExpectedRevision != nil {
		req.ExpectedRevision = *c.ExpectedRevision
	}
	req.ValidateOnly = req.ValidateOnly || c.ValidateOnly
	if req.GetReceiptWait() == jobwardv1.ReceiptWait_RECEIPT_WAIT_UNSPECIFIED {
		req.ReceiptWait = c.receiptWait()
	}
	dir, err := s.directory()
	if err != nil {
		return err
	}
	resp, err := call(s, dir.ApplyChanges, req)
	if err != nil {
		return err
	}
	c.ValidateOnly = req.GetValidateOnly()
	return s.printChange(resp, c.writeFlags, func(t *table) {
		t.linef("%d of %d changes make a difference", resp.GetChanged(), len(req.GetChanges()))
	})
}

// readFile reads a file, or standard input for "-".
func (s *session) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(s.in)
	}
	return os.ReadFile(name)
}

// unmarshal reads a message from JSON or YAML. Field names may be those of the API or in lowerCamelCase.
func unmarshal(raw []byte, m proto.Message) error {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		var err error
		if raw, err = yaml.YAMLToJSON(raw); err != nil {
			return err
		}
	}
	return protojson.Unmarshal(raw, m)
}

type blockCmd struct {
	User  string `arg:"" help:"The user, by id or name."`
	State string `enum:"blocked,deactivated,banned,blocked_pending_approval" default:"blocked" help:"The state from now on: blocked, deactivated, banned or blocked_pending_approval."`
	writeFlags
}

// Run is called by kong.
func (c *blockCmd) Run(s *session) error {
	dir, user, err := s.oneUser(c.User)
	if err != nil {
		return err
	}
	resp, err := call(s, dir.BlockUser, &jobwardv1.BlockUserRequest{
		UserId: user, State: jobwardv1.UserState(jobwardv1.UserState_value["USER_STATE_"+strings.ToUpper(c.State)]),
		RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, nil)
}

type unblockCmd struct {
	User string `arg:"" help:"The user, by id or name."`
	writeFlags
}

// Run is called by kong.
func (c *unblockCmd) Run(s *session) error {
	dir, user, err := s.oneUser(c.User)
	if err != nil {
		return err
	}
	resp, err := call(s, dir.UnblockUser, &jobwardv1.UnblockUserRequest{UserId: user, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait()})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, nil)
}

// oneUser gives the directory and the user that an argument names.
func (s *session) oneUser(text string) (jobwardv1.DirectoryServiceClient, int64, error) {
	dir, err := s.directory()
	if err != nil {
		return nil, 0, err
	}
	user, err := s.userID(text)
	return dir, user, err
}

type groupCmd struct {
	Get  groupGetCmd  `cmd:"" help:"Show a group."`
	List groupListCmd `cmd:"" help:"List groups by id."`
}

type groupGetCmd struct {
	Group string `arg:"" help:"The group, by id or path."`
}

// Run is called by kong.
func (c *groupGetCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	req := &jobwardv1.GetGroupRequest{GroupId: number(c.Group)}
	if req.GroupId == 0 {
		req.FullPath = c.Group
	}
	resp, err := call(s, dir.GetGroup, req)
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) { t.groups(resp.GetGroup()) })
}

type groupListCmd struct {
	Parent string `placeholder:"GROUP" help:"Only groups directly in this one, by id or path."`
	pageFlags
}

// Run is called by kong.
func (c *groupListCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	parent, err := s.groupID(c.Parent)
	if err != nil {
		return err
	}
	resp, err := pages(c.pageFlags, func(size int32, token string) (*jobwardv1.ListGroupsResponse, int, error) {
		r, err := call(s, dir.ListGroups, &jobwardv1.ListGroupsRequest{ParentId: parent, PageSize: size, PageToken: token})
		return r, len(r.GetGroups()), err
	})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.groups(resp.GetGroups()...)
		t.more(resp.GetNextPageToken())
	})
}

func (t *table) groups(groups ...*jobwardv1.Group) {
	t.row("ID", "PATH", "VISIBILITY", "STATE", "REVISION")
	for _, g := range groups {
		t.row(g.GetGroupId(), g.GetFullPath(), enum("VISIBILITY", g.GetVisibility()), enum("PROJECT_STATE", g.GetState()), g.GetRevision())
	}
}

type projectCmd struct {
	Get    projectGetCmd    `cmd:"" help:"Show a project."`
	List   projectListCmd   `cmd:"" help:"List projects by id."`
	Delete projectDeleteCmd `cmd:"" help:"Delete a project, in two steps."`
}

type projectGetCmd struct {
	Project string `arg:"" help:"The project, by id or path."`
}

// Run is called by kong.
func (c *projectGetCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	req := &jobwardv1.GetProjectRequest{ProjectId: number(c.Project)}
	if req.ProjectId == 0 {
		req.FullPath = c.Project
	}
	resp, err := call(s, dir.GetProject, req)
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) { t.projects(resp.GetProject()) })
}

type projectListCmd struct {
	Group string `placeholder:"GROUP" help:"Only projects directly in this group, by id or path."`
	pageFlags
}

// Run is called by kong.
func (c *projectListCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	group, err := s.groupID(c.Group)
	if err != nil {
		return err
	}
	resp, err := pages(c.pageFlags, func(size int32, token string) (*jobwardv1.ListProjectsResponse, int, error) {
		r, err := call(s, dir.ListProjects, &jobwardv1.ListProjectsRequest{GroupId: group, PageSize: size, PageToken: token})
		return r, len(r.GetProjects()), err
	})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.projects(resp.GetProjects()...)
		t.more(resp.GetNextPageToken())
	})
}

func (t *table) projects(projects ...*jobwardv1.Project) {
	t.row("ID", "PATH", "VISIBILITY", "STATE", "REVISION")
	for _, p := range projects {
		t.row(p.GetProjectId(), p.GetFullPath(), enum("VISIBILITY", p.GetVisibility()), enum("PROJECT_STATE", p.GetState()), p.GetRevision())
	}
}

type projectDeleteCmd struct {
	Begin  deleteBeginCmd  `cmd:"" help:"Start the deletion: tokens of the project's jobs are dead for good, and nobody reaches it."`
	Finish deleteFinishCmd `cmd:"" help:"Remove a project whose deletion has begun, with its allowlists."`
}

type deleteBeginCmd struct {
	Project string `arg:"" help:"The project, by id or path."`
	writeFlags
}

// Run is called by kong.
func (c *deleteBeginCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	project, err := s.projectID(c.Project)
	if err != nil {
		return err
	}
	resp, err := call(s, dir.BeginProjectDeletion, &jobwardv1.BeginProjectDeletionRequest{
		ProjectId: project, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, nil)
}

type deleteFinishCmd struct {
	Project string `arg:"" help:"The project, by id or path."`
	writeFlags
}

// Run is called by kong.
func (c *deleteFinishCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	project, err := s.projectID(c.Project)
	if err != nil {
		return err
	}
	resp, err := call(s, dir.FinishProjectDeletion, &jobwardv1.FinishProjectDeletionRequest{
		ProjectId: project, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, nil)
}

type userCmd struct {
	Get  userGetCmd  `cmd:"" help:"Show a user."`
	List userListCmd `cmd:"" help:"List users by id."`
}

type userGetCmd struct {
	User string `arg:"" help:"The user, by id or name."`
}

// Run is called by kong.
func (c *userGetCmd) Run(s *session) error {
	dir, user, err := s.oneUser(c.User)
	if err != nil {
		return err
	}
	resp, err := call(s, dir.GetUser, &jobwardv1.GetUserRequest{UserId: user})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) { t.users(resp.GetUser()) })
}

type userListCmd struct {
	Name string `placeholder:"NAME" help:"Only users with exactly this name."`
	pageFlags
}

// Run is called by kong.
func (c *userListCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	resp, err := pages(c.pageFlags, func(size int32, token string) (*jobwardv1.ListUsersResponse, int, error) {
		r, err := call(s, dir.ListUsers, &jobwardv1.ListUsersRequest{Name: c.Name, PageSize: size, PageToken: token})
		return r, len(r.GetUsers()), err
	})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.users(resp.GetUsers()...)
		t.more(resp.GetNextPageToken())
	})
}

func (t *table) users(users ...*jobwardv1.User) {
	t.row("ID", "NAME", "STATE", "EXTERNAL", "ADMIN", "REVISION")
	for _, u := range users {
		t.row(u.GetUserId(), u.GetName(), enum("USER_STATE", u.GetState()), u.GetExternal(), u.GetAdmin(), u.GetRevision())
	}
}
