package gitlab

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

const (
	scopePath = "projects/10/job_token_scope"
	listPath  = scopePath + "/allowlist"
	groupPath = scopePath + "/groups_allowlist"
)

// step is one request of a case and what it is to be answered.
type step struct {
	by                 authz.UserID
	method, path, body string
	status             int
	says               string
}

// TestEditingCases is the paragraph "Editing cases for tests" of SEMANTICS §16 and the table of errors of §21, case
// by case, each on a list of its own.
func TestEditingCases(t *testing.T) {
	add := func(id any) string { return fmt.Sprintf(`{"target_project_id":%v}`, id) }
	addGroup := func(id any) string { return fmt.Sprintf(`{"target_group_id":%v}`, id) }
	for name, steps := range map[string][]step{
		"developer adds":                {{developer, "POST", listPath, add(open), 403, "message: 403 Forbidden"}},
		"nobody adds":                   {{out, "POST", listPath, add(open), 404, "message: 404 Project Not Found"}},
		"blocked owner adds":            {{bob, "POST", listPath, add(open), 403, "not active"}},
		"administrator adds":            {{ada, "POST", listPath, add(open), 404, "message: 404 Project Not Found"}},
		"owner adds":                    {{owner, "POST", listPath, add(open), 201, ""}},
		"private, not seen":             {{mia, "POST", listPath, add(secret), 404, "message: 404 Project Not Found - target_project_id 14 does not exist"}},
		"does not exist":                {{mia, "POST", listPath, add(absent), 404, "message: 404 Project Not Found - target_project_id 99 does not exist"}},
		"private, guest":                {{mia, "POST", listPath, add(guested), 201, ""}},
		"public, no member":             {{mia, "POST", listPath, add(open), 201, ""}},
		"internal, no member":           {{mia, "POST", listPath, add(inside), 400, "you have to be a member"}},
		"pending delete":                {{mia, "POST", listPath, add(dying), 404, "message: 404 Project Not Found"}},
		"twice":                         {{mia, "POST", listPath, add(open), 201, ""}, {mia, "POST", listPath, add(open), 400, "message: 400 Bad request - the inbound list of project 10 has an entry for project 12 already"}},
		"itself":                        {{mia, "POST", listPath, add(app), 400, "message: 400 Bad request"}},
		"group":                         {{mia, "POST", groupPath, addGroup(crowd), 201, ""}, {mia, "POST", groupPath, addGroup(crowd), 400, "message: 400"}},
		"own group":                     {{mia, "POST", groupPath, addGroup(acme), 201, ""}},
		"group, not seen":               {{mia, "POST", groupPath, addGroup(team), 404, "message: 404 Group Not Found - target_group_id 3 does not exist"}},
		"group, does not exist":         {{mia, "POST", groupPath, addGroup(absent), 404, "message: 404 Group Not Found - target_group_id 99 does not exist"}},
		"group with a project's id":     {{mia, "POST", groupPath, addGroup(open), 404, "message: 404"}},
		"developer removes":             {{mia, "POST", listPath, add(open), 201, ""}, {developer, "DELETE", listPath + "/12", "", 403, "message: 403"}},
		"removes":                       {{mia, "POST", listPath, add(open), 201, ""}, {keeper, "DELETE", listPath + "/12", "", 204, ""}, {mia, "DELETE", listPath + "/12", "", 400, "project 12 is not on the list"}},
		"removes by path":               {{mia, "POST", listPath, add(open), 201, ""}, {mia, "DELETE", listPath + "/zoe%2Fopen", "", 204, ""}},
		"removes what is hidden":        {{mia, "DELETE", listPath + "/14", "", 404, "message: 404 Project Not Found"}, {mia, "DELETE", listPath + "/99", "", 404, "message: 404 Project Not Found"}},
		"removes itself":                {{mia, "DELETE", listPath + "/10", "", 400, "message: 400"}},
		"removes a group":               {{mia, "POST", groupPath, addGroup(crowd), 201, ""}, {mia, "DELETE", groupPath + "/4", "", 204, ""}, {mia, "DELETE", groupPath + "/4", "", 400, "group 4 is not on the list"}},
		"removes a group by path":       {{mia, "POST", groupPath, addGroup(deep), 201, ""}, {mia, "DELETE", groupPath + "/acme%2Fdeep", "", 204, ""}, {mia, "DELETE", groupPath + "/crowd", "", 400, "not on the list"}, {mia, "DELETE", groupPath + "/team", "", 404, "404 Group"}},
		"off":                           {{mia, "PATCH", scopePath, `{"enabled":false}`, 204, ""}, {mia, "POST", listPath, add(open), 201, ""}},
		"off by a developer":            {{developer, "PATCH", scopePath, `{"enabled":false}`, 403, "message: 403"}},
		"off under enforcement":         {{ada, "PUT", "application/settings", `{"enforce_ci_inbound_job_token_scope_enabled":true}`, 200, ""}, {mia, "PATCH", scopePath, `{"enabled":false}`, 400, "message: 400"}},
		"on under enforcement":          {{ada, "PUT", "application/settings", `{"enforce_ci_inbound_job_token_scope_enabled":true}`, 200, ""}, {mia, "PATCH", scopePath, `{"enabled":true}`, 204, ""}},
		"settings by a maintainer":      {{mia, "PUT", "application/settings", `{"enforce_ci_inbound_job_token_scope_enabled":true}`, 403, "message: 403"}, {mia, "GET", "application/settings", "", 200, ""}},
		"PATCH without enabled":         {{mia, "PATCH", scopePath, `{}`, 400, "error: enabled is missing"}},
		"PATCH without a body":          {{mia, "PATCH", scopePath, "", 400, "error: enabled is missing"}},
		"PATCH, null":                   {{mia, "PATCH", scopePath, `{"enabled":null}`, 400, "error: enabled is empty"}},
		"PATCH, empty":                  {{mia, "PATCH", scopePath, `enabled=`, 400, "error: enabled is empty"}},
		"PATCH, a word":                 {{mia, "PATCH", scopePath, `{"enabled":"maybe"}`, 400, "error: enabled is invalid"}},
		"PATCH, a number":               {{mia, "PATCH", scopePath, `{"enabled":2}`, 400, "error: enabled is invalid"}},
		"PATCH, a list":                 {{mia, "PATCH", scopePath, `{"enabled":[true]}`, 400, "error: enabled is invalid"}},
		"PATCH, unknown keys only":      {{mia, "PATCH", scopePath, `{"inbound_enabled":true}`, 400, "error: enabled is missing"}},
		"PATCH, form":                   {{mia, "PATCH", scopePath, `enabled=false`, 204, ""}},
		"PATCH, query":                  {{mia, "PATCH", scopePath + "?enabled=false", "", 204, ""}},
		"POST without id":               {{mia, "POST", listPath, `{}`, 400, "error: target_project_id is missing"}, {mia, "POST", groupPath, "", 400, "error: target_group_id is missing"}},
		"POST, null":                    {{mia, "POST", listPath, add("null"), 400, "error: target_project_id is empty"}},
		"POST, empty":                   {{mia, "POST", listPath, add(`""`), 400, "error: target_project_id is empty"}},
		"POST, float":                   {{mia, "POST", listPath, add("12.5"), 400, "error: target_project_id is invalid"}, {mia, "POST", listPath, add("12.0"), 400, "is invalid"}},
		"POST, exponent":                {{mia, "POST", listPath, add("1e3"), 400, "error: target_project_id is invalid"}},
		"POST, text":                    {{mia, "POST", listPath, add(`"zoe/open"`), 400, "error: target_project_id is invalid"}},
		"POST, digits as text":          {{mia, "POST", listPath, add(`"12"`), 201, ""}},
		"POST, form":                    {{mia, "POST", listPath, "target_project_id=12", 201, ""}},
		"POST, bool":                    {{mia, "POST", listPath, add("true"), 400, "is invalid"}},
		"POST, list":                    {{mia, "POST", listPath, add("[12]"), 400, "is invalid"}},
		"POST, zero":                    {{mia, "POST", listPath, add("0"), 404, "message: 404"}},
		"POST, negative":                {{mia, "POST", listPath, add("-12"), 404, "message: 404"}},
		"POST, over 2^53":               {{mia, "POST", listPath, add("9007199254740993"), 404, "message: 404"}},
		"POST, over 2^63":               {{mia, "POST", listPath, add("9223372036854775808"), 400, "is invalid"}},
		"POST, zero, by a developer":    {{developer, "POST", listPath, add("0"), 403, "message: 403"}},
		"POST, the wrong list's id":     {{mia, "POST", listPath, addGroup(crowd), 400, "error: target_group_id is not taken here"}},
		"POST, a misspelt extension":    {{mia, "POST", listPath, `{"target_project_id":12,"job_token_policy":["read_jobs"]}`, 400, "error: job_token_policy is not taken here"}},
		"project not readable":          {{out, "GET", scopePath, "", 404, "404 Project Not Found"}, {out, "GET", listPath, "", 404, ""}, {out, "GET", "projects/10", "", 404, ""}},
		"project does not exist":        {{mia, "GET", "projects/99/job_token_scope", "", 404, "404 Project Not Found"}},
		"DELETE, no number":             {{mia, "DELETE", listPath + "/1e3", "", 400, "error: target_project_id is invalid"}, {mia, "DELETE", groupPath + "/4.5", "", 400, "error: target_group_id is invalid"}},
		"push switch":                   {{mia, "PUT", "projects/10", `{"ci_push_repository_for_job_token_allowed":true}`, 200, ""}},
		"push switch, developer":        {{developer, "PUT", "projects/10", `{"ci_push_repository_for_job_token_allowed":true}`, 403, "message: 403"}},
		"push switch and another thing": {{mia, "PUT", "projects/10", `{"ci_push_repository_for_job_token_allowed":true,"description":"x"}`, 400, "error: description is not taken here"}},
		"PUT of nothing":                {{mia, "PUT", "projects/10", `{}`, 400, "error: ci_push_repository_for_job_token_allowed, "}, {ada, "PUT", "application/settings", "", 400, "are missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for i, s := range steps {
				r.want(fmt.Sprintf("step %d, %s %s %s", i+1, s.method, s.path, s.body), r.as(s.by, s.method, s.path, s.body), s.status, s.says)
			}
		})
	}
}

// TestEntryThatIsHidden: who let a project in can remove it when they do not see it any more, and sees of it only the id.
func TestEntryThatIsHidden(t *testing.T) {
	r := newRig(t)
	r.commit(&state.Allowlist{Project: app, InboundOn: true, Inbound: []state.Entry{
		{Caller: authz.InProject(secret), Entry: policy.Entry{Default: true}}, {Caller: authz.InGroup(team), Entry: policy.Entry{Default: true}},
	}})
	for _, list := range []string{listPath, groupPath} {
		a := r.as(mia, "GET", list, "")
		if strings.Contains(a.body, "secret") || strings.Contains(a.body, "team") {
			t.Errorf("it tells names: %s", a.body)
		}
	}
	r.want("by its path", r.as(mia, "DELETE", listPath+"/team%2Fsecret", ""), 404, "")
	r.want("project", r.as(mia, "DELETE", listPath+"/14", ""), 204, "")
	r.want("group", r.as(mia, "DELETE", groupPath+"/3", ""), 204, "")
	r.want("again", r.as(mia, "DELETE", groupPath+"/3", ""), 404, "")
}

// TestLimits: 200 projects and 200 groups fit, and not one more of either (SEMANTICS §16), however many at a time are
// added.
func TestLimits(t *testing.T) {
	r := newRig(t)
	const limit, racers = 200, 8
	var more []state.Record
	for i := range limit + racers {
		more = append(more,
			&state.Project{ID: authz.ProjectID(1000 + i), Namespace: "many", Name: fmt.Sprint("p", i), Visibility: authz.Public},
			&state.Group{ID: authz.GroupID(1000 + i), Name: fmt.Sprint("g", i), Visibility: authz.Public})
	}
	r.commit(more...)
	var full state.Allowlist
	full.Project, full.InboundOn = app, true
	for _, kind := range []authz.ScopeKind{authz.ScopeProject, authz.ScopeGroup} {
		for i := range limit - racers/2 {
			full.Inbound = append(full.Inbound, state.Entry{Caller: authz.Scope{Kind: kind, ID: int64(1000 + i)}, Entry: policy.Entry{Default: true}})
		}
	}
	r.commit(&full)
	for path, param := range map[string]string{listPath: "target_project_id", groupPath: "target_group_id"} {
		statuses := make([]int, racers)
		var racing sync.WaitGroup
		for i := range racers {
			racing.Go(func() {
				a := r.as(mia, "POST", path, fmt.Sprintf("%s=%d", param, 1000+limit-racers/2+i))
				if statuses[i] = a.status; a.status != 201 {
					r.want("over the limit", a, 400, "message: 400 Bad request - the list of project 10 has 200")
				}
			})
		}
		racing.Wait()
		slices.Sort(statuses)
		if want := []int{201, 201, 201, 201, 400, 400, 400, 400}; !slices.Equal(statuses, want) {
			t.Errorf("%s: %v, want %v", path, statuses, want)
		}
	}
	info, err := r.engine.GetAllowlist(t.Context(), engine.Actor{Name: "test", User: mia}, app)
	if err != nil || info.InboundProjects != limit || info.InboundGroups != limit {
		t.Errorf("the list has %d projects and %d groups, %v", info.InboundProjects, info.InboundGroups, err)
	}
	if a := r.as(mia, "GET", listPath+"?per_page=1", ""); a.header.Get("X-Total") != "201" {
		t.Errorf("X-Total: %s", a.header.Get("X-Total"))
	}
}

// TestRoles asks every route with a key as users of every role: who may not edit changes nothing, and who does not see
// the project learns nothing.
func TestRoles(t *testing.T) {
	r := newRig(t)
	bodies := map[string]string{
		"PUT projects/:id": `{"ci_push_repository_for_job_token_allowed":true}`, "PATCH projects/:id/job_token_scope": `{"enabled":true}`,
		"PUT application/settings": `{"package_registry_allow_anyone_to_pull_option":false}`,
	}
	readers := map[string]bool{"GET projects/:id": true}
	asked := 0
	for _, route := range routes() {
		if route.access != withKey {
			continue
		}
		name := route.method + " " + route.path
		body, ok := bodies[name]
		switch {
		case ok:
		case strings.HasSuffix(route.path, ":other"):
			body = `{"default_permissions":true}`
		case route.method == http.MethodPost:
			body = "target_project_id=12"
			if strings.Contains(route.path, "groups") {
				body = "target_group_id=4"
			}
		}
		if route.method == http.MethodGet || route.method == http.MethodDelete {
			body = ""
		}
		path := strings.NewReplacer(":id", "acme%2Fdeep%2Fapp%2Ego", ":other", "4").Replace(route.path)
		for user, denied := range map[authz.UserID]int{out: 404, ada: 404, bob: 403, guest: 403, reporter: 403, developer: 403, keeper: 0, owner: 0} {
			before := r.engine.View().Mark().Revision
			a := r.as(user, route.method, path, body)
			asked++
			switch {
			case strings.HasPrefix(route.path, "application"), route.path == "user":
				if route.method == http.MethodGet && user != bob {
					denied = 0
				} else if denied = 403; user == ada {
					denied = 0
				}
			case readers[name] && denied == 403 && user != bob:
				denied = 0
			}
			if denied != 0 && (a.status != denied || r.engine.View().Mark().Revision != before) {
				t.Errorf("%s as user %d: %d %s", name, user, a.status, a.body)
			}
			if denied == 0 && (a.status == 401 || a.status == 403 || a.status == 404 && a.header.Get(receiptHeader) == "" && !strings.HasSuffix(path, "/4")) {
				t.Errorf("%s as user %d: %d %s", name, user, a.status, a.body)
			}
			if user == out && denied == 404 && !strings.Contains(a.body, "Project Not Found") {
				t.Errorf("%s tells a stranger: %s", name, a.body)
			}
		}
		for what, header := range map[string][2]string{"nobody": {}, "a runner": {"Private-Token", r.named["runner"]}, "the forge": {"Authorization", "Bearer " + r.named["sync"]}} {
			want := 403
			if header[0] == "" {
				want, header[0] = 401, "X-None"
			}
			r.want(name+" as "+what, r.do(route.method, "/api/v4/"+path, body, header[0], header[1]), want, "message: ")
		}
	}
	if asked < 100 {
		t.Errorf("only %d requests: the table lost routes", asked)
	}
}
