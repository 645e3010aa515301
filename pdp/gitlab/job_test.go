package gitlab

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/state"
)

func (r *rig) issue(id authz.JobID, project authz.ProjectID, user authz.UserID) string {
	r.t.Helper()
	out, err := r.engine.Issue(r.t.Context(), engine.Actor{Name: "test"}, engine.IssueRequest{Job: id, Project: project, User: user, Pipeline: 77, Ref: "main"})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Token.Reveal()
}

// TestJob: a job asks about itself, in each carrier, as long as it is alive.
func TestJob(t *testing.T) {
	r := newRig(t)
	text, word := r.issue("4711", app, mia), r.issue("build-1", lib, keeper)
	a := r.do("GET", "/api/v4/job", "", "Job-Token", text)
	var got map[string]any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for field, want := range map[string]any{"id": 4711.0, "status": "running", "ref": "main", "stage": nil, "web_url": nil, "commit": nil} {
		if v, ok := got[field]; !ok || v != want {
			t.Errorf("%s: %v, want %v", field, v, want)
		}
	}
	for _, part := range []string{`"username":"mia"`, `"web_url":"https://forge.example/mia"`, `"pipeline":{"id":77,"project_id":10,`, `"project":{"id":10,"ci_job_token_scope_enabled":false}`} {
		if !strings.Contains(a.body, part) {
			t.Errorf("no %s in %s", part, a.body)
		}
	}
	for name, c := range map[string]struct {
		status int
		query  string
		header []string
	}{
		"query": {200, "?job_token=" + text, nil}, "Bearer": {200, "", []string{"Authorization", "Bearer " + text}},
		"all three": {200, "?job_token=" + text, []string{"Authorization", "Bearer " + text, "Job-Token", text}},
		"blanks":    {200, "?job_token=", []string{"Job-Token", text}}, "two tokens": {401, "?job_token=" + text, []string{"Job-Token", word}},
		"twice": {400, "?job_token=" + text + "&job_token=" + text, nil}, "nothing": {401, "", nil}, "PRIVATE-TOKEN": {401, "", []string{"Private-Token", text}},
		"Basic": {401, "", []string{"Authorization", "Basic Z2l0bGFiLWNpLXRva2VuOng="}}, "a key": {401, "", []string{"Job-Token", r.keys[mia]}}, "a maintainer's key": {401, "", []string{"Private-Token", r.keys[mia]}},
		"malformed": {401, "", []string{"Job-Token", text + "x"}}, "unknown": {401, "", []string{"Job-Token", r.tokens.Mint().Reveal()}}, "long": {401, "", []string{"Job-Token", strings.Repeat(text, 100)}},
		"other id": {200, "", []string{"Job-Token", word}},
	} {
		if a := r.do("GET", "/api/v4/job"+c.query, "", c.header...); a.status != c.status || strings.Contains(a.body, text[6:20]) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		} else if name == "other id" && !strings.Contains(a.body, `"id":"build-1"`) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if _, err := r.engine.Revoke(t.Context(), engine.Actor{Name: "test"}, engine.RevokeRequest{Jobs: []authz.JobID{"4711"}}); err != nil {
		t.Fatal(err)
	}
	r.want("after Revoke", r.do("GET", "/api/v4/job", "", "Job-Token", text), 401, "message: 401 Unauthorized - ")
	r.commit(&state.User{ID: keeper, Name: "keeper", State: authz.UserStateBanned})
	r.want("banned", r.do("GET", "/api/v4/job", "", "Job-Token", word), 403, "message: 403 Forbidden - ")
}

// TestFlood: who guesses is told to wait, and known tokens are answered all the same.
func TestFlood(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxUnknown = 3 })
	text := r.issue("1", app, mia)
	last := reply{}
	for range 50 {
		if last = r.do("GET", "/api/v4/job", "", "Job-Token", r.tokens.Mint().Reveal()); last.status == 429 {
			break
		}
	}
	if last.status != 429 || last.header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", last.status, last.header.Get("Retry-After"))
	}
	r.want("a known one", r.do("GET", "/api/v4/job", "", "Job-Token", text), 200, "")
}
