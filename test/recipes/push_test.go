package recipes

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobward/jobward/test/programs"
)

// TestPushTricks: on a public project, where everybody may clone, nobody comes to a push without a token, and nobody to a hidden project, however the request
// is written: git-http-backend reads paths and queries in its own way.
func TestPushTricks(t *testing.T) {
	programs.Find(t, "curl")
	g := startGit(t)
	read(t, filepath.Join(g.repo, "acme/web/site.git/HEAD"))
	curl := func(args ...string) (status, body string) {
		cmd := exec.Command("curl", append([]string{"-q", "-sS", "--insecure", "--path-as-is", "-a", "-w", "\n%{http_code}"}, args...)...)
		cmd.Env = programs.Environ()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("curl %v: %v", args, err)
		}
		i := strings.LastIndexByte(string(out), '\n')
		return string(out[i+1:]), string(out[:i])
	}
	const public, hidden = "/acme/web/site.git", "/acme/platform/data/warehouse.git"
	if status, body := curl(g.url + public + "/info/refs?service=git-upload-pack"); status != "200" || !strings.Contains(body, "# service=git-upload-pack") {
		t.Fatal(status, body)
	}
	for _, path := range []string{
		public + "/info/refs?service=git-receive-pack", public + "/info/refs?service=git-receive-pack&service=git-upload-pack", public + "/info/refs?service=git-upload-pack&service=git-receive-pack",
		public + "/info/refs?service=git-upload-pack;service=git-receive-pack", public + "/info/refs?service=%67it-receive-pack", public + "/info/refs?%73ervice=git-receive-pack&service=git-upload-pack",
		public + "/info/refs?service=git-upload-pack&%73ervice=git-receive-pack", public + "/info/refs?service=git-receive-pack%00&service=git-upload-pack", public + "/info/refs?service%00=git-receive-pack&service=git-upload-pack",
		public + "/info/refs?service=git-receive-pack%00", public + "/info/refs?service=git-upload-pack&&service%3Dgit-receive-pack", public + "/info/refs?service=git-upload-pack%26service=git-receive-pack",
		public + "/info/refs?service=git-upload-pack&+service=git-receive-pack", public + "/info/refs?service=git-upload-pack&amp;service=git-receive-pack", public + "/info/refs",
		public + "/info/refs?", public + "/info/refs?service=", public + "/info/refs?SERVICE=git-receive-pack", public + "/info/refs?service=git-Receive-pack", public + "/info/refs?service=receive-pack",
		public + "/info/refs?job_token=&service=git-receive-pack&service=git-upload-pack",
		public + "/HEAD", public + "/objects/info/packs", public + "/config", public + "/info/refs/?service=git-upload-pack", public + "//info/refs?service=git-upload-pack",
		"/" + public + "/info/refs?service=git-upload-pack", public + "/.git/info/refs?service=git-upload-pack", public + ".git/info/refs?service=git-upload-pack",
		hidden + "/info/refs?service=git-upload-pack", public + "/../../platform/data/warehouse.git/info/refs?service=git-upload-pack", public + "/..%2f../platform/data/warehouse.git/info/refs?service=git-upload-pack",
		"/acme/platform/data/%77arehouse.git/info/refs?service=git-upload-pack", "/acme/platform/data/./warehouse.git/info/refs?service=git-upload-pack", "/acme%2fplatform%2fdata%2fwarehouse.git/info/refs?service=git-upload-pack",
		"/acme/web/site.git%2f..%2f..%2fplatform/data/warehouse.git/info/refs?service=git-upload-pack", "/acme/web/site%00.git/info/refs?service=git-upload-pack", "/acme/web/site.git;x/info/refs?service=git-upload-pack",
		"/acme/web/site.git\\..\\..\\platform/data/warehouse.git/info/refs?service=git-upload-pack", "/acme/web/site.git/info/refs;service=git-receive-pack?service=git-upload-pack",
	} {
		for _, more := range [][]string{nil, {"--http1.0"}, {"--user", "anybody:anything"}, {"--head"}, {"--header", "X-Original-URI: " + public + "/info/refs?service=git-upload-pack"}} {
			status, body := curl(append(more, g.url+path)...)
			asPublic := strings.HasPrefix(path, public+"/info/refs?service=git-upload-pack&") // judged as a clone of the public one
			if strings.Contains(body, "service=git-receive-pack") || (status == "200" || strings.Contains(body, "refs/heads")) && !asPublic {
				t.Errorf("%v %s: %s %q", more, path, status, body)
			}
		}
	}
	for _, path := range []string{"/git-receive-pack", "/git-receive-pack/", "/git-receive-pack?service=git-upload-pack", "/git%2Dreceive-pack", "/./git-receive-pack", "//git-receive-pack", "/git-receive-pack;", "/info/../git-receive-pack",
		"/info/lfs/objects/" + strings.Repeat("a", 64), "/info/lfs/verify", "/info/lfs/locks", "/gitlab-lfs/objects/" + strings.Repeat("a", 64) + "/1"} {
		for _, method := range []string{"POST", "PUT"} {
			for _, site := range []string{public, strings.TrimSuffix(public, ".git")} {
				status, body := curl("--request", method, "--data", "0000", "--header", "Content-Type: application/x-git-receive-pack-request", g.url+site+path)
				if status < "400" || status >= "500" {
					t.Errorf("%s %s: %s %q", method, site+path, status, body)
				}
			}
		}
	}
	if status, _ := curl(g.url + public + "/info/refs?service=git-receive-pack"); status != "401" {
		t.Errorf("a push without a token: %s", status)
	}
}
