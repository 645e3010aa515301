package forwardauth_test

import (
	"strings"
	"testing"

	"github.com/jobward/jobward/sidecar/forwardauth"
)

// FuzzAsk: whatever a proxy tells, no panic, no allow of what was not judged, and no token in the answer.
func FuzzAsk(f *testing.F) {
	for _, uri := range []string{packages, packages + "?job_token=" + good, "/acme/lib.git/info/refs?service=git-upload-pack", "//", "http://x/", "/%2e%2e/", "/?#"} {
		f.Add(uri, "GET", "X-Original-Uri", "/x", true)
		f.Add(uri, "PUT", "Jobward_Job", good, false)
	}
	f.Fuzz(func(t *testing.T, uri, method, name, value string, first bool) {
		i := 0
		if first {
			i = 1
		}
		a := &fake{}
		r := subrequest(i, method, uri)
		r.Header[name] = append(r.Header[name], value)
		w := ask(doorOf(a), r)
		switch {
		case w.Code == 204:
			if a.asked == 0 || w.Header().Get("Jobward-Job") != "job-1" {
				t.Errorf("allowed: %v", w.Header())
			}
			if passed := w.Header().Get(forwardauth.URIHeader); len(passed) > len(uri) || !strings.HasPrefix(uri, strings.SplitN(passed, "?", 2)[0]) || strings.Contains(passed, good) {
				t.Errorf("%q became %q", uri, passed)
			}
		case i == 1 && w.Code != 401 && w.Code != 403:
			t.Errorf("nginx does not know %d", w.Code)
		case strings.Contains(w.Body.String(), "jobt-"):
			t.Errorf("told: %s", w.Body)
		}
	})
}
