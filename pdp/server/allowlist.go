package server

import (
	"context"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// allowlistService is AllowlistService. Whom a call acts for and what that user may
// do is the engine's to judge.
type allowlistService struct {
	jobwardv1.UnimplementedAllowlistServiceServer
	s *Server
}

// GetAllowlist implements jobwardv1.AllowlistServiceServer.
func (a *allowlistService) GetAllowlist(ctx context.Context, in *jobwardv1.GetAllowlistRequest) (*jobwardv1.GetAllowlistResponse, error) {
	info, err := a.s.engine.GetAllowlist(ctx, actorOf(ctx, in.GetActingUserId()), authz.ProjectID(in.GetProjectId()))
	if err != nil {
		return nil, err
	}
	return &jobwardv1.GetAllowlistResponse{
		Settings: settingsToProto(info), InboundProjects: int32(info.InboundProjects), InboundGroups: int32(info.InboundGroups),
		OutboundProjects: int32(info.OutboundProjects), MaxProjects: int32(info.MaxProjects), MaxGroups: int32(info.MaxGroups),
		AllowlistRevision: uint64(info.Changed), Revision: uint64(info.Revision),
	}, nil
}

// UpdateSettings implements jobwardv1.AllowlistServiceServer.
func (a *allowlistService) UpdateSettings(ctx context.Context, in *jobwardv1.UpdateSettingsRequest) (*jobwardv1.UpdateSettingsResponse, error) {
	info, done, err := a.s.engine.UpdateAllowlist(ctx, actorOf(ctx, in.GetActingUserId()), engine.AllowlistSettings{
		AllowlistEdit: editFromProto(in),
		InboundOn:     in.InboundEnabled, OutboundOn: in.OutboundEnabled, PushSelf: in.PushSelf, PushCross: in.PushCross,
	})
	if err != nil {
		return nil, err
	}
	return &jobwardv1.UpdateSettingsResponse{Settings: settingsToProto(info), Receipt: a.s.receipt(ctx, in, done.Awaits())}, nil
}

// AddEntry implements jobwardv1.AllowlistServiceServer.
func (a *allowlistService) AddEntry(ctx context.Context, in *jobwardv1.AddEntryRequest) (*jobwardv1.AddEntryResponse, error) {
	edit, err := entryFromProto(editFromProto(in), in.GetDirection(), in.GetEntry())
	if err != nil {
		return nil, err
	}
	en, done, err := a.s.engine.AddEntry(ctx, actorOf(ctx, in.GetActingUserId()), edit)
	if err != nil {
		return nil, err
	}
	return &jobwardv1.AddEntryResponse{Entry: entryToProto(en), Receipt: a.s.receipt(ctx, in, done.Awaits())}, nil
}

// UpdateEntry implements jobwardv1.AllowlistServiceServer.
func (a *allowlistService) UpdateEntry(ctx context.Context, in *jobwardv1.UpdateEntryRequest) (*jobwardv1.UpdateEntryResponse, error) {
	edit, err := entryFromProto(editFromProto(in), jobwardv1.Direction_DIRECTION_INBOUND, in.GetEntry())
	if err != nil {
		return nil, err
	}
	en, done, err := a.s.engine.UpdateEntry(ctx, actorOf(ctx, in.GetActingUserId()), edit)
	if err != nil {
		return nil, err
	}
	return &jobwardv1.UpdateEntryResponse{Entry: entryToProto(en), Receipt: a.s.receipt(ctx, in, done.Awaits())}, nil
}

// RemoveEntry implements jobwardv1.AllowlistServiceServer.
func (a *allowlistService) RemoveEntry(ctx context.Context, in *jobwardv1.RemoveEntryRequest) (*jobwardv1.RemoveEntryResponse, error) {
	var r reader
	removal := engine.EntryRemoval{
		AllowlistEdit: editFromProto(in), Direction: read(&r, "direction", directionFromProto, in.GetDirection()),
		Other: read(&r, "scope", wire.ScopeFromProto, in.GetScope()),
	}
	if r.err != nil {
		return nil, r.err
	}
	done, err := a.s.engine.RemoveEntry(ctx, actorOf(ctx, in.GetActingUserId()), removal)
	if err != nil {
		return nil, err
	}
	return &jobwardv1.RemoveEntryResponse{Receipt: a.s.receipt(ctx, in, done.Awaits())}, nil
}

// ListEntries implements jobwardv1.AllowlistServiceServer.
func (a *allowlistService) ListEntries(ctx context.Context, in *jobwardv1.ListEntriesRequest) (*jobwardv1.ListEntriesResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	var r reader
	direction := read(&r, "direction", directionFromProto, in.GetDirection())
	if r.err != nil {
		return nil, r.err
	}
	list, err := a.s.engine.ListEntries(ctx, actorOf(ctx, in.GetActingUserId()), engine.EntryQuery{
		Project: authz.ProjectID(in.GetProjectId()), Direction: direction, Page: enginePage(page),
	})
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListEntriesResponse{
		NextPageToken: page.Next(list.Next), AllowlistRevision: uint64(list.Changed), Revision: uint64(list.Revision),
	}
	for i := range list.Items {
		out.Entries = append(out.Entries, entryToProto(list.Items[i]))
	}
	return out, nil
}

// ListListings implements jobwardv1.AllowlistServiceServer.
func (a *allowlistService) ListListings(ctx context.Context, in *jobwardv1.ListListingsRequest) (*jobwardv1.ListListingsResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	var r reader
	direction := read(&r, "direction", directionFromProto, in.GetDirection())
	if r.err != nil {
		return nil, r.err
	}
	list, err := a.s.engine.ListListings(ctx, actorOf(ctx, in.GetActingUserId()), engine.ListingQuery{
		Project: authz.ProjectID(in.GetProjectId()), Direction: direction, Page: enginePage(page),
	})
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListListingsResponse{NextPageToken: page.Next(list.Next), Revision: uint64(list.Revision)}
	for i := range list.Items {
		en := list.Items[i]
		out.Listings = append(out.Listings, &jobwardv1.Listing{
			OwnerProjectId: int64(en.Owner), OwnerPath: en.OwnerPath, Entry: entryToProto(en),
		})
	}
	return out, nil
}

// allowlistEdit is what the requests that change an allowlist have in common. Whether
// a revision is expected is in a field whose getter does not tell none from zero, so
// the messages are looked into.
type allowlistEdit interface {
	GetProjectId() int64
	GetRequestId() string
	GetValidateOnly() bool
}

func editFromProto(in allowlistEdit) engine.AllowlistEdit {
	var rev *uint64
	switch in := in.(type) {
	case *jobwardv1.UpdateSettingsRequest:
		rev = in.ExpectedRevision
	case *jobwardv1.AddEntryRequest:
		rev = in.ExpectedRevision
	case *jobwardv1.UpdateEntryRequest:
		rev = in.ExpectedRevision
	case *jobwardv1.RemoveEntryRequest:
		rev = in.ExpectedRevision
	}
	return engine.AllowlistEdit{
		Project: authz.ProjectID(in.GetProjectId()), Expected: expected(rev), RequestID: in.GetRequestId(), ValidateOnly: in.GetValidateOnly(),
	}
}
