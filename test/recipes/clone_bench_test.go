package recipes

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkClone clones a repository of 30 MB through the recipe's nginx, and through the same nginx without auth_request, in turns. Target: the
// median of the one within 10 % of the other's.
func BenchmarkClone(b *testing.B) {
	g := startGit(b)
	large := make([]byte, 30<<20)
	rand.Read(large) // it does not shrink
	g.repository("acme/web/shop", large)
	token := g.issue("bench")
	clone := func(url string) float64 {
		to := filepath.Join(g.dir, "clone")
		defer os.RemoveAll(to)
		began := time.Now()
		if out, err := g.run("clone", "-q", url+"/acme/web/shop.git", to); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		return float64(time.Since(began).Milliseconds())
	}
	const rounds = 11
	for b.Loop() { // one loop is all rounds
		var with, without []float64
		for i := range rounds + 1 {
			w, o := clone(g.as(token)), clone(g.unguarded)
			if i > 0 { // the first warms up
				with, without = append(with, w), append(without, o)
			}
		}
		slices.Sort(with)
		slices.Sort(without)
		b.ReportMetric(with[rounds/2], "guarded-ms")
		b.ReportMetric(without[rounds/2], "unguarded-ms")
		b.ReportMetric(with[rounds/2]/without[rounds/2], "guarded×unguarded")
	}
	b.ReportMetric(0, "ns/op")
}

// unguardedConf is the recipe's server without the question, at another address.
func unguardedConf(guarded, listen, other string) string {
	_, server, _ := strings.Cut(guarded, "\nserver {")
	for _, line := range []string{"auth_request /_jobward;", "error_page 403 = @jobward_refused;", "error_page 500 = @jobward_undecided;"} {
		server = strings.ReplaceAll(server, line, "")
	}
	server = strings.ReplaceAll(server, "$jobward_query", "$query_string")
	return "server {" + strings.ReplaceAll(server, listen, other)
}
