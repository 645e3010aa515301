package daemon

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// secure is a PDP with TLS, and what its callers come with.
type secure struct {
	*local
	dir     string
	ca      *certs.Authority
	runner  *tls.Config // the certificate of a runner
	nobody  *tls.Config // a certificate that no row of the callers file names
	bare    *tls.Config // no certificate
	key     string      // a bearer key of a service
	callers string      // the callers file
	socket  string
}

// bearer sends a key with each call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (b bearer) RequireTransportSecurity() bool { return false }

func runSecure(t *testing.T, args ...string) *secure {
	t.Helper()
	dir := t.TempDir()
	s := &secure{dir: dir, ca: certs.New(t, dir), socket: filepath.Join(dir, "s")}
	soon := time.Now().Add(time.Hour)
	s.ca.Issue(dir, "server", "", soon)
	s.runner = s.ca.Client(s.ca.Issue(dir, "runner", "spiffe://forge.example/runner/7", soon))
	s.nobody = s.ca.Client(s.ca.Issue(dir, "nobody", "spiffe://forge.example/nobody", soon))
	s.bare = s.ca.Client("", "")
	key, hash := identity.NewKey()
	s.key = key
	s.callers = files.Write(t, filepath.Join(dir, "callers.yaml"), `
certificates:
  - uri: spiffe://forge.example/runner/*
    roles: [runner]
keys:
  - name: docs
    sha256: `+hash+`
    roles: [service]
`, 0o600)
	s.local = runLocal(t, nil, small(filepath.Join(dir, "data"), append([]string{
		"--grpc-addr=127.0.0.1:0,unix:" + s.socket, "--shutdown-delay=0s", "--tls-cert-file=" + filepath.Join(dir, "server.pem"),
		"--tls-key-file=" + filepath.Join(dir, "server.key"), "--tls-client-ca-file=" + s.ca.File, "--callers-file=" + s.callers,
	}, args...))...)
	return s
}

func (s *secure) dial(config *tls.Config, opts ...grpc.DialOption) *grpc.ClientConn {
	return dial(s.t, s.GRPC[0].String(), append(opts, overTLS(config))...)
}

func overTLS(config *tls.Config) grpc.DialOption {
	return grpc.WithTransportCredentials(credentials.NewTLS(config))
}

func issueCode(t *testing.T, c grpc.ClientConnInterface) codes.Code {
	_, err := jobwardv1.NewTokenServiceClient(c).Issue(t.Context(), &jobwardv1.IssueRequest{JobId: "job", ProjectId: shop, UserId: dana})
	return status.Code(err)
}

func checkCode(t *testing.T, c grpc.ClientConnInterface) codes.Code {
	_, err := jobwardv1.NewDecisionServiceClient(c).Check(t.Context(), &jobwardv1.CheckRequest{Token: "x", TargetProjectId: 1, Permission: "read_project"})
	return status.Code(err)
}

// TestRoles calls as each kind of caller, over TLS and over the Unix socket. FailedPrecondition is the engine's answer: the shop does
// not exist, because outside development mode no sample world is loaded.
func TestRoles(t *testing.T) {
	s := runSecure(t)
	unix := "unix:" + s.socket
	withKey := grpc.WithPerRPCCredentials(bearer(s.key))
	for name, c := range map[string]struct {
		conn         *grpc.ClientConn
		issue, check codes.Code
	}{
		"certificate of a runner":       {s.dial(s.runner), codes.FailedPrecondition, codes.PermissionDenied},
		"key of a service":              {s.dial(s.bare, withKey), codes.PermissionDenied, codes.OK},
		"key and certificate":           {s.dial(s.runner, withKey), codes.PermissionDenied, codes.OK},
		"certificate that nobody named": {s.dial(s.nobody), codes.PermissionDenied, codes.PermissionDenied},
		"nothing":                       {s.dial(s.bare), codes.Unauthenticated, codes.Unauthenticated},
		"key that nobody made":          {s.dial(s.bare, grpc.WithPerRPCCredentials(bearer("jobk-x"))), codes.Unauthenticated, codes.Unauthenticated},
		"Unix socket, certificate":      {dial(t, unix, overTLS(s.runner)), codes.FailedPrecondition, codes.PermissionDenied},
		"Unix socket, key":              {dial(t, unix, overTLS(s.bare), withKey), codes.PermissionDenied, codes.OK},
		"Unix socket, nothing":          {dial(t, unix, overTLS(s.bare)), codes.Unauthenticated, codes.Unauthenticated},
		"Unix socket, no TLS":           {dial(t, unix, withKey), codes.Unavailable, codes.Unavailable},
		"TCP, no TLS":                   {dial(t, s.GRPC[0].String(), withKey), codes.Unavailable, codes.Unavailable},
	} {
		if got := issueCode(t, c.conn); got != c.issue {
			t.Errorf("%s: Issue gives %v, want %v", name, got, c.issue)
		}
		if got := checkCode(t, c.conn); got != c.check {
			t.Errorf("%s: Check gives %v, want %v", name, got, c.check)
		}
	}
	if _, err := healthpb.NewHealthClient(s.dial(s.bare)).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health without credentials: %v", err)
	}
	old := s.runner.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if c, err := tls.Dial("tcp", s.GRPC[0].String(), old); err == nil {
		c.Close()
		t.Error("TLS 1.2 is spoken")
	}
	if log := s.log.String(); strings.Contains(log, "DEVELOPMENT MODE") || strings.Contains(log, s.key) || s.out.String() != "" {
		t.Errorf("said %q and logged\n%s", s.out.String(), log)
	}
}

func TestRequireClientCert(t *testing.T) {
	s := runSecure(t, "--tls-require-client-cert")
	if got := issueCode(t, s.dial(s.runner)); got != codes.FailedPrecondition {
		t.Errorf("a runner's certificate: %v", got)
	}
	if got := checkCode(t, s.dial(s.bare, grpc.WithPerRPCCredentials(bearer(s.key)))); got != codes.Unavailable {
		t.Errorf("a key without a certificate: %v", got)
	}
}

// TestReload changes certificates and callers under a running PDP.
func TestReload(t *testing.T) {
	s := runSecure(t)
	serial := func() string {
		c, err := tls.Dial("tcp", s.GRPC[0].String(), s.bare)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	held := s.dial(s.runner)
	if got := issueCode(t, held); got != codes.FailedPrecondition {
		t.Fatal(got)
	}
	s.ca.Issue(s.dir, "server", "", time.Now().Add(time.Hour))
	eventually(t, func() bool { return serial() != before }, func() string { return "the new certificate is not served:\n" + s.log.String() })
	after := serial()
	said(t, &s.log, `"msg":"taken over what has changed","what":"TLS files"`)

	files.Write(t, filepath.Join(s.dir, "server.pem"), "broken", 0o644)
	said(t, &s.log, `"msg":"what has changed cannot be used; the last good one stays in force","what":"TLS files"`)
	if got := serial(); got != after {
		t.Errorf("with a broken file: %s, want %s", got, after)
	}

	files.Write(t, s.callers, "certificates:\n  - uri: spiffe://forge.example/nobody\n    roles: [runner]\n", 0o600)
	eventually(t, func() bool { return issueCode(t, held) == codes.PermissionDenied }, func() string { return "a role that was taken away still works" })
	if got := issueCode(t, s.dial(s.nobody)); got != codes.FailedPrecondition {
		t.Errorf("the new role: %v", got)
	}
	files.Write(t, s.callers, "nonsense: 1\n", 0o600)
	said(t, &s.log, `"what":"callers file","error"`)
	if got := issueCode(t, s.dial(s.nobody)); got != codes.FailedPrecondition {
		t.Errorf("with a broken callers file: %v", got)
	}
}

// TestAdminTLS serves health to other machines, which takes TLS and no client certificate.
func TestAdminTLS(t *testing.T) {
	s := runSecure(t, "--admin-addr=0.0.0.0:0", "--tls-require-client-cert")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost"}}}
	_, port, _ := strings.Cut(s.Admin.String(), "]:")
	if port == "" {
		_, port, _ = strings.Cut(s.Admin.String(), ":")
	}
	if code, body := get(t, client, "https://127.0.0.1:"+port+"/readyz"); code != 200 {
		t.Errorf("over TLS: %d %s", code, body)
	}
	if code, body := get(t, http.DefaultClient, "http://127.0.0.1:"+port+"/readyz"); code == 200 {
		t.Errorf("in the clear: %d %s", code, body)
	}
}
