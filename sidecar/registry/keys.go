package registry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jobward/jobward/internal/identity"
)

// Keys gives what tokens are signed with; *identity.Signer is one.
type Keys interface {
	Signing() *identity.Signing
}

// algorithms are those that tokens may be signed with; none of them takes a key that is not a private one.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.RS256}
}

// ring is the keys that tokens are made and judged with. It is safe for concurrent use.
type ring struct {
	source Keys
	keep   time.Duration // what was signed with the key before is taken for so long
	now    func() time.Time

	mu    sync.Mutex // held to replace state
	state atomic.Pointer[ringState]
}

// ringState is what one reading of the files came to. It is read only.
type ringState struct {
	from    *identity.Signing
	signer  jose.Signer
	kid     string
	expires time.Time     // of what ends first of the chain
	life    time.Duration // of the certificate
	keys    map[string]publicKey
}

type publicKey struct {
	key       crypto.PublicKey
	algorithm jose.SignatureAlgorithm
	until     time.Time // zero: as long as it is in the files
}

func newRing(source Keys, keep time.Duration, now func() time.Time) (*ring, error) {
	g := &ring{source: source, keep: keep, now: now}
	_, err := g.get()
	return g, err
}

// get gives the keys as the files have them. The error is about a key that nothing can be signed with, which package identity does not give.
func (g *ring) get() (*ringState, error) {
	from := g.source.Signing()
	if s := g.state.Load(); s != nil && s.from == from {
		return s, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.state.Load()
	if old != nil && old.from == from {
		return old, nil
	}
	s, err := makeState(from)
	if err != nil {
		return nil, err
	}
	if old != nil {
		now := g.now()
		for kid, k := range old.keys {
			if kid == old.kid {
				k.until = now.Add(g.keep)
			}
			if _, there := s.keys[kid]; !there && k.until.After(now) {
				s.keys[kid] = k
			}
		}
	}
	g.state.Store(s)
	return s, nil
}

func makeState(from *identity.Signing) (*ringState, error) {
	leaf := from.Chain[0]
	s := &ringState{from: from, keys: map[string]publicKey{}, expires: leaf.NotAfter, life: leaf.NotAfter.Sub(leaf.NotBefore)}
	algorithm := algorithmOf(from.Key.Public())
	s.kid = kidOf(from.Key.Public())
	s.keys[s.kid] = publicKey{key: from.Key.Public(), algorithm: algorithm}
	for _, c := range from.Others {
		s.keys[kidOf(c.PublicKey)] = publicKey{key: c.PublicKey, algorithm: algorithmOf(c.PublicKey)}
	}
	var chain []string
	for _, c := range from.Chain {
		if c.NotAfter.Before(s.expires) {
			s.expires = c.NotAfter
		}
		chain = append(chain, base64.StdEncoding.EncodeToString(c.Raw))
	}
	var err error
	s.signer, err = jose.NewSigner(
		jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: from.Key, KeyID: s.kid}},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("x5c", chain),
	)
	if err != nil {
		return nil, fmt.Errorf("the signing key: %w", err)
	}
	return s, nil
}

func algorithmOf(key crypto.PublicKey) jose.SignatureAlgorithm {
	if _, ok := key.(*ecdsa.PublicKey); ok {
		return jose.ES256
	}
	return jose.RS256
}

// kidOf is the thumbprint of RFC 7638, which is what distribution calls its keys by too.
func kidOf(key crypto.PublicKey) string {
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "" // no such key is in a ring
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// find gives the key of a kid that is taken now.
func (g *ring) find(kid string) (publicKey, bool) {
	s, err := g.get()
	if err != nil {
		return publicKey{}, false
	}
	k, ok := s.keys[kid]
	return k, ok && (k.until.IsZero() || g.now().Before(k.until))
}

// jwksAge is how long others may keep the JWKS. A key that is added before it signs should be there for longer.
const jwksAge = time.Minute

// serveKeys answers the JWKS.
func (h *Handler) serveKeys(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.refuse(w, r, &refusal{status: http.StatusMethodNotAllowed, code: codeUnsupported, text: "the keys are to be had with GET"})
		return
	}
	s, err := h.ring.get()
	if err != nil {
		h.refuse(w, r, undecided())
		return
	}
	set, now := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}, h.now()
	hash := sha256.New()
	for _, kid := range slices.Sorted(maps.Keys(s.keys)) {
		k := s.keys[kid]
		if k.until.IsZero() || now.Before(k.until) {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.key, KeyID: kid, Algorithm: string(k.algorithm), Use: "sig"})
			hash.Write([]byte(kid))
		}
	}
	etag := `"` + hex.EncodeToString(hash.Sum(nil)[:8]) + `"`
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(jwksAge.Seconds())))
	w.Header().Set("Etag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	say(w, http.StatusOK, set)
}
