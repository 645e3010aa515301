package bench

import (
	"context"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// emptyServer is the floor: handlers that do nothing and answer with a message of the
// size that the real answer has. It is a bare grpc-go server without an interceptor.
type emptyServer struct {
	jobwardv1.UnimplementedDecisionServiceServer
	jobwardv1.UnimplementedTokenServiceServer
	check  *jobwardv1.CheckResponse
	issue  *jobwardv1.IssueResponse
	revoke *jobwardv1.RevokeResponse
}

func (s *emptyServer) Check(context.Context, *jobwardv1.CheckRequest) (*jobwardv1.CheckResponse, error) {
	return s.check, nil
}

func (s *emptyServer) Issue(context.Context, *jobwardv1.IssueRequest) (*jobwardv1.IssueResponse, error) {
	return s.issue, nil
}

func (s *emptyServer) Revoke(context.Context, *jobwardv1.RevokeRequest) (*jobwardv1.RevokeResponse, error) {
	return s.revoke, nil
}

func (s *emptyServer) CheckStream(stream grpc.BidiStreamingServer[jobwardv1.CheckStreamRequest, jobwardv1.CheckStreamResponse]) error {
	out := &jobwardv1.CheckStreamResponse{Decisions: []*jobwardv1.Decision{s.check.Decision}}
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		out.Id = m.Id
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// serveEmpty answers with the messages that the files in the arguments hold.
func serveEmpty(check, issue, revoke []byte) (serve func(net.Listener), err error) {
	s := &emptyServer{check: &jobwardv1.CheckResponse{}, issue: &jobwardv1.IssueResponse{}, revoke: &jobwardv1.RevokeResponse{}}
	for m, b := range map[proto.Message][]byte{s.check: check, s.issue: issue, s.revoke: revoke} {
		if err := proto.Unmarshal(b, m); err != nil {
			return nil, err
		}
	}
	g := grpc.NewServer()
	jobwardv1.RegisterDecisionServiceServer(g, s)
	jobwardv1.RegisterTokenServiceServer(g, s)
	return func(l net.Listener) { g.Serve(l) }, nil
}
