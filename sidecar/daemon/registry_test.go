package daemon

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
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

// TestRegistryBehindTLS passes requests on to a registry with a certificate of a CA of its own, which changes meanwhile; and says that its own signing
// certificate is about to end.
func TestRegistryBehindTLS(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"theirs", "others"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	theirs, others := certs.New(t, filepath.Join(dir, "theirs")), certs.New(t, filepath.Join(dir, "others"))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail
	pair, err := tls.LoadX509KeyPair(theirs.Issue(dir, "registry", "", time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12} // as old registries
	server.StartTLS()
	defer server.Close()
	cert, key := theirs.Issue(dir, "tokens", "", time.Now().Add(25*time.Minute)) // of a life of 85 minutes
	in := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	ca := files.Write(t, filepath.Join(dir, "ca.pem"), in(others.File), 0o600)
	l := runLocal(t, "--registry-addr=127.0.0.1:0", "--registry-to="+server.URL, "--registry-ca-file="+ca,
		"--registry-cert-file="+cert, "--registry-key-file="+key)
	at := "http://" + l.Registry.String()
	visit := func() int {
		var login struct{ Token string }
		resp, body := ask(t, http.DefaultClient, "GET", at+"/jwt/auth?service=container_registry")
		if err := json.Unmarshal([]byte(body), &login); err != nil {
			t.Fatal(resp, body)
		}
		resp, _ = ask(t, http.DefaultClient, "GET", at+"/v2/", "Authorization: Bearer "+login.Token)
		return resp.StatusCode
	}
	if status := visit(); status != 502 || !l.log.Has("certificate is not good") {
		t.Errorf("a certificate of another CA: %d\n%s", status, l.log.String())
	}
	files.Write(t, ca, in(theirs.File), 0o600)
	eventually(t, func() bool { return visit() == 200 }, l.log.String)

	eventually(t, func() bool { return l.log.Has("the certificate of the key for registry tokens ends soon") }, l.log.String)
	_, metrics := get(t, "http://"+l.Health.String()+"/metrics")
	for _, want := range []string{"jobward_registry_signing_expiry_seconds", `jobward_registry_logins_total{`, `jobward_passages_total{door="Registry",outcome="failed"`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}
