package route_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/route"
)

// wide is a table whose operator's route takes any path of GET that is not the REST API, Git or a root: what Match refuses there is refused for
// the path's own sake.
func wide(t testing.TB) *route.Table {
	t.Helper()
	table, err := route.Extend([]byte(`routes:
  - methods: [GET]
    patterns: ["/", "/:first<encoded, not api>(/)", "/:first<encoded, not api>/*rest<encoded, not *.git|refs>(/)"]
    open: true
`))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestRejected: paths that two programs could read differently, each with its reason, on a table that would take them otherwise.
func TestRejected(t *testing.T) {
	table := wide(t)
	for _, c := range []struct{ path, want string }{
		{"", "begin with a slash"},
		{"a", "begin with a slash"},
		{"*", "begin with a slash"},
		{"http://host/a", "begin with a slash"},
		{"%2Fa", "begin with a slash"},
		{"//", "empty segment"},
		{"//a", "empty segment"},
		{"/a//b", "empty segment"},
		{"/a//", "empty segment"},
		{"/a%2F", "empty segment"},
		{"/a%2F/b", "empty segment"},
		{"/a/%2Fb", "empty segment"},
		{"/a%2F%2fb", "empty segment"},
		{"/.", "dot segment"},
		{"/..", "dot segment"},
		{"/./a", "dot segment"},
		{"/a/../b", "dot segment"},
		{"/a/.", "dot segment"},
		{"/a/./", "dot segment"},
		{"/a/%2E/b", "dot segment"},
		{"/a/%2e%2E/b", "dot segment"},
		{"/a/.%2e", "dot segment"},
		{"/a%2F..%2Fb", "dot segment"},
		{"/a%2F%2e", "dot segment"},
		{"/a%2F../b", "dot segment"},
		{"/%", "percent sign"},
		{"/a%", "percent sign"},
		{"/a%2", "percent sign"},
		{"/a%2/b", "percent sign"},
		{"/a%zz", "percent sign"},
		{"/a%u002f", "percent sign"},
		{"/a%252Fb", "encoded twice"},
		{"/a%25%32%66b", "encoded twice"},
		{"/a%2%35", "percent sign"},
		{"/%252e%252e/b", "encoded twice"},
		{"/a%00", "control character"},
		{"/a\x00b", "control character"},
		{"/a%0d%0a", "control character"},
		{"/a\n", "control character"},
		{"/a\t", "control character"},
		{"/a%7F", "control character"},
		{`/a\b`, "backslash"},
		{`/a/..\b`, "backslash"},
		{"/a%5Cb", "backslash"},
		{"/a%5c", "backslash"},
		{"/a;b=1/c", "semicolon"},
		{"/a/..;/b", "semicolon"},
		{"/a%3Bb", "semicolon"},
		{"/a b", "not percent-encoded"},
		{"/a#b", "not percent-encoded"},
		{"/a?b", "not percent-encoded"},
		{"/a%ff", "not UTF-8"},
		{"/a\xff", "not UTF-8"},
		{"/a%c0%afb", "not UTF-8"},
		{"/a%c0%ae", "not UTF-8"},
		{"/a%ed%a0%80", "not UTF-8"},
		{"/" + strings.Repeat("a", route.MaxPath), "longer than 4096"},
		{"/" + strings.Repeat("%61", route.MaxPath/3+1), "longer than 4096"},
		{strings.Repeat("/a", route.MaxSegments+1), "more than 128 segments"},
		{strings.Repeat("/a", route.MaxSegments) + "/", "more than 128 segments"},
	} {
		m, err := table.Match(get(c.path, ""))
		if e := refusal(err); e == nil || e.Code != "BAD_PATH" || !strings.Contains(e.Message, c.want) {
			t.Errorf("%.60q: %+v, %v; wanted %s", c.path, m, err, c.want)
		}
	}
	for _, path := range []string{
		"/", "/a", "/a/", "/...", "/a..b", "/.a/b.", "/a%2Fb", "/a%2Fb/", "/a%20b", "/a%23%3F", "/100%25", "/%25zz", "/%C3%A9", "/é", "/a:b@c!$&'()*+,=~-_.", `/a"<>[]^{|}`, "/a%2eb",
		"/" + strings.Repeat("a", route.MaxPath-1), strings.Repeat("/a", route.MaxSegments),
	} {
		if m, err := table.Match(get(path, "")); err != nil || !m.Route.Open {
			t.Errorf("%.60q: %+v, %v", path, m, err)
		}
	}
}

// TestRejectedByRoute: what is refused because of where in a route it stands.
func TestRejectedByRoute(t *testing.T) {
	table := route.Builtin()
	const up = "service=git-upload-pack"
	for _, c := range []struct{ path, query, code string }{
		// A program that decodes early reads another name than the one judged (TRAPS, "Real programs").
		{"/acme/hidde%6e.git/info/refs", up, "BAD_PATH"},
		{"/acme%2Fhidden.git/info/refs", up, "NO_ROUTE"}, // one segment is no project
		{"/acme/x%2Fhidden.git/info/refs", up, "NO_ROUTE"},
		{"/acme/hidden%2Egit/info/refs", up, "BAD_PATH"},
		{"/acme/hidden.git/info%2Frefs", up, "NO_ROUTE"},
		{"/acme/hidden.git/%69nfo/refs", up, "BAD_PATH"},
		{"/%61pi/v4/job", "", "BAD_PATH"},
		{"/api/v4/projects/1/variables/A%2FB", "", "BAD_PATH"},
		{"/api/v4/projects/1/packages/generic/a/1%2F2/f", "", "BAD_PATH"},
		{"/api/v4/projects/1/jobs/artifacts/a%2Fb/raw/c%2Fd", "", "BAD_PATH"},
		{"/api/v4/projects/1/packages/npm/%2D/package/a/dist-tags", "", "BAD_PATH"},
		{"/api/v4/projects/1/packages/go/m/%40v/list", "", "BAD_PATH"},
		{"/api/v4/projects/1/packages/go/m/@v/v1%2Einfo", "", "BAD_PATH"},
		{"/api/v4/projects/%31/packages", "", ""}, // a parameter may
		{"/api/v4/projects/acme/lib/packages", "", "NO_ROUTE"},
		{"/api/v4/projects/acme%2F/packages", "", "BAD_PATH"},
		{"/api/v4/projects/acme%2Flib.git/packages", "", "NO_ROUTE"},
		{"/api/v4/projects/a%2Fb%20c/packages", "", "NO_ROUTE"},
		{"/api/v4/projects/a%2F-%2Fc/packages", "", "NO_ROUTE"},
		{"/api/v4/projects/" + strings.Repeat("a%2F", 63) + "b/packages", "", ""},
		{"/api/v4/projects/" + strings.Repeat("a%2F", 64) + "b/packages", "", "NO_ROUTE"},
		{"/api/v4/projects/a%2F" + strings.Repeat("b", 1022) + "/packages", "", ""},
		{"/api/v4/projects/a%2F" + strings.Repeat("b", 1023) + "/packages", "", "NO_ROUTE"},
		{strings.Repeat("/a", 63) + "/b.git/info/refs", up, ""},
		{strings.Repeat("/a", 64) + "/b.git/info/refs", up, "BAD_PATH"},
		{"/a/" + strings.Repeat("b", 1022) + ".git/info/refs", up, ""},
		{"/a/" + strings.Repeat("b", 1023) + ".git/info/refs", up, "BAD_PATH"},

		{"/a/b.git/info/refs", up + "&" + up, "BAD_QUERY"},
		{"/a/b.git/info/refs", up + "&service=git-receive-pack", "BAD_QUERY"},
		{"/a/b.git/info/refs", "service=git-receive-pack&%73ervice=git-upload-pack", "BAD_QUERY"},
		{"/a/b.git/info/refs", up + "&service", "BAD_QUERY"},
		{"/a/b.git/info/refs", "service%00=git-receive-pack&" + up, "BAD_QUERY"},
		{"/a/b.git/info/refs", "x=1;service=git-receive-pack&" + up, "BAD_QUERY"},
		{"/a/b.git/info/refs", "%zz&" + up, "BAD_QUERY"},
		{"/a/b.git/info/refs", "service=%z", "BAD_QUERY"},
		{"/a/b.git/info/refs", up + "&" + strings.Repeat("x", route.MaxPath), "BAD_QUERY"},
		{"/a/b.git/info/refs", "service=git-upload-pack%00", "NO_ROUTE"},
		{"/a/b.git/info/refs", "service=git-upload-pack+", "NO_ROUTE"},
		{"/a/b.git/info/refs", "service=Git-Upload-Pack", "NO_ROUTE"},
		{"/a/b.git/info/refs", "SERVICE=git-upload-pack", "NO_ROUTE"},
		{"/a/b.git/info/refs", "x=%zz", "BAD_QUERY"},
		{"/a/b.git/info/refs", "&&a=b&" + up + "&", ""},
		{"/api/v4/job", "service=1&service=2;%zz", ""}, // no condition, nothing to refuse
	} {
		m, err := table.Match(get(c.path, c.query))
		e := refusal(err)
		if (c.code == "") != (err == nil) || e != nil && e.Code != c.code {
			t.Errorf("%.90s?%.60s: %+v, %v; wanted %q", c.path, c.query, m, err, c.code)
		}
		if e != nil && (e.Kind == authz.KindNotFound) != (e.Code == "NO_ROUTE") || e != nil && e.Kind == authz.KindInternal {
			t.Errorf("%.90s: kind %d", c.path, e.Kind)
		}
	}
}

func refusal(err error) *authz.Error {
	var e *authz.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
