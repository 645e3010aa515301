package policy_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/scenario"
)

// gen makes random worlds and questions. Its choices lean towards what passes the
// early rules, so that every rule is reached often, and towards names and lists that
// invite a mistake: acme/app beside acme/apps, entries at several levels for one
// caller, groups and projects and users with the same numbers.
type gen struct{ *rand.Rand }

func (g gen) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g gen, from ...T) T { return from[g.IntN(len(from))] }

// mostly gives usual, or with the chance given one of the others.
func mostly(g gen, percent int, usual string, others ...string) string {
	if g.chance(percent) {
		return usual
	}
	return pick(g, others...)
}

func (g gen) world() scenario.World {
	var w scenario.World
	w.Instance = scenario.Instance{
		EnforceInbound: g.chance(20), AnyoneCanPull: g.flag(60), PublicScope: pick(g, "", "exempt", "strict", "strict"),
	}
	if g.chance(80) {
		w.Catalogue = extension()
	}
	g.groups(&w)
	g.projects(&w)
	for i := range w.Projects {
		g.allowlist(&w, &w.Projects[i])
	}
	for _, name := range []string{"dev", "mia", "root"}[:1+g.IntN(3)] {
		w.Users = append(w.Users, scenario.User{
			Name: name, State: mostly(g, 97, "", "blocked", "deactivated", "banned", "blocked_pending_approval"),
			External: g.chance(25), Admin: name == "root", Killed: g.chance(1),
		})
		g.members(&w, name)
	}
	return w
}

func (g gen) flag(percent int) *bool {
	if g.chance(30) {
		return nil
	}
	b := g.chance(percent)
	return &b
}

func (g gen) groups(w *scenario.World) {
	paths := []string{""}
	taken := map[string]bool{}
	for range 1 + g.IntN(9) {
		up := pick(g, paths...)
		if g.chance(50) {
			up = paths[len(paths)-1] // a chain, so that depth 6 is common
		}
		path := pick(g, "acme", "app", "apps", "lib")
		depth := 1
		if up != "" {
			path, depth = up+"/"+path, depthOf(up)+1
		}
		if taken[path] || depth > 6 {
			continue
		}
		taken[path] = true
		paths = append(paths, path)
		w.Groups = append(w.Groups, scenario.Group{
			Path: path, Visibility: pick(g, "", "internal", "public"),
			State: mostly(g, 97, "", "archived", "archived", "deletion_scheduled", "deletion_in_progress", "pending_delete"),
		})
	}
	if g.chance(50) { // the importer must not depend on the order
		g.Shuffle(len(w.Groups), func(i, j int) { w.Groups[i], w.Groups[j] = w.Groups[j], w.Groups[i] })
	}
}

func depthOf(path string) int {
	if path == "" {
		return 0
	}
	return depthOf(parent(path)) + 1
}

func (g gen) projects(w *scenario.World) {
	taken := map[string]bool{}
	for _, gr := range w.Groups {
		taken[gr.Path] = true
	}
	for len(w.Projects) < 2 || g.chance(70) && len(w.Projects) < 7 {
		up := "dev"
		if len(w.Groups) > 0 && g.chance(85) {
			up = w.Groups[g.IntN(len(w.Groups))].Path
		}
		path := up + "/" + pick(g, "app", "apps", "x", "lib")
		if taken[path] {
			continue
		}
		taken[path] = true
		p := scenario.Project{
			Path: path, Visibility: pick(g, "", "private", "internal", "public"),
			State:  mostly(g, 94, "", "archived", "archived", "deletion_scheduled", "deletion_in_progress", "pending_delete"),
			Hidden: g.chance(2), ReadOnly: g.chance(10), Killed: g.chance(1),
			PublicBuilds: g.flag(70), Features: map[string]string{},
		}
		for _, f := range []string{"repository", "builds", "packages", "container_registry", "environments", "releases", "merge_requests", "issues", "infrastructure"} {
			switch n := g.IntN(100); {
			case n < 4:
				p.Features[f] = "disabled"
			case n < 14:
				p.Features[f] = "private"
			case n < 20:
				p.Features[f] = "enabled"
			case n < 35 && f == "packages":
				p.Features[f] = "public"
			}
		}
		w.Projects = append(w.Projects, p)
	}
}

func (g gen) allowlist(w *scenario.World, p *scenario.Project) {
	p.InboundEnabled, p.OutboundEnabled = g.flag(75), g.chance(25)
	p.PushSelf, p.PushCross = g.chance(60), g.chance(60)
	for _, o := range w.Projects { // itself included, which must change nothing
		if g.chance(30) {
			p.InboundAllow = append(p.InboundAllow, scenario.Entry{Path: o.Path, Policies: g.policies(w)})
		}
		if g.chance(40) {
			p.Outbound = append(p.Outbound, o.Path)
		}
	}
	for _, gr := range w.Groups {
		if g.chance(30) {
			p.InboundGroups = append(p.InboundGroups, scenario.Entry{Path: gr.Path, Policies: g.policies(w)})
		}
	}
}

func (g gen) policies(w *scenario.World) []string {
	if g.chance(45) {
		return nil
	}
	known := []string{
		"read_deployments", "admin_deployments", "read_environments", "admin_environments", "read_jobs", "admin_jobs", "read_merge_requests",
		"read_packages", "admin_packages", "read_pipelines", "admin_pipelines", "read_releases", "admin_releases", "read_repositories",
		"admin_repositories", "read_secure_files", "admin_secure_files", "read_terraform_state", "admin_terraform_state", "read_work_items",
		"read_badges", "admin_badges",
	}
	if w.Catalogue != nil {
		known = append(known, "read_wiki", "admin_wiki", "write_wiki")
	}
	out := []string{}
	share := g.IntN(80)
	for _, p := range known {
		if g.chance(share) {
			out = append(out, p)
		}
	}
	return out
}

func (g gen) members(w *scenario.World, user string) {
	add := func(scope string, percent int) {
		if g.chance(percent) {
			w.Members = append(w.Members, scenario.Member{User: user, Scope: scope, Role: pick(g,
				"minimal", "guest", "planner", "reporter", "security_manager", "developer", "developer", "maintainer", "maintainer", "maintainer", "owner", "owner")})
		}
	}
	for _, p := range w.Projects {
		add(p.Path, 75)
	}
	for _, gr := range w.Groups {
		add(gr.Path, 25)
	}
}

// question asks something in a world. permissions are those to choose from.
func (g gen) question(w *scenario.World, permissions []string) (scenario.Job, scenario.Request) {
	project := func() string { return w.Projects[g.IntN(len(w.Projects))].Path }
	j := scenario.Job{
		Project: project(), User: mostly(g, 99, w.Users[g.IntN(len(w.Users))].Name, "nobody"),
		State: mostly(g, 98, pick(g, "", "running", "running", "canceling"),
			"created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "manual", "scheduled", "success", "failed", "canceled", "skipped"),
		Erased:    g.chance(1),
		Token:     mostly(g, 98, "", "expired", "replaced", "unknown", "malformed"),
		Heartbeat: mostly(g, 98, pick(g, "", "beating"), "overdue", "lapsed"),
	}
	if g.chance(1) {
		j.Project = "gone/project"
	}
	if g.chance(8) {
		j.Limits = g.limits(w, permissions)
	}
	if g.chance(12) {
		j.Token = "none"
	}
	r := scenario.Request{
		TargetProject: project(), Permission: authz.Permission(pick(g, permissions...)),
		Surface: mostly(g, 95, pick(g, "", "", "default"), "policy", "rest", "git", "registry", "graphql", "unlisted"),
	}
	if g.chance(20) {
		r.TargetProject = j.Project
	}
	if g.chance(2) {
		r.TargetProject = pick(g, "acme/nothing", "", "acme", "app/app/", "dev/x/y")
	}
	if g.chance(1) {
		r.Permission = "fly"
	}
	if s := nTable()[string(r.Permission)].surface; s != "" && g.chance(40) {
		r.Surface = s
	}
	return j, r
}

func (g gen) limits(w *scenario.World, permissions []string) *scenario.Limits {
	var l scenario.Limits
	if g.chance(50) {
		l.Permissions = []authz.Permission{}
		for _, p := range permissions {
			if g.chance(50) {
				l.Permissions = append(l.Permissions, authz.Permission(p))
			}
		}
	}
	if g.chance(70) {
		l.Targets = []string{}
		for _, p := range w.Projects {
			if g.chance(40) {
				l.Targets = append(l.Targets, p.Path)
			}
		}
		for _, gr := range w.Groups {
			if g.chance(30) {
				l.Targets = append(l.Targets, gr.Path)
			}
		}
	}
	return &l
}

// asScenario puts a world and a question into one scenario, to print and replay.
func asScenario(id int, w *scenario.World, j scenario.Job, r scenario.Request) *scenario.Scenario {
	return &scenario.Scenario{ID: fmt.Sprintf("random-%d", id), World: *w, Job: j, Request: r}
}
