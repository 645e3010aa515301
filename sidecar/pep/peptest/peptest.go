// Package peptest starts a real PDP inside a test, for those who use package pep: with
// a store in memory, reached over a pipe in memory, with a small world in it. It links
// most of the PDP and is for tests only.
//
// It works in a bubble of testing/synctest as well, if it is started there.
package peptest

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/server"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
	"github.com/jobward/jobward/sidecar/pep"
)

// The world that a PDP starts with. Everything is in the group acme. The jobs of App
// are let in by Lib and not by Closed, both private; Open is public. Dev is a developer
// of the whole group, Guest a guest of it.
const (
	Acme = authz.GroupID(1)

	App    = authz.ProjectID(10) // acme/app
	Lib    = authz.ProjectID(11) // acme/lib
	Closed = authz.ProjectID(12) // acme/closed
	Open   = authz.ProjectID(13) // acme/open

	Dev   = authz.UserID(1)
	Guest = authz.UserID(2)
)

// TB is what is needed of a testing.TB.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// PDP is a policy decision point in this process.
type PDP struct {
	t        TB
	listener *bufconn.Listener
	conn     *grpc.ClientConn
	clock    clock.Source

	mu    sync.Mutex
	out   bool // nobody reaches it
	conns []net.Conn
}

// DefaultTerm is that of leases here: short, so that tests of an outage are.
const DefaultTerm = 2 * time.Second

// Start starts one, which ends with the test. Any failure ends the test.
func Start(t TB) *PDP {
	t.Helper()
	ctx := context.Background()
	begun := time.Now()
	p := &PDP{t: t, listener: bufconn.Listen(1 << 16), clock: clock.Func(func() time.Duration { return time.Since(begun) })}
	tokens, err := token.NewFormat(token.DefaultPrefix)
	p.must("a token format", err)
	store := memstore.New()
	e, err := engine.New(ctx, engine.Options{
		Store: store, Tokens: tokens,
		Feed: feed.Options{Term: DefaultTerm, Now: func() lease.Instant { return lease.Instant(p.clock.Now()) }},
	})
	p.must("the engine", err)
	_, err = store.Commit(ctx, state.Batch{Puts: world(), Stamp: e.Now(), Actor: "peptest", Verb: "world"})
	p.must("the world", err)
	callers, err := identity.NewDevelopment(&net.UnixAddr{Name: "peptest", Net: "unix"}) // nobody else can reach the pipe
	p.must("callers", err)
	s, err := server.New(server.Options{Engine: e, Tokens: tokens, Callers: callers, Version: "peptest"})
	p.must("the server", err)
	g := grpc.NewServer(append(s.ServerOptions(), grpc.WaitForHandlers(true))...)
	s.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(p.listener) }()
	p.conn, err = grpc.NewClient("passthrough:///peptest", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(p.dial))
	p.must("a connection", err)
	t.Cleanup(func() {
		p.conn.Close()
		g.Stop()
		p.must("serving", <-served)
		e.Close()
		p.must("the store", store.Close())
	})
	return p
}

func (p *PDP) must(what string, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("peptest: %s: %v", what, err)
	}
}

func (p *PDP) dial(ctx context.Context, _ string) (net.Conn, error) {
	return p.listener.DialContext(ctx)
}

// Dial connects to the PDP, unless there is an [PDP.Outage].
func (p *PDP) Dial(ctx context.Context, address string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out {
		return nil, errors.New("peptest: an outage")
	}
	c, err := p.dial(ctx, address)
	if err == nil {
		p.conns = append(p.conns, c)
	}
	return c, err
}

// Outage makes the PDP unreachable for Deciders, whose connections break, or reachable
// again. Its own API, and so Issue and Revoke, stay within reach.
func (p *PDP) Outage(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = on
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func world() []state.Record {
	lets := state.Entry{Caller: authz.InProject(App), Entry: policy.Entry{Default: true}}
	return []state.Record{
		&state.Instance{Instance: policy.Instance{AnyoneCanPull: true}, MaxProjectEntries: 200, MaxGroupEntries: 200},
		&state.Group{ID: Acme, Name: "acme"},
		&state.Project{ID: App, Group: Acme, Name: "app", PublicBuilds: true},
		&state.Project{ID: Lib, Group: Acme, Name: "lib", PublicBuilds: true},
		&state.Project{ID: Closed, Group: Acme, Name: "closed", PublicBuilds: true},
		&state.Project{ID: Open, Group: Acme, Name: "open", Visibility: authz.Public, PublicBuilds: true},
		&state.User{ID: Dev, Name: "dev"},
		&state.User{ID: Guest, Name: "guest"},
		&state.Members{User: Dev, List: []state.Membership{{Scope: authz.InGroup(Acme), Role: authz.RoleDeveloper}}},
		&state.Members{User: Guest, List: []state.Membership{{Scope: authz.InGroup(Acme), Role: authz.RoleGuest}}},
		&state.Allowlist{Project: Lib, InboundOn: true, Inbound: []state.Entry{lets}},
		&state.Allowlist{Project: Closed, InboundOn: true},
	}
}

// Config gives what reaches this PDP; the rest is the caller's to fill in.
func (p *PDP) Config() pep.Config {
	return pep.Config{Addresses: []string{"peptest:7420"}, Development: true, Dial: p.Dial, Clock: p.clock, Name: "peptest"}
}

// Decider gives a Decider of this PDP that has a lease. It is closed with the test.
func (p *PDP) Decider() *pep.Decider {
	p.t.Helper()
	d, err := pep.New(p.Config())
	p.must("a Decider", err)
	p.t.Cleanup(func() { p.must("closing a Decider", d.Close(context.Background())) })
	ctx, cancel := soon()
	defer cancel()
	p.must("a lease", d.WaitReady(ctx))
	return d
}

// Conn is a connection to the PDP's whole API, as a caller that may do everything.
func (p *PDP) Conn() *grpc.ClientConn { return p.conn }

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// Issue gives the token of a new job.
func (p *PDP) Issue(job string, project authz.ProjectID, user authz.UserID) string {
	p.t.Helper()
	ctx, cancel := soon()
	defer cancel()
	out, err := jobwardv1.NewTokenServiceClient(p.conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: int64(project), UserId: int64(user)})
	p.must("issue", err)
	return out.GetToken()
}

// Revoke ends a job. When it returns nobody allows it any more.
func (p *PDP) Revoke(job string) {
	p.t.Helper()
	ctx, cancel := soon()
	defer cancel()
	out, err := jobwardv1.NewTokenServiceClient(p.conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{job}})
	p.must("revoke", err)
	p.effective("revoke", out.GetReceipt())
}

func (p *PDP) effective(what string, r *jobwardv1.Receipt) {
	p.t.Helper()
	if !r.GetEffective() {
		p.t.Fatalf("peptest: %s: not effective: %v", what, r)
	}
}

// Change makes changes of the directory, as jobward.v1.Change has them: groups, projects,
// users, memberships. When it returns every cache knows.
func (p *PDP) Change(changes ...*jobwardv1.Change) {
	p.t.Helper()
	ctx, cancel := soon()
	defer cancel()
	out, err := jobwardv1.NewDirectoryServiceClient(p.conn).ApplyChanges(ctx, &jobwardv1.ApplyChangesRequest{Changes: changes})
	p.must("change", err)
	p.effective("change", out.GetReceipt())
}

// AddProject adds a private project in the group acme, or replaces one.
func (p *PDP) AddProject(id authz.ProjectID, name string) {
	p.t.Helper()
	p.Change(&jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: &jobwardv1.Project{
		ProjectId: int64(id), GroupId: int64(Acme), Name: name, PublicBuilds: true,
	}}})
}

// AddUser adds a user with a role on the group acme.
func (p *PDP) AddUser(id authz.UserID, name string, role authz.Role) {
	p.t.Helper()
	p.Change(
		&jobwardv1.Change{Change: &jobwardv1.Change_SetUser{SetUser: &jobwardv1.User{UserId: int64(id), Name: name}}},
		&jobwardv1.Change{Change: &jobwardv1.Change_SetMembership{SetMembership: &jobwardv1.Membership{
			UserId: int64(id), Scope: &jobwardv1.Scope{GroupId: int64(Acme)}, Role: jobwardv1.Role(role),
		}}},
	)
}

// Allow puts a project on the inbound allowlist of another.
func (p *PDP) Allow(target, source authz.ProjectID) {
	p.t.Helper()
	ctx, cancel := soon()
	defer cancel()
	out, err := jobwardv1.NewAllowlistServiceClient(p.conn).AddEntry(ctx, &jobwardv1.AddEntryRequest{
		ProjectId: int64(target), Direction: jobwardv1.Direction_DIRECTION_INBOUND,
		Entry: &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{ProjectId: int64(source)}, DefaultPermissions: true},
	})
	p.must("allow", err)
	p.effective("allow", out.GetReceipt())
}

// Disallow takes it off.
func (p *PDP) Disallow(target, source authz.ProjectID) {
	p.t.Helper()
	ctx, cancel := soon()
	defer cancel()
	out, err := jobwardv1.NewAllowlistServiceClient(p.conn).RemoveEntry(ctx, &jobwardv1.RemoveEntryRequest{
		ProjectId: int64(target), Direction: jobwardv1.Direction_DIRECTION_INBOUND, Scope: &jobwardv1.Scope{ProjectId: int64(source)},
	})
	p.must("disallow", err)
	p.effective("disallow", out.GetReceipt())
}
