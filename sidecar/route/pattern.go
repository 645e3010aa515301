package route

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a pattern.
const (
	maxPattern  = 512
	maxParts    = 32
	maxMany     = 2
	maxOptional = 3
	maxName     = 64
	maxNot      = 16
)

// pattern is one way through a written pattern, its optional pieces decided.
type pattern struct {
	parts []part
	// names are the parameters with the index of their first part.
	names map[string]int
}

// part matches one segment, or with many one or more of them.
type part struct {
	literal string
	class   *class // nil for a literal
	many    bool
	name    string // of the parameter
}

// expand gives every reading of a written pattern: with and without each optional piece.
func expand(text string) ([]string, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("it has more than %d bytes", maxPattern)
	}
	if n := strings.Count(text, "("); n > maxOptional {
		return nil, fmt.Errorf("it has more than %d optional pieces", maxOptional)
	}
	readings := []string{""}
	for rest := text; rest != ""; {
		before, after, open := strings.Cut(rest, "(")
		if strings.Contains(before, ")") {
			return nil, fmt.Errorf("it has a ) without its (")
		}
		for i := range readings {
			readings[i] += before
		}
		if !open {
			break
		}
		inner, after, closed := strings.Cut(after, ")")
		if !closed || inner == "" || strings.Contains(inner, "(") {
			return nil, fmt.Errorf("an optional piece stands in ( and ), is not empty, and has none inside")
		}
		for _, r := range slices.Clone(readings) {
			readings = append(readings, r+inner)
		}
		rest = after
	}
	return readings, nil
}

// parse reads one reading of a pattern. The project's parameters get their kinds from the target, so that the same words mean the same
// everywhere.
func parse(text string, t *target) (*pattern, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("it must begin with a slash")
	}
	p := &pattern{names: map[string]int{}}
	pieces := strings.Split(text[1:], "/")
	many := 0
	for i, piece := range pieces {
		pt := part{literal: piece}
		switch {
		case piece == "" && i < len(pieces)-1:
			return nil, fmt.Errorf("it has two slashes in a row")
		case piece != "" && (piece[0] == ':' || piece[0] == '*'):
			var err error
			if pt, err = parameter(piece, t); err != nil {
				return nil, err
			}
			if _, twice := p.names[pt.name]; twice {
				return nil, fmt.Errorf("the parameter %s is there twice", pt.name)
			}
			p.names[pt.name] = len(p.parts)
			if pt.many {
				many++
			}
		case piece == "." || piece == ".." || strings.ContainsFunc(piece, notLiteral):
			return nil, fmt.Errorf("%q is no literal segment: those have a-z, A-Z, 0-9 and - . _ ~ @ ! $ & ' + , = and are no dot segments", piece)
		}
		p.parts = append(p.parts, pt)
	}
	if len(p.parts) > maxParts || many > maxMany {
		return nil, fmt.Errorf("it has more than %d segments or more than %d parameters with *", maxParts, maxMany)
	}
	return p, nil
}

func notLiteral(r rune) bool {
	return r >= 0x80 || !unreserved(byte(r)) && !strings.ContainsRune("@!$&'+,=", r)
}

// parameter reads ":name<qualities>suffix" or "*name<qualities>suffix".
func parameter(piece string, t *target) (part, error) {
	end := 1
	for end < len(piece) && (piece[end] == '_' || 'a' <= piece[end] && piece[end] <= 'z' || '0' <= piece[end] && piece[end] <= '9') {
		end++
	}
	name, rest := piece[1:end], piece[end:]
	if name == "" || len(name) > maxName {
		return part{}, fmt.Errorf("%q: a parameter has a name of 1 to %d of a-z, 0-9 and _", piece, maxName)
	}
	c := &class{kind: t.kindOf(name)}
	if strings.HasPrefix(rest, "<") {
		words, after, closed := strings.Cut(rest[1:], ">")
		if !closed {
			return part{}, fmt.Errorf("%q: the < has no >", piece)
		}
		if err := c.quality(words); err != nil {
			return part{}, fmt.Errorf("%q: %w", piece, err)
		}
		rest = after
	}
	if len(rest) > maxName || strings.ContainsFunc(rest, notLiteral) || rest != "" && alphanumeric(rest[0]) {
		return part{}, fmt.Errorf("%q: after a parameter's name may stand at most %d literal bytes of which the first is no letter and no digit, as in :name.zip", piece, maxName)
	}
	c.suffix = rest
	return part{class: c, many: piece[0] == '*', name: name}, nil
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// quality reads what stands in <…>: "number", "encoded", "not a|b|*.c", with commas between.
func (c *class) quality(words string) error {
	for word := range strings.SplitSeq(words, ",") {
		word = strings.TrimSpace(word)
		not, isNot := strings.CutPrefix(word, "not ")
		switch {
		case word == "number" && c.kind == kindAny && !c.encoded:
			c.kind = kindNumber
		case word == "encoded" && c.kind == kindAny:
			c.encoded = true
		case isNot && c.not == nil && c.notSuffix == nil:
			for n := range strings.SplitSeq(not, "|") {
				n, suffix := strings.CutPrefix(n, "*")
				if n == "" || len(n) > maxName || strings.ContainsFunc(n, notLiteral) || suffix && n[0] != '.' {
					return fmt.Errorf("after not stand literal segments, or endings such as *.git, with | between, each of at most %d bytes", maxName)
				}
				if suffix {
					c.notSuffix = append(c.notSuffix, n)
				} else {
					c.not = append(c.not, n)
				}
			}
			if len(c.not)+len(c.notSuffix) > maxNot {
				return fmt.Errorf("there are more than %d after not", maxNot)
			}
		case word == "number" || word == "encoded" || isNot:
			return fmt.Errorf("%q cannot stand here: it contradicts another word, or the project or job decides what the segment can be", word)
		default:
			return fmt.Errorf("unknown word %q: use number, encoded, or not a|b|*.c", word)
		}
	}
	return nil
}

// shapes gives the pattern as the trie has it: a suffix after several segments belongs to the last of them, and a full path in one * has two
// names at least.
func (p *pattern) shapes(t *target) []*pattern {
	i := slices.IndexFunc(p.parts, func(pt part) bool { return pt.many && (pt.class.suffix != "" || t.wholePath(pt.name)) })
	if i < 0 {
		return []*pattern{p}
	}
	pt := p.parts[i]
	inner := *pt.class
	inner.suffix = ""
	// Without the name: these are shaped.
	one, many, last := part{class: &inner}, part{class: &inner, many: true}, part{class: pt.class}
	var bodies [][]part
	switch {
	case t.wholePath(pt.name) && inner.suffix == pt.class.suffix:
		bodies = [][]part{{one, many}}
	case t.wholePath(pt.name):
		bodies = [][]part{{one, last}, {one, many, last}}
	default:
		bodies = [][]part{{last}, {many, last}}
	}
	var all []*pattern
	for _, b := range bodies {
		q := &pattern{parts: slices.Concat(p.parts[:i], b, p.parts[i+1:])}
		all = append(all, q.shapes(t)...)
	}
	return all
}
