package recipes

import (
	"strings"
	"testing"
)

// TestCaddyServesWhatWasJudged: nothing in a query or a header makes Caddy serve another path than the one that was asked about, or lose what the
// sidecar said.
func TestCaddyServesWhatWasJudged(t *testing.T) {
	d := startCaddy(t)
	token := d.issue("judged")
	const chart = "/api/v4/projects/11/packages/helm/stable/index.yaml"
	basic := []string{"--user", "gitlab-ci-token:" + token}
	for _, c := range []struct {
		name, status string
		args         []string
	}{
		{"as it should be", "200", []string{d.url + chart}},
		{"token, where it is no carrier", "200", []string{d.url + chart + "?token=1"}},
		{"job_token, where it is no carrier", "200", []string{d.url + chart + "?job_token=1"}},
		{"a placeholder", "200", []string{d.url + chart + "?token=%7Bhttp.request.uri.path%7D&x={http.request.host}"}},
		{"told another way", "200", []string{"--header", "X-Forwarded-Uri: /x", "--header", "X-Forwarded-Method: PUT", "--header", "Forwarded: for=1", d.url + chart}},
		{"another method", "400", []string{"--header", "X-HTTP-Method-Override: DELETE", d.url + chart}},
		{"another method, with underscores", "400", []string{"--header", "X_HTTP_Method_Override: DELETE", d.url + chart}},
	} {
		before := len(d.service.seen())
		status, body := d.curl(append(basic, c.args...)...)
		saw := d.service.seen()[before:]
		if status != c.status {
			t.Errorf("%s: %s, want %s\n%s", c.name, status, c.status, body)
		}
		if status != "200" {
			continue
		}
		if !strings.HasPrefix(saw, "GET "+chart+"?") && !strings.HasPrefix(saw, "GET "+chart+" ") || strings.Contains(saw, "Forwarded-Uri") || strings.Contains(saw, "Forwarded:[for=1]") {
			t.Errorf("%s: the service got %s", c.name, saw)
		}
		if who := d.service.identity(); who != "job judged of 11 by 102" {
			t.Errorf("%s: the service was told %q", c.name, who)
		}
	}
}
