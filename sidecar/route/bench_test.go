package route_test

import (
	"strings"
	"testing"

	"github.com/jobward/jobward/sidecar/route"
)

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
