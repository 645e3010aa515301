package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/files"
)

// TestFirstRun is what the README shows: no settings but those that keep tests apart.
func TestFirstRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l := runLocal(t, nil, small(dir, nil)...)
	for path, want := range map[string]string{"/livez": "alive", "/readyz": "ready", "/startupz": "started"} {
		if status, body := l.get(path); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	if _, body := l.get("/metrics"); !strings.Contains(body, "jobward_build_info{") {
		t.Errorf("metrics are\n%s", body)
	}
	health := healthpb.NewHealthClient(dial(t, l.GRPC[0].String()))
	for _, service := range []string{"", "jobward.v1.TokenService", "jobward.v1.DecisionService"} {
		resp, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, resp, err)
		}
	}
	log, said := l.log.String(), l.out.String()
	if !strings.Contains(log, `"level":"WARN","msg":"DEVELOPMENT MODE`) || !strings.Contains(said, "DEVELOPMENT MODE") {
		t.Errorf("development mode is not announced:\n%s\n%s", log, said)
	}
	for _, want := range []string{"new, with the sample world", dir, l.GRPC[0].String(), l.Admin.String(), "token issue"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v", info, err)
	}
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if status, _ := l.get("/livez"); status != 0 {
		t.Error("the admin listener outlives the daemon")
	}

	again := runLocal(t, nil, small(dir, nil)...)
	if said := again.out.String(); !strings.Contains(said, "kept from earlier") || strings.Contains(said, "token issue") {
		t.Errorf("the second start says\n%s", said)
	}
}

// TestStartRefused wants words, and nothing left running, when something that the settings name cannot be had.
func TestStartRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		args    []string
		want    string
	}{
		"admin port":               {nil, []string{"--admin-addr=" + taken.Addr().String()}, "admin-addr: " + taken.Addr().String() + " is taken"},
		"grpc port":                {nil, []string{"--grpc-addr=" + taken.Addr().String()}, "grpc-addr: " + taken.Addr().String() + " is taken"},
		"second port":              {nil, []string{"--grpc-addr=127.0.0.1:0," + taken.Addr().String()}, "is taken"},
		"data directory is a file": {func(t *testing.T, dir string) { files.Write(t, dir, "x", 0o600) }, nil, "not a directory"},
		"a store of a newer version": {func(t *testing.T, dir string) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			files.Write(t, filepath.Join(dir, "MARK"), "jobward mark 9\n"+strings.Repeat("x", 1009), 0o600)
		}, nil, "newer"},
		"a foreign directory": {func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, "badger"), 0o700); err != nil {
				t.Fatal(err)
			}
			files.Write(t, filepath.Join(dir, "badger", "MANIFEST"), "something else", 0o600)
		}, nil, "is damaged, and was left exactly as it is"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			_, err := tryLocal(t, nil, small(dir, c.args)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("said %v, want %q", err, c.want)
			}
		})
	}
}

// TestOneDaemonForOneDirectory starts a second process on the data of a first.
func TestOneDaemonForOneDirectory(t *testing.T) {
	dir := t.TempDir()
	first := launch(t, nil, small(dir, nil)...)
	first.ready()
	second := launch(t, nil, small(dir, nil)...)
	if code := second.end(); code != settings.ExitFailed || !strings.Contains(second.log.String(), "pdp: failed: ") {
		t.Errorf("the second ended with %d:\n%s", code, second.log.String())
	}
	first.signal(syscall.SIGTERM)
	if code := first.end(); code != settings.ExitOK {
		t.Errorf("the first ended with %d:\n%s", code, first.log.String())
	}
	third := launch(t, nil, small(dir, nil)...)
	third.ready()
	third.signal(syscall.SIGINT)
	if code := third.end(); code != settings.ExitOK {
		t.Errorf("the third ended with %d:\n%s", code, third.log.String())
	}
}

// TestStopWhileStarting ends a start that is told to stop, which is no failure.
func TestStopWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, log capture.Output
	code := Main(ctx, small(t.TempDir(), nil), nil, &out, &log)
	if code != settings.ExitOK {
		t.Errorf("code %d:\n%s", code, log.String())
	}
}
