package gitlab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// terraform makes the calls of GitLab's provider in its order (SEMANTICS §21, details 2 to 4), on plain net/http.
type terraform struct {
	*rig
	project string
	calls   []string
}

func (tf *terraform) call(method, path, body string, want ...int) reply {
	tf.t.Helper()
	a := tf.as(mia, method, path, body)
	tf.calls = append(tf.calls, method)
	if !slices.Contains(want, a.status) {
		tf.t.Errorf("%s %s %s: %d %s", method, path, body, a.status, a.body)
	}
	return a
}

// list reads a list page by page, and takes the project itself out by id or path.
func (tf *terraform) list(list string) (ids []int64) {
	tf.t.Helper()
	for page := "1"; page != ""; {
		a := tf.call("GET", tf.project+"/job_token_scope/"+list+"?per_page=20&page="+page, "", 200)
		var items []struct {
			ID   int64
			Path string `json:"path_with_namespace"`
		}
		if err := json.Unmarshal([]byte(a.body), &items); err != nil {
			tf.t.Fatal(err)
		}
		for _, item := range items {
			if item.ID != app && item.Path != "acme/deep/app.go" || list != "allowlist" {
				ids = append(ids, item.ID)
			}
		}
		page = a.header.Get("X-Next-Page")
	}
	return ids
}

// apply brings the lists to what is wanted, then sets the switch: false when the configuration does not say.
func (tf *terraform) apply(projects, groups []int64, enabled bool) {
	tf.t.Helper()
	for _, s := range []struct {
		list, param string
		want        []int64
	}{{"allowlist", "target_project_id", projects}, {"groups_allowlist", "target_group_id", groups}} {
		have := tf.list(s.list)
		for _, id := range s.want {
			if !slices.Contains(have, id) {
				a := tf.call("POST", tf.project+"/job_token_scope/"+s.list, fmt.Sprintf(`{"%s":%d}`, s.param, id), 201)
				if want := fmt.Sprintf(`{"source_project_id":10,"%s":%d}`, s.param, id); strings.TrimSpace(a.body) != want {
					tf.t.Errorf("%s, want %s", a.body, want)
				}
			}
		}
		for _, id := range have {
			if !slices.Contains(s.want, id) {
				tf.call("DELETE", fmt.Sprintf("%s/job_token_scope/%s/%d", tf.project, s.list, id), "", 204)
			}
		}
	}
	tf.call("PATCH", tf.project+"/job_token_scope", fmt.Sprintf(`{"enabled":%t}`, enabled), 204)
}

// read is what a refresh sees.
func (tf *terraform) read() (projects, groups []int64, enabled bool) {
	tf.t.Helper()
	a := tf.call("GET", tf.project+"/job_token_scope", "", 200)
	var s struct {
		Inbound bool `json:"inbound_enabled"`
	}
	if err := json.Unmarshal([]byte(a.body), &s); err != nil {
		tf.t.Fatal(err)
	}
	return tf.list("allowlist"), tf.list("groups_allowlist"), s.Inbound
}

// TestTerraform is the life of gitlab_project_job_token_scopes: create, plan without changes, change, destroy; the project
// written as a number and as a path.
func TestTerraform(t *testing.T) {
	for _, project := range []string{"projects/10", "projects/acme%2Fdeep%2Fapp%2Ego"} {
		t.Run(project, func(t *testing.T) {
			r := newRig(t)
			r.many(60)
			tf := &terraform{rig: r, project: project}
			tf.call("GET", "application/settings", "", 200)
			tf.apply([]int64{open, guested, 1003}, []int64{crowd, acme}, false)
			projects, groups, on := tf.read()
			if !slices.Equal(projects, []int64{open, guested, 1003}) || !slices.Equal(groups, []int64{acme, crowd}) || on {
				t.Errorf("after create: %v %v %t", projects, groups, on)
			}
			tf.calls = nil
			tf.apply([]int64{open, guested, 1003}, []int64{crowd, acme}, false)
			if slices.Contains(tf.calls, "POST") || slices.Contains(tf.calls, "DELETE") {
				t.Errorf("applying again changes something: %v", tf.calls)
			}
			tf.apply([]int64{open}, []int64{deep}, true)
			if projects, groups, on = tf.read(); !slices.Equal(projects, []int64{open}) || !slices.Equal(groups, []int64{deep}) || !on {
				t.Errorf("after a change: %v %v %t", projects, groups, on)
			}
			tf.apply(nil, nil, true) // destroy
			if projects, groups, on = tf.read(); len(projects)+len(groups) > 0 || !on {
				t.Errorf("after destroy: %v %v %t", projects, groups, on)
			}
		})
	}
}

// TestTerraformSingle is gitlab_project_job_token_scope, one entry: it is found by listing, and gone after the first DELETE. The
// second one is an error that the provider takes for "gone".
func TestTerraformSingle(t *testing.T) {
	r := newRig(t)
	tf := &terraform{rig: r, project: "projects/10"}
	tf.call("POST", "projects/10/job_token_scope/allowlist", `{"target_project_id":12}`, 201)
	if !slices.Contains(tf.list("allowlist"), open) {
		t.Error("the entry is not on the list")
	}
	tf.call("DELETE", "projects/10/job_token_scope/allowlist/12", "", 204)
	tf.call("DELETE", "projects/10/job_token_scope/allowlist/12", "", 400, 404)
	if slices.Contains(tf.list("allowlist"), open) {
		t.Error("the entry is still on the list")
	}
	tf.call("PUT", "projects/10", `{"ci_push_repository_for_job_token_allowed":true}`, http.StatusOK)
}
