package gitlab

import (
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// Parameters of PUT /projects/:id. The second is an extension: GitLab has it in GraphQL only.
const (
	paramPushSelf  = "ci_push_repository_for_job_token_allowed"
	paramPushCross = "ci_cross_project_push_for_job_token_allowed"
)

// unknown stands for what the directory does not know. It is null.
type unknown *struct{}

// basicProject has the fields of GitLab's basic project, in its order.
type basicProject struct {
	ID                authz.ProjectID `json:"id"`
	Description       unknown         `json:"description"`
	Name              string          `json:"name"`
	NameWithNamespace string          `json:"name_with_namespace"`
	Path              string          `json:"path"`
	PathWithNamespace string          `json:"path_with_namespace"`
	CreatedAt         unknown         `json:"created_at"`
	DefaultBranch     unknown         `json:"default_branch"`
	TagList           []string        `json:"tag_list"`
	Topics            []string        `json:"topics"`
	SSHURL            unknown         `json:"ssh_url_to_repo"`
	HTTPURL           *string         `json:"http_url_to_repo"`
	WebURL            *string         `json:"web_url"`
	AvatarURL         unknown         `json:"avatar_url"`
	StarCount         int             `json:"star_count"`
	LastActivityAt    unknown         `json:"last_activity_at"`
	Namespace         *namespace      `json:"namespace"`
}

// namespace is the group that a project is in, or a person's.
type namespace struct {
	// ID is null for a person's namespace, of which the directory knows the name alone.
	ID        *authz.GroupID `json:"id"`
	Name      string         `json:"name"`
	Path      string         `json:"path"`
	Kind      string         `json:"kind"`
	FullPath  string         `json:"full_path"`
	ParentID  *authz.GroupID `json:"parent_id"`
	AvatarURL unknown        `json:"avatar_url"`
	WebURL    *string        `json:"web_url"`
}

// basicGroup has the fields of GitLab's basic group.
type basicGroup struct {
	ID     authz.GroupID `json:"id"`
	WebURL *string       `json:"web_url"`
	Name   string        `json:"name"`
}

// link is an address of the forge's own pages, null where nobody said where they are.
func (c *call) link(path string) *string {
	if c.opt.ExternalURL == "" || path == "" {
		return nil
	}
	at := c.opt.ExternalURL + "/" + path
	return &at
}

// basicProject shows a project; the zero SeenProject leaves the id alone.
func (c *call) basicProject(id authz.ProjectID, p engine.SeenProject) basicProject {
	out := basicProject{ID: id, TagList: []string{}, Topics: []string{}}
	if p.ID == 0 {
		return out
	}
	out.Name, out.Path, out.PathWithNamespace = p.Name, p.Name, p.Path
	out.NameWithNamespace = strings.ReplaceAll(p.Path, "/", " / ")
	out.WebURL = c.link(p.Path)
	if p.Path != "" {
		out.HTTPURL = c.link(p.Path + ".git")
	}
	out.Namespace = c.namespace(p)
	return out
}

func (c *call) namespace(p engine.SeenProject) *namespace {
	if p.Group == 0 {
		return &namespace{Name: p.Namespace, Path: p.Namespace, Kind: "user", FullPath: p.Namespace, WebURL: c.link(p.Namespace)}
	}
	// Who sees a project sees the groups above it.
	g, err := c.engine.GetGroup(c.r.Context(), p.Group)
	if err != nil {
		return nil
	}
	out := &namespace{ID: &p.Group, Name: g.Name, Path: g.Name, Kind: "group", FullPath: g.Path}
	if g.Parent != 0 {
		out.ParentID = &g.Parent
	}
	if g.Path != "" {
		out.WebURL = c.link("groups/" + g.Path)
	}
	return out
}

func (c *call) basicGroup(id authz.GroupID, g engine.GroupInfo) basicGroup {
	out := basicGroup{ID: id, Name: g.Name}
	if g.Path != "" {
		out.WebURL = c.link("groups/" + g.Path)
	}
	return out
}

// project is what GET /projects/:id shows. Fields that are left out are only for maintainers, or
// nothing that the directory knows.
type project struct {
	basicProject
	Visibility  string      `json:"visibility"`
	Archived    bool        `json:"archived"`
	PublicJobs  bool        `json:"public_jobs"`
	Permissions permissions `json:"permissions"`

	RepositoryAccess     string `json:"repository_access_level"`
	BuildsAccess         string `json:"builds_access_level"`
	PackagesAccess       string `json:"package_registry_access_level"`
	RegistryAccess       string `json:"container_registry_access_level"`
	EnvironmentsAccess   string `json:"environments_access_level"`
	ReleasesAccess       string `json:"releases_access_level"`
	MergeRequestsAccess  string `json:"merge_requests_access_level"`
	IssuesAccess         string `json:"issues_access_level"`
	InfrastructureAccess string `json:"infrastructure_access_level"`

	OutboundOn *bool `json:"ci_job_token_scope_enabled,omitempty"`
	PushSelf   *bool `json:"ci_push_repository_for_job_token_allowed,omitempty"`
	PushCross  *bool `json:"ci_cross_project_push_for_job_token_allowed,omitempty"`
}

// permissions has the user's highest role, wherever it comes from, as that on the project.
type permissions struct {
	ProjectAccess *accessLevel `json:"project_access"`
	GroupAccess   unknown      `json:"group_access"`
}

type accessLevel struct {
	AccessLevel authz.Role `json:"access_level"`
}

// getProject is GET /projects/:id, for whoever may see the project.
func (c *call) getProject() error {
	p, err := c.ownProject()
	if err != nil {
		return err
	}
	return c.showProject(p)
}

func (c *call) showProject(p engine.SeenProject) error {
	level := func(f authz.Feature) string { return p.Features[f].String() }
	out := project{
		basicProject: c.basicProject(p.ID, p), Visibility: p.Visibility.String(), Archived: p.State == authz.StateArchived, PublicJobs: p.PublicBuilds,
		RepositoryAccess: level(authz.FeatureRepository), BuildsAccess: level(authz.FeatureBuilds), PackagesAccess: level(authz.FeaturePackages),
		RegistryAccess: level(authz.FeatureContainerRegistry), EnvironmentsAccess: level(authz.FeatureEnvironments),
		ReleasesAccess: level(authz.FeatureReleases), MergeRequestsAccess: level(authz.FeatureMergeRequests), IssuesAccess: level(authz.FeatureIssues),
		InfrastructureAccess: level(authz.FeatureInfrastructure),
	}
	if p.Role > authz.RoleNone {
		out.Permissions.ProjectAccess = &accessLevel{p.Role}
	}
	if p.Role >= authz.RoleMaintainer {
		info, err := c.engine.GetAllowlist(c.r.Context(), c.by, p.ID)
		if err != nil {
			return err
		}
		out.OutboundOn, out.PushSelf, out.PushCross = &info.OutboundOn, &info.PushSelf, &info.PushCross
	}
	return c.answer(200, out)
}

// putProject is PUT /projects/:id, of which the two push switches are here. Everything else belongs to the forge; to
// take it and change nothing would be a lie, so it is refused.
func (c *call) putProject() error {
	if err := c.params.only(paramPushSelf, paramPushCross); err != nil {
		return err
	}
	self, err := c.params.maybe(paramPushSelf)
	if err != nil {
		return err
	}
	cross, err := c.params.maybe(paramPushCross)
	if err != nil {
		return err
	}
	if self == nil && cross == nil {
		return badParam("%s, %s are missing, at least one parameter must be provided", paramPushSelf, paramPushCross)
	}
	p, err := c.ownProject()
	if err != nil {
		return err
	}
	edit := engine.AllowlistEdit{Project: p.ID}
	_, done, err := c.engine.UpdateAllowlist(c.r.Context(), c.by, engine.AllowlistSettings{AllowlistEdit: edit, PushSelf: self, PushCross: cross})
	if err != nil {
		return err
	}
	c.settle(done)
	return c.showProject(p)
}
