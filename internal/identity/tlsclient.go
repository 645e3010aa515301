package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ClientFiles names the PEM files of a TLS client, and the server it means.
type ClientFiles struct {
	// CA holds the certificates that the server's certificate is verified against. If it is empty, the system's are.
	CA string
	// Cert and Key are the client's own certificate and private key, or both empty for a client that comes with a key of the callers file.
	Cert, Key string
	// ServerName is the DNS name or the IP address that the server's certificate has to be for. It is never empty: take the host
	// of the address that is dialled.
	ServerName string
}

// ClientTLS is the TLS side of a client whose files may change while it runs.
type ClientTLS struct {
	serverName string
	source     *source[clientState]
}

type clientState struct {
	roots *x509.CertPool // nil: the system's
	cert  *tls.Certificate
}

// LoadClientTLS reads the files; errors are those of [LoadServerTLS].
func LoadClientTLS(f ClientFiles) (*ClientTLS, error) {
	if f.ServerName == "" {
		return nil, errors.New("TLS needs the name or the address that the server's certificate is for")
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("a client certificate needs both a certificate file and a private key file")
	}
	var pair keyPair
	var files []file
	if f.Cert != "" {
		pair, files = pairFiles("client", f.Cert, f.Key)
	}
	ca := file{what: "CA file", path: f.CA}
	if f.CA != "" {
		files = append(files, ca)
	}
	s, err := open(func(contents [][]byte) (clientState, error) {
		state := clientState{cert: &tls.Certificate{}} // empty: none, in the language of crypto/tls
		if f.Cert != "" {
			cert, err := pair.parse(contents[0], contents[1], x509.ExtKeyUsageClientAuth)
			if err != nil {
				return state, err
			}
			state.cert = &cert
		}
		if f.CA != "" {
			pool, err := parsePool(contents[len(contents)-1])
			if err != nil {
				return state, ca.named(err)
			}
			state.roots = pool
		}
		return state, nil
	}, files...)
	if err != nil {
		return nil, err
	}
	return &ClientTLS{f.ServerName, s}, nil
}

// Config returns the configuration to dial with; the protocols are those asked for by ALPN: "h2" for gRPC. Each handshake uses the files as they
// were last read.
func (c *ClientTLS) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		ServerName: c.serverName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.source.get().cert, nil
		},
		// RootCAs cannot change within a Config, so crypto/tls is told not to verify and verify does it instead, in full.
		InsecureSkipVerify: true,
		VerifyConnection:   c.verify,
	}
}

// Run is [Callers.Run] for the TLS files.
func (c *ClientTLS) Run(ctx context.Context, every time.Duration, report func(error)) {
	c.source.run(ctx, every, report)
}

// verify does what crypto/tls would do. It takes the name from c: that of the connection state is empty if the server is
// called by an IP address, and an empty name would match every certificate.
func (c *ClientTLS) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	opts := x509.VerifyOptions{
		DNSName:       c.serverName,
		Roots:         c.source.get().roots,
		Intermediates: x509.NewCertPool(),
	}
	for _, cert := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(cert)
	}
	if _, err := state.PeerCertificates[0].Verify(opts); err != nil {
		return fmt.Errorf("the server's certificate is not good: %w", err)
	}
	return nil
}
