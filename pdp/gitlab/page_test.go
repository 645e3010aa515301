package gitlab

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// many puts so many public projects on app's list, from 1000 on.
func (r *rig) many(n int) {
	a := &state.Allowlist{Project: app, InboundOn: true}
	var records []state.Record
	for i := range n {
		id := authz.ProjectID(1000 + i)
		records = append(records, &state.Project{ID: id, Namespace: "many", Name: fmt.Sprint("p", i), Visibility: authz.Public})
		a.Inbound = append(a.Inbound, state.Entry{Caller: authz.InProject(id), Entry: policy.Entry{Default: true}})
	}
	r.commit(append(records, a)...)
}

// TestPages: the headers of every page of a list of 45, and of requests that are out of bounds.
func TestPages(t *testing.T) {
	r := newRig(t)
	r.many(44) // and the project itself
	for _, c := range []struct {
		query                      string
		status, items              int
		page, per, next, prev, end string
	}{
		{"", 200, 20, "1", "20", "2", "", "3"},
		{"?page=2", 200, 20, "2", "20", "3", "1", "3"},
		{"?page=3", 200, 5, "3", "20", "", "2", "3"},
		{"?page=4", 200, 0, "4", "20", "", "3", "3"},
		{"?page=9223372036854775807", 200, 0, "9223372036854775807", "20", "", "3", "3"},
		{"?page=9223372036854775807&per_page=100", 200, 0, "9223372036854775807", "100", "", "1", "1"},
		{"?page=9223372036854775808", 400, 0, "", "", "", "", ""},
		{"?page=0", 200, 20, "1", "20", "2", "", "3"},
		{"?page=-5", 200, 20, "1", "20", "2", "", "3"},
		{"?page=x", 400, 0, "", "", "", "", ""},
		{"?page=", 400, 0, "", "", "", "", ""},
		{"?page=1&page=2", 400, 0, "", "", "", "", ""},
		{"?per_page=45", 200, 45, "1", "45", "", "", "1"},
		{"?per_page=44&page=2", 200, 1, "2", "44", "", "1", "2"},
		{"?per_page=1&page=45", 200, 1, "45", "1", "", "44", "45"},
		{"?per_page=100", 200, 45, "1", "100", "", "", "1"},
		{"?per_page=101", 200, 45, "1", "100", "", "", "1"},
		{"?per_page=9223372036854775807", 200, 45, "1", "100", "", "", "1"},
		{"?per_page=0", 400, 0, "", "", "", "", ""},
		{"?per_page=-1", 400, 0, "", "", "", "", ""},
		{"?per_page=1.5", 400, 0, "", "", "", "", ""},
	} {
		a := r.as(mia, "GET", listPath+c.query, "")
		if a.status != c.status {
			t.Errorf("%s: %d %s", c.query, a.status, a.body)
		}
		if c.status != 200 {
			continue
		}
		var items []json.RawMessage
		if err := json.Unmarshal([]byte(a.body), &items); err != nil || items == nil || len(items) != c.items {
			t.Errorf("%s: %d items, %v", c.query, len(items), err)
		}
		for name, want := range map[string]string{"X-Page": c.page, "X-Per-Page": c.per, "X-Next-Page": c.next, "X-Prev-Page": c.prev, "X-Total": "45", "X-Total-Pages": c.end} {
			if got, ok := a.header[name]; !ok || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", c.query, name, got, want)
			}
		}
	}
	if a := r.as(mia, "GET", groupPath, ""); a.body != "[]\n" || a.header.Get("X-Total") != "0" || a.header.Get("X-Total-Pages") != "1" || a.header["X-Next-Page"][0] != "" {
		t.Errorf("an empty list: %q %v", a.body, a.header)
	}
}

// TestLinks follows rel="next" to the end, and sees each entry once; a link repeats no parameter that it does not know.
func TestLinks(t *testing.T) {
	r := newRig(t)
	r.many(44)
	next := regexp.MustCompile(`<([^>]*)>; rel="next"`)
	at, seen := "/api/v4/projects/acme%2Fdeep%2Fapp%2Ego/job_token_scope/allowlist?per_page=7&job_token_policies=1&foo=bar", map[float64]bool{}
	for range 10 {
		a := r.do("GET", at, "", "Private-Token", r.keys[mia])
		var items []map[string]any
		if err := json.Unmarshal([]byte(a.body), &items); err != nil {
			t.Fatal(err, a.body)
		}
		for _, item := range items {
			if id := item["id"].(float64); seen[id] || item["default_permissions"] != true {
				t.Errorf("%v is there twice, or without what it grants", item)
			} else {
				seen[id] = true
			}
		}
		link := a.header.Get("Link")
		if strings.Contains(link, "foo") || !strings.Contains(link, `rel="first"`) || !strings.Contains(link, `rel="last"`) || !strings.Contains(link, "%2Fapp%2Ego/") {
			t.Errorf("Link: %s", link)
		}
		m := next.FindStringSubmatch(link)
		if m == nil {
			break
		}
		at = strings.TrimPrefix(m[1], r.server.URL)
	}
	if len(seen) != 45 {
		t.Errorf("saw %d entries", len(seen))
	}
}

// TestCut compares with slicing a real list.
func TestCut(t *testing.T) {
	for total := range 12 {
		for size := int64(1); size < 6; size++ {
			for number := int64(1); number < 15; number++ {
				want := 0
				for i := range int64(total) {
					if i/size == number-1 {
						want++
					}
				}
				if from, to := (page{number: number, size: size}).cut(total); to-from != want || from < 0 || to > total || want > 0 && from != int((number-1)*size) {
					t.Errorf("%d of %d in %d: %d to %d", number, size, total, from, to)
				}
			}
		}
	}
}

// TestBasicProject: the fields of §21 and no others, in their order, null where the directory knows nothing.
func TestBasicProject(t *testing.T) {
	r := newRig(t)
	r.want("add", r.as(mia, "POST", listPath, "target_project_id=12"), 201, "")
	const want = `[{"id":10,"description":null,"name":"app.go","name_with_namespace":"acme / deep / app.go","path":"app.go","path_with_namespace":"acme/deep/app.go",` +
		`"created_at":null,"default_branch":null,"tag_list":[],"topics":[],"ssh_url_to_repo":null,"http_url_to_repo":"https://forge.example/acme/deep/app.go.git",` +
		`"web_url":"https://forge.example/acme/deep/app.go","avatar_url":null,"star_count":0,"last_activity_at":null,` +
		`"namespace":{"id":2,"name":"deep","path":"deep","kind":"group","full_path":"acme/deep","parent_id":1,"avatar_url":null,"web_url":"https://forge.example/groups/acme/deep"}},` +
		`{"id":12,"description":null,"name":"open","name_with_namespace":"zoe / open","path":"open","path_with_namespace":"zoe/open",` +
		`"created_at":null,"default_branch":null,"tag_list":[],"topics":[],"ssh_url_to_repo":null,"http_url_to_repo":"https://forge.example/zoe/open.git",` +
		`"web_url":"https://forge.example/zoe/open","avatar_url":null,"star_count":0,"last_activity_at":null,` +
		`"namespace":{"id":null,"name":"zoe","path":"zoe","kind":"user","full_path":"zoe","parent_id":null,"avatar_url":null,"web_url":"https://forge.example/zoe"}}]` + "\n"
	if a := r.as(mia, "GET", listPath, ""); a.body != want {
		t.Errorf("%s\nwant\n%s", a.body, want)
	}
	r.want("group", r.as(mia, "POST", groupPath, "target_group_id=2"), 201, "")
	if a := r.as(mia, "GET", groupPath, ""); a.body != `[{"id":2,"web_url":"https://forge.example/groups/acme/deep","name":"deep"}]`+"\n" {
		t.Errorf("groups: %s", a.body)
	}
	if ids := r.on(app, "allowlist"); !slices.Equal(ids, []int64{10, 12}) {
		t.Errorf("the list: %v", ids)
	}
	plain := newRig(t, func(o *Options) { o.ExternalURL = "" })
	if a := plain.as(mia, "GET", listPath, ""); !strings.Contains(a.body, `"http_url_to_repo":null,"web_url":null`) {
		t.Errorf("without an external URL: %s", a.body)
	}
}

// TestProject: what GET and PUT of a project show to whom.
func TestProject(t *testing.T) {
	r := newRig(t)
	a := r.as(developer, "GET", "projects/10", "")
	if strings.Contains(a.body, "ci_push") || !strings.Contains(a.body, `"permissions":{"project_access":{"access_level":30},"group_access":null}`) {
		t.Errorf("a developer: %s", a.body)
	}
	if a := r.as(out, "GET", "projects/12", ""); a.status != 200 || !strings.Contains(a.body, `"project_access":null`) || !strings.Contains(a.body, `"visibility":"public"`) {
		t.Errorf("a stranger of a public one: %d %s", a.status, a.body)
	}
	for _, on := range []string{"true", "false", "true"} {
		a := r.as(mia, "PUT", "projects/10", "ci_push_repository_for_job_token_allowed="+on+"&ci_cross_project_push_for_job_token_allowed="+on)
		r.want("PUT", a, 200, "")
		for _, a := range []reply{a, r.as(mia, "GET", "projects/10", "")} {
			if !strings.Contains(a.body, `"ci_push_repository_for_job_token_allowed":`+on) || !strings.Contains(a.body, `"ci_cross_project_push_for_job_token_allowed":`+on) {
				t.Errorf("%s: %s", on, a.body)
			}
		}
	}
	list, _ := r.engine.View().Allowlist(app)
	if !list.PushSelf || !list.PushCross {
		t.Error("the engine does not have it")
	}
}

// TestUser: a client that tries its key is told whom it acts for.
func TestUser(t *testing.T) {
	r := newRig(t)
	if a := r.as(mia, "GET", "user", ""); a.body != `{"id":1,"username":"mia","name":"mia","state":"active","avatar_url":null,"web_url":"https://forge.example/mia","external":false,"is_admin":false}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.do("GET", "/api/v4/user", "", "Private-Token", r.named["root"], "Sudo", "ada"); !strings.Contains(a.body, `"username":"ada"`) || !strings.Contains(a.body, `"is_admin":true`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	r.want("no key", r.do("GET", "/api/v4/user", ""), 401, "message: 401 Unauthorized")
}
