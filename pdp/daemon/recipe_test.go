package daemon

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/test/certs"
)

// TestRecipeForThreeHosts: the command line and the callers file of deploy/etcd are good as they stand, and a callers file without the role peer is refused. Only
// the folder of the certificates is the test's, and the PDP's certificate is two here, one for servers and one for clients.
func TestRecipeForThreeHosts(t *testing.T) {
	text, err := os.ReadFile("../../deploy/etcd/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^    pdp ((?:.*\\\n)*.*)$`).FindSubmatch(text)
	if found == nil {
		t.Fatal("no command line of a PDP in deploy/etcd")
	}
	dir := t.TempDir()
	ca := certs.New(t, dir)
	ca.Issue(dir, "pdp", "", time.Now().Add(time.Hour))
	ca.Issue(dir, "peer", "spiffe://forge.example/pdp/host-0", time.Now().Add(time.Hour))
	line := strings.ReplaceAll(strings.ReplaceAll(string(found[1]), "\\\n", " "), "/etc/jobward", dir)
	line = regexp.MustCompile(`(--etcd-(?:cert|key)-file \S+/)pdp\.`).ReplaceAllString(line, "${1}peer.")
	args := append([]string{"config", "check"}, strings.Fields(line)...)
	args = append(args, "--peer-cert-file="+filepath.Join(dir, "peer.pem"), "--peer-key-file="+filepath.Join(dir, "peer.key"))
	callers, err := os.ReadFile("../../deploy/etcd/callers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		callers string
		code    int
		want    string
	}{
		{string(callers), 0, ""},
		{strings.Replace(string(callers), "[peer]", "[service]", 1), 1, "has not the role peer"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "callers.yaml"), []byte(c.callers), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := pdp(nil, args...); (code == 0) != (c.code == 0) || !strings.Contains(errs, c.want) {
			t.Errorf("%d, want %q:\n%s%s", code, c.want, out, errs)
		}
	}
}
