package route_test

import (
	"math/rand/v2"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/jobward/jobward/sidecar/route"
)

// same checks that the table says what the naive one says, and that no request has two routes.
func same(t testing.TB, table *route.Table, n *naive, r *route.Request) {
	t.Helper()
	m, err := table.Match(r)
	get := *r
	if get.Method == "HEAD" {
		get.Method = "GET"
	}
	names, targets := n.match(&get)
	for _, name := range names {
		if name != names[0] {
			t.Fatalf("%q has two routes: %s and %s", r.Path, names[0], name)
		}
	}
	switch {
	case len(names) == 0 && err == nil:
		t.Fatalf("%s %q?%q is %s, and the naive table has no route", r.Method, r.Path, r.Query, m.Route.Name)
	case len(names) > 0 && err != nil && refusal(err).Code == "BAD_QUERY": // semicolons and lengths: the naive table is laxer
	case len(names) > 0 && (err != nil || m.Route.Name != names[0]):
		t.Fatalf("%s %q?%q: %+v, %v; the naive table has %s", r.Method, r.Path, r.Query, m.Route, err, names[0])
	case err == nil && m.Route.Target == route.InPath && where(m) != "project "+targets[0]:
		t.Fatalf("%s %q: target %+v, the naive table has %s", r.Method, r.Path, m.Target, targets[0])
	case err == nil && m.Route.Target == route.ThatJob && where(m) != "job "+targets[0]:
		t.Fatalf("%s %q: job %s, the naive table has %s", r.Method, r.Path, m.Job, targets[0])
	}
}

// canonical checks that a path which is taken means the same once programs have decoded, cleaned and encoded it again.
func canonical(t testing.TB, table *route.Table, r *route.Request) {
	t.Helper()
	m, err := table.Match(r)
	if err != nil {
		return
	}
	u, err := url.ParseRequestURI(r.Path)
	if err != nil {
		t.Fatalf("%q is taken, and net/url says %v", r.Path, err)
	}
	if clean := path.Clean(u.Path); clean != u.Path && clean+"/" != u.Path {
		t.Fatalf("%q is taken, and cleaned it is %q", r.Path, clean)
	}
	var again strings.Builder
	for _, segment := range strings.Split(r.Path, "/")[1:] {
		s, err := url.PathUnescape(segment)
		if err != nil {
			t.Fatalf("%q is taken: %v", r.Path, err)
		}
		again.WriteString("/" + url.PathEscape(s))
	}
	c := *r
	c.Path = again.String()
	if got, err := table.Match(&c); (err != nil || got != m) && len(c.Path) <= route.MaxPath {
		t.Fatalf("%q is %+v, and encoded again %q it is %+v, %v", r.Path, m, c.Path, got, err)
	}
	if m.Route.Surface.String() == "git" && !strings.HasPrefix(r.Path, "/"+m.Target.Path+".git/") &&
		!strings.HasPrefix(r.Path, "/"+m.Target.Path+"/") {
		t.Fatalf("a path of Git does not begin with the project's: %q", r.Path)
	}
}

// mutate makes a path that is nearly p.
func mutate(rnd *rand.Rand, p string) string {
	bits := []string{"/", "%2F", "%2f", "%2E", ".", "..", "//", "%", "%25", "%00", ";", "\\", "%5C", "-", "/-/", ".git", ".git/", "api", "+", "0", "1", "42", "a", "%61", "é", "%C3%A9",
		"%ff", " ", "%20", "?", "#", "info", "/info/refs", "@v", "packages", "authorize", "v1.info", "number", "\x01", "~", "A"}
	for range 1 + rnd.IntN(3) {
		i := rnd.IntN(len(p) + 1)
		switch rnd.IntN(5) {
		case 0:
			p = p[:i] + bits[rnd.IntN(len(bits))] + p[i:]
		case 1:
			j := i + rnd.IntN(min(len(p)-i, 8)+1)
			p = p[:i] + p[j:]
		case 2: // encode what stands there
			if i < len(p) {
				p = p[:i] + "%" + string("0123456789ABCDEF"[p[i]>>4]) + string("0123456789ABCDEF"[p[i]&15]) + p[i+1:]
			}
		case 3: // another segment
			s := strings.Split(p, "/")
			s[rnd.IntN(len(s))] = bits[rnd.IntN(len(bits))]
			p = strings.Join(s, "/")
		case 4: // a segment twice, or two exchanged
			s := strings.Split(p, "/")
			a, b := rnd.IntN(len(s)), rnd.IntN(len(s))
			s[a] = s[b]
			p = strings.Join(s, "/")
		}
	}
	return p
}

// TestRandom: paths near those of the examples, against the naive table and net/url.
func TestRandom(t *testing.T) {
	rnd := route.Random(t)
	table, n := route.Builtin(), builtinNaive(t)
	methods := []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"}
	queries := []string{"", "service=git-upload-pack", "service=git-receive-pack", "service=x&service=git-upload-pack", "a=b"}
	hits := 0
	for range 6000 {
		i := rnd.IntN(len(n.rows))
		r := &route.Request{Method: n.rows[i].method, Path: n.rows[i].example(rnd.IntN(2)), Query: n.rows[i].query}
		r.Path = mutate(rnd, r.Path)
		if rnd.IntN(8) == 0 {
			r.Method, r.Query = methods[rnd.IntN(len(methods))], queries[rnd.IntN(len(queries))]
		}
		same(t, table, n, r)
		canonical(t, table, r)
		if _, err := table.Match(r); err == nil {
			hits++
		}
	}
	if hits < 500 {
		t.Errorf("only %d of the paths have a route: the test asks too little", hits)
	}
}

// FuzzMatch: Match never panics, agrees with the naive table, and no request has two routes.
func FuzzMatch(f *testing.F) {
	n := builtinNaive(f)
	for i, row := range n.rows {
		f.Add(row.method, row.example(i), row.query)
	}
	f.Add("GET", "/%2e%2e/%252f\\;\x00", "service=%zz;&service")
	table := route.Builtin()
	f.Fuzz(func(t *testing.T, method, path, query string) {
		r := &route.Request{Method: method, Path: path, Query: query}
		same(t, table, n, r)
		canonical(t, table, r)
	})
}
