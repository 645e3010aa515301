package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep/peptest"
)

// TestDecoys: a token in a place that the route does not look at hides none in the body. One that is dead stays dead, on public data and for services that
// know people in other ways, and one that lives is found.
func TestDecoys(t *testing.T) {
	const form = "Content-Type: application/x-www-form-urlencoded"
	h := newHouse(t, echo)
	h.door.Gate.WithoutToken = gate.Pass
	token, dead := h.pdp.Issue("1", peptest.App, peptest.Dev), h.pdp.Issue("2", peptest.App, peptest.Dev)
	h.pdp.Revoke("2")
	public := fmt.Sprintf("/api/v4/projects/%d/pipelines", peptest.Open) // no place for Basic
	trigger := fmt.Sprintf("/api/v4/projects/%d/trigger/pipeline", peptest.App)
	for name, c := range map[string]struct{ method, path, header string }{
		"basic":                   {"GET", public, "Authorization: Basic " + basicOf("gitlab-ci-token", token)},
		"basic, another user":     {"GET", public, "Authorization: Basic " + basicOf("oauth2", token)},
		"query":                   {"GET", public + "?x=" + token, "X-Nothing: 1"},
		"a header on the trigger": {"POST", trigger, "Job-Token: " + token},
		"bearer on the trigger":   {"POST", trigger, "Authorization: Bearer " + token},
		"query on the trigger":    {"POST", trigger + "?job_token=" + token, "X-Nothing: 1"},
	} {
		if resp, body := h.do(c.method, c.path, strings.NewReader("a=1&token="+dead), form, c.header); resp == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: dead, and %v %s", name, resp, body)
		}
		resp, body := h.do(c.method, c.path, strings.NewReader("a=1&token="+token), form, c.header)
		if resp == nil || resp.StatusCode != http.StatusOK || !strings.Contains(body, "\nJobward-Job: 1\n") || strings.Contains(body, token) || !strings.Contains(body, `body="a=1"`) {
			t.Errorf("%s: alive, and %v %s", name, resp, body)
		}
	}
	// What is refused anyway waits for no body.
	if resp, body := h.do("PUT", packageOf(peptest.App), zeros{}, "Content-Type: multipart/form-data; boundary=b", "Job-Token: nonsense"); resp != nil && resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("nonsense: %v %s", resp, body)
	}
}
