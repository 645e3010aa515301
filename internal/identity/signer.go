package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Signing is what documents are signed with, as the files had it when they were last read. It is read only.
type Signing struct {
	// Key is the private key: ECDSA on P-256, or RSA of 2048 bits or more.
	Key crypto.Signer
	// Chain is the certificate of Key, and the CA certificates behind it without those that signed themselves.
	Chain []*x509.Certificate
	// Others are certificates of other signers in the same file: the next one, the one before, or those of replicas.
	Others []*x509.Certificate
}

// Signer is a signing key and its certificate, whose files may change while it runs.
type Signer struct {
	source *source[*Signing]
}

// LoadSigner reads a certificate file and a key file, both PEM. The certificate file begins with the certificate of the key. What follows is its
// chain where it is a CA's, and another signer otherwise. The error names the file and what is wrong with it.
func LoadSigner(cert, key string) (*Signer, error) {
	pair, files := pairFiles("signing", cert, key)
	s, err := open(func(contents [][]byte) (*Signing, error) {
		return pair.signing(contents[0], contents[1])
	}, files...)
	if err != nil {
		return nil, err
	}
	return &Signer{s}, nil
}

// Signing gives what the files held when they were last read and were good.
func (s *Signer) Signing() *Signing { return s.source.get() }

// Run is [Callers.Run] for the files of the signer.
func (s *Signer) Run(ctx context.Context, every time.Duration, report func(error)) {
	s.source.run(ctx, every, report)
}

func (p keyPair) signing(certPEM, keyPEM []byte) (*Signing, error) {
	certs, err := parseCertificates(certPEM)
	if err != nil {
		return nil, p.cert.named(err)
	}
	leaf := certs[0]
	if err := checkNow(leaf); err != nil {
		return nil, p.cert.named(err)
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, p.cert.named(errors.New("its key usage does not allow signatures"))
	}
	if block, _ := pem.Decode(keyPEM); block == nil {
		return nil, p.key.named(errors.New("has no PEM block"))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, p.key.named(fmt.Errorf("cannot be used with certificate file %s: %w", p.cert.path, err))
	}
	s := &Signing{Chain: []*x509.Certificate{leaf}}
	for _, c := range certs[1:] {
		switch {
		case !c.IsCA:
			if err := goodKey(c.PublicKey); err != nil {
				return nil, p.cert.named(err)
			}
			s.Others = append(s.Others, c)
		case c.CheckSignatureFrom(c) != nil:
			s.Chain = append(s.Chain, c)
		}
	}
	if err := goodKey(leaf.PublicKey); err != nil {
		return nil, p.cert.named(err)
	}
	s.Key = pair.PrivateKey.(crypto.Signer) // goodKey takes no kind that cannot sign
	return s, nil
}

// goodKey refuses keys that those who verify would refuse.
func goodKey(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return nil
		}
	}
	return errors.New("a signer's key must be ECDSA on P-256, or RSA of 2048 bits or more")
}
