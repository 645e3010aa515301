package recipes

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/programs"
)

// TestNginxTogether: nginx takes the recipes beside each other, copied to where they say; they are read in the order of their names.
func TestNginxTogether(t *testing.T) {
	nginx := programs.Find(t, "nginx")
	dir := t.TempDir()
	authority := certs.New(t, dir)
	cert, key := authority.Issue(dir, "any", "", time.Now().Add(time.Hour))
	listen := freeAddress(t)
	for from, to := range map[string]string{
		"nginx/jobward.inc": "jobward.inc", "gitea/user.inc": "user.inc", "nginx/00-jobward.conf": "conf.d/00-jobward.conf", "nginx/git.conf": "conf.d/git.conf",
		"nginx/rest.conf": "conf.d/rest.conf", "gitea/jobs.conf": "conf.d/jobs.conf", "gitea/people.conf": "conf.d/people.conf", "registry/nginx.conf": "conf.d/registry.conf",
	} {
		var lines []string
		for line := range strings.Lines(recipe(t, from)) {
			switch {
			case strings.Contains(line, "ssl_certificate "):
				line = "ssl_certificate " + cert + ";\n"
			case strings.Contains(line, "ssl_certificate_key "):
				line = "ssl_certificate_key " + key + ";\n"
			}
			lines = append(lines, strings.NewReplacer("/etc/nginx/", dir+"/", "/var/log/nginx", dir, "listen 443 ssl", "listen "+listen+" ssl").Replace(line))
		}
		write(t, filepath.Join(dir, to), strings.Join(lines, ""))
	}
	write(t, filepath.Join(dir, "nginx.conf"), "pid nginx.pid;\nerror_log stderr emerg;\nevents {}\nhttp {\n  include "+dir+"/conf.d/*.conf;\n}\n")
	if out, err := exec.Command(nginx, "-t", "-p", dir+"/", "-c", "nginx.conf").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
