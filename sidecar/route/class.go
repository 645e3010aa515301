package route

import (
	"strconv"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// kind is what a parameter's segment can hold.
type kind uint8

const (
	kindAny    kind = iota
	kindNumber      // digits
	kindJob         // an authz.JobID
	kindName        // one name of a project's full path
	kindID          // a project: its number, or its full path with encoded slashes
	kindPlus        // a project's full path with + for the slashes
)

// Bounds of a project's full path, those of pdp/authz's wire form.
const (
	maxProjectPath  = 1024
	maxProjectNames = 64
)

// class is the set of segments that a parameter matches. No class has the empty segment.
type class struct {
	kind kind
	// suffix ends the segment and is not part of the value.
	suffix string
	// The decoded segment is none of not, and has no suffix of notSuffix.
	not, notSuffix []string
	// encoded lets the segment hold slashes as %2F.
	encoded bool
}

// key tells classes apart.
func (c *class) key() string {
	return strconv.Itoa(int(c.kind)) + " " + c.suffix + " " + strings.Join(c.not, "|") + " " + strings.Join(c.notSuffix, "|") + " " + strconv.FormatBool(c.encoded)
}

// matches tells whether the segment, raw as it was sent and dec decoded, is of the class. Loose compares decoded text only: it finds what a
// program sees that decodes early.
func (c *class) matches(raw, dec string, loose bool) bool {
	value, ok := strings.CutSuffix(dec, c.suffix)
	if !ok || value == "" {
		return false
	}
	for _, n := range c.not {
		if dec == n {
			return false
		}
	}
	for _, n := range c.notSuffix {
		if strings.HasSuffix(dec, n) {
			return false
		}
	}
	escaped := len(raw) != len(dec)
	if escaped && !loose {
		if !strings.HasSuffix(raw, c.suffix) || c.kind == kindName {
			return false
		}
		if !c.encoded && c.kind != kindID && strings.IndexByte(dec, '/') >= 0 {
			return false
		}
	}
	switch c.kind {
	case kindNumber:
		return digits(value)
	case kindJob:
		return authz.JobID(value).Valid()
	case kindName:
		return name(value)
	case kindID:
		if digits(value) {
			return number(value) != 0
		}
		return fullPath(value, '/')
	case kindPlus:
		return fullPath(value, '+')
	}
	return true
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// number gives the project id that s writes, 0 when it writes none: ids have no leading zeros.
func number(s string) authz.ProjectID {
	if len(s) > 16 || s[0] == '0' {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !authz.ProjectID(n).Valid() {
		return 0
	}
	return authz.ProjectID(n)
}

// name tells whether s can be one name of a full path. Names that end in .git would make two readings of a Git URL, and "-" is what forges
// put between a project and the rest.
func name(s string) bool {
	if s == "" || s == "." || s == ".." || s == "-" || strings.HasSuffix(s, ".git") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !unreserved(s[i]) {
			return false
		}
	}
	return true
}

func unreserved(c byte) bool {
	return alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

// fullPath tells whether s is two or more names with sep between them.
func fullPath(s string, sep byte) bool {
	if len(s) > maxProjectPath {
		return false
	}
	names := 0
	for more := true; more; names++ {
		n := s
		if i := strings.IndexByte(s, sep); i >= 0 {
			n, s = s[:i], s[i+1:]
		} else {
			more = false
		}
		if !name(n) {
			return false
		}
	}
	return names >= 2 && names <= maxProjectNames
}
