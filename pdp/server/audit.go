package server

import (
	"context"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
)

// auditService is AuditService.
type auditService struct {
	jobwardv1.UnimplementedAuditServiceServer
	s *Server
}

// ListEvents implements jobwardv1.AuditServiceServer.
func (a *auditService) ListEvents(ctx context.Context, in *jobwardv1.ListEventsRequest) (*jobwardv1.ListEventsResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	q, err := eventFilter(in)
	if err != nil {
		return nil, err
	}
	q.Page = enginePage(page)
	list, err := a.s.engine.ListEvents(ctx, q)
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListEventsResponse{NextPageToken: page.Next(list.Next)}
	for i := range list.Items {
		out.Events = append(out.Events, eventToProto(list.Items[i]))
	}
	return out, nil
}
