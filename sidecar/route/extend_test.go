package route_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/route"
)

// one is a document with one route; fields replace those of a good one, by name.
func one(fields ...string) string {
	lines := []string{"methods: [GET]", `patterns: ["/svc/:id"]`, "permission: read_packages", `project: ":id"`, "carriers: [header]"}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		kept := lines[:0]
		for _, l := range lines {
			if !strings.HasPrefix(l, name+":") {
				kept = append(kept, l)
			}
		}
		if lines = kept; value != "" {
			lines = append(lines, f)
		}
	}
	return "routes:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func pattern(p string) string { return `patterns: ["` + p + `"]` }

// TestExtendErrors: what is wrong with a document, in the words that an operator reads.
func TestExtendErrors(t *testing.T) {
	var b bytes.Buffer
	for _, doc := range []string{
		"[]", "routes: 7", "routes: [7]", "route: []", "routes:\n  - patern: /a", "routes: [", "routes: []\n---\nroutes: []", "routes: []\nroutes: []",
		"routes: &a []", "routes: *a", "routes: !x []", "routes: [[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]", "routes: - - - - - - - - - - - - - - - - - - - - - - x", "routes: ]",
		"routes:\n  - methods: [GET]\n    methods: [PUT]", "routes:\n  - open: perhaps",
		one("methods: "), one("methods: []"), one("methods: [get]"), one("methods: [HEAD]"), one("methods: [GET, '']"), one("methods: [GE-T]"), one("methods: [GET, GET]"),
		one("patterns: "), one("patterns: []"), one(pattern("")), one(pattern("svc/:id")), one(pattern("/svc//:id")), one(pattern("/svc/./:id")), one(pattern("/svc/../:id")),
		one(pattern("/s%20vc/:id")), one(pattern("/s vc/:id")), one(pattern("/s?vc/:id")), one(pattern("/é/:id")), one(pattern("/s:vc/:id")), one(pattern("/a*/:id")),
		one(pattern("/:/:id")), one(pattern("/:A/:id")), one(pattern("/:" + strings.Repeat("a", 65) + "/:id")), one(pattern("/:id/:id")), one(pattern("/:id<number>")), one(pattern("/:id<encoded>")),
		one(pattern("/:id/:a<x>")), one(pattern("/:id/:a<number")), one(pattern("/:id/:a<>")), one(pattern("/:id/:a<not >")), one(pattern("/:id/:a<not a|>")), one(pattern("/:id/:a<not a/b>")),
		one(pattern("/:id/:a<not *b>")), one(pattern("/:id/:a<not a,not b>")), one(pattern("/:id/:a<number,encoded>")), one(pattern("/:id/:a<encoded,number>")),
		one(pattern("/:id/:a<not " + strings.Repeat("a|", 16) + "b>")), one(pattern("/:id/:a<not " + strings.Repeat("a", 65) + ">")), one(pattern("/:id/:a.b:c")), one(pattern("/:id/:a<number>7")),
		one(pattern("/:id/:a." + strings.Repeat("b", 64))),
		one(pattern("/:id(")), one(pattern("/:id)")), one(pattern("/:id()")), one(pattern("/:id(/(a))")), one(pattern("/:id(/a)(/b)(/c)(/d)")), one(pattern("(/a)/:id/)")),
		one(pattern("/:id/*a/*b/*c")), one(pattern("/:id" + strings.Repeat("/a", 32))), one(pattern("/:id/" + strings.Repeat("a", 512))),
		one("permission: "), one("permission: Read"), one("permission: " + strings.Repeat("a", 65)), one("surface: window"), one("surface: default"), one("surface: unlisted"),
		one("carriers: "), one("carriers: []"), one("carriers: [cookie]"), one("carriers: [header, header]"), one("carriers: [param, token-param]"), one("style: loud"),
		one("project: "), one(`project: ":x"`), one("project: id"), one(`project: ":"`), one(`project: "*id"`), one(`project: ":id/x"`), one("project: =0"), one("project: =007"), one("project: =a"),
		one("project: =a/../b"), one("project: =99999999999999999"), one("project: '+x'"), one("job: own"), one("project: ", "job: x"), one("project: ", "job: ':x'"),
		one(pattern("/svc/*x/:id")), one(pattern("/svc/:id/x/:b"), `project: ":id/:b"`), one(pattern("/svc/*p/*q"), `project: "*p"`), one(pattern("/svc/:a.x/:b"), `project: ":a/:b"`),
		one(pattern("/svc/:b/:a"), `project: ":a/:b"`), one(pattern("/svc/*a/:b"), `project: "*a/:b"`), one(pattern("/svc(/:id)")), one(pattern("/svc(/:x)/:id(/:y)")),
		one("query: service"), one("query: =x"), one("query: 'a=b c'"), one("query: 'a=b&c=d'"), one("query: 'a=%20'"),
		one("open: true"), "routes:\n  - open: true\n    methods: [GET]", "routes:\n  - open: true\n    methods: [GET]\n    patterns: [/a]\n    style: git",
		// Overlaps, with what is built in and with each other.
		one(pattern("/api/v4/projects/:id/packages")), one(pattern("/api/v4/job"), "project: owner"), one(pattern("/:x/v4/job"), "project: owner"), one(pattern("/api/*x"), "project: owner"),
		one(pattern("/files/*x"), "project: owner"), one(pattern("/*x"), "project: owner"), one(pattern("/files/*x<not info>.git/info/refs"), "project: owner", "query: service=git-upload-pack"),
		one(pattern("/files/a.git/info/refs"), "project: owner", "query: x=y"),
		one(`patterns: ["/svc/:id", "/svc/:x"]`, "project: owner"), one() + one(pattern("/svc/7"), "project: owner")[8:], one() + one(pattern("/svc/:x<encoded>"), "project: owner")[8:],
		one("query: a=b") + one("query: c=d")[8:], one("query: a=b") + one()[8:],
	} {
		table, err := route.Extend([]byte(doc))
		if err == nil {
			t.Errorf("taken, with %d routes:\n%s", len(table.Routes()), doc)
			continue
		}
		if strings.Contains(err.Error(), "\n") || len(err.Error()) > 1500 {
			t.Errorf("an error over several lines, or a long one: %s", err)
		}
		fmt.Fprintf(&b, "%s\n  => %s\n\n", strings.TrimSuffix(doc, "\n"), err)
	}
	golden(t, "extend.golden", b.Bytes())
}

// TestExtendLimits: documents that are too large.
func TestExtendLimits(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		b.WriteString("routes:\n  - methods: [GET]\n    open: true\n    patterns:\n")
		for i := range n {
			fmt.Fprintf(&b, "      - /svc/%d\n", i)
		}
		return b.String()
	}
	for _, c := range []struct{ doc, want string }{
		{strings.Repeat("#", route.MaxDocument+1), "the limit is"},
		{strings.Repeat("#", route.MaxDocument), ""},
		{many(2000), "more than 2000 routes"},
		{many(1000), ""},
		{"", ""}, {"routes:", ""}, {"routes: []", ""}, {"# nothing", ""},
		{"routes: " + strings.Repeat("- ", 400_000), "more than 20 levels"},
		{"routes: " + strings.Repeat("[", 400_000), "more than 20 levels"},
	} {
		if _, err := route.Extend([]byte(c.doc)); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v, wanted %q", c.doc, err, c.want)
		}
	}
}

// manual gives the example of the package comment.
func manual(t *testing.T) string {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "//\troutes:\n")
	example, _, _ = strings.Cut(example, "// The fields of a route")
	return "routes:\n" + strings.NewReplacer("//\t", "", "//\n", "\n").Replace(example)
}

// TestExtend: the example of the manual and more, matched; nothing that is built in has changed.
func TestExtend(t *testing.T) {
	document := manual(t) + strings.Join([]string{
		one()[8:], one(pattern("/whole/*p"), `project: "*p"`)[8:], one(pattern("/both/:a/*b.zip/end"), `project: ":a/*b"`)[8:], one(pattern("/plus/:u.git/*rest"), `project: "+u"`)[8:],
		one(pattern("/jobs/:j/log"), "project: ", "job: ':j'", "style: runner")[8:], one(pattern("/fixed/*x"), "project: =42")[8:], one(pattern("/pair/:o/:r/*x"), `project: ":o/:r"`)[8:],
		one(pattern("/own"), "project: ", "job: own")[8:], one(pattern("/by/:id"), "query: a=b")[8:], one(pattern("/by/:id"), "query: a=c", "permission: create_package")[8:],
	}, "")
	document = strings.ReplaceAll(document, "/fixed/*x", "/fixed/*x<not *.git|refs>")
	document = strings.ReplaceAll(document, "/pair/:o/:r/*x", "/pair/:o/:r/*x<not *.git|refs>")
	document = strings.ReplaceAll(document, "/whole/*p", "/whole/*p/raw")
	document = strings.ReplaceAll(document, "/plus/:u.git/*rest", "/plus/:u.git/*rest<not *.git|info>")
	table, err := route.Extend([]byte(document))
	if err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	for _, c := range []struct {
		method, path, query, want string
	}{
		{"GET", "/healthz", "", "open"},
		{"GET", "/assets/a/b.css", "", "open"},
		{"GET", "/assets/a/b.git", "", "NO_ROUTE"},
		{"GET", "/api/v1/repos/acme/lib/raw/a/b", "", "acme/lib"},
		{"GET", "/api/v1/repos/acme/lib/archive/v1.zip", "", "acme/lib"},
		{"GET", "/api/v1/repos/acme/lib/archive/v1.tar", "", "NO_ROUTE"},
		{"GET", "/api/v1/repos/acme/l%69b/raw/a", "", "BAD_PATH"},
		{"GET", "/api/v1/repos/acme/-/raw/a", "", "NO_ROUTE"},
		{"PUT", "/cache/k%20", "", "acme/platform/cache"},
		{"GET", "/svc/9", "", "9"},
		{"GET", "/svc/a%2Fb", "", "a/b"},
		{"GET", "/whole/a/raw", "", "NO_ROUTE"},
		{"GET", "/whole/a/b/raw", "", "a/b"},
		{"GET", "/whole/a/raw/raw", "", "a/raw"},
		{"GET", "/whole/a/b/c/d/raw", "", "a/b/c/d"},
		{"GET", "/both/a/b/c.zip/end", "", "a/b/c"},
		{"GET", "/both/a/b.zip/end", "", "a/b"},
		{"GET", "/both/a/.zip/end", "", "NO_ROUTE"},
		{"GET", "/plus/a+b+c.git/x/y", "", "a/b/c"},
		{"GET", "/plus/a%2Bb.git/x", "", "a/b"},
		{"GET", "/jobs/job-7/log", "", "job-7"},
		{"GET", "/jobs/" + strings.Repeat("7", 129) + "/log", "", "NO_ROUTE"},
		{"GET", "/jobs/a%20b/log", "", "NO_ROUTE"},
		{"GET", "/fixed/anything", "", "42"},
		{"GET", "/pair/a/b/c/d", "", "a/b"},
		{"GET", "/own", "", "own-job"},
		{"GET", "/by/7", "a=b", "7"},
		{"GET", "/by/7", "a=c", "7"},
		{"GET", "/by/7", "a=d", "NO_ROUTE"},
		{"GET", "/by/7", "a=b&a=c", "BAD_QUERY"},
	} {
		m, err := table.Match(&route.Request{Method: c.method, Path: c.path, Query: c.query})
		var got string
		switch {
		case err != nil:
			got = refusal(err).Code
		case m.Route.Open:
			got = "open"
		default:
			_, got, _ = strings.Cut(" "+where(m), " ")
			got = strings.TrimPrefix(strings.TrimPrefix(got, "project "), "job ")
		}
		if got != c.want {
			t.Errorf("%s %.60s?%s: %s (%v), wanted %s", c.method, c.path, c.query, got, err, c.want)
		}
	}
	builtin := route.Builtin().Routes()
	for i, r := range table.Routes()[:len(builtin)] {
		if !reflect.DeepEqual(r, builtin[i]) {
			t.Errorf("%s has become %+v", builtin[i].Name, r)
		}
	}
	n := readNaive(t, []byte(document))
	n.rows = append(n.rows, builtinNaive(t).rows...)
	rnd := route.Random(t)
	for range 3000 {
		row := n.rows[rnd.IntN(60)]
		r := &route.Request{Method: row.method, Path: mutate(rnd, row.example(rnd.IntN(2))), Query: row.query}
		same(t, table, n, r)
		canonical(t, table, r)
	}
}

// TestWords: the names that the file has are those that the types print.
func TestWords(t *testing.T) {
	if got := (route.Header | route.Param | route.ParamTok | route.Basic | route.Bearer).String(); got != "header,param,token-param,basic,bearer" {
		t.Error(got)
	}
	for s, want := range []string{"rest", "git", "runner", "own", "trigger"} {
		if got := route.Style(s).String(); got != want {
			t.Errorf("%s, wanted %s", got, want)
		}
	}
	if authz.SurfaceUnlisted.String() != "unlisted" {
		t.Error("the manual names the surfaces")
	}
}
