package policy_test

// nPerm is one row of SEMANTICS §8.4.
type nPerm struct {
	surface  string
	action   string // read, write, destroy, push: what §14 calls them
	role     string // least role on a target that is not open to the user
	public   bool   // in the public set (§8.3)
	builds   bool   // the public set and guests only if public pipelines are on (§8.7)
	own      bool   // own project only (§11)
	skip     bool   // no fine-grained permissions (§9.2 step 1)
	policies []string
	features []string // that gate it; §8.6 is in here already
	exempt   []string // §9.6
}

// nTable is §8.4, with §9.5, §9.6 and, for what the table's rows name in
// parentheses and for badges and registry routes, §20. It was typed from the text
// and does not look at catalogue.json.
func nTable() map[string]nPerm { return nRows }

var nRows = map[string]nPerm{
	"read_project": {surface: "policy", action: "read", role: "guest", public: true, skip: true},

	"read_repository": {surface: "rest", action: "read", role: "planner", public: true,
		policies: names("read_repositories"), features: names("repository"), exempt: names("repository")},
	"read_merge_requests": {surface: "rest", action: "read", role: "planner", public: true,
		policies: names("read_merge_requests"), features: names("merge_requests", "repository"), exempt: names("merge_requests", "repository")},
	"read_commit_merge_requests": {surface: "rest", action: "read", role: "planner", public: true,
		policies: names("read_repositories"), features: names("merge_requests", "repository"), exempt: names("merge_requests", "repository")},
	"read_work_items": {surface: "rest", action: "read", role: "guest", public: true,
		policies: names("read_work_items"), features: names("issues"), exempt: names("issues")},
	"read_badges": {surface: "rest", action: "read", role: "guest", public: true,
		policies: names("read_badges"), exempt: names("repository")},
	"admin_badges": {surface: "rest", action: "write", role: "maintainer", policies: names("admin_badges")},

	"read_packages": {surface: "rest", action: "read", role: "reporter", public: true,
		policies: names("read_packages"), features: names("packages"), exempt: names("packages")},
	"create_package": {surface: "rest", action: "write", role: "developer", policies: names("admin_packages"), features: names("packages")},
	"delete_package": {surface: "rest", action: "destroy", role: "maintainer", policies: names("admin_packages"), features: names("packages")},

	"read_releases": {surface: "rest", action: "read", role: "guest", public: true,
		policies: names("read_releases"), features: names("releases"), exempt: names("releases")},
	"download_release_asset": {surface: "rest", action: "read", role: "planner", public: true,
		policies: names("read_releases"), features: names("releases"), exempt: names("releases")},
	"create_release": {surface: "rest", action: "write", role: "developer", policies: names("admin_releases"), features: names("releases")},
	"update_release": {surface: "rest", action: "write", role: "developer", policies: names("admin_releases"), features: names("releases")},
	"delete_release": {surface: "rest", action: "destroy", role: "developer", policies: names("admin_releases"), features: names("releases")},

	"read_environments": {surface: "rest", action: "read", role: "reporter", public: true,
		policies: names("read_environments"), features: environs, exempt: environs},
	"create_environment": {surface: "rest", action: "write", role: "developer", policies: names("admin_environments"), features: environs},
	"delete_environment": {surface: "rest", action: "destroy", role: "developer", policies: names("admin_environments"), features: environs},
	"stop_environment":   {surface: "rest", action: "write", role: "maintainer", policies: names("admin_environments"), features: environs},

	"read_deployments": {surface: "rest", action: "read", role: "reporter", public: true,
		policies: names("read_deployments"), features: environs, exempt: environs},
	"create_deployment": {surface: "rest", action: "write", role: "developer",
		policies: names("admin_deployments", "admin_environments"), features: environs},
	"update_deployment": {surface: "rest", action: "write", role: "developer", policies: names("admin_deployments"), features: environs},
	"delete_deployment": {surface: "rest", action: "destroy", role: "maintainer", policies: names("admin_deployments"), features: environs},

	"read_jobs": {surface: "rest", action: "read", role: "guest", public: true, builds: true,
		policies: names("read_jobs"), features: pipelines, exempt: pipelines},
	"read_job_artifacts": {surface: "rest", action: "read", role: "guest", public: true, builds: true,
		policies: names("read_jobs"), features: pipelines, exempt: pipelines},
	"read_pipelines": {surface: "rest", action: "read", role: "guest", public: true, builds: true,
		policies: names("read_pipelines"), features: pipelines, exempt: pipelines},
	"trigger_pipeline":         {surface: "rest", action: "write", role: "developer", policies: names("admin_pipelines"), features: pipelines},
	"update_pipeline_metadata": {surface: "rest", action: "write", role: "developer", policies: names("admin_pipelines"), features: pipelines},

	"read_secure_files":  {surface: "rest", action: "read", role: "developer", policies: names("read_secure_files")},
	"admin_secure_files": {surface: "rest", action: "write", role: "maintainer", policies: names("admin_secure_files")},
	"read_terraform_state": {surface: "rest", action: "read", role: "developer",
		policies: names("read_terraform_state"), features: names("infrastructure")},
	"admin_terraform_state": {surface: "rest", action: "write", role: "maintainer",
		policies: names("admin_terraform_state"), features: names("infrastructure")},

	"read_own_job":               {surface: "rest", action: "read", skip: true},
	"read_dependency_firewall":   {surface: "rest", action: "read", role: "guest", own: true, skip: true},
	"list_registry_repositories": {surface: "rest", action: "read", role: "reporter", own: true, skip: true, features: names("container_registry")},
	"delete_registry_tag":        {surface: "rest", action: "destroy", role: "developer", own: true, skip: true, features: names("container_registry")},
	"delete_registry_repository": {surface: "rest", action: "destroy", role: "maintainer", own: true, skip: true, features: names("container_registry")},

	"download_code": {surface: "git", action: "read", role: "reporter", public: true, features: names("repository")},
	"push_code": {surface: "git", action: "push", role: "developer",
		policies: names("admin_repositories"), features: names("repository")},
	"pull_image":   {surface: "registry", action: "read", role: "reporter", public: true, features: names("container_registry")},
	"push_image":   {surface: "registry", action: "write", role: "developer", own: true, features: names("container_registry")},
	"delete_image": {surface: "registry", action: "destroy", role: "developer", own: true, features: names("container_registry")},

	"read_variables": {surface: "unlisted"},
	"graphql_query":  {surface: "graphql"},

	// What an operator added: see extension.
	"read_wiki":   {surface: "rest", action: "read", role: "guest", public: true, features: names("repository")},
	"write_wiki":  {surface: "rest", action: "write", role: "developer", policies: names("admin_wiki")},
	"render_wiki": {surface: "rest", action: "read", role: "planner", public: true, policies: names("read_wiki", "read_repositories"), exempt: names("repository")},
	"watch_wiki":  {surface: "rest", action: "read", role: "guest", skip: true},
	"sync_wiki":   {surface: "git", action: "push", role: "developer", features: names("repository")},
}

var (
	environs  = names("environments", "builds", "repository")
	pipelines = names("builds", "repository")
)

func names(s ...string) []string { return s }

// extension is an operator's document that adds the last rows of the table, among
// them one that declares no permission, which nothing built in does on REST.
func extension() any {
	return map[string]any{
		"policies": []any{"read_wiki", "admin_wiki", "write_wiki"}, // the last grants itself only
		"permissions": []any{
			map[string]any{"name": "read_wiki", "surface": "rest", "role": "guest", "public": true, "features": []any{"repository"}},
			map[string]any{"name": "write_wiki", "surface": "rest", "action": "write", "role": "developer", "policies": []any{"admin_wiki"}},
			map[string]any{"name": "render_wiki", "surface": "rest", "role": "planner", "public": true,
				"policies": []any{"read_wiki", "read_repositories"}, "exempt_features": []any{"repository"}},
			map[string]any{"name": "watch_wiki", "surface": "rest", "role": "guest", "skip_policies": true},
			map[string]any{"name": "sync_wiki", "surface": "git", "action": "push", "role": "developer", "features": []any{"repository"}},
		},
	}
}
