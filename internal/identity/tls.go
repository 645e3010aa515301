package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// ServerFiles names the PEM files of a TLS server.
type ServerFiles struct {
	// Cert is the server's certificate, followed by intermediates if there are any.
	Cert string
	// Key is the private key of Cert, unencrypted, in a file that others cannot read.
	Key string
	// ClientCA holds the certificates that clients' certificates are verified against. If it is empty, clients are not asked for one.
	ClientCA string
	// RequireClientCert refuses connections without a client certificate. Without it callers may come with a key instead.
	RequireClientCert bool
}

// ServerTLS is the TLS side of a server whose files may change while it runs.
type ServerTLS struct {
	source *source[*tls.Config]
}

// LoadServerTLS reads the files. The error names the file and what is wrong: missing, unreadable, expired, not a pair. The protocols are
// those offered to clients by ALPN: "h2" for gRPC.
func LoadServerTLS(f ServerFiles, protocols ...string) (*ServerTLS, error) {
	if f.RequireClientCert && f.ClientCA == "" {
		return nil, errors.New("client certificates are required but no client CA file is named to verify them with")
	}
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("TLS needs both a certificate file and a private key file")
	}
	pair, files := pairFiles("server", f.Cert, f.Key)
	ca := file{what: "client CA file", path: f.ClientCA}
	if f.ClientCA != "" {
		files = append(files, ca)
	}
	s, err := open(func(contents [][]byte) (*tls.Config, error) {
		cert, err := pair.parse(contents[0], contents[1], x509.ExtKeyUsageServerAuth)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{
			MinVersion:   tls.VersionTLS13,
			NextProtos:   protocols,
			Certificates: []tls.Certificate{cert},
			// A resumed session would not be verified against the CA of today.
			SessionTicketsDisabled: true,
		}
		if f.ClientCA != "" {
			if config.ClientCAs, err = parsePool(contents[2]); err != nil {
				return nil, ca.named(err)
			}
			config.ClientAuth = tls.VerifyClientCertIfGiven
		}
		if f.RequireClientCert {
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		return config, nil
	}, files...)
	if err != nil {
		return nil, err
	}
	return &ServerTLS{s}, nil
}

// Config returns the configuration to listen with. Each handshake uses the files as they were last read.
func (s *ServerTLS) Config() *tls.Config {
	config := s.source.get().Clone() // for those who look at MinVersion and NextProtos; no handshake uses more of it
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.source.get(), nil }
	return config
}

// Run is [Callers.Run] for the TLS files.
func (s *ServerTLS) Run(ctx context.Context, every time.Duration, report func(error)) {
	s.source.run(ctx, every, report)
}

// keyPair is a certificate file and its key file.
type keyPair struct{ cert, key file }

func pairFiles(whose, cert, key string) (keyPair, []file) {
	p := keyPair{
		cert: file{what: whose + " certificate file", path: cert},
		key:  file{what: whose + " private key file", path: key, guarded: true},
	}
	return p, []file{p.cert, p.key}
}

// parse checks the leaf as strictly as its peers will: valid now, and for this use.
func (p keyPair) parse(certPEM, keyPEM []byte, use x509.ExtKeyUsage) (tls.Certificate, error) {
	chain, err := parseCertificates(certPEM)
	if err != nil {
		return tls.Certificate{}, p.cert.named(err)
	}
	leaf := chain[0]
	if err := checkNow(leaf); err != nil {
		return tls.Certificate{}, p.cert.named(err)
	}
	if !hasUse(leaf, use) {
		role := "server"
		if use == x509.ExtKeyUsageClientAuth {
			role = "client"
		}
		return tls.Certificate{}, p.cert.named(fmt.Errorf("its extended key usage does not allow use as a TLS %s", role))
	}
	if block, _ := pem.Decode(keyPEM); block == nil {
		return tls.Certificate{}, p.key.named(errors.New("has no PEM block"))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		// The certificate has been parsed, so this is about the key, or about the two not being a pair.
		return tls.Certificate{}, p.key.named(fmt.Errorf("cannot be used with certificate file %s: %w", p.cert.path, err))
	}
	return pair, nil
}

func hasUse(leaf *x509.Certificate, use x509.ExtKeyUsage) bool {
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 {
		return true // no list means no limit
	}
	for _, u := range leaf.ExtKeyUsage {
		if u == use || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

func checkNow(c *x509.Certificate) error {
	now := time.Now()
	if now.After(c.NotAfter) {
		return fmt.Errorf("the certificate expired at %s", c.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(c.NotBefore) {
		return fmt.Errorf("the certificate is not valid before %s; is the clock of this machine right?", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// parseCertificates returns the certificates of a PEM file, at least one.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // some keep the key in the same file
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate number %d in it is damaged: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("has no PEM block of type CERTIFICATE")
	}
	return certs, nil
}

// parsePool takes a CA bundle. One that has expired may stand beside its successor, but not alone.
func parsePool(data []byte) (*x509.CertPool, error) {
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, err
	}
	pool, valid := x509.NewCertPool(), false
	for _, c := range certs {
		pool.AddCert(c)
		if err = checkNow(c); err == nil {
			valid = true
		}
	}
	if !valid {
		return nil, fmt.Errorf("no certificate in it is valid now: %w", err)
	}
	return pool, nil
}
