// Package certs is a certificate authority of a test's own, with the files that programs read.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a CA that is good for a day.
type Authority struct {
	// File holds its certificate, PEM.
	File string
	// IPs are more addresses that the certificates of servers are for.
	IPs []net.IP

	t      testing.TB
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// New makes a CA and writes ca.pem into dir.
func New(t testing.TB, dir string) *Authority {
	t.Helper()
	a := &Authority{File: filepath.Join(dir, "ca.pem"), t: t}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	a.must(err)
	a.cert, err = x509.ParseCertificate(der)
	a.must(err)
	a.write(a.File, "CERTIFICATE", der, 0o644)
	return a
}

// Issue writes NAME.pem and NAME.key into dir: a server's certificate for loopback, or, with a SPIFFE id, a client's.
// Files that are there already are replaced as tools that rotate certificates do it.
func (a *Authority) Issue(dir, name, spiffe string, until time.Time) (cert, key string) {
	a.t.Helper()
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: append([]net.IP{net.IPv4(127, 0, 0, 1)}, a.IPs...), DNSNames: []string{"localhost"},
	}
	if spiffe != "" {
		id, err := url.Parse(spiffe)
		a.must(err)
		template.URIs, template.IPAddresses, template.DNSNames = []*url.URL{id}, nil, nil
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	private := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	a.must(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	a.must(err)
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	a.write(cert, "CERTIFICATE", der, 0o644)
	a.write(key, "PRIVATE KEY", pkcs8, 0o600)
	return cert, key
}

// Pool holds the CA and nothing else.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Client is what a client of this CA's server dials with; cert and key may be empty.
func (a *Authority) Client(cert, key string) *tls.Config {
	a.t.Helper()
	config := &tls.Config{RootCAs: a.Pool(), MinVersion: tls.VersionTLS13, ServerName: "localhost"}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		a.must(err)
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	return key
}

// write replaces a file by renaming, so that nobody reads half of one.
func (a *Authority) write(path, kind string, der []byte, mode os.FileMode) {
	a.t.Helper()
	a.must(os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode))
	a.must(os.Rename(path+".new", path))
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}
