package gate

import (
	"net/url"
	"strings"

	"github.com/jobward/jobward/sidecar/route"
)

// inQuery looks at the parameters of a raw query, and gives it without those that hold job tokens, otherwise byte for byte as it was.
//
// Tokens are looked for between ampersands, as the URL standard has them. What is passed on has none between semicolons either, which some
// servers still take for separators: there a token is not seen, and not passed on.
func (g *Gate) inQuery(s *shown, query string, at *route.Route) string {
	if query == "" {
		return ""
	}
	var out []byte // nil as long as nothing was left out
	kept := 0      // pieces
	for from := 0; from <= len(query); {
		to := len(query)
		if i := strings.IndexByte(query[from:], '&'); i >= 0 {
			to = from + i
		}
		g.readParameter(s, query[from:to], at)
		for from <= to { // pieces of one parameter
			end := to
			if i := strings.IndexByte(query[from:to], ';'); i >= 0 {
				end = from + i
			}
			switch drop := g.holdsToken(query[from:end], at); {
			case !drop && out != nil:
				if kept > 0 {
					out = append(out, query[from-1])
				}
				out = append(out, query[from:end]...)
				kept++
			case !drop:
				kept++
			case out == nil:
				out = append(make([]byte, 0, len(query)), query[:max(from-1, 0)]...)
			}
			from = end + 1
		}
	}
	if out == nil {
		return query
	}
	return string(out)
}

// readParameter takes one parameter between ampersands.
func (g *Gate) readParameter(s *shown, piece string, at *route.Route) {
	name, value, _ := strings.Cut(piece, "=")
	switch unescape(name) {
	case "job_token":
		if at.Carriers&route.Param != 0 {
			s.is(unescape(value))
		}
	case "token":
		g.isToken(s, unescape(value), at)
	case methodParameter:
		s.overrides = true
	}
}

// holdsToken reports whether a piece of the query must not be passed on: by its name, or because its value is a job token under any name.
func (g *Gate) holdsToken(piece string, at *route.Route) bool {
	name, value, _ := strings.Cut(piece, "=")
	name, _, _ = strings.Cut(unescape(name), "[") // job_token[] is a list of them to some
	value = strings.TrimSpace(unescape(value))
	return name == "job_token" || name == "token" && at.Carriers&route.Param != 0 || g.shaped(value)
}

// unescape decodes a part of a query. What cannot be decoded stays as it is, as the more lenient servers leave it; it is no token then.
func unescape(part string) string {
	if strings.IndexByte(part, '%') < 0 && strings.IndexByte(part, '+') < 0 {
		return part
	}
	if text, err := url.QueryUnescape(part); err == nil {
		return text
	}
	return part
}
