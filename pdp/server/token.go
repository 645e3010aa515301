package server

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/state"
)

// maxNamed is how many jobs an answer about many names.
const maxNamed = 1000

// tokenService is TokenService.
type tokenService struct {
	jobwardv1.UnimplementedTokenServiceServer
	s *Server
}

// Issue implements jobwardv1.TokenServiceServer.
func (t *tokenService) Issue(ctx context.Context, in *jobwardv1.IssueRequest) (*jobwardv1.IssueResponse, error) {
	req, err := issueFromProto(in)
	if err != nil {
		return nil, err
	}
	by := actorOf(ctx, 0)
	out, err := t.s.engine.Issue(ctx, by, req)
	t.s.named(ctx, "issue", by, in.GetRequestId(), err)
	if err != nil {
		return nil, err
	}
	return &jobwardv1.IssueResponse{
		Token: out.Token.Reveal(), ExpireTime: wire.StampToProto(out.Expires), ValidFor: wire.DurationToProto(t.s.left(out.Expires)),
		Replaced: out.Replaced, Receipt: t.s.receipt(ctx, in, out.Awaits()),
	}, nil
}

// Revoke implements jobwardv1.TokenServiceServer.
func (t *tokenService) Revoke(ctx context.Context, in *jobwardv1.RevokeRequest) (*jobwardv1.RevokeResponse, error) {
	req := engine.RevokeRequest{
		Jobs: jobIDs(in.GetJobIds()), Outcome: outcomeFromProto(in.GetOutcome()), ValidateOnly: in.GetValidateOnly(),
	}
	for _, text := range in.GetTokens() {
		d, _ := t.s.opt.Tokens.DigestOfString(text) // zero for what is no job token
		req.Tokens = append(req.Tokens, d)
	}
	by := actorOf(ctx, 0)
	out, err := t.s.engine.Revoke(ctx, by, req)
	t.s.named(ctx, "revoke", by, in.GetRequestId(), err)
	if err != nil {
		return nil, err
	}
	resp := &jobwardv1.RevokeResponse{Receipt: t.s.receipt(ctx, in, out.Awaits())}
	for _, item := range out.Items {
		if req.ValidateOnly && item.Ending != engine.EndedBefore {
			item.Revision = 0 // it would be this call's
		}
		resp.Results = append(resp.Results, revocationToProto(item))
	}
	return resp, nil
}

// named logs a call that brought a name for itself.
func (s *Server) named(ctx context.Context, verb string, by engine.Actor, requestID string, err error) {
	if requestID != "" {
		s.log.InfoContext(ctx, "call", "verb", verb, "caller", by.Name, "request_id", requestID, "done", err == nil)
	}
}

// left is how long it is until a stamp.
func (s *Server) left(until authz.Stamp) time.Duration { return max(until.Sub(s.engine.Now()), 0) }

// KeepAlive implements jobwardv1.TokenServiceServer.
func (t *tokenService) KeepAlive(ctx context.Context, in *jobwardv1.KeepAliveRequest) (*jobwardv1.KeepAliveResponse, error) {
	beat, err := t.s.engine.KeepAlive(ctx, actorOf(ctx, 0), in.GetRunnerId())
	if err != nil {
		return nil, err
	}
	out := &jobwardv1.KeepAliveResponse{
		LapsedJobIds: firstIDs(beat.Lapsed, maxNamed), MoreLapsed: len(beat.Lapsed) > maxNamed, LiveJobs: int32(beat.Alive), Revision: uint64(beat.Revision),
	}
	if beat.Next != 0 {
		out.NextDeadline, out.NextWithin = wire.StampToProto(beat.Next), wire.DurationToProto(t.s.left(beat.Next))
	}
	return out, nil
}

// Introspect implements jobwardv1.TokenServiceServer.
func (t *tokenService) Introspect(ctx context.Context, in *jobwardv1.IntrospectRequest) (*jobwardv1.IntrospectResponse, error) {
	s := t.s
	digest, err := wire.ShownDigest(s.opt.Tokens, in.GetToken(), in.GetTokenDigest())
	if err != nil {
		return nil, err
	}
	if err := s.engine.Reached(ctx, in.GetEpoch(), authz.Revision(in.GetMinRevision())); err != nil {
		return nil, err
	}
	// Read before the engine looks, so that the answer is not older than it says.
	at := s.engine.View().Mark().Revision
	switch digest {
	case authz.Digest{}:
		return &jobwardv1.IntrospectResponse{Reason: wire.ReasonToProto(authz.TokenMalformed), Revision: uint64(at)}, nil
	case authz.Nobody:
		return &jobwardv1.IntrospectResponse{Reason: wire.ReasonToProto(authz.TokenMissing), Revision: uint64(at)}, nil
	}
	info, err := s.engine.Introspect(ctx, digest)
	var unknown *authz.Error
	if errors.As(err, &unknown) && unknown.Code == engine.CodeTokenUnknown {
		if err := s.unknown.Take(actorOf(ctx, 0).Name, time.Now()); err != nil {
			return nil, err
		}
		return &jobwardv1.IntrospectResponse{Reason: wire.ReasonToProto(authz.TokenUnknown), Revision: uint64(at)}, nil
	}
	if err != nil {
		return nil, err
	}
	return &jobwardv1.IntrospectResponse{
		Live: info.Live, Reason: wire.ReasonToProto(info.Reason), Job: jobToProto(info), ValidFor: lifeLeft(info, s.engine.Now()),
		Revision: uint64(info.Revision),
	}, nil
}

// Reconcile implements jobwardv1.TokenServiceServer. Nothing is done before the
// caller has closed its side.
func (t *tokenService) Reconcile(stream grpc.ClientStreamingServer[jobwardv1.ReconcileRequest, jobwardv1.ReconcileResponse]) error {
	var req *engine.ReconcileRequest
	var header *jobwardv1.ReconcileHeader
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch part := m.GetPart().(type) {
		case *jobwardv1.ReconcileRequest_Header:
			if req != nil {
				return authz.Invalid("header", "comes once, in the first message")
			}
			header = part.Header
			req = &engine.ReconcileRequest{
				AsOf: authz.Revision(header.GetAsOfRevision()), Runner: header.GetRunnerId(),
				Outcome: outcomeFromProto(header.GetOutcome()), ValidateOnly: header.GetValidateOnly(),
			}
		case *jobwardv1.ReconcileRequest_Running:
			if req == nil {
				return errHeaderFirst()
			}
			if len(req.Running)+len(part.Running.GetJobIds()) > engine.MaxReconcile {
				return authz.Invalid("running", "a list has at most %d jobs", engine.MaxReconcile)
			}
			req.Running = append(req.Running, jobIDs(part.Running.GetJobIds())...)
		default:
			return authz.Invalid("part", "must be header or running")
		}
	}
	if req == nil {
		return errHeaderFirst()
	}
	out, err := t.s.engine.Reconcile(stream.Context(), actorOf(stream.Context(), 0), *req)
	if err != nil {
		return below("header", err)
	}
	slices.Sort(out.Finished)
	slices.Sort(out.Dead)
	return stream.SendAndClose(&jobwardv1.ReconcileResponse{
		Finished: int64(len(out.Finished)), FinishedJobIds: firstIDs(out.Finished, maxNamed),
		NotLive: int64(len(out.Dead)), NotLiveJobIds: firstIDs(out.Dead, maxNamed),
		Younger: int64(out.Younger), Confirmed: int64(out.Confirmed), Receipt: t.s.receipt(stream.Context(), header, out.Awaits()),
	})
}

func errHeaderFirst() error { return authz.Invalid("header", "must come in the first message") }

// GetJob implements jobwardv1.TokenServiceServer.
func (t *tokenService) GetJob(ctx context.Context, in *jobwardv1.GetJobRequest) (*jobwardv1.GetJobResponse, error) {
	info, err := t.s.engine.GetJob(ctx, authz.JobID(in.GetJobId()))
	if err != nil {
		return nil, err
	}
	return &jobwardv1.GetJobResponse{Job: jobToProto(info), Revision: uint64(info.Revision)}, nil
}

// ListJobs implements jobwardv1.TokenServiceServer.
func (t *tokenService) ListJobs(ctx context.Context, in *jobwardv1.ListJobsRequest) (*jobwardv1.ListJobsResponse, error) {
	page, err := wire.ReadPage(in)
	if err != nil {
		return nil, err
	}
	filter := state.JobFilter{
		Project: authz.ProjectID(in.GetProjectId()), User: authz.UserID(in.GetUserId()), Runner: in.GetRunnerId(), Alive: in.GetLiveOnly(),
	}
	list, err := t.s.engine.ListJobs(ctx, filter, enginePage(page))
	if err != nil {
		return nil, ofPage(err)
	}
	out := &jobwardv1.ListJobsResponse{NextPageToken: page.Next(list.Next), Revision: uint64(list.Revision)}
	for i := range list.Jobs {
		out.Jobs = append(out.Jobs, jobToProto(list.Jobs[i]))
	}
	return out, nil
}

func issueFromProto(in *jobwardv1.IssueRequest) (engine.IssueRequest, error) {
	var r reader
	req := engine.IssueRequest{
		Job: authz.JobID(in.GetJobId()), Project: authz.ProjectID(in.GetProjectId()), User: authz.UserID(in.GetUserId()),
		Pipeline: in.GetPipelineId(), Ref: in.GetRef(), Timeout: in.GetTimeout().AsDuration(),
		Runner: in.GetRunnerId(), Term: in.GetHeartbeatTerm().AsDuration(), ValidateOnly: in.GetValidateOnly(),
		Status: read(&r, "status", wire.JobStatusFromProto, in.GetStatus()), Limits: limitsFromProto(&r, in.GetLimits()),
	}
	return req, r.err
}
