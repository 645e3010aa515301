package gitlab

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/engine"
)

// TestCallers: who is let in with what. Never with a job token, dead or alive (SEMANTICS §§4.5, 16).
func TestCallers(t *testing.T) {
	r := newRig(t)
	job := r.issue("1", app, mia)
	dead := r.tokens.Mint()
	unknown, _ := identity.NewKey()
	key, front, root := r.keys[mia], r.named["front"], r.named["root"]
	for name, c := range map[string]struct {
		status int
		says   string
		header []string
	}{
		"nothing":                       {401, "message: 401 Unauthorized", nil},
		"PRIVATE-TOKEN":                 {200, "", []string{"PRIVATE-TOKEN", key}},
		"Bearer":                        {200, "", []string{"Authorization", "Bearer " + key}},
		"bearer":                        {200, "", []string{"Authorization", "bearer " + key}},
		"both, the same":                {200, "", []string{"Authorization", "Bearer " + key, "Private-Token", key}},
		"both, different":               {401, "two different things", []string{"Authorization", "Bearer " + key, "Private-Token", r.keys[keeper]}},
		"blank":                         {401, "", []string{"Private-Token", "  "}},
		"blank beside a key":            {200, "", []string{"Private-Token", "  ", "Authorization", "Bearer " + key}},
		"Basic":                         {401, "form", []string{"Authorization", "Basic " + key}},
		"no scheme":                     {401, "form", []string{"Authorization", key}},
		"unknown key":                   {401, "not known", []string{"Private-Token", unknown}},
		"no key":                        {401, "well-formed", []string{"Private-Token", "glpat-12345678901234567890"}},
		"job token":                     {401, "a job token opens nothing here", []string{"Private-Token", job}},
		"job token as Bearer":           {401, "a job token opens nothing here", []string{"Authorization", "Bearer " + job}},
		"dead job token":                {401, "a job token opens nothing here", []string{"Private-Token", dead.Reveal()}},
		"job token with an error":       {401, "a job token opens nothing here", []string{"Private-Token", job[:len(job)-1] + "~"}},
		"JOB-TOKEN":                     {401, "a job token opens nothing here", []string{"Job-Token", job}},
		"JOB-TOKEN beside a key":        {401, "a job token opens nothing here", []string{"Job-Token", job, "Private-Token", key}},
		"a key in JOB-TOKEN":            {401, "", []string{"Job-Token", key}},
		"a runner's":                    {403, "the role maintainer is needed", []string{"Private-Token", r.named["runner"]}},
		"of a user who is not there":    {403, "user 4711 does not exist", []string{"Private-Token", r.named["ghost"]}},
		"for no user":                   {403, "acts for no user", []string{"Private-Token", front}},
		"admin for no user":             {403, "acts for no user", []string{"Private-Token", root}},
		"Sudo":                          {200, "", []string{"Private-Token", front, "Sudo", "1"}},
		"admin, Sudo":                   {200, "", []string{"Private-Token", root, "Sudo", "1"}},
		"Sudo by name":                  {200, "", []string{"Private-Token", root, "Sudo", "mia"}},
		"Sudo, a stranger":              {404, "Project Not Found", []string{"Private-Token", root, "Sudo", "out"}},
		"Sudo, blocked":                 {403, "not active", []string{"Private-Token", root, "Sudo", "bob"}},
		"Sudo, unknown":                 {404, "User Not Found", []string{"Private-Token", root, "Sudo", "nobody"}},
		"Sudo, unknown id":              {404, "User Not Found", []string{"Private-Token", root, "Sudo", "12345"}},
		"Sudo, zero":                    {404, "User Not Found", []string{"Private-Token", root, "Sudo", "0"}},
		"Sudo, negative":                {404, "User Not Found", []string{"Private-Token", root, "Sudo", "-1"}},
		"Sudo of who is one user":       {403, "acts for user 1 and nobody else", []string{"Private-Token", key, "Sudo", "2"}},
		"Sudo of who is one user, self": {403, "acts for user 1 and nobody else", []string{"Private-Token", key, "Sudo", "1"}},
		"Sudo of a runner":              {403, "the role maintainer is needed", []string{"Private-Token", r.named["runner"], "Sudo", "1"}},
		"Sudo of nobody":                {401, "", []string{"Sudo", "1"}},
	} {
		a := r.do("GET", "/api/v4/"+scopePath, "", c.header...)
		r.want(name, a, c.status, c.says)
		if (a.status == 401) != (a.header.Get("Www-Authenticate") != "") {
			t.Errorf("%s: %d with WWW-Authenticate %q", name, a.status, a.header.Get("Www-Authenticate"))
		}
		for _, secret := range []string{key, front, root, job, unknown, dead.Reveal()} {
			if strings.Contains(a.body, secret[6:20]) {
				t.Errorf("%s: the answer holds what was shown: %s", name, a.body)
			}
		}
	}
	for _, query := range []string{"private_token=" + key, "access_token=" + key, "job_token=" + job} {
		r.want(query[:12], r.do("GET", "/api/v4/"+scopePath+"?"+query, ""), 401, "")
		r.want(query[:12]+" beside a key", r.as(mia, "GET", scopePath+"?"+query, ""), 401, "")
	}
	if !r.log.Has("request failed") || r.log.Has(job[6:20]) {
		t.Error("the log says too little, or too much")
	}
}

// TestDevelopment: anybody's word counts, but it has to be given, and to an address of this machine.
func TestDevelopment(t *testing.T) {
	r := newRig(t, func(o *Options) {
		everybody, err := identity.NewDevelopment()
		if err != nil {
			t.Fatal(err)
		}
		o.Callers = everybody
	})
	job := r.issue("1", app, mia)
	for name, c := range map[string]struct {
		status int
		header []string
	}{
		"nothing": {401, nil}, "Sudo": {200, []string{"Sudo", "mia"}}, "Sudo, id": {200, []string{"Sudo", "1"}}, "PRIVATE-TOKEN": {200, []string{"Private-Token", "mia"}},
		"Bearer": {200, []string{"Authorization", "Bearer 1"}}, "Sudo first": {404, []string{"Private-Token", "mia", "Sudo", "out"}}, "unknown": {404, []string{"Private-Token", "nobody"}},
		"blocked": {403, []string{"Private-Token", "bob"}}, "developer": {403, []string{"Private-Token", "developer"}}, "job token": {401, []string{"Private-Token", job}},
	} {
		r.want(name, r.do("GET", "/api/v4/"+scopePath, "", c.header...), c.status, "")
	}
	for host, status := range map[string]int{"localhost:1": 200, "127.0.0.1": 200, "[::1]:80": 200, "evil.example": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example:1": 403, "192.0.2.1": 403} {
		req, err := http.NewRequest("GET", r.server.URL+"/api/v4/"+scopePath, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Sudo", "mia")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != status {
			t.Errorf("Host %s: %d", host, resp.StatusCode)
		}
	}
}

// TestWhoDidIt: the audit log names the key and the user.
func TestWhoDidIt(t *testing.T) {
	r := newRig(t)
	r.want("add", r.as(keeper, "POST", listPath, "target_project_id=12"), 201, "")
	list, err := r.engine.ListEvents(t.Context(), engine.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range list.Items {
		if ev.Verb == "add_entry" {
			if ev.Actor != "key:user-8" || ev.OnBehalf != keeper {
				t.Errorf("it was %s for %d", ev.Actor, ev.OnBehalf)
			}
			return
		}
	}
	t.Error("the audit log has no such event")
}
