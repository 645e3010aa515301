package recipes

import (
	"context"
	"encoding/base64"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/programs"
)

func TestMain(m *testing.M) {
	programs.Be()
	os.Exit(m.Run())
}

// Ids of the sample world.
const (
	shop      = programs.Shop // acme/web/shop: private, may push to itself; the jobs run here
	site      = 13            // acme/web/site: public
	api       = 14            // acme/platform/api: private, lets acme/web in
	warehouse = 16            // acme/platform/data/warehouse: private, lets nobody in
	dana      = programs.Dana
)

// rig is a PDP and a sidecar.
type rig struct {
	t       testing.TB
	dir     string // short, since there are sockets in it
	pdp     *programs.PDP
	conn    *grpc.ClientConn // to it
	sidecar *programs.Process
}

// start starts both; the sidecar with these settings beside those of the rig.
func start(t testing.TB, sidecar ...string) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "recipe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, dir: dir}
	r.pdp = programs.StartPDP(t, dir)
	r.conn = r.pdp.Conn
	r.sidecar = programs.Launch(t, dir, nil, filepath.Join(programs.Dir(t, "sidecar"), "sidecar"), append([]string{"--pdp-addr=" + r.pdp.Address, "--state-dir=" + filepath.Join(dir, "state"),
		"--listen=unix:" + filepath.Join(dir, "sidecar"), "--health-addr=off", "--name=recipes", "--log-level=debug"}, sidecar...)...)
	r.sidecar.Says("there is a lease")
	return r
}

func (r *rig) soon() (context.Context, context.CancelFunc) { return programs.Soon() }

// issue gives the token of a new job of dana in the shop.
func (r *rig) issue(job string) string { r.t.Helper(); return r.pdp.Issue(job) }

// revoke ends a job and wants its receipt.
func (r *rig) revoke(job string, how jobwardv1.Outcome) {
	r.t.Helper()
	if receipt := r.pdp.Revoke(job, how); !receipt.Effective {
		r.t.Fatalf("revoke: %v", receipt)
	}
}

// freeAddress is one on loopback that nobody has now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// recipe gives a file of deploy/ with what its reader has to change changed: each pair is a text, which must be there, and what takes its place.
func recipe(t testing.TB, file string, changes ...[2]string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range changes {
		if !strings.Contains(text, c[0]) {
			t.Fatalf("deploy/%s has no %q any more", file, c[0])
		}
		text = strings.ReplaceAll(text, c[0], c[1])
	}
	return text
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// basic finds what stands in an Authorization header.
var basic = regexp.MustCompile(`Basic [A-Za-z0-9+/]+=*`)

// wantWithout (P7) fails when a token stands in any of the files or texts, as it is or as a password.
func wantWithout(t testing.TB, token string, in map[string]string) {
	t.Helper()
	for name, text := range in {
		text = basic.ReplaceAllStringFunc(text, func(b string) string {
			clear, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(b, "Basic "))
			if err != nil {
				return b
			}
			return "Basic " + string(clear)
		})
		if i := strings.Index(text, token[len(token)-24:]); i >= 0 {
			t.Errorf("%s holds a token: …%s", name, strings.Replace(text[max(0, i-200):i+24], token[len(token)-24:], "HERE", 1))
		}
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// waitFor waits until somebody listens at each place, a path or host:port.
func waitFor(t testing.TB, places ...string) {
	t.Helper()
	for _, at := range places {
		network := "tcp"
		if strings.HasPrefix(at, "/") {
			network = "unix"
		}
		programs.Eventually(t, at, func() bool {
			c, err := net.Dial(network, at)
			if err != nil {
				return false
			}
			c.Close()
			return true
		})
	}
}
