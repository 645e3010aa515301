package route

import (
	"net/url"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// query is a condition on the query: exactly one parameter of the name, with the value.
type query struct{ name, value string }

func badQuery(message string) *authz.Error {
	return &authz.Error{Kind: authz.KindInvalid, Code: "BAD_QUERY", Message: message}
}

// holds tells whether the raw query meets the condition. It refuses one that programs read in different ways: the parameter twice, a
// semicolon, which some take for an ampersand, a broken escape, and names with control characters, at which some stop reading.
func (q query) holds(raw string) (bool, *authz.Error) {
	if raw == q.name+"="+q.value {
		return true, nil
	}
	if len(raw) > MaxPath {
		return false, badQuery("the query is longer than 4096 bytes")
	}
	if strings.IndexByte(raw, ';') >= 0 {
		return false, badQuery("the query has a semicolon; send it as %3B")
	}
	found, holds := false, false
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		key, value, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(key)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		switch {
		case err != nil:
			return false, badQuery("the query has a percent sign that no two hexadecimal digits follow")
		case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return false, badQuery("the query has a parameter with a control character in its name")
		case key != q.name:
			continue
		case found:
			return false, badQuery("the query has the parameter " + q.name + " more than once")
		}
		found, holds = true, value == q.value
	}
	return holds, nil
}
