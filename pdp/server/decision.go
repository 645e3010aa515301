package server

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// decisionService is DecisionService. Check and BatchCheck are in hot.go and are
// registered past it.
type decisionService struct {
	jobwardv1.UnimplementedDecisionServiceServer
	s *Server
}

// CheckStream implements jobwardv1.DecisionServiceServer. One goroutine reads,
// answers and writes in turn: an answer takes a microsecond or two, and as long as
// the caller has messages on the way neither side of the stream waits. It ends when
// the caller closes its side, or when the server drains.
func (d *decisionService) CheckStream(stream grpc.BidiStreamingServer[jobwardv1.CheckStreamRequest, jobwardv1.CheckStreamResponse]) error {
	return d.s.held(stream.Context(), d.s.drain, func(context.Context, func(error)) error { return d.s.answerAll(stream) })
}

// answerAll answers the messages of one stream in their order.
func (s *Server) answerAll(stream grpc.ServerStream) error {
	ctx := stream.Context()
	door := s.doors[jobwardv1.DecisionService_CheckStream_FullMethodName]
	h := s.borrow(door, hot.CheckStream)
	h.by = engine.Actor{Name: actorOf(ctx, 0).Name}
	h.out = new(hot.Outbox)
	var last hot.Last
	for {
		h.in.Reset(hot.CheckStream)
		h.in.Remember(&last)
		if err := stream.RecvMsg(&h.in); err == io.EOF {
			s.giveBack(h)
			return nil
		} else if err != nil {
			return err
		}
		start := time.Now()
		err := h.in.Err
		if err == nil {
			err = s.answer(ctx, h)
		}
		if err != nil {
			if err := h.out.Problem(h.in.ID, err); err != nil {
				return err
			}
		}
		s.meters.answered(door, time.Since(start))
		if err := stream.SendMsg(h.out); err != nil {
			return err
		}
	}
}

// Explain implements jobwardv1.DecisionServiceServer.
func (d *decisionService) Explain(ctx context.Context, in *jobwardv1.ExplainRequest) (*jobwardv1.ExplainResponse, error) {
	s := d.s
	req := engine.ExplainRequest{Job: authz.JobID(in.GetJobId())}
	var digest authz.Digest
	var err error
	switch {
	case in.GetAnonymous():
		digest = authz.Nobody
	case req.Job == "":
		if digest, err = wire.Digest(s.opt.Tokens, in.GetToken()); err != nil {
			return nil, err
		}
	}
	if req.Request, err = wire.QuestionRequest(digest, in.GetQuestion()); err != nil {
		return nil, below("question", err)
	}
	if err := s.engine.AtLeast(ctx, authz.Revision(in.GetMinRevision())); err != nil {
		return nil, err
	}
	ex, err := s.engine.Explain(ctx, req)
	if err != nil {
		return nil, err
	}
	by := actorOf(ctx, 0)
	if ex.Reason == authz.TokenUnknown {
		if err := s.unknown.Take(by.Name, time.Now()); err != nil {
			return nil, err
		}
	}
	return &jobwardv1.ExplainResponse{
		// Without an id: nothing was decided, so there is nothing to find in a log.
		Decision: wire.DecisionToProto(&ex.Decision, ""), Steps: stepsToProto(ex.Steps), ReasonText: ex.Reason.Text(),
	}, nil
}
