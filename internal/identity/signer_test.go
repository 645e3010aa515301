package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/test/certs"
)

func TestSigner(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t, dir)
	cert, key := ca.Issue(dir, "one", "", time.Now().Add(time.Hour))
	next, nextKey := ca.Issue(dir, "two", "", time.Now().Add(time.Hour))
	join := func(name string, parts ...string) string {
		var all []byte
		for _, p := range parts {
			data, err := os.ReadFile(p)
			must(t, err)
			all = append(all, data...)
		}
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, all, 0o600))
		return path
	}

	file := join("chain.pem", cert, ca.File, next)
	s, err := LoadSigner(file, key)
	must(t, err)
	got := s.Signing()
	// The CA signed itself: verifiers have it, and each token would carry it for nothing.
	if len(got.Chain) != 1 || len(got.Others) != 1 || got.Chain[0].Subject.CommonName != "one" || got.Others[0].Subject.CommonName != "two" {
		t.Fatalf("chain %d, others %d", len(got.Chain), len(got.Others))
	}

	// The key changes first: for a moment nothing fits, and the last good one stays.
	data, err := os.ReadFile(nextKey)
	must(t, err)
	must(t, os.WriteFile(key, append(data, '\n'), 0o600))
	var reports []string
	look := func() {
		s.source.lookAndReport(func(err error) {
			if err == nil {
				reports = append(reports, "taken")
			} else {
				reports = append(reports, err.Error())
			}
		})
	}
	look()
	if len(reports) != 1 || !strings.Contains(reports[0], "cannot be used with certificate file") || s.Signing() != got {
		t.Errorf("a key without its certificate: %q", reports)
	}
	join("chain.pem", next, cert)
	look()
	if reports[len(reports)-1] != "taken" || s.Signing().Chain[0].Subject.CommonName != "two" || s.Signing().Others[0].Subject.CommonName != "one" {
		t.Errorf("after the change: %q", reports)
	}
}

func TestSignerRefused(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t, dir)
	cert, key := ca.Issue(dir, "one", "", time.Now().Add(time.Hour))
	old, oldKey := ca.Issue(dir, "old", "", time.Now().Add(-time.Minute))
	_, other := ca.Issue(dir, "other", "", time.Now().Add(time.Hour))
	open := filepath.Join(dir, "open.key")
	data, err := os.ReadFile(key)
	must(t, err)
	must(t, os.WriteFile(open, data, 0o644))
	for _, row := range []struct{ cert, key, want string }{
		{filepath.Join(dir, "none"), key, "signing certificate file"},
		{cert, filepath.Join(dir, "none"), "signing private key file"},
		{key, key, "no PEM block of type CERTIFICATE"},
		{cert, other, "cannot be used with certificate file"},
		{old, oldKey, "expired"},
		{cert, open, "chmod 600"},
		{ca.File, key, "key usage does not allow signatures"},
	} {
		_, err := LoadSigner(row.cert, row.key)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s with %s: %v; want %q", filepath.Base(row.cert), filepath.Base(row.key), err, row.want)
		}
	}
	big, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	if goodKey(big.Public()) == nil {
		t.Error("a key that ES256 does not sign with is taken")
	}
	if goodKey(nil) == nil {
		t.Error("what is no key is taken")
	}
}
