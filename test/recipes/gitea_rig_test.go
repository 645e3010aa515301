package recipes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jobward/jobward/test/programs"
)

// gitea is a Gitea with two private repositories of dana's, which its service user may read and write.
type gitea struct {
	at string // host:port
	// before is where the recipes find it: what they send is noted on the way.
	before string
	mu     sync.Mutex
	saw    strings.Builder
}

// note puts a server before Gitea that writes down all headers.
func (g *gitea) note(t *testing.T) {
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: g.at})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		fmt.Fprintln(&g.saw, r.Method, r.RequestURI, r.Header)
		g.mu.Unlock()
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	g.before = s.Listener.Addr().String()
}

func (g *gitea) seen() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.saw.String()
}

const danasPassword = "correct-horse"

func startGitea(t *testing.T) *gitea {
	t.Helper()
	program := os.Getenv("JOBWARD_GITEA")
	if program == "" {
		var err error
		if program, err = exec.LookPath("gitea"); err != nil {
			t.Skip("gitea is missing: put it into PATH, or its path into JOBWARD_GITEA, to run this test")
		}
	}
	dir, err := os.MkdirTemp("", "gitea")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &gitea{at: freeAddress(t)}
	g.note(t)
	_, port, _ := net.SplitHostPort(g.at)
	name, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	// What any Gitea needs, before what the recipe adds to it.
	ini := "I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true\nRUN_USER = " + strings.TrimSpace(string(name)) + "\nWORK_PATH = " + dir + "\n" +
		"[database]\nDB_TYPE = sqlite3\nPATH = " + dir + "/db\n[security]\nINSTALL_LOCK = true\nSECRET_KEY = of-a-test\n" +
		"[repository]\nROOT = " + dir + "/repos\n[server]\nDISABLE_SSH = true\nOFFLINE_MODE = true\n[log]\nLEVEL = Warn\n[cron]\nENABLED = false\n[session]\nPROVIDER = memory\n"
	write(t, filepath.Join(dir, "app.ini"), ini+recipe(t, "gitea/app.ini", [2]string{"HTTP_PORT = 3000", "HTTP_PORT = " + port}))
	env := programs.Environ("HOME="+dir, "GITEA_WORK_DIR="+dir)
	for _, args := range [][]string{
		{"migrate"},
		{"admin", "user", "create", "--username", "dana", "--password", danasPassword, "--email", "dana@acme.example", "--must-change-password=false"},
		{"admin", "user", "create", "--username", "jobward", "--random-password", "--email", "jobward@acme.example", "--must-change-password=false"},
	} {
		cmd := exec.Command(program, append([]string{"--config", filepath.Join(dir, "app.ini")}, args...)...)
		cmd.Dir, cmd.Env = dir, env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gitea %v: %v\n%s", args, err, out)
		}
	}
	p := programs.Launch(t, dir, env, program, "--config", filepath.Join(dir, "app.ini"), "web")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Gitea:\n%s%s", p.Out.String(), p.Log.Tail())
		}
	})
	waitFor(t, g.at)
	for _, repo := range []string{"notes", "secret"} {
		g.dana(t, "POST", "/api/v1/user/repos", map[string]any{"name": repo, "private": true, "auto_init": true, "default_branch": "main"})
		g.dana(t, "PUT", "/api/v1/repos/dana/"+repo+"/collaborators/jobward", map[string]any{"permission": "write"})
	}
	return g
}

// dana does something at Gitea itself, with her password.
func (g *gitea) dana(t *testing.T, method, path string, body any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://"+g.at+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("dana", danasPassword)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

// push pushes a commit to dana/notes, and wants it to work, or to fail and say something.
func (d *giteaDoor) push(what, token, says string) {
	d.t.Helper()
	work := filepath.Join(d.dir, "work")
	defer os.RemoveAll(work)
	at := d.as(token) + "/dana/notes.git"
	if out, err := d.git("clone", "-q", at, work); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	if out, err := d.git("-C", work, "-c", "user.name=dana", "-c", "user.email=dana@acme.example", "commit", "-q", "--allow-empty", "-m", "by a job"); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	out, err := d.git("-C", work, "push", at, "main")
	if (err != nil) != (says != "") || !strings.Contains(out, says) {
		d.t.Errorf("push %s: %v\n%s", what, err, out)
	}
}

func (d *giteaDoor) as(token string) string {
	return strings.Replace(d.jobs, "://", "://gitlab-ci-token:"+token+"@", 1)
}

// git runs git with nothing of this machine's settings.
func (d *giteaDoor) git(args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-c", "http.sslCAInfo=" + d.ca}, args...)...)
	for _, v := range programs.Environ("HOME="+d.dir, "LC_ALL=C") {
		if !strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "SSL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// clone clones with a token, and wants it to work, or to fail and say something.
func (d *giteaDoor) clone(what, token, repo, says string) {
	d.t.Helper()
	to := filepath.Join(d.dir, "clone")
	defer os.RemoveAll(to)
	out, err := d.git("clone", d.as(token)+"/"+repo+".git", to)
	if (err != nil) != (says != "") || !strings.Contains(out, says) {
		d.t.Errorf("clone of %s: %v\n%s", what, err, out)
	}
	if _, statErr := os.Stat(filepath.Join(to, "README.md")); err == nil && statErr != nil {
		d.t.Errorf("clone of %s: %v", what, statErr)
	}
}

func (d *giteaDoor) want(what, status, url string, args ...string) (body string) {
	d.t.Helper()
	cmd := exec.Command("curl", append([]string{"-q", "-sS", "--max-time", "60", "--cacert", d.ca, "-w", "\n%{http_code}", url}, args...)...)
	cmd.Env = programs.Environ()
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("%s: curl: %v", what, err)
	}
	i := strings.LastIndexByte(string(out), '\n')
	if got := string(out[i+1:]); got != status {
		d.t.Errorf("%s: %s, want %s\n%s", what, got, status, out[:i])
	}
	return string(out[:i])
}
