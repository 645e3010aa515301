package server

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// rig is a server over a store in memory, on a socket, and a client of it.
type rig struct {
	store  state.Store
	engine *engine.Engine
	tokens *token.Format
	server *Server
	grpc   *grpc.Server
	addr   net.Addr
	conn   *grpc.ClientConn
	client
}

// client has a stub of every service.
type client struct {
	decisions  jobwardv1.DecisionServiceClient
	token      jobwardv1.TokenServiceClient
	allowlists jobwardv1.AllowlistServiceClient
	directory  jobwardv1.DirectoryServiceClient
	audit      jobwardv1.AuditServiceClient
	watch      jobwardv1.WatchServiceClient
}

func newClient(cc grpc.ClientConnInterface) client {
	return client{
		jobwardv1.NewDecisionServiceClient(cc), jobwardv1.NewTokenServiceClient(cc), jobwardv1.NewAllowlistServiceClient(cc),
		jobwardv1.NewDirectoryServiceClient(cc), jobwardv1.NewAuditServiceClient(cc), jobwardv1.NewWatchServiceClient(cc),
	}
}

// The world of the rig. User 1 is maintainer of everything in acme, user 2 developer
// of app alone, user 3 nobody and an instance administrator.
const (
	acme, deep             = 1, 2 // groups
	app, lib, open, closed = 10, 11, 12, 13
	maintainer, dev, admin = 1, 2, 3
)

func world() []state.Record {
	return []state.Record{
		&state.Instance{Instance: policy.Instance{AnyoneCanPull: true}, MaxProjectEntries: 200, MaxGroupEntries: 200},
		&state.Group{ID: acme, Name: "acme"},
		&state.Group{ID: deep, Parent: acme, Name: "deep"},
		&state.Project{ID: app, Group: deep, Name: "app", PublicBuilds: true},
		&state.Project{ID: lib, Group: acme, Name: "lib", PublicBuilds: true},
		&state.Project{ID: open, Group: acme, Name: "open", Visibility: authz.Public, PublicBuilds: true},
		&state.Project{ID: closed, Group: acme, Name: "closed", PublicBuilds: true},
		&state.User{ID: maintainer, Name: "mia"},
		&state.User{ID: dev, Name: "dev"},
		&state.User{ID: admin, Name: "ada", Admin: true},
		&state.Members{User: maintainer, List: []state.Membership{{Scope: authz.InGroup(acme), Role: authz.RoleMaintainer}}},
		&state.Members{User: dev, List: []state.Membership{{Scope: authz.InProject(app), Role: authz.RoleDeveloper}}},
		&state.Allowlist{Project: lib, InboundOn: true, Inbound: []state.Entry{{Caller: authz.InProject(app), Entry: policy.Entry{Default: true}}}},
	}
}

// newRig serves on a Unix socket in development mode, unless change says otherwise.
func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	r := newEngineRig(t, newStore())
	r.serve(t, "unix", change...)
	return r
}

func newStore() state.Store { return memstore.New() }

func newEngineRig(t testing.TB, store state.Store, change ...func(*engine.Options)) *rig {
	t.Helper()
	ctx := context.Background()
	tokens, err := token.NewFormat(token.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: store, tokens: tokens}
	opt := engine.Options{Store: r.store, Tokens: tokens}
	for _, f := range change {
		f(&opt)
	}
	if r.engine, err = engine.New(ctx, opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.engine.Close()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.store.Commit(ctx, state.Batch{Puts: world(), Stamp: r.engine.Now(), Actor: "test", Verb: "world"}); err != nil {
		t.Fatal(err)
	}
	return r
}

// serve starts the server on a network, "unix" or "tcp", and connects to it.
func (r *rig) serve(t testing.TB, network string, change ...func(*Options)) {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "s")
	}
	lis, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	callers, err := identity.NewDevelopment(lis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Engine: r.engine, Tokens: r.tokens, Callers: callers, Version: "v0", Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&opt)
	}
	if r.server, err = New(opt); err != nil {
		t.Fatal(err)
	}
	r.grpc = grpc.NewServer(append(r.server.ServerOptions(), grpc.WaitForHandlers(true))...)
	r.server.Register(r.grpc)
	healthpb.RegisterHealthServer(r.grpc, health.NewServer()) // as the daemon does
	done := make(chan error, 1)
	go func() { done <- r.grpc.Serve(lis) }()
	target := lis.Addr().String()
	if network == "unix" {
		target = "unix:" + at
	}
	r.addr = lis.Addr()
	t.Cleanup(func() {
		r.grpc.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r.conn = dial(t, target)
	r.client = newClient(r.conn)
}

// dial connects without TLS until the test ends.
func dial(t testing.TB, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

// ctx is a context for one call.
func ctx(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// issue issues a token for a job in app.
func (r *rig) issue(t testing.TB, job string, user int64) string {
	t.Helper()
	out, err := r.token.Issue(ctx(t), &jobwardv1.IssueRequest{JobId: job, ProjectId: app, UserId: user})
	if err != nil {
		t.Fatal(err)
	}
	return out.Token
}

func (r *rig) head() authz.Revision {
	mark, _ := r.store.Head()
	return mark.Revision
}
