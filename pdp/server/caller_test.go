package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/test/certs"
)

// TestCallers: certificates and keys of a callers file, over TLS. No credential is in
// an answer or in the log.
func TestCallers(t *testing.T) {
	dir := t.TempDir()
	ca, soon := certs.New(t, dir), time.Now().Add(time.Hour)
	serving, err := tls.LoadX509KeyPair(ca.Issue(dir, "server", "", soon))
	if err != nil {
		t.Fatal(err)
	}
	key, hash := identity.NewKey()
	file := filepath.Join(dir, "callers")
	rows := fmt.Sprintf("certificates:\n  - uri: spiffe://forge.example/runner/*\n    roles: [runner]\nkeys:\n  - name: svc\n    sha256: %s\n    roles: [service]\n", hash)
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	callers, err := identity.LoadCallers(file)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r := newEngineRig(t, newStore())
	s, err := New(Options{
		Engine: r.engine, Tokens: r.tokens, Callers: callers,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(append(s.ServerOptions(), grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{serving}, ClientCAs: ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
	})))...)
	s.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	stop := func() { g.Stop(); <-done }

	type credential struct{ cert, header string }
	forged := "jobk-" + strings.Repeat("A", 40)
	for name, c := range map[string]struct {
		credential
		issue, check codes.Code
		reason       string
	}{
		"nobody":              {credential{}, codes.Unauthenticated, codes.Unauthenticated, wire.CodeNoCredentials},
		"a runner":            {credential{cert: "spiffe://forge.example/runner/7"}, codes.InvalidArgument, codes.PermissionDenied, wire.CodeRoleForbidden},
		"another id":          {credential{cert: "spiffe://forge.example/other/7"}, codes.PermissionDenied, codes.PermissionDenied, wire.CodeRoleForbidden},
		"a key":               {credential{header: "Bearer " + key}, codes.PermissionDenied, codes.InvalidArgument, wire.CodeRoleForbidden},
		"a key decides alone": {credential{cert: "spiffe://forge.example/runner/7", header: "Bearer " + key}, codes.PermissionDenied, codes.InvalidArgument, wire.CodeRoleForbidden},
		"a bad key":           {credential{cert: "spiffe://forge.example/runner/7", header: "Bearer " + forged}, codes.Unauthenticated, codes.Unauthenticated, wire.CodeBadCredentials},
		"a password":          {credential{header: "Basic aHVudGVyMg=="}, codes.Unauthenticated, codes.Unauthenticated, wire.CodeBadCredentials},
	} {
		config := ca.Client("", "")
		if c.cert != "" {
			config = ca.Client(ca.Issue(dir, "client", c.cert, soon))
		}
		cc, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(config)))
		if err != nil {
			t.Fatal(err)
		}
		call := ctx(t)
		if c.header != "" {
			call = metadata.AppendToOutgoingContext(call, "authorization", c.header)
		}
		_, err1 := jobwardv1.NewTokenServiceClient(cc).Issue(call, &jobwardv1.IssueRequest{})
		_, err2 := jobwardv1.NewDecisionServiceClient(cc).Check(call, &jobwardv1.CheckRequest{})
		for _, got := range []struct {
			err  error
			want codes.Code
		}{{err1, c.issue}, {err2, c.check}} {
			if status.Code(got.err) != got.want {
				t.Errorf("%s: %v; want %v", name, got.err, got.want)
			}
			if info := oneInfo(t, got.err); got.want != codes.InvalidArgument && info.Reason != c.reason {
				t.Errorf("%s: %s; want %s", name, info.Reason, c.reason)
			}
			if text := got.err.Error(); strings.Contains(text, key) || strings.Contains(text, forged) || strings.Contains(text, "aHVudGVyMg") {
				t.Errorf("%s: the answer holds the credential: %s", name, text)
			}
		}
		cc.Close()
	}
	stop()
	if text := log.String(); strings.Contains(text, key) || strings.Contains(text, forged) || strings.Contains(text, "aHVudGVyMg") || !strings.Contains(text, "caller=key:svc") {
		t.Errorf("the log is %s", text)
	}
}

// TestRefusedUnread: the message of a caller who may not call is not even decoded.
func TestRefusedUnread(t *testing.T) {
	r := guardedRig(t)
	for _, method := range []string{
		jobwardv1.DecisionService_Check_FullMethodName, jobwardv1.TokenService_Issue_FullMethodName, jobwardv1.AllowlistService_AddEntry_FullMethodName,
	} {
		_, err := raw(ctx(t), r.conn, method, false, []byte{0xff, 0xff})
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestActorOfCalls: what the audit log and the engine's rules are told of the caller.
func TestActorOfCalls(t *testing.T) {
	r := guardedRig(t)
	maintain := as(ctx(t), "maintainer")
	_, err := r.allowlists.UpdateSettings(maintain, &jobwardv1.UpdateSettingsRequest{ProjectId: lib, ActingUserId: maintainer, PushSelf: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	// Without a user only an admin may.
	_, err = r.allowlists.GetAllowlist(maintain, &jobwardv1.GetAllowlistRequest{ProjectId: lib})
	if status.Code(err) != codes.PermissionDenied || oneInfo(t, err).Reason != "USER_REQUIRED" {
		t.Errorf("%v", err)
	}
	if _, err := r.allowlists.GetAllowlist(as(ctx(t), "admin"), &jobwardv1.GetAllowlistRequest{ProjectId: lib}); err != nil {
		t.Error(err)
	}
	out, err := r.audit.ListEvents(as(ctx(t), "admin"), &jobwardv1.ListEventsRequest{ChangesOnly: true})
	if err != nil || len(out.Events) != 1 || out.Events[0].Actor != "maintainer" || out.Events[0].ActingUserId != maintainer {
		t.Errorf("%v, %v", out, err)
	}
}

// BenchmarkCaller is what authentication costs a call.
func BenchmarkCaller(b *testing.B) {
	dir := b.TempDir()
	ca := certs.New(b, dir)
	key, hash := identity.NewKey()
	file := filepath.Join(dir, "callers")
	rows := fmt.Sprintf("certificates:\n  - uri: spiffe://forge.example/runner/*\n    roles: [runner]\nkeys:\n  - name: svc\n    sha256: %s\n    roles: [service]\n", hash)
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		b.Fatal(err)
	}
	callers, err := identity.LoadCallers(file)
	if err != nil {
		b.Fatal(err)
	}
	leaf := ca.Client(ca.Issue(dir, "runner", "spiffe://forge.example/runner/7", time.Now().Add(time.Hour))).Certificates[0].Leaf
	state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}
	b.Run("certificate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := callers.Authenticate(state, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("key", func(b *testing.B) {
		b.ReportAllocs()
		header := []string{"Bearer " + key}
		for b.Loop() {
			if _, err := callers.Authenticate(nil, header); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// keyOfAUser takes everybody for the key of one user.
type keyOfAUser struct{}

func (keyOfAUser) Authenticate(*tls.ConnectionState, []string) (identity.Principal, error) {
	return identity.Principal{Name: "key:terraform", Roles: identity.Roles(identity.Maintainer), User: maintainer}, nil
}

// TestKeyOfAUser: such a key must not name any user, so it opens no door here but those that are open to all.
func TestKeyOfAUser(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Callers = keyOfAUser{} })
	for _, user := range []int64{0, maintainer, admin} {
		_, err := r.allowlists.GetAllowlist(t.Context(), &jobwardv1.GetAllowlistRequest{ProjectId: app, ActingUserId: user})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "REST API") {
			t.Errorf("user %d: %v", user, err)
		}
	}
	for _, d := range doors() {
		if _, err := r.server.admit(t.Context(), d); (err == nil) != d.open {
			t.Errorf("%s: %v", d.name(), err)
		}
	}
}
