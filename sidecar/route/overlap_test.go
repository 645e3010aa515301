package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestBuiltinDisjoint: no two of the built-in routes match one request.
func TestBuiltinDisjoint(t *testing.T) {
	table := Builtin()
	for i := range table.ways {
		for j := range i {
			if path := table.ways[i].meets(&table.ways[j]); path != "" {
				t.Errorf("%s and %s both match %s", table.ways[i].route.Name, table.ways[j].route.Name, path)
			}
		}
	}
}

// ways gives the shapes of one pattern, and a search in a table of it alone.
func ways(t testing.TB, text, project string) ([]*pattern, *node) {
	t.Helper()
	target, err := readTarget(project, "")
	if err != nil {
		t.Fatal(err)
	}
	root := &node{}
	var all []*pattern
	readings, err := expand(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, reading := range readings {
		p, err := parse(reading, target)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, shape := range p.shapes(target) {
			all = append(all, shape)
			root.add(shape, leaf{method: "GET", route: &Route{}})
		}
	}
	return all, root
}

func takes(n *node, path string) bool {
	s := search{method: "GET"}
	return s.cut(path) == nil && s.from(n, 0) != nil
}

// met is meet over all shapes.
func met(a, b []*pattern) string {
	for _, x := range a {
		for _, y := range b {
			if path := meet(x, y); path != "" {
				return path
			}
		}
	}
	return ""
}

// TestMeet: pairs of patterns, whose meeting is known.
func TestMeet(t *testing.T) {
	for _, c := range []struct {
		a, pa, b, pb string
		meet         bool
	}{
		{"/a", "owner", "/a", "owner", true},
		{"/a", "owner", "/b", "owner", false},
		{"/a", "owner", "/a/", "owner", false},
		{"/a(/)", "owner", "/a/", "owner", true},
		{"/:x", "owner", "/a/", "owner", false},
		{"/:x", "owner", "/a", "owner", true},
		{"/:x<not a>", "owner", "/a", "owner", false},
		{"/:x<not a>", "owner", "/:x<not b>", "owner", true},
		{"/:x<number>", "owner", "/a", "owner", false},
		{"/:x<number>", "owner", "/7", "owner", true},
		{"/:x<number,not 7>", "owner", "/7", "owner", false},
		{"/:x<number>", "owner", "/:x", "owner", true},
		{"/:x<number>", "owner", "/:x.zip", "owner", false},
		{"/:x<number>", "owner", "/:id", ":id", true},
		{"/:x.zip", "owner", "/:x.tar.zip", "owner", true},
		{"/:x.zip", "owner", "/:x.tar", "owner", false},
		{"/:x.zip", "owner", "/.zip", "owner", false}, // the parameter would be empty
		{"/:x<not *.zip>", "owner", "/:x.zip", "owner", false},
		{"/:x<not *.tar.zip>", "owner", "/:x.zip", "owner", true},
		{"/:x<not *.tar.zip>", "owner", "/:x.tar.zip", "owner", false},
		{"/:x<not *.zip>", "owner", "/a.zip", "owner", false},
		{"/:x<not 1|2|3|x1|x2>", "owner", "/:y", "owner", true},
		{"/:x<number,not 1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16>", "owner", "/:y<not 17|18|19|20|21|22|23|24|25|26|27|28|29|30|31|32>", "owner", true},
		{"/*x", "owner", "/a", "owner", true},
		{"/*x", "owner", "/a/b/c", "owner", true},
		{"/*x<not b>", "owner", "/a/b/c", "owner", false},
		{"/*x/b", "owner", "/a/*y", "owner", true},
		{"/*x/b", "owner", "/a/*y/c", "owner", false},
		{"/*x/-/*y", "owner", "/-/*z", "owner", true},
		{"/*x<not ->/-/*y", "owner", "/-/*z", "owner", false},
		{"/*x<not ->/-/*y<not ->", "owner", "/*z<not ->", "owner", false},
		{"/*x.git/info", "*x", "/*y", "owner", true},
		{"/*x.git/info", "*x", "/*y<not *.git|refs>", "owner", false},
		{"/*x.git/info", "*x", "/a.git/info", "owner", false}, // a path has two names
		{"/*x.git/info", "*x", "/a/b.git/info", "owner", true},
		{"/*x.git/info", "*x", "/a/b.git.git/info", "owner", false},
		{"/*x.git/info", "*x", "/-/b.git/info", "owner", false},
		{"/*x.git/info", "*x", "/:a@b/*z", "owner", false}, // no name has an @
		{"/*x", "*x", "/a", "owner", false},
		{"/:a/:b", ":a/:b", "/x/y", "owner", true},
		{"/:a/:b", ":a/:b", "/x/@", "owner", false},
		{"/:id", ":id", "/:x<encoded,not a>", "owner", true},
		{"/:id", ":id", "/a", "owner", false},
		{"/:id", ":id", "/42", "owner", true},
		{"/:id", ":id", "/042", "owner", false},
		{"/:id", ":id", "/:x.zip", "owner", false},         // a path would need %2F
		{"/:id", ":id", "/:x<encoded>.zip", "owner", true}, // and may have it here
		{"/:id", ":id", "/:u", "+u", false},
		{"/:u", "+u", "/a+b", "owner", true},
		{"/:u", "+u", "/a+", "owner", false},
		{"/:u", "+u", "/:x+", "owner", false},
		{"/:u", "+u", "/:x+b", "owner", true},
	} {
		a, na := ways(t, c.a, c.pa)
		b, nb := ways(t, c.b, c.pb)
		path := met(a, b)
		if (path != "") != c.meet || (met(b, a) != "") != c.meet {
			t.Errorf("%s and %s meet: %q, wanted %t", c.a, c.b, path, c.meet)
		}
		if path != "" && (!takes(na, path) || !takes(nb, path)) {
			t.Errorf("%s and %s do not both match %s", c.a, c.b, path)
		}
	}
}

// pieces make random patterns, and segments the paths that they are tried on: all of up to four.
var (
	pieces   = []string{"a", "b.c", "7", ":%", "*%", ":%<number>", ":%<not a>", "*%<not a|*.c>", ":%<encoded>", ":%.c", "*%.c", ":%<not *.c>", ":%<number,not 7>"}
	segments = []string{"a", "b", "7", "8", "a.c", "b.c", "7.c", ".c", "a%2Fb", "a%2Fb.c", "c.c.c"}
)

func randomPattern(r *rand.Rand) string {
	for {
		p, n := "", 0
		for i := range 1 + r.IntN(4) {
			p += "/" + strings.ReplaceAll(pieces[r.IntN(len(pieces))], "%", fmt.Sprintf("p%d", i))
			n = i
		}
		if n > 0 && r.IntN(3) == 0 {
			i := strings.LastIndex(p, "/")
			p = p[:i] + "(" + p[i:] + ")"
		}
		if strings.Count(p, "*p") <= maxMany {
			return p
		}
	}
}

// TestMeetRandom: for random pairs meet finds a path that both match, or there is none among all short ones.
func TestMeetRandom(t *testing.T) {
	r := Random(t)
	var paths []string
	for level, from := 0, []string{""}; level < 4; level++ {
		var next []string
		for _, p := range from {
			for _, s := range segments {
				next = append(next, p+"/"+s)
			}
		}
		paths, from = append(paths, next...), next
	}
	meets := 0
	for range 300 {
		x, y := randomPattern(r), randomPattern(r)
		a, na := ways(t, x, "owner")
		b, nb := ways(t, y, "owner")
		path := met(a, b)
		if path != "" {
			meets++
			if !takes(na, path) || !takes(nb, path) {
				t.Fatalf("%s and %s do not both match %s", x, y, path)
			}
			continue
		}
		for range 3000 {
			if p := paths[r.IntN(len(paths))]; takes(na, p) && takes(nb, p) {
				t.Fatalf("%s and %s both match %s, and meet says that none does", x, y, p)
			}
		}
		for _, p := range paths[:len(segments)*(1+len(segments))] {
			if takes(na, p) && takes(nb, p) {
				t.Fatalf("%s and %s both match %s, and meet says that none does", x, y, p)
			}
		}
	}
	if meets < 30 || meets > 270 {
		t.Errorf("%d of 300 pairs meet: the test asks too little", meets)
	}
}

// FuzzExtend: no document makes what Extend does panic or hang, and no table has two routes for one request. The built-in routes are left out,
// since reading them takes most of the time.
func FuzzExtend(f *testing.F) {
	for _, p := range []string{`"/x/:id"`, `"/*a<not *.git|refs>.zip"`, `"/:a(/:b)/c", /d`, `"/x/*a/y/*b"`, `"/("`, `"/:a<not >"`} {
		f.Add("routes:\n  - methods: [GET]\n    patterns: [" + p + "]\n    permission: p\n    project: \":id\"\n    carriers: [header]\n  - methods: [GET]\n    patterns: [/h, \"/:k<number>\"]\n    open: true\n")
	}
	f.Fuzz(func(t *testing.T, document string) {
		table := &Table{}
		if table.add([]byte(document), true) != nil {
			return
		}
		for i := range table.ways {
			for j := range i {
				if path := table.ways[i].meets(&table.ways[j]); path != "" {
					t.Fatalf("%s and %s both match %s", table.ways[i].route.Name, table.ways[j].route.Name, path)
				}
			}
		}
	})
}
