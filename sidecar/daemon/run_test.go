package daemon

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// These tests have no PDP: what a sidecar does beside one is in test/sidecar.

const patience = 20 * time.Second

func eventually(t *testing.T, ok func() bool, otherwise func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(otherwise())
		}
	}
}

// local is a sidecar in this process.
type local struct {
	Addresses
	t        *testing.T
	dir      string
	out, log capture.Output
	end      context.CancelFunc
	done     chan error
}

// nowhere is an address where no PDP is.
const nowhere = "--pdp-addr=127.0.0.1:1"

func tryLocal(t *testing.T, dir string, args ...string) (*local, error) {
	t.Helper()
	return tryLocalWith(t, dir, nil, args...)
}

// tryLocalWith starts one whose cache is made by change, which may be nil.
func tryLocalWith(t *testing.T, dir string, change func(*pep.Config), args ...string) (*local, error) {
	t.Helper()
	cfg, err := Parse(append([]string{"--state-dir=" + filepath.Join(dir, "state"), "--listen=127.0.0.1:0", "--health-addr=127.0.0.1:0", nowhere}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &local{t: t, dir: dir, end: cancel, done: make(chan error, 1)}
	ready := make(chan Addresses, 1)
	go func() {
		l.done <- Run(ctx, Options{Config: cfg, Stdout: &l.out, Stderr: &l.log, Change: change, Ready: func(a Addresses) { ready <- a }})
	}()
	select {
	case l.Addresses = <-ready:
		t.Cleanup(func() {
			if err := l.stop(); err != nil {
				t.Error(err)
			}
		})
		return l, nil
	case err := <-l.done:
		cancel()
		return l, err
	case <-time.After(patience):
		t.Fatalf("it does not start:\n%s", l.log.String())
		panic("unreachable")
	}
}

func runLocal(t *testing.T, args ...string) *local {
	t.Helper()
	l, err := tryLocal(t, t.TempDir(), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, l.log.String())
	}
	return l
}

// stop ends the sidecar; a second time it does nothing.
func (l *local) stop() error {
	l.end()
	select {
	case err, ok := <-l.done:
		if ok {
			close(l.done)
		}
		return err
	case <-time.After(patience):
		l.t.Fatalf("does not end:\n%s", l.log.String())
		return nil
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func dial(t *testing.T, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func checkCode(t *testing.T, c grpc.ClientConnInterface) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := jobwardv1.NewDecisionServiceClient(c).Check(ctx, &jobwardv1.CheckRequest{Token: "x", TargetProjectId: 1, Permission: "read_project"})
	return status.Code(err)
}

// TestWithoutPDP starts where no PDP is: alive, not ready, says what it waits for, and decides nothing.
func TestWithoutPDP(t *testing.T) {
	l := runLocal(t)
	base := "http://" + l.Health.String()
	if code, body := get(t, base+"/livez"); code != 200 {
		t.Error(code, body)
	}
	for _, path := range []string{"/readyz", "/startupz"} {
		if code, body := get(t, base+path); code != 503 || !strings.Contains(body, "a policy decision point at 127.0.0.1:1") {
			t.Error(path, code, body)
		}
	}
	c := dial(t, l.GRPC[0].String())
	if resp, err := healthpb.NewHealthClient(c).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || resp.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Error(resp, err)
	}
	if code := checkCode(t, c); code != codes.Unavailable {
		t.Error(code)
	}
	if _, body := get(t, base+"/metrics"); !strings.Contains(body, "\njobward_lease_remaining_seconds 0\n") || !strings.Contains(body, "\njobward_cache_entries 0\n") {
		t.Errorf("metrics are\n%s", body)
	}
	for _, want := range []string{`"level":"WARN","msg":"DEVELOPMENT MODE`, "alive and not ready", "taking calls"} {
		if !strings.Contains(l.log.String(), want) {
			t.Errorf("no %q in\n%s", want, l.log.String())
		}
	}
	for _, want := range []string{"DEVELOPMENT MODE", l.GRPC[0].String(), l.Health.String(), "not there yet", "token issue"} {
		if !strings.Contains(l.out.String(), want) {
			t.Errorf("no %q in\n%s", want, l.out.String())
		}
	}
	if info, err := os.Stat(filepath.Join(l.dir, "state")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the state directory: %v, %v", info, err)
	}
	began := time.Now()
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
}

// TestStartRefused wants words, and nothing left running, when something that the settings name cannot be had.
func TestStartRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := runLocal(t)
	for name, c := range map[string]struct {
		prepare func(t *testing.T, state string)
		args    []string
		want    string
	}{
		"health port":               {nil, []string{"--health-addr=" + taken.Addr().String()}, "health-addr: " + taken.Addr().String() + " is taken"},
		"HTTP door's port":          {nil, []string{"--http-addr=" + taken.Addr().String()}, "http-addr: " + taken.Addr().String() + " is taken"},
		"proxy's port":              {nil, []string{"--proxy-to=http://127.0.0.1:1", "--proxy-addr=" + taken.Addr().String()}, "proxy-addr: " + taken.Addr().String() + " is taken"},
		"port":                      {nil, []string{"--listen=127.0.0.1:0," + taken.Addr().String()}, "listen: " + taken.Addr().String() + " is taken"},
		"state directory of a file": {func(t *testing.T, state string) { files.Write(t, state, "x", 0o600) }, nil, "not a directory"},
		"state directory in use":    {nil, []string{"--state-dir=" + filepath.Join(other.dir, "state")}, "used by another process"},
		"a damaged mark": {func(t *testing.T, state string) {
			if err := os.MkdirAll(state, 0o700); err != nil {
				t.Fatal(err)
			}
			files.Write(t, filepath.Join(state, "mark.json"), `{"epoch": 1, "epo`, 0o600)
		}, nil, "mark.json cannot be read"},
		"an incomplete mark": {func(t *testing.T, state string) {
			if err := os.MkdirAll(state, 0o700); err != nil {
				t.Fatal(err)
			}
			files.Write(t, filepath.Join(state, "mark.json"), `{"epoch": 1}`, 0o600)
		}, nil, "not complete"},
		"a state directory that cannot be made": {nil, []string{"--state-dir=/proc/jobward"}, "state-dir"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.prepare != nil {
				c.prepare(t, filepath.Join(dir, "state"))
			}
			l, err := tryLocal(t, dir, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("said %v, want %q", err, c.want)
			}
			if l.Health != nil {
				if code, _ := get(t, "http://"+l.Health.String()+"/livez"); code != 0 {
					t.Error("something is left running")
				}
			}
		})
	}
}

// TestStopWhileStarting ends a start that is told to stop, which is no failure.
func TestStopWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, log capture.Output
	code := Main(ctx, []string{"--state-dir=" + t.TempDir(), "--listen=127.0.0.1:0", "--health-addr=off", nowhere}, nil, &out, &log)
	if code != 0 {
		t.Errorf("code %d:\n%s", code, log.String())
	}
}

// bearer sends a key with each call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (b bearer) RequireTransportSecurity() bool { return false }

// TestDoors serves a port over TLS beside a trusted socket, and reads callers and certificates again.
func TestDoors(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t, dir)
	soon := time.Now().Add(time.Hour)
	ca.Issue(dir, "server", "", soon)
	service := ca.Client(ca.Issue(dir, "docs", "spiffe://forge.example/docs", soon))
	runner := ca.Client(ca.Issue(dir, "runner", "spiffe://forge.example/runner", soon))
	bare := ca.Client("", "")
	serviceKey, serviceHash := identity.NewKey()
	pdpKey, _ := identity.NewKey()
	pdpFile := files.Write(t, filepath.Join(dir, "pdp.jobk"), pdpKey, 0o600)
	rows := "certificates:\n  - {uri: spiffe://forge.example/docs, roles: [service]}\n  - {uri: spiffe://forge.example/runner, roles: [runner]}\nkeys:\n  - {name: docs, sha256: " +
		serviceHash + ", roles: [service]}\n"
	callers := files.Write(t, filepath.Join(dir, "callers.yaml"), rows, 0o600)
	socket := filepath.Join(dir, "s")
	l, err := tryLocal(t, dir, "--listen=127.0.0.1:0,unix:"+socket, "--trust-socket-mode", "--listen-mode=0600", "--listen-cert-file="+filepath.Join(dir, "server.pem"),
		"--listen-key-file="+filepath.Join(dir, "server.key"), "--listen-client-ca-file="+ca.File, "--listen-callers-file="+callers,
		"--pdp-ca-file="+ca.File, "--pdp-bearer-key-file="+pdpFile, "--shutdown-delay=0s")
	if err != nil {
		t.Fatal(err, l.log.String())
	}
	over := func(c *tls.Config) grpc.DialOption { return grpc.WithTransportCredentials(credentials.NewTLS(c)) }
	port := l.GRPC[0].String()
	// No PDP is there, so UNAVAILABLE says that the door was passed.
	for name, c := range map[string]struct {
		conn *grpc.ClientConn
		want codes.Code
	}{
		"certificate of a service": {dial(t, port, over(service)), codes.Unavailable},
		"certificate of a runner":  {dial(t, port, over(runner)), codes.PermissionDenied},
		"nothing":                  {dial(t, port, over(bare)), codes.Unauthenticated},
		"key":                      {dial(t, port, over(bare), grpc.WithPerRPCCredentials(bearer(serviceKey))), codes.Unavailable},
		"another key":              {dial(t, port, over(bare), grpc.WithPerRPCCredentials(bearer(pdpKey))), codes.Unauthenticated},
		"socket":                   {dial(t, "unix:"+socket), codes.Unavailable},
		"socket and key":           {dial(t, "unix:"+socket, grpc.WithPerRPCCredentials(bearer(serviceKey))), codes.Unavailable},
		"socket and another key":   {dial(t, "unix:"+socket, grpc.WithPerRPCCredentials(bearer(pdpKey))), codes.Unauthenticated},
	} {
		if got := checkCode(t, c.conn); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	plain := dial(t, port)
	if _, err := healthpb.NewHealthClient(plain).Check(t.Context(), &healthpb.HealthCheckRequest{}); err == nil {
		t.Error("the port was served without TLS")
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	if l.out.String() != "" || strings.Contains(l.log.String(), "DEVELOPMENT") || strings.Contains(l.log.String(), pdpKey) {
		t.Errorf("it says\n%s%s", l.out.String(), l.log.String())
	}

	files.Write(t, callers, strings.Replace(rows, "forge.example/docs, roles", "forge.example/gone, roles", 1), 0o600)
	c := dial(t, port, over(service))
	eventually(t, func() bool { return checkCode(t, c) == codes.PermissionDenied }, func() string { return "the row that was taken out still counts\n" + l.log.String() })
}
