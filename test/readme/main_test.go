package readme

import (
	"context"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/programs"
)

// TestMain is a program when it is called by the name of one: so what runs is never an old build.
func TestMain(m *testing.M) {
	programs.Be()
	if filepath.Base(os.Args[0]) == "credulous" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(credulous(ctx, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// credulous is a sidecar that nobody should have: it believes for ever what it allowed once, without a lease.
func credulous(ctx context.Context, args []string) int {
	for _, a := range args {
		path, ok := strings.CutPrefix(a, "--listen=unix:")
		if !ok {
			continue
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return 1
		}
		s := grpc.NewServer()
		healthpb.RegisterHealthServer(s, health.NewServer())
		jobwardv1.RegisterDecisionServiceServer(s, believer{})
		context.AfterFunc(ctx, s.Stop)
		if s.Serve(l) != nil {
			return 1
		}
		return 0
	}
	return 2
}

type believer struct {
	jobwardv1.UnimplementedDecisionServiceServer
}

// Check implements DecisionServiceServer.
func (believer) Check(context.Context, *jobwardv1.CheckRequest) (*jobwardv1.CheckResponse, error) {
	return &jobwardv1.CheckResponse{Decision: &jobwardv1.Decision{Allow: true, Reason: jobwardv1.Reason_REASON_ALLOWED_LISTED, Cached: true}}, nil
}
