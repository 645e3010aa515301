package gate

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/route"
)

// shown is what a request shows.
type shown struct {
	token   string // the first of the job tokens that the route has places for; empty when there is none
	two     bool   // another one differs from it
	ours    bool   // Authorization holds a job token, seen or not
	private bool   // PRIVATE-TOKEN holds one
	query   string // without job tokens
	// overrides tells that the request asks the service to take it for another one than is judged. Frameworks obey such headers and
	// parameters; a door that cannot take them away must not let them through.
	overrides bool
}

// is takes a text that was shown as a job token.
func (s *shown) is(text string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
	case s.token == "":
		s.token = text
	case s.token != text:
		s.two = true
	}
}

// look finds the job token of r in the order of §4.3, and what must not be passed on.
func (g *Gate) look(r *Request, at *route.Route) (s shown) {
	if at == nil {
		at = &route.Route{}
	}
	c := at.Carriers
	for _, value := range values(r.Header, "Authorization") {
		for more := true; more; {
			var one string
			one, value, more = strings.Cut(value, ",") // a proxy may have joined two
			g.inAuthorization(&s, one, c)
		}
	}
	s.query = g.inQuery(&s, r.Query, at)
	g.inForm(&s, r, at)
	for _, value := range values(r.Header, "Job-Token") {
		if c&route.Header == 0 {
			break
		}
		for rest := value; rest != ""; {
			value, rest, _ = strings.Cut(rest, ",")
			s.is(value)
		}
	}
	for _, value := range values(r.Header, "Private-Token") {
		s.private = s.private || g.shaped(strings.TrimSpace(value))
	}
	for _, name := range overriding {
		s.overrides = s.overrides || len(values(r.Header, name)) > 0
	}
	return s
}

// inAuthorization looks at one credential.
func (g *Gate) inAuthorization(s *shown, text string, c route.Carriers) {
	scheme, rest := credential(text)
	switch {
	case strings.EqualFold(scheme, "bearer") && g.shaped(rest):
		s.ours = true
		if c&route.Bearer != 0 {
			s.is(rest)
		}
	case strings.EqualFold(scheme, "basic"):
		password, ok := basic(rest)
		switch {
		case !ok: // somebody else's, unless a job token is shown by a wrong name
			s.ours = s.ours || g.shaped(password)
			return
		case c&route.Basic != 0:
			s.is(password)
		}
		s.ours = true
	default: // the token alone, or "token jobt-…": nothing that counts, and nothing to be passed on
		s.ours = s.ours || g.shaped(scheme) || g.shaped(rest)
	}
}

// What some frameworks take for the method, or for the URL.
var overriding = [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"}

const methodParameter = "_method"

// shaped reports whether text has the shape of a job token of this installation.
func (g *Gate) shaped(text string) bool {
	return text != "" && len(text) <= token.MaxLen && !g.Asker.Digest(text).IsZero()
}

// credential splits the value of an Authorization header. What follows a second blank is no part of it.
func credential(value string) (scheme, rest string) {
	value = strings.TrimLeft(value, " \t")
	i := strings.IndexAny(value, " \t")
	if i < 0 {
		return value, ""
	}
	scheme, rest = value[:i], strings.Trim(value[i:], " \t")
	if i := strings.IndexAny(rest, " \t"); i >= 0 {
		rest = rest[:i]
	}
	return scheme, rest
}

// login is how the text of Basic credentials with a job token begins.
const login = pep.CIUser + ":"

// basic reads Basic credentials; ok tells that the user is exactly gitlab-ci-token, or cannot be known. The password of others is given, too. A password that is too long for a token is cut, and still
// too long.
func basic(text string) (password string, ok bool) {
	const most = (len(login) + token.MaxLen + 3) / 3 * 3
	var buf [most]byte
	text = strings.TrimRight(text, "=")
	var encoded [most / 3 * 4]byte
	n, err := base64.RawStdEncoding.Decode(buf[:], encoded[:copy(encoded[:], text)])
	if err != nil {
		// Other programs read past what is no base64, and may find our user: what cannot be read is no token, and no absent one.
		return "unreadable", true
	}
	if n < len(login) || string(buf[:len(login)]) != login {
		_, password, _ := strings.Cut(string(buf[:n]), ":")
		return password, false
	}
	return string(buf[len(login):n]), true
}

// inForm looks at the body's parameters, where the door has read them.
func (g *Gate) inForm(s *shown, r *Request, at *route.Route) {
	if len(r.Form) == 0 {
		return
	}
	if at.Carriers&route.Param != 0 {
		for _, value := range r.Form["job_token"] {
			s.is(value)
		}
	}
	for _, value := range r.Form["token"] {
		g.isToken(s, value, at)
	}
}

// isToken takes the value of a parameter "token". On the trigger route it may be a pipeline trigger token (§4.2), which has not the shape of a
// job token.
func (g *Gate) isToken(s *shown, value string, at *route.Route) {
	if at.Carriers&(route.Param|route.ParamTok) == 0 || at.Style == route.Trigger && !g.shaped(strings.TrimSpace(value)) {
		return
	}
	s.is(value)
}

// values is Values, without looking at the spelling of a name that is known to be canonical.
func values(h Headers, name string) []string {
	if m, ok := h.(http.Header); ok {
		return m[name]
	}
	return h.Values(name)
}
