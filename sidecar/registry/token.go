package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jobward/jobward/pdp/authz"
)

// maxToken bounds the registry tokens that are looked at, in bytes. The largest that is given out, with 16 scopes of the longest names, has about 8000
// and its chain.
const maxToken = 24 << 10

// maxSkew is how far in the future a token of a replica may begin.
const maxSkew = time.Minute

// claims are those of a registry token. The audience is a string: old registries take no list.
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"` // the job, for the registry's own log and notifications; empty for a visitor
	Audience  string   `json:"aud"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	ID        string   `json:"jti"`
	Access    []access `json:"access"`
	Job       string   `json:"jobward_job"` // the digest of the job token, or of Nobody
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// grant is a registry token that was found good.
type grant struct {
	job    authz.Digest
	ends   time.Time
	access map[string]actions
	kid    string
}

func (g *grant) allows(name string, a actions) bool {
	has := g.access[name]
	return has&a == a || has&every != 0
}

// visitor reports whether the token was given to nobody.
func (g *grant) visitor() bool { return g.job == authz.Nobody }

var errExpired = errors.New("the certificate of the signing key has expired")

// mint makes a token.
func (h *Handler) mint(job authz.Digest, subject string, list []scope, now time.Time, life time.Duration) (text string, ends time.Time, err error) {
	s, err := h.ring.get()
	if err != nil {
		return "", ends, err
	}
	if now.After(s.expires) {
		return "", ends, errExpired // no registry would take it
	}
	ends = now.Add(life).Truncate(time.Second)
	id := make([]byte, 16)
	rand.Read(id)
	c := claims{
		Issuer: h.opt.Issuer, Subject: subject, Audience: h.opt.Service, Expires: ends.Unix(), NotBefore: now.Unix(), IssuedAt: now.Unix(),
		ID: base64.RawURLEncoding.EncodeToString(id), Access: []access{}, Job: base64.RawURLEncoding.EncodeToString(job[:]),
	}
	for _, s := range list {
		c.Access = append(c.Access, access{"repository", s.name, s.actions.names()})
	}
	payload, err := json.Marshal(&c)
	if err != nil {
		return "", ends, err
	}
	signed, err := s.signer.Sign(payload)
	if err != nil {
		return "", ends, err
	}
	text, err = signed.CompactSerialize()
	return text, ends, err
}

var (
	errToken = errors.New("the registry token is not one of this registry")
	errEnded = errors.New("the registry token has ended")
)

// verify tells what a token text is good for, from memory if it was seen before.
func (h *Handler) verify(text string) (*grant, error) {
	if len(text) > maxToken {
		return nil, errToken
	}
	sum := sha256.Sum256([]byte(text))
	g := h.seen.get(sum)
	if g == nil {
		var err error
		if g, err = h.read(text); err != nil {
			return nil, err
		}
		h.seen.put(sum, g)
	} else if _, ok := h.ring.find(g.kid); !ok {
		return nil, errToken
	}
	if !h.now().Before(g.ends) {
		return nil, errEnded
	}
	return g, nil
}

// read judges all of a token but its end.
func (h *Handler) read(text string) (*grant, error) {
	signed, err := jose.ParseSignedCompact(text, algorithms())
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errToken
	}
	head := signed.Signatures[0].Protected
	k, ok := h.ring.find(head.KeyID)
	if !ok || head.Algorithm != string(k.algorithm) {
		return nil, errToken
	}
	payload, err := signed.Verify(k.key)
	if err != nil {
		return nil, errToken
	}
	var c claims
	if json.Unmarshal(payload, &c) != nil || c.Issuer != h.opt.Issuer || c.Audience != h.opt.Service {
		return nil, errToken
	}
	if time.Unix(c.NotBefore, 0).After(h.now().Add(maxSkew)) {
		return nil, errToken
	}
	g := &grant{ends: time.Unix(c.Expires, 0), access: map[string]actions{}, kid: head.KeyID}
	digest, err := base64.RawURLEncoding.DecodeString(c.Job)
	if err != nil || len(digest) != len(g.job) {
		return nil, errToken
	}
	if g.job = authz.Digest(digest); g.job.IsZero() {
		return nil, errToken
	}
	for _, a := range c.Access {
		if a.Type != "repository" {
			continue
		}
		for _, name := range a.Actions {
			g.access[a.Name] |= actionNamed(name)
		}
	}
	return g, nil
}
