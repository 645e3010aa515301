package pep

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// grpcPDP is one PDP with its three connections: leases, questions, reports (R19).
type grpcPDP struct {
	conns          [3]*grpc.ClientConn
	watch, reports jobwardv1.WatchServiceClient
	decisions      jobwardv1.DecisionServiceClient
	tokens         jobwardv1.TokenServiceClient
}

// Close implements PDP.
func (p *grpcPDP) Close() error {
	var errs []error
	for _, c := range p.conns {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Watch implements PDP. gRPC makes the connection and fails when there is none.
func (p *grpcPDP) Watch(ctx context.Context) (WatchStream, error) {
	s, err := p.watch.Watch(ctx)
	if err != nil {
		return nil, wire.AsError(err)
	}
	p.conns[1].Connect() // so that the first question does not wait for it
	return &grpcWatch{stream: s}, nil
}

// Check implements PDP.
func (p *grpcPDP) Check(ctx context.Context, q *Question) (authz.Decision, error) {
	resp, err := p.decisions.Check(ctx, &jobwardv1.CheckRequest{
		TokenDigest: q.Token[:], TargetProjectId: int64(q.Target.ID), TargetProjectPath: q.Target.Path, Permission: string(q.Permission),
		Surface: wire.SurfaceToProto(q.Surface), MinRevision: uint64(q.Applied), Generation: uint64(q.Generation), Epoch: q.Epoch,
	})
	if err != nil {
		return authz.Decision{}, wire.AsError(err)
	}
	return decisionOf(resp.GetDecision())
}

func decisionOf(m *jobwardv1.Decision) (authz.Decision, error) {
	d, err := wire.DecisionFromProto(m)
	d.Number = m.GetAnswerNumber()
	return d, err
}

// BatchCheck implements PDP.
func (p *grpcPDP) BatchCheck(ctx context.Context, q *BatchQuestion) ([]authz.Decision, error) {
	req := &jobwardv1.BatchCheckRequest{
		TokenDigest: q.Requests[0].Token[:], MinRevision: uint64(q.Applied), Generation: uint64(q.Generation), Epoch: q.Epoch,
		Questions: make([]*jobwardv1.Question, len(q.Requests)),
	}
	for i := range q.Requests {
		r := &q.Requests[i]
		req.Questions[i] = &jobwardv1.Question{
			TargetProjectId: int64(r.Target.ID), TargetProjectPath: r.Target.Path, Permission: string(r.Permission), Surface: wire.SurfaceToProto(r.Surface),
		}
	}
	resp, err := p.decisions.BatchCheck(ctx, req)
	if err != nil {
		return nil, wire.AsError(err)
	}
	if len(resp.GetDecisions()) != len(q.Requests) {
		return nil, authz.Errorf(authz.KindInternal, "BAD_ANSWER", "%d questions were answered by %d decisions", len(q.Requests), len(resp.GetDecisions()))
	}
	out := make([]authz.Decision, len(q.Requests))
	for i, m := range resp.GetDecisions() {
		if out[i], err = decisionOf(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Introspect implements PDP.
func (p *grpcPDP) Introspect(ctx context.Context, q *IntrospectQuestion) (Introspection, error) {
	resp, err := p.tokens.Introspect(ctx, &jobwardv1.IntrospectRequest{TokenDigest: q.Token[:], MinRevision: uint64(q.Applied), Epoch: q.Epoch})
	if err != nil {
		return Introspection{}, wire.AsError(err)
	}
	reason, ok := wire.ReasonFromProto(resp.GetReason())
	if !ok || reason == authz.ReasonNone || reason.Allows() != resp.GetLive() {
		return Introspection{}, authz.Errorf(authz.KindInternal, "BAD_ANSWER", "the answer gives a reason that this version does not know, or contradicts itself")
	}
	return Introspection{
		Live: resp.GetLive(), Reason: reason, ValidFor: resp.GetValidFor().AsDuration(), Revision: authz.Revision(resp.GetRevision()), Record: resp.GetJob(),
	}, nil
}

// grpcWatch is the lane of leases.
type grpcWatch struct {
	stream     grpc.BidiStreamingClient[jobwardv1.WatchRequest, jobwardv1.WatchResponse]
	generation lease.Generation // of the goroutine that receives
}

// Hello implements WatchStream.
func (w *grpcWatch) Hello(name, version string, h lease.Hello) error {
	for _, m := range wire.HelloToProto(h, name, version) {
		if err := w.stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// Send implements WatchStream.
func (w *grpcWatch) Send(m lease.Message, f Figures) error {
	out := wire.WatchRequest(m)
	if r := out.GetRenew(); r != nil {
		r.Entries, r.Hits, r.Misses, r.AppliedRevision = f.Entries, f.Hits, f.Misses, uint64(f.Applied)
	}
	return w.stream.Send(out)
}

// Recv implements WatchStream.
func (w *grpcWatch) Recv() (WatchMessage, error) {
	resp, err := w.stream.Recv()
	if err == io.EOF {
		return WatchMessage{}, authz.Errorf(authz.KindUnavailable, "STREAM_ENDED", "the policy decision point ended the stream")
	}
	if err != nil {
		return WatchMessage{}, wire.AsError(err)
	}
	m, err := wire.GrantorMessage(resp, w.generation)
	if err != nil {
		return WatchMessage{}, err
	}
	if m.Kind == lease.Welcome {
		w.generation = m.Generation
	}
	return WatchMessage{Message: m, Prefixes: resp.GetWelcome().GetTokenPrefixes()}, nil
}

// CloseSend implements WatchStream.
func (w *grpcWatch) CloseSend() error { return w.stream.CloseSend() }

// Report implements PDP.
func (p *grpcPDP) Report(ctx context.Context, hello ReportHello) (ReportStream, error) {
	s, err := p.reports.Report(ctx)
	if err != nil {
		return nil, wire.AsError(err)
	}
	err = s.Send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Hello{Hello: &jobwardv1.ReportHello{Name: hello.Name, Canary: hello.Canary}}})
	if err != nil {
		return nil, err
	}
	return grpcReport{s}, nil
}

// grpcReport is the lane of reports.
type grpcReport struct {
	stream grpc.BidiStreamingClient[jobwardv1.ReportRequest, jobwardv1.ReportResponse]
}

// Accesses implements ReportStream.
func (r grpcReport) Accesses(list []Access, dropped int64) error {
	batch := &jobwardv1.AccessBatch{Dropped: dropped, Accesses: make([]*jobwardv1.Access, len(list))}
	for i, a := range list {
		batch.Accesses[i] = &jobwardv1.Access{
			SourceProjectId: int64(a.Source), TargetProjectId: int64(a.Target), Permission: string(a.Permission),
			Reason: wire.ReasonToProto(a.Reason), Count: a.Count, LastAge: durationpb.New(a.LastAge),
		}
	}
	return r.stream.Send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Accesses{Accesses: batch}})
}

// Answer implements ReportStream.
func (r grpcReport) Answer(a CanaryAnswer) error {
	return r.stream.Send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Canary{Canary: &jobwardv1.CanaryAnswer{
		Id: a.ID, Allow: a.Allow, Reason: wire.ReasonToProto(a.Reason), Cached: a.Cached,
	}}})
}

// Recv implements ReportStream.
func (r grpcReport) Recv() (CanaryQuestion, error) {
	resp, err := r.stream.Recv()
	if err != nil {
		return CanaryQuestion{}, err
	}
	c := resp.GetCanary()
	q := c.GetQuestion()
	out := CanaryQuestion{ID: c.GetId(), Request: authz.Request{
		Target:     authz.Target{ID: authz.ProjectID(q.GetTargetProjectId()), Path: q.GetTargetProjectPath()},
		Permission: authz.Permission(q.GetPermission()), Surface: authz.Surface(q.GetSurface()),
	}}
	if copy(out.Token[:], q.GetTokenDigest()) != len(out.Token) {
		return out, authz.Errorf(authz.KindInternal, "BAD_ANSWER", "a canary question has no digest")
	}
	return out, nil
}
