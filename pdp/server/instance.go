package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/engine"
)

// GetInstanceSettings implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) GetInstanceSettings(ctx context.Context, _ *jobwardv1.GetInstanceSettingsRequest) (*jobwardv1.GetInstanceSettingsResponse, error) {
	info := d.s.engine.GetInstance(ctx)
	return &jobwardv1.GetInstanceSettingsResponse{
		Settings: instanceToProto(info), SettingsRevision: uint64(info.Changed), Revision: uint64(info.Revision),
	}, nil
}

// UpdateInstanceSettings implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) UpdateInstanceSettings(ctx context.Context, in *jobwardv1.UpdateInstanceSettingsRequest) (*jobwardv1.UpdateInstanceSettingsResponse, error) {
	edit, err := instanceFromProto(in)
	if err != nil {
		return nil, err
	}
	info, done, err := d.s.engine.UpdateInstance(ctx, actorOf(ctx, in.GetActingUserId()), edit)
	if err != nil {
		return nil, err
	}
	return &jobwardv1.UpdateInstanceSettingsResponse{Settings: instanceToProto(info), Receipt: d.s.receipt(ctx, in, done.Awaits())}, nil
}

// GetCatalogue implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) GetCatalogue(ctx context.Context, _ *jobwardv1.GetCatalogueRequest) (*jobwardv1.GetCatalogueResponse, error) {
	info := d.s.engine.GetCatalogue(ctx)
	out := &jobwardv1.GetCatalogueResponse{
		Document: info.Document, Policies: info.Effective.Policies(), CatalogueRevision: uint64(info.Changed), Revision: uint64(info.Revision),
	}
	for _, p := range info.Effective.Permissions() {
		out.Permissions = append(out.Permissions, permissionToProto(p))
	}
	return out, nil
}

// UpdateCatalogue implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) UpdateCatalogue(ctx context.Context, in *jobwardv1.UpdateCatalogueRequest) (*jobwardv1.UpdateCatalogueResponse, error) {
	info, done, err := d.s.engine.UpdateCatalogue(ctx, actorOf(ctx, 0), engine.CatalogueEdit{
		Document: in.GetDocument(), Expected: expected(in.ExpectedRevision), RequestID: in.GetRequestId(), ValidateOnly: in.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return &jobwardv1.UpdateCatalogueResponse{
		Permissions: int32(len(info.Effective.Permissions())), Receipt: d.s.receipt(ctx, in, done.Awaits()),
	}, nil
}

// GetStatus implements jobwardv1.DirectoryServiceServer.
func (d *directoryService) GetStatus(ctx context.Context, _ *jobwardv1.GetStatusRequest) (*jobwardv1.GetStatusResponse, error) {
	out := statusToProto(d.s.engine.GetDirectoryStatus(ctx))
	out.Uptime, out.Version, out.DevelopmentMode = durationpb.New(time.Since(d.s.started)), d.s.opt.Version, d.s.everybody != nil
	return out, nil
}
