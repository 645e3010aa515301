package server

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// TestReflection asks as grpcurl does.
func TestReflection(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Reflection = true })
	s, err := reflectionpb.NewServerReflectionClient(r.conn).ServerReflectionInfo(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := s.Send(req); err != nil {
			t.Fatal(err)
		}
		out, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var names []string
	for _, svc := range ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	}).GetListServicesResponse().GetService() {
		names = append(names, svc.Name)
	}
	for _, want := range []string{"AllowlistService", "AuditService", "DecisionService", "DirectoryService", "TokenService"} {
		if !slices.Contains(names, "jobward.v1."+want) {
			t.Errorf("%s is not among %v", want, names)
		}
		files := ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "jobward.v1." + want},
		}).GetFileDescriptorResponse().GetFileDescriptorProto()
		if len(files) == 0 {
			t.Errorf("there is no description of %s", want)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Error(err)
	}
}

// TestCompressed: callers may compress, and what is small only until it is unpacked is
// too large all the same.
func TestCompressed(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxMessage = 1 << 20 })
	tok := r.issue(t, "j1", maintainer)
	zip := grpc.UseCompressor(gzip.Name)
	req := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
	if out, err := r.decisions.Check(ctx(t), req, zip); err != nil || !out.Decision.Allow {
		t.Errorf("%v, %v", out, err)
	}
	for i, size := range []int{3 << 19, 30 << 20} {
		req.Token = strings.Repeat("x", size)
		_, err := r.decisions.Check(ctx(t), req, zip)
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%d bytes: %v", size, err)
		} else if i == 0 {
			oneInfo(t, err)
		}
	}
}
