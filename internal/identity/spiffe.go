package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	scheme   = "spiffe://"
	maxURI   = 2048 // bytes, the bound of the SPIFFE ID standard
	wildcard = "/*"
)

// certificateID returns the SPIFFE id of a leaf. A certificate with a second URI SAN is refused, not searched: whoever asked for
// the second one must not get to choose which of them we read.
func certificateID(leaf *x509.Certificate) (string, error) {
	if n := len(leaf.URIs); n != 1 {
		return "", fmt.Errorf("the client certificate has %d URI names where it needs exactly one", n)
	}
	id, err := spiffeID(leaf.URIs[0])
	if err != nil {
		return "", fmt.Errorf("the URI name of the client certificate %w", err)
	}
	return id, nil
}

// spiffeID returns u as text if it is a SPIFFE id, in the one spelling that each id has: no escapes, no dots, no empty segments.
// So equal ids are equal strings, and a wildcard cannot be left by "..".
func spiffeID(u *url.URL) (string, error) {
	switch {
	case u.Scheme != "spiffe" || u.Host == "":
		return "", errors.New("is not of the form spiffe://TRUST-DOMAIN/PATH")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return "", errors.New("has a user, query or fragment, which a SPIFFE id has not")
	case len(scheme)+len(u.Host)+len(u.Path) > maxURI:
		return "", fmt.Errorf("is longer than %d bytes", maxURI)
	}
	for _, c := range []byte(u.Host) {
		if !idByte(c) || 'A' <= c && c <= 'Z' {
			return "", fmt.Errorf("has %q in its trust domain; only a-z, 0-9, dot, dash and underscore are allowed", c)
		}
	}
	if err := checkPath(u.Path); err != nil {
		return "", err
	}
	if u.RawPath != "" {
		return "", errors.New("has an escape, which a SPIFFE id has not")
	}
	return scheme + u.Host + u.Path, nil
}

func checkPath(path string) error {
	if path == "" {
		return errors.New("has no path")
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("has the path segment %q", segment)
		}
		for _, c := range []byte(segment) {
			if !idByte(c) {
				return fmt.Errorf("has %q in its path; only letters, digits, dot, dash and underscore are allowed", c)
			}
		}
	}
	return nil
}

func idByte(c byte) bool {
	return c-'0' < 10 || (c|0x20)-'a' < 26 || c == '-' || c == '.' || c == '_'
}

// rules gives roles to SPIFFE ids.
type rules struct {
	exact map[string]RoleSet
	below []belowRule
}

type belowRule struct {
	base  string // with the final slash
	roles RoleSet
}

// add takes a pattern: a SPIFFE id, or one with /* in the end (there, the path before it may be empty) for every id below.
func (r *rules) add(pattern string, roles RoleSet) error {
	base, isBelow := strings.CutSuffix(pattern, wildcard)
	probe := base
	if isBelow {
		probe += "/x"
	}
	u, err := url.Parse(probe)
	if err != nil {
		return errors.New("is not a URI")
	}
	id, err := spiffeID(u)
	if err != nil {
		if strings.Contains(base, "*") {
			err = fmt.Errorf("%w; a wildcard stands in the end only, as %s", err, wildcard)
		}
		return err
	}
	if id != probe {
		return fmt.Errorf("is not spelt as a certificate has it, %s", strings.TrimSuffix(id, "/x"))
	}
	if isBelow {
		base += "/"
		for _, b := range r.below {
			if b.base == base {
				return errors.New("is there twice")
			}
		}
		r.below = append(r.below, belowRule{base, roles})
		return nil
	}
	if _, ok := r.exact[id]; ok {
		return errors.New("is there twice")
	}
	r.exact[id] = roles
	return nil
}

// rolesOf returns the roles of all rules that match id. Linear in the rules with a wildcard, of which there are few.
func (r *rules) rolesOf(id string) RoleSet {
	roles := r.exact[id]
	for _, b := range r.below {
		if strings.HasPrefix(id, b.base) {
			roles |= b.roles
		}
	}
	return roles
}
