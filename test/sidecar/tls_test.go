package sidecar

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
	pdpdaemon "github.com/jobward/jobward/pdp/daemon"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// securePDP is a PDP in this process that serves over TLS, on loopback.
func securePDP(t *testing.T, dir, callers string, ca *certs.Authority) (addr string) {
	t.Helper()
	ca.Issue(dir, "server", "", time.Now().Add(time.Hour))
	cfg, err := pdpdaemon.Parse([]string{
		"--data-dir=" + filepath.Join(dir, "data"), "--grpc-addr=127.0.0.1:0", "--admin-addr=off", "--ballast=16MiB", "--min-free-disk=16MiB",
		"--shutdown-delay=0s", "--shutdown-grace=1s", "--tls-cert-file=" + filepath.Join(dir, "server.pem"), "--tls-key-file=" + filepath.Join(dir, "server.key"),
		"--tls-client-ca-file=" + ca.File, "--callers-file=" + callers,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan pdpdaemon.Addresses, 1)
	var log capture.Output
	go func() {
		done <- pdpdaemon.Run(ctx, pdpdaemon.Options{Config: cfg, Stdout: io.Discard, Stderr: &log, Ready: func(a pdpdaemon.Addresses) { ready <- a }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-ready:
		return a.GRPC[0].String()
	case <-time.After(patience):
		t.Fatalf("the PDP does not start\n%s", log.String())
		return ""
	}
}

// TestLinkOverTLS connects package pep to a real PDP, with each kind of proof of who it is, and with ones that are no good.
func TestLinkOverTLS(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	ca, other := certs.New(t, dir), certs.New(t, elsewhere)
	soon := time.Now().Add(time.Hour)
	key, hash := identity.NewKey()
	unknown, _ := identity.NewKey()
	callers := files.Write(t, filepath.Join(dir, "callers.yaml"), `
certificates:
  - uri: spiffe://forge.example/sidecar/*
    roles: [sidecar]
  - uri: spiffe://forge.example/runner/*
    roles: [runner]
keys:
  - name: docs
    sha256: `+hash+`
    roles: [sidecar]
`, 0o600)
	addr := securePDP(t, dir, callers, ca)
	_, port, _ := strings.Cut(addr, ":")
	cert := func(a *certs.Authority, name, id string, until time.Time) (at pep.TLS) {
		dir := t.TempDir()
		at.CA = ca.File
		at.Cert, at.Key = a.Issue(dir, name, "spiffe://forge.example/"+id, until)
		return at
	}
	good := cert(ca, "side", "sidecar/1", soon)
	wrongCA := good
	wrongCA.CA = other.File
	wrongName := good
	wrongName.ServerName = "pdp.example"
	expired := cert(ca, "late", "sidecar/2", time.Now().Add(-time.Minute))
	end := time.Now().Add(2 * time.Second)
	expiring := cert(ca, "later", "sidecar/2", end)
	// The PDP's refusal comes after the handshake (TLS 1.3), and may be lost in what is written meanwhile.
	const atServer = `remote error: tls|broken pipe|connection reset|EOF|closed`
	keyFile := files.Write(t, filepath.Join(dir, "key"), key+"\n", 0o600)
	for name, c := range map[string]struct {
		address string
		tls     pep.TLS
		key     string
		refused string // what is told, a regular expression; "" for none
	}{
		"certificate":                  {addr, good, "", ""},
		"certificate, by name":         {"localhost:" + port, good, "", ""},
		"bearer key":                   {addr, pep.TLS{CA: ca.File}, keyFile, ""},
		"the PDP's from another CA":    {addr, wrongCA, "", "unknown authority"},
		"the PDP's for another name":   {addr, wrongName, "", "not pdp.example"},
		"its own from another CA":      {addr, cert(other, "stranger", "sidecar/1", soon), "", atServer},
		"its own expired":              {addr, expired, "", "the certificate expired"},
		"its own expired meanwhile":    {addr, expiring, "", atServer},
		"certificate of another role":  {addr, cert(ca, "runner", "runner/1", soon), "", "one of these is needed"},
		"certificate without a row":    {addr, cert(ca, "nobody", "nobody", soon), "", "one of these is needed"},
		"neither certificate nor key":  {addr, pep.TLS{CA: ca.File}, "", "no credentials"},
		"bearer key that nobody knows": {addr, pep.TLS{CA: ca.File}, files.Write(t, filepath.Join(dir, "unknown"), unknown, 0o600), "key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log capture.Output
			cfg := pep.Config{
				Addresses: []string{c.address}, TLS: c.tls, KeyFile: c.key, Name: "test", CallTimeout: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			}
			if c.tls == expiring {
				cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
					time.Sleep(time.Until(end.Add(100 * time.Millisecond)))
					return new(net.Dialer).DialContext(ctx, "tcp", address)
				}
			}
			refused := regexp.MustCompile(c.refused)
			d, err := pep.New(cfg)
			if err != nil {
				if c.refused == "" || !refused.MatchString(err.Error()) {
					t.Fatal(err)
				}
				return
			}
			defer d.Close(context.Background())
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if c.refused == "" {
				if err := d.WaitReady(ctx); err != nil {
					t.Fatalf("%v\n%s", err, log.String())
				}
				out, err := d.Check(ctx, authz.Request{Token: authz.Digest{1}, Target: authz.Target{ID: 1}, Permission: "read_packages"})
				if err != nil || out.Allow || out.Reason != authz.TokenUnknown {
					t.Errorf("%v, %v", out, err)
				}
				return
			}
			eventually(t, "a refusal", func() bool { return strings.Contains(log.String(), "no lease from this PDP") }, log.String)
			if d.Ready() || !refused.MatchString(log.String()) {
				t.Errorf("want %q, ready is %t\n%s", c.refused, d.Ready(), log.String())
			}
			if strings.Contains(log.String(), unknown) || strings.Contains(fmt.Sprint(d.Status()), unknown) {
				t.Error("the key is told")
			}
		})
	}
}
