package route_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/sidecar/route"
)

// TestAllocations: a hit allocates nothing, or one string where something is percent-encoded.
func TestAllocations(t *testing.T) {
	table := route.Builtin()
	for _, c := range []struct {
		r    route.Request
		want float64
	}{
		{route.Request{Method: "GET", Path: "/api/v4/projects/1234/packages/generic/tool/1.2.3/tool.tar.gz"}, 0},
		{route.Request{Method: "GET", Path: "/acme/platform/lib.git/info/refs", Query: "service=git-upload-pack"}, 0},
		{route.Request{Method: "GET", Path: "/api/v4/projects/acme%2Fplatform%2Flib/packages"}, 1},
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = table.Match(&c.r) }); n > c.want {
			t.Errorf("%s: %v allocations, wanted %v", c.r.Path, n, c.want)
		}
	}
}

// TestWorst: no path costs much more work than its length. The time that it may take is a hundred times what it took.
func TestWorst(t *testing.T) {
	table, err := route.Extend([]byte(`routes:
  - {methods: [GET], patterns: ["/w/*a/-/*b/x"], open: true}
  - {methods: [PUT], patterns: ["/w/*a<not *.x>/-/*b/y", "/w/*a/-/*b<encoded>/z"], open: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	r := get("/w"+strings.Repeat("/-", route.MaxSegments-1), "")
	start := time.Now()
	for range 10 {
		if _, err := table.Match(r); err == nil {
			t.Fatal("there is a route")
		}
	}
	if took := time.Since(start) / 10; took > 100*time.Millisecond {
		t.Errorf("one path took %v", took)
	} else {
		t.Logf("one path took %v", took)
	}
}

// BenchmarkMatch: what finding a route adds to a request. Figures of the issue want it far below that of an empty handler.
func BenchmarkMatch(b *testing.B) {
	t := route.Builtin()
	for _, c := range []struct {
		name string
		r    route.Request
	}{
		{"number", route.Request{Method: "GET", Path: "/api/v4/projects/1234/packages/generic/tool/1.2.3/tool.tar.gz"}},
		{"path", route.Request{Method: "GET", Path: "/api/v4/projects/acme%2Fplatform%2Flib/jobs/artifacts/main/download", Query: "job=test"}},
		{"git", route.Request{Method: "GET", Path: "/acme/platform/lib.git/info/refs", Query: "service=git-upload-pack"}},
		{"job", route.Request{Method: "GET", Path: "/api/v4/job"}},
		{"miss", route.Request{Method: "GET", Path: "/api/v4/projects/1234/wikis/home"}},
		{"worst", route.Request{Method: "GET", Path: "/api/v4/projects/1/packages/npm" + strings.Repeat("/a", 121)}},
		{"worst git", route.Request{Method: "GET", Path: strings.Repeat("/a.git", 127) + "/x"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = t.Match(&c.r)
			}
		})
	}
}

// BenchmarkBuiltin: what a start costs.
func BenchmarkBuiltin(b *testing.B) {
	for b.Loop() {
		route.Builtin()
	}
}
