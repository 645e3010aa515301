package route

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"

	"github.com/jobward/jobward/pdp/authz"
)

// MaxDocument is the largest operator's document in bytes.
const MaxDocument = 1 << 20

// maxNesting is more than rows need and less than the stack of a recursive parser.
const maxNesting = 20

// row is one entry of a document: routes that differ in nothing but method and pattern.
type row struct {
	Methods    []string `yaml:"methods"`
	Patterns   []string `yaml:"patterns"`
	Query      string   `yaml:"query"`
	Permission string   `yaml:"permission"`
	Surface    string   `yaml:"surface"`
	Project    string   `yaml:"project"`
	Job        string   `yaml:"job"`
	Carriers   []string `yaml:"carriers"`
	Style      string   `yaml:"style"`
	Open       bool     `yaml:"open"`
}

// read decodes a document strictly. Anchors, aliases and tags are refused: a few hundred bytes of them can stand for more than fits into
// memory.
func read(text []byte) ([]row, error) {
	if len(text) > MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes, the limit is %d", len(text), MaxDocument)
	}
	if err := plain(text); err != nil {
		return nil, err
	}
	var doc struct {
		Routes []row `yaml:"routes"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.DisallowUnknownField())
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, oneLine(err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the document has something after its first object")
	}
	return doc.Routes, nil
}

// plain refuses what documents do not need, and nesting too deep for a recursive parser.
func plain(text []byte) error {
	depth, line, inLine := 0, 0, 0
	for _, tk := range lexer.Tokenize(string(text)) {
		at := 0
		if tk.Position != nil {
			at = tk.Position.Line
		}
		switch tk.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
			return fmt.Errorf("line %d: anchors, aliases, merge keys, tags and directives are not read here; a text that begins with *, & or ! needs quotes", at)
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			// Each of these opens a level on one line, as in "- - - x"; a level by indentation needs a line, and more spaces each time.
			if line != at {
				line, inLine = at, 0
			}
			if depth == 0 {
				inLine++
			}
		}
		if depth < 0 || depth > maxNesting || inLine > maxNesting {
			return fmt.Errorf("line %d: the brackets do not match, or there are more than %d levels", at, maxNesting)
		}
	}
	return nil
}

// oneLine gives the parser's errors as one line, without the drawing of the place.
func oneLine(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) {
		return err
	}
	line := 0
	if tk := e.GetToken(); tk != nil && tk.Position != nil {
		line = tk.Position.Line
	}
	return fmt.Errorf("line %d: %s", line, e.GetMessage())
}

// what gives the part of a route that the row's patterns share, and its target.
func (r *row) what() (Route, *target, error) {
	bad := func(format string, args ...any) (Route, *target, error) {
		return Route{}, nil, fmt.Errorf(format, args...)
	}
	if r.Open {
		if r.Permission != "" || r.Surface != "" || r.Project != "" || r.Job != "" || len(r.Carriers) > 0 || r.Style != "" {
			return bad("an open route asks nothing: it has methods and patterns only")
		}
		return Route{Open: true, Target: OwnJob}, &target{kind: OwnJob}, nil
	}
	if !validName(r.Permission) {
		return bad("permission %q: names are 1 to %d of a-z, 0-9 and _", r.Permission, maxName)
	}
	rt := Route{Permission: authz.Permission(r.Permission), Surface: authz.SurfaceREST}
	var err error
	if r.Surface != "" {
		if rt.Surface, err = authz.ParseSurface(r.Surface); err != nil || rt.Surface == authz.SurfaceDefault {
			return bad("surface %q: write rest, git, registry, graphql, unlisted or policy", r.Surface)
		}
	}
	if r.Style != "" {
		if rt.Style, err = parseStyle(r.Style); err != nil {
			return bad("%w", err)
		}
	}
	for _, c := range r.Carriers {
		one, err := parseCarrier(c)
		if err != nil {
			return bad("%w", err)
		}
		if rt.Carriers&one != 0 {
			return bad("carrier %s is named twice", c)
		}
		rt.Carriers |= one
	}
	if rt.Carriers&Param != 0 && rt.Carriers&ParamTok != 0 {
		return bad("carriers param and token-param contradict each other")
	}
	closed := rt.Surface == authz.SurfaceUnlisted || rt.Surface == authz.SurfaceGraphQL
	if closed != (rt.Carriers == 0) {
		return bad("carriers say where the token stands; surfaces unlisted and graphql have none, the others at least one")
	}
	t, err := readTarget(r.Project, r.Job)
	if err != nil {
		return bad("%w", err)
	}
	rt.Target = t.kind
	return rt, t, nil
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// condition reads the row's query condition, "name=value".
func (r *row) condition() (query, error) {
	if r.Query == "" {
		return query{}, nil
	}
	name, value, ok := strings.Cut(r.Query, "=")
	plain := func(s string) bool {
		return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(c rune) bool { return c >= 0x80 || !unreserved(byte(c)) })
	}
	if !ok || !plain(name) || !plain(value) {
		return query{}, fmt.Errorf("query %q: write name=value, each 1 to %d of a-z, A-Z, 0-9 and - . _ ~", r.Query, maxName)
	}
	return query{name, value}, nil
}
