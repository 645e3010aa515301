package recipes

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/programs"
)

// notFound is what git prints for a project that a job may not see, word for word (the seed's troubleshooting section).
const notFound = "remote: The project you were looking for could not be found or you don't have permission to view it."

// asksAgain is what git says when a header of its settings was answered 401: it would ask for a name, and there is nobody to ask.
const asksAgain = "could not read Username"

// gitServer is the recipe's nginx before git-http-backend.
type gitServer struct {
	*rig
	url  string // https://localhost:PORT
	home string // of the git client
	repo string // folder of the bare repositories
	// unguarded is where the same server asks nobody, for what the question costs.
	unguarded string
	logs      string
}

// startGit starts it with these changes of the recipe, beside those that its reader makes.
func startGit(t testing.TB, changes ...[2]string) *gitServer {
	t.Helper()
	nginx, fcgiwrap := programs.Find(t, "nginx"), programs.Find(t, "fcgiwrap")
	programs.Find(t, "git")
	door := freeAddress(t)
	r := start(t, "--http-addr="+door)
	g := &gitServer{rig: r, home: filepath.Join(r.dir, "home"), repo: filepath.Join(r.dir, "git"), logs: filepath.Join(r.dir, "logs")}
	for _, dir := range []string{g.home, g.logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, project := range []string{"acme/web/shop", "acme/web/site", "acme/platform/api", "acme/platform/data/warehouse"} {
		g.repository(project)
	}
	authority := certs.New(t, r.dir)
	cert, key := authority.Issue(r.dir, "git", "", time.Now().Add(time.Hour))
	write(t, filepath.Join(g.home, ".gitconfig"), "[http]\n\tsslCAInfo = "+authority.File+"\n[user]\n\tname = dana\n\temail = dana@acme.example\n[safe]\n\tdirectory = *\n")

	listen := freeAddress(t)
	_, port, _ := strings.Cut(listen, ":")
	g.url = "https://localhost:" + port
	socket := filepath.Join(r.dir, "fcgi")
	write(t, filepath.Join(r.dir, "jobward.inc"), recipe(t, "nginx/jobward.inc", [2]string{"127.0.0.1:7432", door}))
	write(t, filepath.Join(r.dir, "00-jobward.conf"), recipe(t, "nginx/00-jobward.conf"))
	conf := recipe(t, "nginx/git.conf", append(changes,
		[2]string{"/etc/nginx/tls/git.example.com.pem", cert}, [2]string{"/etc/nginx/tls/git.example.com.key", key},
		[2]string{"/etc/nginx/jobward.inc;", filepath.Join(r.dir, "jobward.inc;")},
		[2]string{"listen 443", "listen " + listen}, [2]string{"server_name git.example.com", "server_name localhost"},
		[2]string{"/var/log/nginx", g.logs}, [2]string{"/srv/git;", g.repo + ";"}, [2]string{"unix:/run/fcgiwrap.socket", "unix:" + socket})...)
	write(t, filepath.Join(r.dir, "git.conf"), conf)
	other := freeAddress(t)
	g.unguarded = "https://localhost:" + other[strings.LastIndexByte(other, ':')+1:]
	write(t, filepath.Join(r.dir, "unguarded.conf"), unguardedConf(conf, listen, other))
	launchNginx(t, r, nginx, "00-jobward.conf", "git.conf", "unguarded.conf")
	programs.Launch(t, r.dir, []string{"HOME=" + g.home}, fcgiwrap, "-c", "4", "-s", "unix:"+socket)
	waitFor(t, socket, listen)
	return g
}

// launchNginx starts nginx as its user would, with the recipe's file in its http block.
func launchNginx(t testing.TB, r *rig, nginx string, files ...string) {
	t.Helper()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // the folders of tests are nobody else's
	}
	conf := user + "worker_processes 1;\ndaemon off;\npid nginx.pid;\nerror_log stderr warn;\nevents {}\nhttp {\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		conf += fmt.Sprintf("  %s_temp_path %s/%s;\n", kind, r.dir, kind)
	}
	for _, f := range files {
		conf += "  include " + filepath.Join(r.dir, f) + ";\n"
	}
	write(t, filepath.Join(r.dir, "nginx.conf"), conf+"}\n")
	p := programs.Launch(t, r.dir, nil, nginx, "-p", r.dir+"/", "-c", "nginx.conf")
	t.Cleanup(func() {
		p.Cmd.Process.Signal(os.Interrupt) // its workers end with it
		p.End()
		if t.Failed() {
			t.Logf("nginx:\n%s\nsidecar:\n%s", p.Log.Tail(), r.sidecar.Log.Tail())
		}
	})
}

// repository makes a bare one with a commit, which has a file with the content where there is one.
func (g *gitServer) repository(project string, content ...[]byte) {
	g.t.Helper()
	dir := filepath.Join(g.repo, project+".git")
	work := filepath.Join(g.dir, "work")
	os.RemoveAll(dir)
	for _, c := range content {
		write(g.t, filepath.Join(work, "file"), string(c))
	}
	for _, c := range [][]string{
		{"init", "-q", "--bare", "-b", "main", dir},
		{"init", "-q", "-b", "main", work},
		{"-C", work, "add", "."},
		{"-C", work, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", project},
		{"-C", work, "push", "-q", dir, "main"},
		{"-C", dir, "config", "http.receivepack", "true"},
	} {
		if out, err := g.run(c...); err != nil {
			g.t.Fatalf("git %v: %v\n%s", c, err, out)
		}
	}
	os.RemoveAll(work)
}

// run runs git with nothing of this machine's settings.
func (g *gitServer) run(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = g.dir
	for _, v := range programs.Environ() {
		if !strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "SSL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+g.home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// clone tries to; with a token as the seed writes it, in the address.
func (g *gitServer) clone(token, project string, settings ...string) (string, error) {
	g.t.Helper()
	to := filepath.Join(g.dir, "clone")
	defer os.RemoveAll(to)
	return g.run(append(settings, "clone", g.as(token)+"/"+project, to)...)
}

func (g *gitServer) as(token string) string {
	if token == "" {
		return g.url
	}
	return strings.Replace(g.url, "https://", "https://gitlab-ci-token:"+token+"@", 1)
}

// header sends a token at once, also where the server would not ask.
func header(token string) []string {
	return []string{"-c", "http.extraHeader=Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("gitlab-ci-token:"+token))}
}

func (g *gitServer) works(what string, out string, err error) {
	g.t.Helper()
	if err != nil {
		g.t.Errorf("%s: %v\n%s", what, err, out)
	}
}

func (g *gitServer) fails(what, want, out string, err error) {
	g.t.Helper()
	if err == nil || !strings.Contains(out, want) {
		g.t.Errorf("%s: %v, want %q\n%s", what, err, want, out)
	}
}

// §10.1 to §10.3, as git shows them.
func TestGitClone(t *testing.T) {
	g := startGit(t)
	token := g.issue("clones")
	for _, project := range []string{"acme/web/shop.git", "acme/web/shop", "acme/platform/api.git", "acme/web/site.git"} {
		out, err := g.clone(token, project)
		g.works("with a token, "+project, out, err)
	}
	out, err := g.clone("", "acme/web/site.git")
	g.works("a public project without a token", out, err)
	out, err = g.clone("", "acme/web/site.git", header(token)...)
	g.works("a public project with the token sent at once", out, err)

	out, err = g.clone(token, "acme/platform/data/warehouse")
	g.fails("a project that lets the shop not in", notFound, out, err)
	g.fails("the same", "fatal: repository '"+g.url+"/acme/platform/data/warehouse/' not found", out, err)
	out, err = g.clone(token, "acme/web/nothing.git")
	g.fails("no project", notFound, out, err)
	out, err = g.clone("", "acme/web/shop.git")
	g.fails("a private project without a token", "could not read Username", out, err)
	for _, odd := range []string{"acme/platform/data/warehous%65.git", "acme//platform/data/warehouse.git", "acme/web/../platform/data/warehouse.git", "acme/platform/data/WAREHOUSE.git"} {
		out, err = g.clone(token, odd)
		g.fails("a path that hides what it names, "+odd, "fatal:", out, err)
	}
	g.noToken(token)
}

// P1, §5.5: what was cloned a moment ago is refused once the job is over, public data too.
func TestGitAfterTheJob(t *testing.T) {
	g := startGit(t)
	for job, outcome := range map[string]jobwardv1.Outcome{"finished": jobwardv1.Outcome_OUTCOME_SUCCESS, "erased": jobwardv1.Outcome_OUTCOME_ERASED} {
		token := g.issue(job)
		out, err := g.clone(token, "acme/platform/api.git")
		g.works("while it runs", out, err)
		g.revoke(job, outcome)
		out, err = g.clone(token, "acme/platform/api.git")
		g.fails(job+", the next clone", "Authentication failed", out, err)
		out, err = g.clone("", "acme/web/site.git", header(token)...)
		g.fails(job+", a public project", asksAgain, out, err)
	}
}

// P5.
func TestGitOfAProjectBeingDeleted(t *testing.T) {
	g := startGit(t)
	token := g.issue("stays")
	ctx, cancel := g.soon()
	defer cancel()
	directory := jobwardv1.NewDirectoryServiceClient(g.conn)
	if _, err := directory.BeginProjectDeletion(ctx, &jobwardv1.BeginProjectDeletionRequest{ProjectId: shop}); err != nil {
		t.Fatal(err)
	}
	for _, project := range []string{"acme/web/shop.git", "acme/platform/api.git", "acme/web/site.git"} {
		out, err := g.clone("", project, header(token)...)
		g.fails("a job of a project being deleted, "+project, asksAgain, out, err)
	}
}

// §10.4.
func TestGitPush(t *testing.T) {
	g := startGit(t)
	token := g.issue("pushes")
	push := func(token, project string, settings ...string) (string, error) {
		work := filepath.Join(g.dir, "work")
		defer os.RemoveAll(work)
		if out, err := g.run("clone", "-q", filepath.Join(g.repo, project+".git"), work); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		big := make([]byte, 3<<20) // more than a buffer: it comes in chunks
		for i := range big {
			big[i] = byte(i * i >> 7)
		}
		write(t, filepath.Join(work, "file"), string(big)+fmt.Sprint(time.Now()))
		for _, c := range [][]string{{"-C", work, "add", "."}, {"-C", work, "commit", "-q", "-m", "by a job"}} {
			if out, err := g.run(c...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		return g.run(append(settings, "-C", work, "push", g.as(token)+"/"+project+".git", "main")...)
	}
	out, err := push(token, "acme/web/shop")
	g.works("to the own project, which has its switch on", out, err)
	out, err = push(token, "acme/platform/api")
	g.fails("to another project", "fatal:", out, err)
	out, err = push(token, "acme/web/site")
	g.fails("to a public project", "fatal:", out, err)
	out, err = push("", "acme/web/site")
	g.fails("without a token", "could not read Username", out, err)

	ctx, cancel := g.soon()
	defer cancel()
	off := false
	if _, err := jobwardv1.NewAllowlistServiceClient(g.conn).UpdateSettings(ctx, &jobwardv1.UpdateSettingsRequest{ProjectId: shop, PushSelf: &off}); err != nil {
		t.Fatal(err)
	}
	out, err = push(token, "acme/web/shop")
	g.fails("with the switch off", "fatal:", out, err)
	out, err = push("", "acme/web/shop", header(token)...)
	g.fails("with the switch off, and the token at once", "fatal:", out, err)
	g.noToken(token)
}

// noToken looks through everything that was logged.
func (g *gitServer) noToken(token string) {
	g.t.Helper()
	wantWithout(g.t, token, map[string]string{
		"nginx's access log": read(g.t, filepath.Join(g.logs, "git.access.log")), "nginx's error log": read(g.t, filepath.Join(g.logs, "git.error.log")),
		"the sidecar's log": g.sidecar.Log.String(),
	})
}
