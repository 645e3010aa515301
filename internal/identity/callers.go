package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Callers is the [Authenticator] that works from a callers file; the form of the file is in the package comment.
type Callers struct {
	source *source[*table]
}

// table is the callers file, parsed. It is immutable.
type table struct {
	rules rules
	// keys is looked up by digest in the ordinary way, not in constant time: what the time tells is something about the
	// digest of a guess, and that leads back to no key.
	keys map[[sha256.Size]byte]Principal
}

// LoadCallers reads the callers file. The error names the file and says what is wrong.
func LoadCallers(path string) (*Callers, error) {
	f := file{what: "callers file", path: path, guarded: true}
	s, err := open(func(contents [][]byte) (*table, error) {
		t, err := parseCallers(contents[0])
		if err != nil {
			return nil, f.named(err)
		}
		return t, nil
	}, f)
	if err != nil {
		return nil, err
	}
	return &Callers{s}, nil
}

// Run reads the file again when it has changed, looking every so often (a second is good), until ctx ends. It calls report, from its
// own goroutine, with nil after each change that is now in force, and with an error when the file has become unusable and the
// last good one stays in force. Call it once.
func (c *Callers) Run(ctx context.Context, every time.Duration, report func(error)) {
	c.source.run(ctx, every, report)
}

// Authenticate implements [Authenticator]. A key, if there is one, decides alone; else the certificate does. Roles of the two are
// never added up, and a bad key is refused even on a connection with a good certificate.
func (c *Callers) Authenticate(state *tls.ConnectionState, authorization []string) (Principal, error) {
	switch {
	case len(authorization) > 1:
		return Principal{}, fmt.Errorf("%w: more than one authorization header", ErrBadCredentials)
	case len(authorization) == 1:
		return c.byKey(authorization[0])
	case state != nil && len(state.PeerCertificates) > 0:
		return c.byCertificate(state)
	}
	return Principal{}, ErrNoCredentials
}

func (c *Callers) byKey(header string) (Principal, error) {
	kind, key, _ := strings.Cut(header, " ")
	if !strings.EqualFold(kind, "Bearer") {
		return Principal{}, fmt.Errorf("%w: the authorization header is not of the form \"Bearer KEY\"", ErrBadCredentials)
	}
	digest, ok := keyDigest(key)
	if !ok {
		return Principal{}, fmt.Errorf("%w: the authorization header holds no well-formed key", ErrBadCredentials)
	}
	p, ok := c.source.get().keys[digest]
	if !ok {
		return Principal{}, fmt.Errorf("%w: the key is not known", ErrBadCredentials)
	}
	return p, nil
}

func (c *Callers) byCertificate(state *tls.ConnectionState) (Principal, error) {
	if len(state.VerifiedChains) == 0 {
		return Principal{}, fmt.Errorf("%w: the client certificate was not verified", ErrBadCredentials)
	}
	id, err := certificateID(state.PeerCertificates[0])
	if err != nil {
		return Principal{}, fmt.Errorf("%w: %w", ErrBadCredentials, err)
	}
	return Principal{Name: id, Roles: c.source.get().rules.rolesOf(id)}, nil
}

// callersFile is the YAML form.
type callersFile struct {
	Certificates []struct {
		URI   string   `yaml:"uri"`
		Roles []string `yaml:"roles"`
	} `yaml:"certificates"`
	Keys []struct {
		Name   string   `yaml:"name"`
		SHA256 string   `yaml:"sha256"`
		Roles  []string `yaml:"roles"`
		User   *int64   `yaml:"user"`
	} `yaml:"keys"`
}

func parseCallers(data []byte) (*table, error) {
	// First of all, because a YAML error may quote the place where it happened.
	if line := keyInClear(data); line > 0 {
		return nil, fmt.Errorf("line %d holds a key in clear; the file takes the hash of a key, never the key: "+
			"throw that key away, make a new one, and put its hash here", line)
	}
	if err := checkNesting(data); err != nil {
		return nil, err
	}
	var in callersFile
	if err := decodeStrict(data, &in); err != nil {
		return nil, err
	}
	if len(in.Certificates)+len(in.Keys) == 0 {
		return nil, errors.New("has neither certificates nor keys, so nobody could call")
	}
	t := &table{rules: rules{exact: map[string]RoleSet{}}, keys: map[[sha256.Size]byte]Principal{}}
	for i, row := range in.Certificates {
		roles, err := parseRoles(row.Roles)
		if err == nil && row.URI == "" {
			err = errors.New("has no uri")
		}
		if err == nil {
			err = t.rules.add(row.URI, roles)
		}
		if err != nil {
			return nil, fmt.Errorf("certificates row %d (%s) %w", i+1, row.URI, err)
		}
	}
	names := map[string]bool{}
	for i, row := range in.Keys {
		roles, err := parseRoles(row.Roles)
		if err == nil {
			err = checkKeyName(row.Name, names)
		}
		p := Principal{Name: "key:" + row.Name, Roles: roles}
		if err == nil && row.User != nil {
			p.User, err = *row.User, CheckUser(*row.User, roles)
		}
		if err == nil {
			err = t.addKey(row.SHA256, p)
		}
		if err != nil {
			return nil, fmt.Errorf("keys row %d (%s) %w", i+1, row.Name, err)
		}
	}
	return t, nil
}

// checkNesting keeps files away from the YAML parser that it would spend minutes and gigabytes on: its costs grow with the square of the
// depth. Lines of bounded length bound what dashes and question marks can nest; brackets are counted, roughly, wherever they stand.
func checkNesting(data []byte) error {
	const maxLine, maxDepth = 4096, 64
	depth, number := 0, 0
	for line := range bytes.Lines(data) {
		number++
		if len(line) > maxLine {
			return fmt.Errorf("line %d is longer than %d bytes", number, maxLine)
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			}
			if depth > maxDepth {
				return fmt.Errorf("line %d nests brackets deeper than %d", number, maxDepth)
			}
		}
	}
	return nil
}

// decodeStrict takes one document with known fields only. It refuses aliases because a few lines of them can stand for gigabytes.
func decodeStrict(data []byte, in *callersFile) error {
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return errors.New(yaml.FormatError(err, false, false))
	}
	if len(parsed.Docs) > 1 {
		return errors.New("has more than one YAML document")
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if aliases := ast.Filter(ast.AliasType, doc.Body); len(aliases) > 0 {
			return fmt.Errorf("line %d has a YAML alias (*NAME); write it out", aliases[0].GetToken().Position.Line)
		}
		if err := yaml.NodeToValue(doc.Body, in, yaml.Strict()); err != nil {
			return errors.New(yaml.FormatError(err, false, false))
		}
	}
	return nil
}

func parseRoles(names []string) (RoleSet, error) {
	if len(names) == 0 {
		return 0, errors.New("gives no roles; take the row out instead")
	}
	var roles RoleSet
	for _, name := range names {
		r, err := ParseRole(name)
		if err != nil {
			return 0, fmt.Errorf("is wrong: %w", err)
		}
		roles |= Roles(r)
	}
	return roles, nil
}

// maxUser is the largest id of a user: the largest integer that every JSON reader keeps exactly.
const maxUser = 1<<53 - 1

// CheckUser judges the user of a key. It goes with the role of a maintainer alone: whoever holds the key may do what that user may, and nothing that is asked
// of a caller itself.
func CheckUser(user int64, roles RoleSet) error {
	switch {
	case user < 1 || user > maxUser:
		return fmt.Errorf("has the user %d; write the forge's number of a user, 1 to %d", user, maxUser)
	case roles != Roles(Maintainer):
		return fmt.Errorf("has a user and the roles: %v; a key that acts for one user has the role maintainer and no other", roles)
	}
	return nil
}

// checkKeyName keeps names apart from SPIFFE ids and readable in a log.
func checkKeyName(name string, taken map[string]bool) error {
	if len(name) == 0 || len(name) > 64 {
		return errors.New("needs a name of 1 to 64 bytes")
	}
	for _, c := range []byte(name) {
		if !idByte(c) {
			return fmt.Errorf("has %q in its name; use letters, digits, dot, dash and underscore", c)
		}
	}
	if taken[name] {
		return errors.New("has a name that is there twice")
	}
	taken[name] = true
	return nil
}

func (t *table) addKey(hash string, p Principal) error {
	raw, err := hex.DecodeString(hash)
	if err != nil || len(raw) != sha256.Size {
		// The value is not repeated: it may be a password that somebody took for a hash.
		return errors.New("needs a sha256 of 64 hexadecimal digits, the hash that was printed with the key")
	}
	digest := [sha256.Size]byte(raw)
	if other, ok := t.keys[digest]; ok {
		return fmt.Errorf("has the same key as %s", strings.TrimPrefix(other.Name, "key:"))
	}
	t.keys[digest] = p
	return nil
}
