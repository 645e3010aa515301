package gitlab

import "testing"

// TestCrossSite: a browser with somebody's client certificate makes no change for a page of another site, and reads as it may.
func TestCrossSite(t *testing.T) {
	r := newRig(t)
	const form = "application/x-www-form-urlencoded"
	for name, headers := range map[string][]string{
		"cross-site": {"Sec-Fetch-Site", "cross-site"}, "same-site": {"Sec-Fetch-Site", "same-site"},
		"another origin": {"Origin", "https://evil.example"}, "no origin": {"Origin", "null"},
	} {
		a := r.as(mia, "PATCH", "projects/10/job_token_scope", "enabled=false", append([]string{"Content-Type", form}, headers...)...)
		r.want(name, a, 403, "another site")
		r.want(name+", reading", r.as(mia, "GET", "projects/10/job_token_scope", "", headers...), 200, `"inbound_enabled":true`)
	}
	for name, headers := range map[string][]string{"typed": {"Sec-Fetch-Site", "none"}, "same origin": {"Sec-Fetch-Site", "same-origin"}, "no browser": nil} {
		r.want(name, r.as(mia, "PATCH", "projects/10/job_token_scope", "enabled=true", append([]string{"Content-Type", form}, headers...)...), 204, "")
	}
}
