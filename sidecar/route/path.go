package route

import (
	"strings"
	"unicode/utf8"

	"github.com/jobward/jobward/pdp/authz"
)

// Bounds of a request's path.
const (
	// MaxPath is the longest path in bytes.
	MaxPath = 4096
	// MaxSegments bounds the work that a path with many slashes can cause.
	MaxSegments = 128
)

// split is a path cut at its slashes, each segment decoded once. A slash that was %2F stands inside a segment of dec.
type split struct {
	raw, dec string
	// Segment i ends at rawEnd[i] and decEnd[i]; the next begins one byte later. The first begins at 1.
	rawEnd, decEnd [MaxSegments]uint16
	n              int
}

// segment gives segment i as it was sent, and decoded.
func (s *split) segment(i int) (raw, dec string) {
	r, d := 1, 1
	if i > 0 {
		r, d = int(s.rawEnd[i-1])+1, int(s.decEnd[i-1])+1
	}
	return s.raw[r:s.rawEnd[i]], s.dec[d:s.decEnd[i]]
}

func badPath(message string) *authz.Error {
	return &authz.Error{Kind: authz.KindInvalid, Code: "BAD_PATH", Message: message}
}

// cut splits path into s, and refuses whatever two programs could read differently.
func (s *split) cut(path string) *authz.Error {
	if len(path) > MaxPath {
		return badPath("the path is longer than 4096 bytes")
	}
	if path == "" || path[0] != '/' {
		return badPath("the path must begin with a slash")
	}
	s.raw, s.dec = path, path
	if strings.IndexByte(path, '%') >= 0 {
		dec, err := decode(path)
		if err != nil {
			return err
		}
		s.dec = dec
	}
	return s.ends()
}

// What a byte of a path is.
const (
	isPlain = iota
	isSlash
	isHigh  // part of a character beyond ASCII
	isNever // not in a path, whether encoded or not
	isBare  // not in a path unless encoded
)

var bytesOfPath = func() (t [256]uint8) {
	for i := range t {
		switch c := byte(i); {
		case c < 0x20, c == 0x7f, c == '\\', c == ';':
			t[i] = isNever
		case c == ' ', c == '#', c == '?':
			t[i] = isBare
		case c == '/':
			t[i] = isSlash
		case c >= 0x80:
			t[i] = isHigh
		}
	}
	return t
}()

// decode turns each %XX of the path into its byte, once.
func decode(path string) (string, *authz.Error) {
	buf := make([]byte, 0, 256) // on the stack; longer paths move it
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' {
			buf = append(buf, c)
			continue
		}
		if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
			return "", badPath("the path has a percent sign that no two hexadecimal digits follow; send it as %25")
		}
		buf = append(buf, unhex(path[i+1])<<4|unhex(path[i+2]))
		i += 2
	}
	dec := string(buf)
	for i := 0; i+2 < len(dec); i++ {
		if dec[i] == '%' && isHex(dec[i+1]) && isHex(dec[i+2]) {
			return "", badPath("the path is percent-encoded twice; encode it once")
		}
	}
	return dec, nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// ends finds the ends of the segments, and looks at every byte and every name between two slashes, encoded slashes included.
func (s *split) ends() *authz.Error {
	beyond := false
	r := 0           // the place in raw
	begin := 1       // of the name in dec
	slash2f := false // the name began after an encoded slash
	for d := 0; d <= len(s.dec); d++ {
		kind, encoded := uint8(isSlash), false
		if d < len(s.dec) {
			kind = bytesOfPath[s.dec[d]]
			encoded = s.raw[r] == '%'
		}
		switch kind {
		case isNever:
			return badPath("the path has a control character, a backslash or a semicolon, encoded or not")
		case isBare:
			if !encoded {
				return badPath("the path has a space, # or ? that is not percent-encoded")
			}
		case isHigh:
			beyond = true
		case isSlash:
			if d == 0 {
				if encoded {
					return badPath("the path must begin with a slash")
				}
				break
			}
			last := d == len(s.dec)
			switch name := s.dec[begin:d]; {
			case name == "" && (!last || slash2f):
				return badPath("the path has an empty segment (two slashes in a row)")
			case name == "." || name == "..":
				return badPath("the path has a dot segment (. or ..), encoded or not")
			}
			begin, slash2f = d+1, encoded
			if encoded {
				break
			}
			if s.n == MaxSegments {
				return badPath("the path has more than 128 segments")
			}
			s.rawEnd[s.n], s.decEnd[s.n] = uint16(r), uint16(d)
			s.n++
		}
		if r++; encoded {
			r += 2
		}
	}
	if beyond && !utf8.ValidString(s.dec) {
		return badPath("the path is not UTF-8")
	}
	return nil
}
