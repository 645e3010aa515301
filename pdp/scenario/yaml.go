package scenario

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxNesting is far more than a world needs and far less than the stack of a
// recursive parser.
const maxNesting = 100

// decodeYAML reads one document. Anchors, aliases, merge keys, tags and directives are
// refused: worlds do not need them, and a few hundred bytes of aliases can stand for
// more than fits into memory.
func decodeYAML(d document, v any) (line int, err error) {
	tokens := lexer.Tokenize(string(d.text))
	first := d.line
	for _, tk := range tokens {
		if tk.Type != token.CommentType && tk.Position != nil {
			first += tk.Position.Line - 1
			break
		}
	}
	if tk, err := plain(tokens); err != nil {
		return at(d, tk), err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return clearYAML(d, first, err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if err := yaml.NewDecoder(strings.NewReader(""), yaml.DisallowUnknownField()).DecodeFromNode(doc.Body, v); err != nil {
			return clearYAML(d, first, err)
		}
		return first, nil
	}
	return first, errors.New("there is no object")
}

// plain refuses what the package does not read, and nesting too deep to parse.
func plain(tokens token.Tokens) (*token.Token, error) {
	depth, line, inLine := 0, 0, 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
			return tk, fmt.Errorf("anchors, aliases, merge keys, tags and directives are not read here: %q", tk.Value)
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			// The parser lets an end without a beginning pass.
			if depth--; depth < 0 {
				return tk, fmt.Errorf("there is a %q without its beginning", tk.Value)
			}
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			// "- - - x" opens a level with every sign; what opens one by its indentation
			// needs a line each, and more spaces on every one.
			if tk.Position.Line != line {
				line, inLine = tk.Position.Line, 0
			}
			if depth == 0 {
				inLine++
			}
		}
		if depth > maxNesting || inLine > maxNesting {
			return tk, fmt.Errorf("more than %d levels of nesting", maxNesting)
		}
	}
	return nil, nil
}

func at(d document, tk *token.Token) int {
	if tk == nil || tk.Position == nil {
		return d.line
	}
	return d.line + tk.Position.Line - 1
}

// clearYAML gives the line and the bare message of the parser's errors, which carry a
// drawing of the place otherwise.
func clearYAML(d document, first int, err error) (int, error) {
	var t *yaml.TypeError
	if errors.As(err, &t) {
		return at(d, t.Token), fmt.Errorf("cannot be a %s", kindName(t.SrcType))
	}
	var e yaml.Error
	if !errors.As(err, &e) {
		return first, err
	}
	return at(d, e.GetToken()), errors.New(e.GetMessage())
}

// kindName says in words of YAML what a value was.
func kindName(t reflect.Type) string {
	if t == nil {
		return "null"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "mapping"
	}
	return t.Kind().String()
}
