package conformance

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// requests are how each permission is asked for over HTTP: method and path, with ID for the project as the REST API has it and PATH as Git has it.
// Permissions that stand in no route are in notRouted.
var requests = map[authz.Permission]string{
	"read_repository":            "GET /api/v4/projects/ID/repository/branches",
	"read_commit_merge_requests": "GET /api/v4/projects/ID/repository/commits/0a1b2c/merge_requests",
	"read_merge_requests":        "GET /api/v4/projects/ID/merge_requests",
	"read_work_items":            "GET /api/v4/projects/ID/issues",
	"read_badges":                "GET /api/v4/projects/ID/badges",
	"admin_badges":               "POST /api/v4/projects/ID/badges",
	"read_packages":              "GET /api/v4/projects/ID/packages",
	"create_package":             "PUT /api/v4/projects/ID/packages/generic/tool/1.0/tool.tar.gz",
	"delete_package":             "DELETE /api/v4/projects/ID/packages/5",
	"read_releases":              "GET /api/v4/projects/ID/releases",
	"create_release":             "POST /api/v4/projects/ID/releases",
	"update_release":             "PUT /api/v4/projects/ID/releases/v1.0",
	"delete_release":             "DELETE /api/v4/projects/ID/releases/v1.0",
	"read_environments":          "GET /api/v4/projects/ID/environments",
	"create_environment":         "POST /api/v4/projects/ID/environments",
	"delete_environment":         "DELETE /api/v4/projects/ID/environments/5",
	"stop_environment":           "POST /api/v4/projects/ID/environments/5/stop",
	"read_deployments":           "GET /api/v4/projects/ID/deployments",
	"create_deployment":          "POST /api/v4/projects/ID/deployments",
	"update_deployment":          "PUT /api/v4/projects/ID/deployments/5",
	"delete_deployment":          "DELETE /api/v4/projects/ID/deployments/5",
	"read_job_artifacts":         "GET /api/v4/projects/ID/jobs/5/artifacts",
	"read_pipelines":             "GET /api/v4/projects/ID/pipelines",
	"trigger_pipeline":           "POST /api/v4/projects/ID/trigger/pipeline",
	"read_jobs":                  "GET /api/v4/projects/ID/jobs",
	"download_release_asset":     "GET /api/v4/projects/ID/releases/v1.0/downloads/tool.tar.gz",
	"read_dependency_firewall":   "GET /api/v4/projects/ID/dependency_firewall/enablement",
	"update_pipeline_metadata":   "PUT /api/v4/projects/ID/pipelines/5/metadata",
	"read_secure_files":          "GET /api/v4/projects/ID/secure_files",
	"admin_secure_files":         "POST /api/v4/projects/ID/secure_files",
	"read_terraform_state":       "GET /api/v4/projects/ID/terraform/state/default",
	"admin_terraform_state":      "POST /api/v4/projects/ID/terraform/state/default",
	"read_own_job":               "GET /api/v4/job",
	"list_registry_repositories": "GET /api/v4/projects/ID/registry/repositories",
	"delete_registry_tag":        "DELETE /api/v4/projects/ID/registry/repositories/5/tags/v1",
	"delete_registry_repository": "DELETE /api/v4/projects/ID/registry/repositories/5",
	"download_code":              "GET /PATH.git/info/refs?service=git-upload-pack",
	"push_code":                  "GET /PATH.git/info/refs?service=git-receive-pack",
	"read_variables":             "GET /api/v4/projects/ID/variables",
	"graphql_query":              "POST /api/graphql",
}

// notRouted are the permissions that no HTTP route of package route asks for, and where they are asked for instead.
var notRouted = map[authz.Permission]string{
	"read_project": "a bare question of internal services",
	"pull_image":   "sidecar/registry", "push_image": "sidecar/registry", "delete_image": "sidecar/registry",
}

// request gives the HTTP request of the scenario's question; nil when HTTP does not ask it.
func (s *system) request() *http.Request {
	how, ok := requests[s.req.Permission]
	if !ok {
		return nil
	}
	method, target, _ := strings.Cut(how, " ")
	target = strings.ReplaceAll(target, "ID", url.PathEscape(s.path))
	target = strings.ReplaceAll(target, "PATH", s.path)
	r := httptest.NewRequest(method, target, nil)
	switch {
	case s.text == "":
	case s.req.Permission == "trigger_pipeline":
		r.URL.RawQuery = "token=" + s.text
		r.RequestURI += "?token=" + s.text
	case strings.Contains(how, "PATH"), strings.Contains(how, "/terraform/"):
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("gitlab-ci-token:"+s.text)))
	default:
		r.Header.Set("Job-Token", s.text)
	}
	return r
}
