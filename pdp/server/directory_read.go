package server

import (
	"context"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// at is the point in history that a single record is told with. It is read before the
// record, so that the record is not older than it says.
func (d *directoryService) at() uint64 { return uint64(d.s.engine.View().Mark().Revision) }

// GetGroup implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) GetGroup(ctx context.Context, in *jobwardv1.GetGroupRequest) (*jobwardv1.GetGroupResponse, error) {
	at := d.at()
	var g engine.GroupInfo
	var err error
	if in.GetGroupId() != 0 {
		g, err = d.s.engine.GetGroup(ctx, authz.GroupID(in.GetGroupId()))
	} else {
		g, err = d.s.engine.GetGroupAt(ctx, in.GetFullPath())
	}
	if err != nil {
		return nil, err
	}
	return &jobwardv1.GetGroupResponse{Group: groupToProto(g), Revision: at}, nil
}

// GetProject implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) GetProject(ctx context.Context, in *jobwardv1.GetProjectRequest) (*jobwardv1.GetProjectResponse, error) {
	at := d.at()
	p, err := d.s.engine.GetProject(ctx, authz.Target{ID: authz.ProjectID(in.GetProjectId()), Path: in.GetFullPath()})
	if err != nil {
		return nil, err
	}
	return &jobwardv1.GetProjectResponse{Project: projectToProto(p), Revision: at}, nil
}

// GetUser implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) GetUser(ctx context.Context, in *jobwardv1.GetUserRequest) (*jobwardv1.GetUserResponse, error) {
	at := d.at()
	u, err := d.s.engine.GetUser(ctx, authz.UserID(in.GetUserId()))
	if err != nil {
		return nil, err
	}
	return &jobwardv1.GetUserResponse{User: userToProto(u), Revision: at}, nil
}

// ListGroups implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) ListGroups(ctx context.Context, in *jobwardv1.ListGroupsRequest) (*jobwardv1.ListGroupsResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	list, err := d.s.engine.ListGroups(ctx, authz.GroupID(in.GetParentId()), enginePage(page))
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListGroupsResponse{NextPageToken: page.Next(list.Next), Revision: uint64(list.Revision)}
	for i := range list.Items {
		out.Groups = append(out.Groups, groupToProto(list.Items[i]))
	}
	return out, nil
}

// ListProjects implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) ListProjects(ctx context.Context, in *jobwardv1.ListProjectsRequest) (*jobwardv1.ListProjectsResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	list, err := d.s.engine.ListProjects(ctx, authz.GroupID(in.GetGroupId()), enginePage(page))
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListProjectsResponse{NextPageToken: page.Next(list.Next), Revision: uint64(list.Revision)}
	for i := range list.Items {
		out.Projects = append(out.Projects, projectToProto(list.Items[i]))
	}
	return out, nil
}

// ListUsers implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) ListUsers(ctx context.Context, in *jobwardv1.ListUsersRequest) (*jobwardv1.ListUsersResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	list, err := d.s.engine.ListUsers(ctx, in.GetName(), enginePage(page))
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListUsersResponse{NextPageToken: page.Next(list.Next), Revision: uint64(list.Revision)}
	for i := range list.Items {
		out.Users = append(out.Users, userToProto(list.Items[i]))
	}
	return out, nil
}

// ListMembers implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) ListMembers(ctx context.Context, in *jobwardv1.ListMembersRequest) (*jobwardv1.ListMembersResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	q := engine.MemberQuery{User: authz.UserID(in.GetUserId()), Inherited: in.GetInherited(), Page: enginePage(page)}
	var r reader
	if q.Scope = read(&r, "scope", wire.ScopeFromProto, in.GetScope()); r.err != nil {
		return nil, r.err
	}
	list, err := d.s.engine.ListMembers(ctx, q)
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListMembersResponse{NextPageToken: page.Next(list.Next), Revision: uint64(list.Revision)}
	for i := range list.Items {
		out.Memberships = append(out.Memberships, membershipToProto(list.Items[i]))
	}
	return out, nil
}
