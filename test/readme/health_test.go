package readme

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/pdpctl/cli"
	sidecardaemon "github.com/jobward/jobward/sidecar/daemon"
	"github.com/jobward/jobward/test/programs"
)

// TestHealth: "pdpctl health" says what it found at an address, and what that is short of.
func TestHealth(t *testing.T) {
	m := &terminal{t: t, home: t.TempDir(), addr: map[string]string{}}
	health := func(addr string, code int, want string) {
		t.Helper()
		var out, errs bytes.Buffer
		got := cli.Main(t.Context(), []string{"health", "--address", addr}, strings.NewReader(""), &out, &errs)
		if got != code || !strings.Contains(out.String()+errs.String(), want) {
			t.Errorf("code %d, want %d with %q:\n%s%s", got, code, want, &out, &errs)
		}
	}
	alone := &terminal{t: t, home: t.TempDir(), addr: map[string]string{}}
	alone.taken(alone.run(sidecardaemon.Main, "--state-dir="+filepath.Join(alone.home, "sidecar-data"), "--pdp-addr=unix:"+filepath.Join(alone.home, "none"),
		"--listen=127.0.0.1:0", "--health-addr=127.0.0.1:0"), sidecarAddr)
	health(alone.addr[sidecarAddr], cli.ExitFailed, "without a lease")
	m.shell("go run ./pdp")
	m.shell("go run ./sidecar")
	health(m.addr[pdpAddr], cli.ExitOK, "projects")
	programs.Eventually(t, "a lease", func() bool { // the lease comes by itself
		return cli.Main(t.Context(), []string{"health", "--address", m.addr[sidecarAddr]}, strings.NewReader(""), io.Discard, io.Discard) == cli.ExitOK
	})
	health(m.addr[sidecarAddr], cli.ExitOK, "sidecar, with a lease")
}
