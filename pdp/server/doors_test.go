package server

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// byRole takes the authorization header for the name of a role, or of none.
type byRole struct{}

func (byRole) Authenticate(_ *tls.ConnectionState, authorization []string) (identity.Principal, error) {
	switch {
	case len(authorization) == 0:
		return identity.Principal{}, identity.ErrNoCredentials
	case authorization[0] == "nothing":
		return identity.Principal{Name: "nothing"}, nil
	}
	r, err := identity.ParseRole(authorization[0])
	if err != nil {
		return identity.Principal{}, fmt.Errorf("%w: %w", identity.ErrBadCredentials, err)
	}
	return identity.Principal{Name: authorization[0], Roles: identity.Roles(r)}, nil
}

// as is a context of a caller with a role.
func as(ctx context.Context, role string) context.Context {
	if role == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", role)
}

func guardedRig(t testing.TB, change ...func(*Options)) *rig {
	return newRig(t, append([]func(*Options){func(o *Options) { o.Callers, o.Reflection = byRole{}, true }}, change...)...)
}

// callEmpty calls a method with an empty message and gives the error of its first answer.
func callEmpty(ctx context.Context, cc *grpc.ClientConn, service string, m grpc.MethodInfo) error {
	method := "/" + service + "/" + m.Name
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !m.IsClientStream && !m.IsServerStream {
		return cc.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
	}
	s, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := s.SendMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s.CloseSend()
	if err := s.RecvMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// TestDoors walks every method of every service, as every role, as a caller without a
// role, as one with bad credentials and as nobody, over a real connection. The verdicts
// stand in testdata/doors.txt: a change of who may call what shows there.
func TestDoors(t *testing.T) {
	r := guardedRig(t)
	var table strings.Builder
	rows := map[string]bool{}
	callers := []string{"", "nothing", "nonsense"}
	for role := range identity.AllRoles().All() {
		callers = append(callers, role.String())
	}
	info := r.grpc.GetServiceInfo()
	for _, service := range slices.Sorted(maps.Keys(info)) {
		methods := slices.SortedFunc(slices.Values(info[service].Methods), func(a, b grpc.MethodInfo) int { return strings.Compare(a.Name, b.Name) })
		for _, m := range methods {
			method := "/" + service + "/" + m.Name
			rows[method] = true
			if r.server.doors[method] == nil {
				t.Errorf("%s has no row in the table of doors", method)
				continue
			}
			var may []string
			for _, caller := range callers {
				if verdict(t, r, caller, service, m) {
					may = append(may, cmpOr(caller, "anybody"))
				}
			}
			fmt.Fprintf(&table, "%s: %s\n", method[1:], strings.Join(may, " "))
		}
	}
	for method, d := range r.server.doors {
		if !rows[method] {
			t.Errorf("the row of %s is stale: there is no such method", method)
		}
		if d.why == "" || strings.HasSuffix(d.why, ".") {
			t.Errorf("%s does not say why in a phrase: %q", method, d.why)
		}
	}
	golden(t, "testdata/doors.txt", table.String())
}

func cmpOr(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

// verdict tells whether a caller got through the door; whoever does not is told so in
// the right way.
func verdict(t *testing.T, r *rig, caller, service string, m grpc.MethodInfo) bool {
	t.Helper()
	err := callEmpty(as(ctx(t), caller), r.conn, service, m)
	reason := ""
	if err != nil {
		reason = oneInfo(t, err).Reason
	}
	want := codes.OK
	switch reason {
	case wire.CodeNoCredentials, wire.CodeBadCredentials:
		want = codes.Unauthenticated
	case wire.CodeRoleForbidden:
		want = codes.PermissionDenied
	}
	if want != codes.OK && status.Code(err) != want {
		t.Errorf("%s as %q: %v", m.Name, caller, err)
	}
	switch {
	case reason == wire.CodeNoCredentials && caller != "", reason == wire.CodeBadCredentials && caller != "nonsense", status.Code(err) == codes.Unimplemented:
		t.Errorf("%s as %q: %v", m.Name, caller, err)
	}
	return want == codes.OK
}

// oneInfo gives the one ErrorInfo that every error has.
func oneInfo(t testing.TB, err error) *errdetails.ErrorInfo {
	t.Helper()
	var found []*errdetails.ErrorInfo
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			found = append(found, info)
		}
	}
	if len(found) != 1 || found[0].Domain != wire.Domain || found[0].Reason == "" {
		t.Fatalf("%v has %d ErrorInfos: %v; want one of ours", err, len(found), found)
	}
	return found[0]
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what it was; look at the difference, and run the test with -update if it is meant:\n%s", file, got)
	}
}

// TestHealthDoors: services that the daemon registers by itself pass the same doors.
func TestHealthDoors(t *testing.T) {
	r := newEngineRig(t, newStore())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Engine: r.engine, Tokens: r.tokens, Callers: byRole{}})
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(s.ServerOptions()...)
	healthpb.RegisterHealthServer(g, health.NewServer())
	// A service that nobody wrote a row for.
	g.RegisterService(&grpc.ServiceDesc{ServiceName: "x.Stray", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Call",
		Handler: func(_ any, ctx context.Context, dec func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
			var m emptypb.Empty
			if err := dec(&m); err != nil {
				return nil, err
			}
			return in(ctx, &m, &grpc.UnaryServerInfo{FullMethod: "/x.Stray/Call"}, func(context.Context, any) (any, error) {
				t.Error("a method without a row was called")
				return &m, nil
			})
		},
	}}}, struct{}{})
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	t.Cleanup(func() { g.Stop(); <-done })
	cc := dial(t, lis.Addr().String())
	if _, err := healthpb.NewHealthClient(cc).Check(ctx(t), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health without credentials: %v", err)
	}
	for role, want := range map[string]codes.Code{"": codes.Unauthenticated, "service": codes.Unimplemented, "admin": codes.Unimplemented} {
		for _, method := range []string{"/x.Stray/Call", "/x.Nothing/Call", "/" + jobwardv1.TokenService_ServiceDesc.ServiceName + "/Nothing"} {
			err := cc.Invoke(as(ctx(t), role), method, &emptypb.Empty{}, &emptypb.Empty{})
			if oneInfo(t, err); status.Code(err) != want {
				t.Errorf("%s as %q: %v; want %v", method, role, err, want)
			}
		}
	}
}
