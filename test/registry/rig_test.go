package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	shop      = 11 // acme/web/shop: private; the jobs run here
	site      = 13 // acme/web/site: public
	api       = 14 // acme/platform/api: private, lets acme/web in
	warehouse = 16 // acme/platform/data/warehouse: private, lets nobody in
	dana      = 102
	erin      = 103
)

// Versions of what is built from modules of their own, since they need more than this one does.
const (
	craneModule        = "github.com/google/go-containerregistry/cmd/crane@v0.22.1"
	distributionModule = "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"
	buildTime          = 2 * time.Minute
)

// build gives a program that is built from its module; skip says that its test may do without when that takes too long.
func build(t *testing.T, module string, skip bool) string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), buildTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", module)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil && skip {
		t.Skipf("%s is not built within %s: build it once to have it in Go's cache", module, buildTime)
	}
	if err != nil {
		programs.Missing(t, fmt.Sprintf("%s (%v: %s)", module, err, out))
	}
	name, _, _ := strings.Cut(filepath.Base(module), "@")
	return filepath.Join(dir, name)
}

// rig is a PDP, a sidecar and a registry as the recipe has them.
type rig struct {
	t      *testing.T
	dir    string // short, since there are sockets in it
	bin    string
	keys   string
	conn   *grpc.ClientConn
	host   string // localhost:PORT where clients find the registry
	scheme string
	ca     string       // the certificate of who makes certificates, PEM; empty without TLS
	certs  string       // folder of the CA's certificate for clients; empty without TLS
	client *http.Client // takes it
	behind string       // of the registry
	logs   map[string]*programs.Process
	jobs   int
}

// front is what clients meet.
type front int

const (
	plain  front = iota // the sidecar, without TLS
	nginx               // nginx with TLS, as the recipe has it, and the sidecar behind
	ownTLS              // the sidecar, with TLS
)

// start starts all of it. The registry is the program that distribution calls registry.
func start(t *testing.T, registry string, before front) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "registry")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, dir: dir, bin: programs.Dir(t, "pdp", "sidecar"), keys: filepath.Join(dir, "keys"), logs: map[string]*programs.Process{}, scheme: "http", client: http.DefaultClient}
	pdp := "unix:" + filepath.Join(dir, "pdp")
	launch := func(args ...string) {
		args = append([]string{"--data-dir=" + filepath.Join(dir, "data"), "--grpc-addr=" + pdp, "--admin-addr=off", "--ballast=16MiB", "--min-free-disk=16MiB"}, args...)
		r.logs["pdp"] = programs.Launch(t, dir, nil, filepath.Join(r.bin, "pdp"), args...)
	}
	launch()
	r.dial(pdp, grpc.WithTransportCredentials(insecure.NewCredentials()))
	// What the reader of the recipe changes for a way to the PDP without TLS.
	link := []string{"pdp-bearer-key-file: /etc/jobward/pdp.jobk\n", "", "trust-socket-mode: true\n", ""}
	var more []string
	if before == ownTLS {
		link, more = r.secureLink(pdp, launch)
	}

	r.makeKeys()
	door, behind := freeAddress(t), freeAddress(t)
	at := door
	if before == nginx {
		at = r.nginx(door)
	}
	r.host, r.behind = strings.Replace(at, "127.0.0.1", "localhost", 1), behind
	config := filepath.Join(dir, "config.yml")
	write(t, config, recipe(t, "config.yml", "/var/lib/docker-registry", filepath.Join(dir, "images"), "127.0.0.1:5000", behind,
		"https://registry.example.com", r.url(), "/etc/jobward/registry", r.keys))
	r.logs["registry"] = programs.Launch(t, dir, nil, registry, "serve", config)
	if before == ownTLS {
		door = strings.Replace(door, "127.0.0.1", "0.0.0.0", 1) // there is no TLS on loopback addresses
	}
	settings := filepath.Join(dir, "sidecar.yaml")
	write(t, settings, recipe(t, "sidecar.yaml", append(link, "pdp.example.com:7420", pdp,
		"/run/jobward/sidecar.sock", filepath.Join(dir, "sidecar.sock"), "/var/lib/jobward/sidecar", filepath.Join(dir, "state"),
		"127.0.0.1:7434", door, "127.0.0.1:5000", behind, "https://registry.example.com", r.url(), "/etc/jobward/registry", r.keys)...))
	more = append(more, "--config="+settings, "--health-addr=off", "--name=registry", "--log-level=debug", "--max-connection-age=0")
	r.logs["sidecar"] = programs.Launch(t, dir, nil, filepath.Join(r.bin, "sidecar"), more...)
	side := r.logs["sidecar"]
	programs.Eventually(t, "the sidecar's lease", func() bool {
		select {
		case <-side.Done:
			t.Fatalf("the sidecar ended: %s", side.Log.Tail())
		default:
		}
		return side.Log.Has("ready: there is a lease")
	})
	programs.Eventually(t, "the registry behind", func() bool {
		c, err := net.Dial("tcp", behind)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return r
}

// dial connects to the PDP, and waits until it answers.
func (r *rig) dial(pdp string, opts ...grpc.DialOption) {
	r.t.Helper()
	var err error
	if r.conn, err = grpc.NewClient(pdp, opts...); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.conn.Close() })
	ctx, cancel := soon()
	defer cancel()
	if _, err := jobwardv1.NewDirectoryServiceClient(r.conn).GetStatus(ctx, &jobwardv1.GetStatusRequest{}, grpc.WaitForReady(true)); err != nil {
		r.t.Fatal(err)
	}
}

// makeKeys runs the command of the recipe.
func (r *rig) makeKeys() {
	r.t.Helper()
	if out, err := exec.Command(filepath.Join(r.bin, "sidecar"), "registry-keys", r.keys).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
}

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), programs.Patience)
}

// job is a job with its token and the clients' files that hold it.
type job struct {
	id, token string
	home      string // DOCKER_CONFIG of a client that has logged in
}

// job starts one, and logs in.
func (r *rig) job(project, user int64) job {
	r.t.Helper()
	r.jobs++
	j := job{id: fmt.Sprint("job-", r.jobs), home: filepath.Join(r.dir, fmt.Sprint("home", r.jobs))}
	ctx, cancel := soon()
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(r.conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: j.id, ProjectId: project, UserId: user})
	if err != nil {
		r.t.Fatal(err)
	}
	j.token = resp.Token
	if out, err := r.login(j); err != nil {
		r.t.Fatalf("login: %v: %s", err, out)
	}
	return j
}

// login is docker login by other means.
func (r *rig) login(j job) (string, error) {
	r.t.Helper()
	if err := os.MkdirAll(j.home, 0o700); err != nil {
		r.t.Fatal(err)
	}
	return r.run(j, programs.Find(r.t, "skopeo"), "login", r.tls("--")[0], "-u", "gitlab-ci-token", "-p", j.token, r.host)
}

// run runs a client with a job's login; the zero job has none.
func (r *rig) run(j job, program string, args ...string) (string, error) {
	r.t.Helper()
	ctx, cancel := soon()
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	home := j.home
	if home == "" {
		home = filepath.Join(r.dir, "nobody")
	}
	cmd.Dir = r.dir
	cmd.Env = programs.Environ("HOME="+home, "DOCKER_CONFIG="+home, "REGISTRY_AUTH_FILE="+filepath.Join(home, "config.json"), "XDG_RUNTIME_DIR="+home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// revoke ends a job and wants its receipt.
func (r *rig) revoke(j job) {
	r.t.Helper()
	ctx, cancel := soon()
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(r.conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{j.id}})
	if err != nil || !resp.Receipt.Effective {
		r.t.Fatalf("revoke: %v, %v", resp, err)
	}
}

// bearer is the registry token of a job for scopes, as a client gets it.
func (r *rig) bearer(j job, scopes ...string) string {
	r.t.Helper()
	req, err := http.NewRequest("GET", r.url()+"/jwt/auth?"+url.Values{"service": {"container_registry"}, "scope": scopes}.Encode(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if j.token != "" {
		req.SetBasicAuth("gitlab-ci-token", j.token)
	}
	var body struct{ Token string }
	if status := r.json(req, &body); status != 200 || body.Token == "" {
		r.t.Fatalf("login: %d", status)
	}
	return body.Token
}

// silent fails when a token of a job stands in what any program said.
func (r *rig) silent(jobs ...job) {
	r.t.Helper()
	for name, p := range r.logs {
		for _, j := range jobs {
			if strings.Contains(p.Out.String()+p.Log.String(), j.token[len(j.token)-20:]) {
				r.t.Errorf("%s has written a job token", name)
			}
		}
	}
}

// freeAddress is one on loopback that nobody has now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// recipe gives a file of deploy/registry with what its reader has to change changed: texts, which must be there, and what takes their place, by turns.
func recipe(t *testing.T, file string, changes ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../deploy/registry", file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("deploy/registry/%s has no %q any more", file, changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	return text
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
