package server

import (
	"context"
	"fmt"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// directoryService is DirectoryService: this file has what changes the directory,
// directory_read.go what reads it, instance.go the settings, sync.go the full sync.
type directoryService struct {
	jobwardv1.UnimplementedDirectoryServiceServer
	s *Server
}

// ApplyChanges implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) ApplyChanges(ctx context.Context, in *jobwardv1.ApplyChangesRequest) (*jobwardv1.ApplyChangesResponse, error) {
	req := engine.ApplyRequest{
		Expected: authz.Revision(in.GetExpectedRevision()), RequestID: in.GetRequestId(), ValidateOnly: in.GetValidateOnly(),
		Changes: make([]engine.Change, 0, len(in.GetChanges())),
	}
	for i, c := range in.GetChanges() {
		change, err := changeFromProto(c, fmt.Sprintf("changes[%d]", i))
		if err != nil {
			return nil, err
		}
		req.Changes = append(req.Changes, change)
	}
	out, err := d.s.engine.Apply(ctx, actorOf(ctx, 0), req)
	if err != nil {
		return nil, err
	}
	return &jobwardv1.ApplyChangesResponse{Changed: int32(out.Changed), Receipt: d.s.receipt(ctx, in, out.Awaits())}, nil
}

// BeginProjectDeletion implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) BeginProjectDeletion(ctx context.Context, in *jobwardv1.BeginProjectDeletionRequest) (*jobwardv1.BeginProjectDeletionResponse, error) {
	done, err := d.s.engine.BeginProjectDeletion(ctx, actorOf(ctx, 0), deletionFromProto(in))
	if err != nil {
		return nil, err
	}
	return &jobwardv1.BeginProjectDeletionResponse{Receipt: d.s.receipt(ctx, in, done.Awaits())}, nil
}

// FinishProjectDeletion implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) FinishProjectDeletion(ctx context.Context, in *jobwardv1.FinishProjectDeletionRequest) (*jobwardv1.FinishProjectDeletionResponse, error) {
	done, err := d.s.engine.FinishProjectDeletion(ctx, actorOf(ctx, 0), deletionFromProto(in))
	if err != nil {
		return nil, err
	}
	return &jobwardv1.FinishProjectDeletionResponse{Receipt: d.s.receipt(ctx, in, done.Awaits())}, nil
}

func deletionFromProto(in interface {
	GetProjectId() int64
	GetRequestId() string
	GetValidateOnly() bool
}) engine.DeletionRequest {
	return engine.DeletionRequest{Project: authz.ProjectID(in.GetProjectId()), RequestID: in.GetRequestId(), ValidateOnly: in.GetValidateOnly()}
}

// BlockUser implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) BlockUser(ctx context.Context, in *jobwardv1.BlockUserRequest) (*jobwardv1.BlockUserResponse, error) {
	req := engine.UserStateRequest{
		User: authz.UserID(in.GetUserId()), State: authz.UserStateBlocked, RequestID: in.GetRequestId(), ValidateOnly: in.GetValidateOnly(),
	}
	if in.GetState() != jobwardv1.UserState_USER_STATE_UNSPECIFIED { // which means blocked here, and active elsewhere
		var r reader
		if req.State = read(&r, "state", wire.UserStateFromProto, in.GetState()); r.err != nil {
			return nil, r.err
		}
	}
	done, err := d.s.engine.BlockUser(ctx, actorOf(ctx, 0), req)
	if err != nil {
		return nil, err
	}
	return &jobwardv1.BlockUserResponse{Receipt: d.s.receipt(ctx, in, done.Awaits())}, nil
}

// UnblockUser implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) UnblockUser(ctx context.Context, in *jobwardv1.UnblockUserRequest) (*jobwardv1.UnblockUserResponse, error) {
	done, err := d.s.engine.UnblockUser(ctx, actorOf(ctx, 0), engine.UserStateRequest{
		User: authz.UserID(in.GetUserId()), RequestID: in.GetRequestId(), ValidateOnly: in.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return &jobwardv1.UnblockUserResponse{Receipt: d.s.receipt(ctx, in, done.Awaits())}, nil
}
