package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobward/jobward/internal/settings"
)

// TestRegistryKeys makes the keys that the settings then take, twice.
func TestRegistryKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	for range 2 {
		code, out, errs := sidecar(nil, "registry-keys", dir, "--life=24h")
		if code != settings.ExitOK || !strings.Contains(out, filepath.Join(dir, "registry.key")+"     for registry-key-file") {
			t.Fatalf("%d: %s%s", code, out, errs)
		}
		args := []string{"config", "check", "--registry-addr=127.0.0.1:7434", "--registry-to=http://127.0.0.1:5000", "--registry-cert-file=" + filepath.Join(dir, "registry.pem"), "--registry-key-file=" + filepath.Join(dir, "registry.key")}
		if code, _, errs := sidecar(nil, args...); code != settings.ExitOK {
			t.Error(errs)
		}
	}
	if code, _, errs := sidecar(nil, "registry-keys", dir, "--life=1m"); code != settings.ExitRefused || !strings.Contains(errs, "an hour at least") {
		t.Errorf("%d: %s", code, errs)
	}
	if err := os.WriteFile(filepath.Join(dir, "registry-ca.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := sidecar(nil, "registry-keys", dir); code != settings.ExitFailed || !strings.Contains(errs, "no PEM block") {
		t.Errorf("%d: %s", code, errs)
	}
}
