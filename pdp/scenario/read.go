package scenario

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of what is read, so that a file cannot take all memory: of one scenario, and
// of a file, of which one scenario is held at a time.
const (
	MaxScenarioBytes = 1 << 20
	MaxFileBytes     = 64 << 20

	// A world alone may be as large as a file in JSON. YAML takes its reader a hundred
	// times the memory of the text, and for some lines time that grows with the square.
	maxYAMLWorld = 8 << 20
	maxYAMLLine  = 64 << 10
)

// Read calls fn with every scenario of a file, in order. The name, which errors begin
// with, tells the form by its ending: .yaml and .yml are YAML streams, .json and
// .jsonl JSON lines; any other is JSON lines if it begins with "{".
//
// Unknown fields are refused, values of the wrong type as well; names of states and
// references within the world are looked at when records are made of the scenario,
// so that one wrong scenario does not hide the others. An error of fn ends the
// reading and is returned as it is.
func Read(r io.Reader, name string, fn func(Scenario) error) error {
	return documents(r, name, MaxScenarioBytes, func(doc document) error {
		s := Scenario{File: name}
		line, err := doc.decode(&s)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
		s.Line = line
		if err := s.check(); err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
		return fn(s)
	})
}

// document is the text of one object, and the line where it begins, from 1.
type document struct {
	text []byte
	line int
	yaml bool
}

// decode fills v. The line is that of the document's first word, or of an error.
func (d document) decode(v any) (line int, err error) {
	if d.yaml {
		return decodeYAML(d, v)
	}
	dec := json.NewDecoder(bytes.NewReader(d.text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return d.line, clearJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return d.line, errors.New("there is something after the object")
	}
	return d.line, nil
}

// clearJSON says what the errors of the standard library mean here.
func clearJSON(err error) error {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return fmt.Errorf("%s: cannot be a %s", t.Field, t.Value)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the object does not end on its line")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// documents cuts a file into the texts of its objects. A text is good until fn
// returns.
func documents(r io.Reader, name string, most int, fn func(document) error) error {
	limited := &limit{r: r, left: MaxFileBytes}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 64<<10), most)
	var doc document
	form := formOf(name)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		blank := len(bytes.TrimSpace(line)) == 0
		if form == "" && !blank {
			form = "yaml"
			if bytes.TrimSpace(line)[0] == '{' {
				form = "json"
			}
		}
		switch {
		case form == "json" && !blank:
			if err := fn(document{text: line, line: n}); err != nil {
				return err
			}
		case form == "yaml":
			if rest, ends := separator(line); ends {
				if err := flush(doc, fn); err != nil {
					return err
				}
				doc, line = document{text: doc.text[:0]}, rest
			}
			if doc.line == 0 {
				doc.line, doc.yaml = n, true
			}
			if len(line) > maxYAMLLine {
				return fmt.Errorf("%s:%d: more than %d bytes in a line of YAML; break it, or use JSON", name, n, maxYAMLLine)
			}
			if doc.text = append(append(doc.text, line...), '\n'); len(doc.text) > most {
				return fmt.Errorf("%s:%d: more than %d bytes in one piece", name, doc.line, most)
			}
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%s:%d: more than %d bytes in one piece", name, n+1, most)
	case err != nil:
		return fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	return flush(doc, fn)
}

func formOf(name string) string {
	switch {
	case strings.HasSuffix(name, ".yaml"), strings.HasSuffix(name, ".yml"):
		return "yaml"
	case strings.HasSuffix(name, ".json"), strings.HasSuffix(name, ".jsonl"):
		return "json"
	}
	return ""
}

// separator tells whether a line of YAML ends a document, and what of it belongs to
// the next one.
func separator(line []byte) (rest []byte, ends bool) {
	for _, mark := range []string{"---", "..."} {
		if after, ok := bytes.CutPrefix(line, []byte(mark)); ok && (len(after) == 0 || after[0] == ' ' || after[0] == '\t') {
			return append([]byte("   "), after...), true
		}
	}
	return line, false
}

// flush hands on a document of YAML that is more than blanks and comments.
func flush(doc document, fn func(document) error) error {
	for line := range bytes.Lines(doc.text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return fn(doc)
		}
	}
	return nil
}

// limit is a reader that fails, rather than ends, where a file is too long.
type limit struct {
	r    io.Reader
	left int64
}

// Read reads up to the limit.
func (l *limit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		if n, err := l.r.Read(p[:min(1, len(p))]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("the file has more than %d bytes", MaxFileBytes)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
