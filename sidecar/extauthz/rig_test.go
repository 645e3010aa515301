package extauthz

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/grpccheck"
	"github.com/jobward/jobward/sidecar/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// Tokens of the scripted asker. Whatever begins with jw- has the shape of one.
const (
	alive = "jw-alive"
	dead  = "jw-dead"
)

// script is a pep.Asker. The job behind the token alive is build-7 of project 10; it may do everything on project 11 and nothing on any other,
// anonymous visitors what they like on 13, and about 15 nobody can tell.
type script struct{ deny bool }

func (script) Digest(text string) (d authz.Digest) {
	if strings.HasPrefix(text, "jw-") {
		d = sha256.Sum256([]byte(text))
	}
	return d
}

func (s script) Check(_ context.Context, r authz.Request) (authz.Decision, error) {
	on := r.Target.ID
	switch r.Target.Path {
	case "acme/lib":
		on = 11
	case "acme/open":
		on = 13
	}
	d := authz.Decision{Reason: authz.InboundNotListed, Revision: 42, Job: "build-7", Source: 10, User: 1, Target: on}
	switch {
	case s.deny:
	case on == 15:
		return authz.Decision{}, authz.Errorf(authz.KindUnavailable, "NO_PDP", "nobody answers")
	case r.Token == authz.Nobody:
		d = authz.Decision{Allow: on == 13, Reason: authz.NotMember, Revision: 42, Target: on}
	case r.Token != s.Digest(alive):
		d = authz.Decision{Reason: authz.JobNotRunning, Revision: 42, Job: "build-6"}
	case on == 11:
		d.Allow, d.Reason, d.Role, d.ValidFor = true, authz.AllowedListed, authz.RoleDeveloper, time.Hour
	}
	return d, nil
}

// none is a decider that is not asked: the door beside us.
type none struct{}

func (none) Look(*authz.Request, hot.Least, *authz.Decision) bool { return false }
func (none) Ask(context.Context, []authz.Request, hot.Least, []authz.Decision) error {
	return authz.Errorf(authz.KindInternal, "UNASKED", "")
}
func (none) Introspect(context.Context, *jobwardv1.IntrospectRequest) (*jobwardv1.IntrospectResponse, error) {
	return nil, authz.Errorf(authz.KindInternal, "UNASKED", "")
}
func (none) Tokens(context.Context) (*token.Format, error) { return token.NewFormat("jw-") }

// serve serves a judge on a socket as the daemon does, and gives the generated client.
func serve(t testing.TB, judge Judge, log *slog.Logger, maxMessage int) authv3.AuthorizationClient {
	t.Helper()
	everybody, err := identity.NewDevelopment()
	must(t, err)
	doors, err := grpccheck.New(grpccheck.Options{Decider: none{}, Callers: everybody, MaxMessage: maxMessage, Logger: log})
	must(t, err)
	s, err := New(judge, log)
	must(t, err)
	g := grpc.NewServer(append([]grpc.ServerOption{grpc.WaitForHandlers(true)}, doors.ServerOptions()...)...)
	doors.Register(g)
	s.Register(g, doors)
	at := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", at)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient("unix:"+at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		doors.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return authv3.NewAuthorizationClient(conn)
}

// scripted is a gate over the built-in routes.
func scripted() *gate.Gate { return &gate.Gate{Asker: script{}, Routes: route.Builtin()} }

// asked is a CheckRequest with headers in the form of a map.
func asked(method, path string, headers ...string) *authv3.CheckRequest {
	h := &authv3.AttributeContext_HttpRequest{Method: method, Path: path, Headers: map[string]string{":method": method, ":path": path}}
	for i := 0; i < len(headers); i += 2 {
		h.Headers[headers[i]] = headers[i+1]
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: h}}}
}

func http(r *authv3.CheckRequest) *authv3.AttributeContext_HttpRequest {
	return r.Attributes.Request.Http
}

// check asks, and wants an answer.
func check(t testing.TB, c authv3.AuthorizationClient, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := c.Check(ctx, in)
	must(t, err)
	return out
}

// outcome is the HTTP status that Envoy makes of an answer; 200 is through.
func outcome(r *authv3.CheckResponse) int {
	if d := r.GetDeniedResponse(); d != nil {
		return int(d.GetStatus().GetCode())
	}
	if r.GetStatus().GetCode() != 0 || r.GetOkResponse() == nil {
		return 0 // neither
	}
	return 200
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
