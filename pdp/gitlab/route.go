package gitlab

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jobward/jobward/pdp/authz"
)

// access says what a caller of a route has to show.
type access uint8

const (
	// withKey: a maintainer's key. A job token never opens these.
	withKey access = iota
	// withJobToken: a job token, about its own job.
	withJobToken
)

// route is one row of the table: a method, a path below /api/v4, and what it does.
type route struct {
	method, path string
	access       access
	run          func(*call) error

	segments []string
}

// routes is the table. ":id" is the owner of a list, ":other" whom an entry names.
func routes() []*route {
	const scope = "projects/:id/job_token_scope"
	projects, groups := side{authz.ScopeProject, "target_project_id"}, side{authz.ScopeGroup, "target_group_id"}
	table := []*route{
		{method: http.MethodGet, path: "projects/:id", run: (*call).getProject},
		{method: http.MethodPut, path: "projects/:id", run: (*call).putProject},
		{method: http.MethodGet, path: scope, run: (*call).getScope},
		{method: http.MethodPatch, path: scope, run: (*call).patchScope},
		{method: http.MethodGet, path: "application/settings", run: (*call).getSettings},
		{method: http.MethodPut, path: "application/settings", run: (*call).putSettings},
		{method: http.MethodGet, path: "user", run: (*call).getUser},
		{method: http.MethodGet, path: "job", access: withJobToken, run: (*call).getJob},
	}
	for path, s := range map[string]side{scope + "/allowlist": projects, scope + "/groups_allowlist": groups} {
		table = append(table,
			&route{method: http.MethodGet, path: path, run: s.list},
			&route{method: http.MethodPost, path: path, run: s.add},
			&route{method: http.MethodPut, path: path + "/:other", run: s.change},
			&route{method: http.MethodPatch, path: path + "/:other", run: s.change},
			&route{method: http.MethodDelete, path: path + "/:other", run: s.remove},
		)
	}
	for _, r := range table {
		r.segments = strings.Split(r.path, "/")
	}
	return table
}

// name is the path as logs and metrics have it.
func (r *route) name() string {
	if r == nil {
		return "none"
	}
	return r.path
}

// find finds the route of the request. HEAD is GET without a body, which net/http sees to.
func (c *call) find() error {
	segments, ok := split(c.r.URL.EscapedPath())
	if !ok {
		return errNoRoute()
	}
	wanted := c.r.Method
	if wanted == http.MethodHead {
		wanted = http.MethodGet
	}
	var allow []string
	for _, r := range c.routes {
		ids, ok := r.match(segments)
		if !ok {
			continue
		}
		if r.method == wanted {
			c.route, c.owner, c.other = r, ids[0], ids[1]
			return nil
		}
		if allow = append(allow, r.method); r.method == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	if len(allow) == 0 {
		return errNoRoute()
	}
	slices.Sort(allow)
	return &failure{
		status: http.StatusMethodNotAllowed, key: keyError, text: "405 Not Allowed",
		header: http.Header{"Allow": {strings.Join(allow, ", ")}},
	}
}

// split takes the path below /api/v4 apart as it was sent: a slash that is written %2F
// belongs to an id and parts nothing.
func split(escaped string) ([]string, bool) {
	rest, ok := strings.CutPrefix(escaped, "/api/v4/")
	if !ok {
		return nil, false
	}
	segments := strings.SplitN(rest, "/", 6)
	return segments, !slices.Contains(segments, "")
}

// match gives the ids of a path that is the route's. They are decoded once; fixed words
// have to be written plainly.
func (r *route) match(segments []string) (ids [2]string, ok bool) {
	if len(segments) != len(r.segments) {
		return ids, false
	}
	for i, want := range r.segments {
		var err error
		switch want {
		case ":id":
			ids[0], err = url.PathUnescape(segments[i])
		case ":other":
			ids[1], err = url.PathUnescape(segments[i])
		default:
			if segments[i] != want {
				return ids, false
			}
		}
		if err != nil {
			return ids, false
		}
	}
	return ids, true
}

// maxPath is the longest full path in bytes that is looked up.
const maxPath = 4096

// readTarget reads an id of a path: a number, or a full path. What can be neither names
// nothing.
func readTarget(text string) (authz.Target, bool) {
	if n, ok := readNumber(text); ok {
		return authz.Target{ID: authz.ProjectID(n)}, authz.ProjectID(n).Valid()
	}
	if digits(strings.TrimLeft(text, "+-")) || len(text) > maxPath || !utf8.ValidString(text) {
		return authz.Target{}, false
	}
	for part := range strings.SplitSeq(text, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, oddInPath) {
			return authz.Target{}, false
		}
	}
	return authz.Target{Path: text}, true
}

// oddInPath is what no name has, and what could mean another path to another program: a
// second encoding, a backslash, a blank, a control character.
func oddInPath(r rune) bool {
	return r <= ' ' || r == 0x7f || r == '%' || r == '\\' || r == '?' || r == '#'
}

// readNumber reads an integer as people write it: no plus, no zero before it.
func readNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == text
}

func digits(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return text != ""
}

// method keeps what callers invent out of logs and metrics.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}
