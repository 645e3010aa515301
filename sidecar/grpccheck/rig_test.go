package grpccheck

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// fake is a Decider whose cache has the permissions that begin with "hit", and whose PDP answers the others when it is let.
type fake struct {
	tokens  *token.Format
	applied authz.Revision
	gate    chan struct{} // nil: the PDP answers at once; else a value for each message
	fail    error
	asked   atomic.Int64
	waiting atomic.Int64
	mu      sync.Mutex
	least   hot.Least // of the last question to the PDP
}

func newFake(t testing.TB) *fake {
	f, err := token.NewFormat(token.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return &fake{tokens: f, applied: 7}
}

func (f *fake) Tokens(context.Context) (*token.Format, error) { return f.tokens, nil }

func (f *fake) Look(req *authz.Request, least hot.Least, d *authz.Decision) bool {
	if len(req.Permission) < 3 || req.Permission[:3] != "hit" || least.Revision > f.applied {
		return false
	}
	*d = f.decision(req)
	d.Cached, d.Keys, d.Number = true, []authz.Key{1, 2, 3}, 9
	return true
}

func (f *fake) decision(req *authz.Request) authz.Decision {
	d := authz.Decision{Allow: true, Reason: authz.AllowedListed, Revision: 5, ValidFor: time.Hour, Job: "build-1", Source: 11, User: 102, Target: req.Target.ID,
		Entry: authz.InGroup(2), Role: authz.RoleReporter, RoleScope: authz.InGroup(3)}
	if req.Token.IsZero() {
		d = authz.Decision{Reason: authz.TokenMalformed, Revision: 5}
	}
	return d
}

func (f *fake) Ask(ctx context.Context, reqs []authz.Request, least hot.Least, ds []authz.Decision) error {
	f.asked.Add(1)
	f.waiting.Add(1)
	defer f.waiting.Add(-1)
	f.mu.Lock()
	f.least = least
	f.mu.Unlock()
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.fail != nil {
		return f.fail
	}
	for i := range reqs {
		if reqs[i].Permission == "panic" {
			panic("planted")
		}
		ds[i] = f.decision(&reqs[i])
		ds[i].Keys, ds[i].Number = []authz.Key{4}, 3
		if reqs[i].Permission == "lapsed" {
			ds[i] = authz.Decision{Reason: authz.LeaseLapsed, Revision: 5}
		}
	}
	return nil
}

func (f *fake) Introspect(_ context.Context, in *jobwardv1.IntrospectRequest) (*jobwardv1.IntrospectResponse, error) {
	d, err := wire.ShownDigest(f.tokens, in.GetToken(), in.GetTokenDigest())
	if err != nil {
		return nil, err
	}
	if d.IsZero() {
		return &jobwardv1.IntrospectResponse{Reason: jobwardv1.Reason_REASON_TOKEN_MALFORMED}, nil
	}
	return &jobwardv1.IntrospectResponse{Live: true, Revision: 5}, f.fail
}

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

// rig is a sidecar's services on a socket.
type rig struct {
	*fake
	server    *Server
	grpc      *grpc.Server
	conn      *grpc.ClientConn
	decisions jobwardv1.DecisionServiceClient
	tokens1   jobwardv1.TokenServiceClient
	token     string
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{fake: newFake(t)}
	everybody, err := identity.NewDevelopment()
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Decider: r.fake, Callers: everybody, Reflection: true}
	for _, c := range change {
		c(&opt)
	}
	if r.server, err = New(opt); err != nil {
		t.Fatal(err)
	}
	r.grpc = grpc.NewServer(append([]grpc.ServerOption{grpc.WaitForHandlers(true)}, r.server.ServerOptions()...)...)
	r.server.Register(r.grpc)
	healthpb.RegisterHealthServer(r.server.Registrar(r.grpc), health.NewServer())
	// A method of another package; its message says whether it is to panic.
	authv3.RegisterAuthorizationServer(hot.Registrar(r.grpc, func(method string, _ grpc.MethodHandler) grpc.MethodHandler {
		return r.server.Hot(method, func(_ context.Context, dec func(any) error, d *authz.Decision) (any, error) {
			in := &authv3.CheckRequest{}
			if err := hot.Receive(dec, in); err != nil {
				return nil, err
			}
			if in.GetAttributes() != nil {
				panic("planted")
			}
			return &authv3.CheckResponse{}, nil
		})
	}), authv3.UnimplementedAuthorizationServer{})
	at := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.grpc.Serve(l) }()
	if r.conn, err = grpc.NewClient("unix:"+at, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.conn.Close()
		r.grpc.Stop()
		r.server.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r.decisions, r.tokens1 = jobwardv1.NewDecisionServiceClient(r.conn), jobwardv1.NewTokenServiceClient(r.conn)
	r.token = r.fake.tokens.Mint().Reveal()
	return r
}

func (r *rig) check(permission string) *jobwardv1.CheckRequest {
	return &jobwardv1.CheckRequest{Token: r.token, TargetProjectId: 14, Permission: permission}
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return c
}

func wantCode(t *testing.T, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%v, want %v", err, code)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}
