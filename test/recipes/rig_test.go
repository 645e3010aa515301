package recipes

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/programs"
)

func TestMain(m *testing.M) {
	programs.Be()
	os.Exit(m.Run())
}

// Ids of the sample world.
const (
	shop      = 11 // acme/web/shop: private, may push to itself; the jobs run here
	site      = 13 // acme/web/site: public
	api       = 14 // acme/platform/api: private, lets acme/web in
	warehouse = 16 // acme/platform/data/warehouse: private, lets nobody in
	dana      = 102
)

// rig is a PDP and a sidecar.
type rig struct {
	t       testing.TB
	dir     string // short, since there are sockets in it
	conn    *grpc.ClientConn
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
	bin := programs.Dir(t, "pdp", "sidecar")
	pdp := "unix:" + filepath.Join(dir, "pdp")
	programs.Launch(t, dir, nil, filepath.Join(bin, "pdp"), "--data-dir="+filepath.Join(dir, "data"), "--grpc-addr="+pdp, "--admin-addr=off",
		"--ballast=16MiB", "--min-free-disk=16MiB")
	r.conn, err = grpc.NewClient(pdp, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.conn.Close() })
	ctx, cancel := r.soon()
	defer cancel()
	if _, err := jobwardv1.NewDirectoryServiceClient(r.conn).GetStatus(ctx, &jobwardv1.GetStatusRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	r.sidecar = programs.Launch(t, dir, nil, filepath.Join(bin, "sidecar"), append([]string{"--pdp-addr=" + pdp, "--state-dir=" + filepath.Join(dir, "state"),
		"--listen=unix:" + filepath.Join(dir, "sidecar"), "--health-addr=off", "--name=recipes", "--log-level=debug"}, sidecar...)...)
	r.sidecar.Says("there is a lease")
	return r
}

func (r *rig) soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), programs.Patience)
}

// issue gives the token of a new job of dana in the shop.
func (r *rig) issue(job string) string {
	r.t.Helper()
	ctx, cancel := r.soon()
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(r.conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: shop, UserId: dana})
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Token
}

// revoke ends a job and wants its receipt.
func (r *rig) revoke(job string, how jobwardv1.Outcome) {
	r.t.Helper()
	ctx, cancel := r.soon()
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(r.conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{job}, Outcome: how})
	if err != nil || !resp.Receipt.Effective {
		r.t.Fatalf("revoke: %v, %v", resp, err)
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

// wantWithout fails when a token stands in any of the files or texts.
func wantWithout(t testing.TB, token string, in map[string]string) {
	t.Helper()
	for name, text := range in {
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
