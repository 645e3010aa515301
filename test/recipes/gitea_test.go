package recipes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/sidecar/route"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/programs"
)

// TestGiteaRoutes: what the routes file makes of requests that Gitea knows, and that the sidecar takes it.
func TestGiteaRoutes(t *testing.T) {
	table, err := route.Extend([]byte(recipe(t, "gitea/routes.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	const repo = "/api/v1/repos/acme/app"
	for request, want := range map[string]string{
		"GET " + repo + "/raw/docs/README.md":                     "read_repository acme/app",
		"GET " + repo + "/raw/docs/README.md?ref=main":            "read_repository acme/app",
		"GET " + repo + "/media/a.bin":                            "read_repository acme/app",
		"GET " + repo + "/archive/main.tar.gz":                    "read_repository acme/app",
		"GET " + repo + "/archive/feature/x.zip":                  "read_repository acme/app",
		"GET " + repo + "/contents":                               "read_repository acme/app",
		"GET " + repo + "/contents/src/main.go":                   "read_repository acme/app",
		"GET " + repo + "/branches/main":                          "read_repository acme/app",
		"GET " + repo + "/tags":                                   "read_repository acme/app",
		"GET " + repo + "/git/refs/heads/main":                    "read_repository acme/app",
		"GET " + repo + "/releases":                               "read_releases acme/app",
		"GET " + repo + "/releases/latest":                        "read_releases acme/app",
		"GET " + repo + "/releases/7/assets/9":                    "read_releases acme/app",
		"GET " + repo + "/releases/tags/v1.2":                     "read_releases acme/app",
		"POST " + repo + "/releases":                              "create_release acme/app",
		"PATCH " + repo + "/releases/7":                           "update_release acme/app",
		"POST " + repo + "/releases/7/assets?name=tool.tar.gz":    "update_release acme/app",
		"DELETE " + repo + "/releases/7":                          "delete_release acme/app",
		"DELETE " + repo + "/releases/tags/v1.2":                  "delete_release acme/app",
		"GET /api/packages/acme/generic/tool/1.0/tool.tar.gz":     "read_packages acme/packages",
		"PUT /api/packages/acme/generic/tool/1.0/tool.tar.gz":     "create_package acme/packages",
		"DELETE /api/packages/acme/generic/tool/1.0/tool.tar.gz":  "delete_package acme/packages",
		"GET /api/packages/acme/npm/@acme%2Ftool":                 "read_packages acme/packages",
		"GET /api/packages/acme/npm/..%2F..%2Fother%2Fnpm%2Ftool": "",
		"POST /api/packages/acme/helm/api/charts":                 "create_package acme/packages",
		"GET /acme/app.git/info/refs?service=git-upload-pack":     "download_code acme/app",
		"POST /acme/app.git/git-receive-pack":                     "push_code acme/app",
		"POST /acme/app.git/info/lfs/objects/batch":               "download_code acme/app",
		"GET " + repo:                                              "",
		"PATCH " + repo:                                            "",
		"GET " + repo + "/keys":                                    "",
		"GET " + repo + "/hooks":                                   "",
		"PUT " + repo + "/contents/src/main.go":                    "",
		"GET " + repo + "/compare/main...other:main":               "",
		"GET " + repo + "/raw/../../secret/raw/README.md":          "",
		"GET " + repo + "%2F..%2Fsecret/raw/README.md":             "",
		"GET /api/v1/user":                                         "",
		"GET /api/v1/admin/users":                                  "",
		"GET /api/packages/other/generic/tool/1.0/tool.tar.gz":     "",
		"GET /api/packages/acme/container/tool":                    "",
		"GET /api/packages/acme/../other/generic/tool/1.0/tool.gz": "",
		"GET /acme/app/settings":                                   "",
		"GET /acme/app/raw/branch/main/README.md":                  "",
		"GET /": "",
	} {
		method, rest, _ := strings.Cut(request, " ")
		path, query, _ := strings.Cut(rest, "?")
		got := ""
		if m, err := table.Match(&route.Request{Method: method, Path: path, Query: query}); err == nil {
			got = fmt.Sprint(m.Route.Permission, " ", m.Target.Path)
		}
		if got != want {
			t.Errorf("%s asks %q, want %q", request, got, want)
		}
	}
	check := exec.Command(filepath.Join(programs.Dir(t, "sidecar"), "sidecar"), "config", "check", "--routes-file=../../deploy/gitea/routes.yaml",
		"--proxy-addr=127.0.0.1:7433", "--proxy-to=http://127.0.0.1:8081")
	check.Env = programs.Environ()
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestGitea runs both ways of the recipe before the real Gitea.
func TestGitea(t *testing.T) {
	g := startGitea(t)
	nginx := programs.Find(t, "nginx")
	programs.Find(t, "git")
	programs.Find(t, "curl")
	routes, err := filepath.Abs("../../deploy/gitea/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("jobs.conf", func(t *testing.T) {
		door, jobs, people := freeAddress(t), freeAddress(t), freeAddress(t)
		r := start(t, "--http-addr="+door, "--routes-file="+routes)
		ca, cert, key := r.tls()
		logs := filepath.Join(r.dir, "logs")
		if err := os.Mkdir(logs, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(r.dir, "jobward.inc"), recipe(t, "nginx/jobward.inc", [2]string{"127.0.0.1:7432", door}))
		for name, from := range map[string]string{"00-jobward.conf": "nginx/00-jobward.conf", "user.inc": "gitea/user.inc"} {
			write(t, filepath.Join(r.dir, name), recipe(t, from))
		}
		here := [2]string{"/etc/nginx/", r.dir + "/"}
		write(t, filepath.Join(r.dir, "jobs.conf"), recipe(t, "gitea/jobs.conf",
			[2]string{"/etc/nginx/tls/jobs.git.example.com.pem", cert}, [2]string{"/etc/nginx/tls/jobs.git.example.com.key", key}, here,
			[2]string{"listen 443", "listen " + jobs}, [2]string{"server_name jobs.git.example.com", "server_name localhost"},
			[2]string{"/var/log/nginx", logs}, [2]string{"127.0.0.1:3000", g.before}))
		write(t, filepath.Join(r.dir, "people.conf"), r.people(g, people, cert, key))
		launchNginx(t, r, nginx, "00-jobward.conf", "jobs.conf", "people.conf")
		waitFor(t, jobs, people)
		d := &giteaDoor{r, t, "https://" + local(jobs), "https://" + local(people), ca}
		token := d.all(g)
		wantWithout(t, token, map[string]string{"nginx's access log": read(t, filepath.Join(logs, "jobs.git.access.log"))})
	})
	t.Run("behind.conf", func(t *testing.T) {
		proxy, behind, people := freeAddress(t), freeAddress(t), freeAddress(t)
		r := start(t, "--proxy-addr="+proxy, "--proxy-to=http://"+behind, "--routes-file="+routes)
		ca, cert, key := r.tls()
		write(t, filepath.Join(r.dir, "user.inc"), recipe(t, "gitea/user.inc"))
		write(t, filepath.Join(r.dir, "behind.conf"), recipe(t, "gitea/behind.conf", [2]string{"/etc/nginx/", r.dir + "/"}, [2]string{"/var/log/nginx", r.dir},
			[2]string{"listen 127.0.0.1:8081", "listen " + behind}, [2]string{"127.0.0.1:3000", g.before}))
		write(t, filepath.Join(r.dir, "people.conf"), r.people(g, people, cert, key))
		launchNginx(t, r, nginx, "behind.conf", "people.conf")
		waitFor(t, behind, people)
		d := &giteaDoor{r, t, "http://" + local(proxy), "https://" + local(people), ca}
		d.all(g)
	})
}

func local(at string) string { return strings.Replace(at, "127.0.0.1", "localhost", 1) }

func (r *rig) tls() (ca, cert, key string) {
	authority := certs.New(r.t, r.dir)
	cert, key = authority.Issue(r.dir, "git", "", time.Now().Add(time.Hour))
	return authority.File, cert, key
}

func (r *rig) people(g *gitea, listen, cert, key string) string {
	return recipe(r.t, "gitea/people.conf", [2]string{"/etc/nginx/tls/git.example.com.pem", cert}, [2]string{"/etc/nginx/tls/git.example.com.key", key},
		[2]string{"listen 443", "listen " + listen}, [2]string{"server_name git.example.com", "server_name localhost"}, [2]string{"127.0.0.1:3000", g.before})
}

// giteaDoor is a way to Gitea for jobs, beside that of people.
type giteaDoor struct {
	*rig
	t            testing.TB
	jobs, people string // https://localhost:PORT
	ca           string
}

func (d *giteaDoor) all(g *gitea) (token string) {
	t := d.t
	job := "gitea-" + strings.TrimSuffix(filepath.Base(t.Name()), ".conf")
	token = d.issueIn(notes, job)
	const raw = "/api/v1/repos/dana/notes/raw/README.md"
	header := []string{"--header", "JOB-TOKEN: " + token}

	d.clone("its own", token, "dana/notes", "")
	d.clone("what Gitea would show, and Jobward does not know", token, "dana/secret", "not found")
	d.clone("of another job", d.issue(job+"-shop"), "dana/notes", "not found")
	d.want("raw", "200", d.jobs+raw, header...)
	d.want("raw, basic", "200", d.jobs+raw, "--user", "gitlab-ci-token:"+token)
	d.want("archive", "200", d.jobs+"/api/v1/repos/dana/notes/archive/main.tar.gz", header...)
	d.want("contents", "200", d.jobs+"/api/v1/repos/dana/notes/contents", header...)
	d.want("raw, elsewhere", "404", d.jobs+"/api/v1/repos/dana/secret/raw/README.md", header...)
	d.want("raw, without a token", "401", d.jobs+raw)
	d.want("the rest of the API", "404", d.jobs+"/api/v1/user", header...)
	d.want("the pages", "404", d.jobs+"/dana/notes", header...)
	made := d.want("release", "201", d.jobs+"/api/v1/repos/dana/notes/releases", append(header, "--json", `{"tag_name": "v-`+job+`", "target_commitish": "main"}`)...)
	if !strings.Contains(made, `"login":"jobward"`) {
		t.Errorf("the release is not the service user's: %s", made)
	}
	d.want("sudo", "403", d.jobs+"/api/v1/repos/dana/notes/releases?sudo=dana", header...)

	forged := []string{"--header", "X-WEBAUTH-USER: dana"}
	d.want("forged, among people", "404", d.people+"/api/v1/repos/dana/notes", forged...)
	d.want("forged, among jobs", "401", d.jobs+raw, forged...)
	d.want("forged, with a token", "404", d.jobs+"/api/v1/repos/dana/secret/raw/README.md", append(forged, header...)...)
	d.want("people", "200", d.people+"/api/v1/repos/dana/notes", "--user", "dana:"+danasPassword)

	d.push("with the switch off", token, "403")
	ctx, cancel := d.soon()
	defer cancel()
	on := true
	if _, err := jobwardv1.NewAllowlistServiceClient(d.conn).UpdateSettings(ctx, &jobwardv1.UpdateSettingsRequest{ProjectId: notes, PushSelf: &on}); err != nil {
		t.Fatal(err)
	}
	d.push("with the switch on", token, "")

	// What is public to Jobward alone is not public: a visitor is nobody at Gitea.
	directory := jobwardv1.NewDirectoryServiceClient(d.conn)
	got, err := directory.GetProject(ctx, &jobwardv1.GetProjectRequest{ProjectId: notes})
	if err != nil {
		t.Fatal(err)
	}
	got.Project.Visibility = jobwardv1.Visibility_VISIBILITY_PUBLIC
	if _, err := directory.ApplyChanges(ctx, &jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{{Change: &jobwardv1.Change_SetProject{SetProject: got.Project}}}}); err != nil {
		t.Fatal(err)
	}
	d.want("public to Jobward alone", "404", d.jobs+raw)

	d.revoke(job, jobwardv1.Outcome_OUTCOME_UNSPECIFIED)
	d.clone("after the job", token, "dana/notes", "Authentication failed")
	d.want("raw, after the job", "401", d.jobs+raw, header...)
	wantWithout(t, token, map[string]string{"the sidecar's log": d.sidecar.Log.String(), "what reached Gitea": g.seen()})
	return token
}

// notes is dana/notes of the sample world: private, and of two names, as all repositories of Gitea are.
const notes = 18

// issueIn gives the token of a new job of dana in a project.
func (r *rig) issueIn(project int64, job string) string {
	r.t.Helper()
	ctx, cancel := r.soon()
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(r.conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: project, UserId: dana})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Token
}
