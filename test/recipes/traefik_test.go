package recipes

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/programs"
)

// findTraefik gives the program, which no Debian package has, and which takes minutes to build from its module.
func findTraefik(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("JOBWARD_TRAEFIK"); path != "" {
		return path
	}
	path, err := exec.LookPath("traefik")
	if err != nil {
		t.Skip("traefik is missing: put version 3.7.12 or later into PATH, or its path into JOBWARD_TRAEFIK, to run this test")
	}
	return path
}

// quiet keeps Traefik from calling its makers; it is no part of the recipe.
const quiet = "global:\n  checkNewVersion: false\n  sendAnonymousUsage: false\n"

// TestTraefik runs both forms of the recipe: the files, and what Kubernetes makes of its objects, with the arguments of the Helm values.
func TestTraefik(t *testing.T) {
	traefik := findTraefik(t)
	programs.Find(t, "curl")
	t.Run("files", func(t *testing.T) {
		d, changes := newTraefik(t)
		write(t, filepath.Join(d.dir, "traefik.yml"), quiet+recipe(t, "traefik/traefik.yml", changes.static...))
		write(t, filepath.Join(d.dir, "jobward.yml"), recipe(t, "traefik/jobward.yml", changes.dynamic...))
		d.launchTraefik(true, traefik, "--configFile=traefik.yml")
	})
	t.Run("kubernetes", func(t *testing.T) {
		d, changes := newTraefik(t)
		file := document(t, recipe(t, "traefik/jobward.yml", changes.dynamic...))[0]
		objects := middlewares(t, recipe(t, "traefik/kubernetes.yaml", changes.kubernetes...))
		file["http"].(map[string]any)["middlewares"] = objects
		delete(file["http"].(map[string]any)["routers"].(map[string]any), "packages-by-sidecar") // README.md says why
		d.inQuery = "400"
		text, err := yaml.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d.dir, "jobward.yml"), string(text))
		args := []string{"--entryPoints.websecure.address=" + changes.listen, "--providers.file.filename=" + filepath.Join(d.dir, "jobward.yml"),
			"--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=WARN", "--accessLog.filePath=" + d.logs["traefik's access log"]}
		for _, a := range document(t, recipe(t, "traefik/values.yaml"))[0]["additionalArguments"].([]any) {
			args = append(args, a.(string))
		}
		d.launchTraefik(false, traefik, args...)
	})
}

// traefikChanges is what the reader of the recipe has to change, file by file.
type traefikChanges struct {
	listen                      string
	static, dynamic, kubernetes [][2]string
}

func newTraefik(t *testing.T) (*restDoor, traefikChanges) {
	door, pass, listen, s := freeAddress(t), freeAddress(t), freeAddress(t), startService(t)
	r := start(t, "--http-addr="+door, "--refuse-query-tokens", "--proxy-addr="+pass, "--proxy-to=http://"+s.at)
	authority := certs.New(t, r.dir)
	cert, key := authority.Issue(r.dir, "packages", "", time.Now().Add(time.Hour))
	_, port, _ := net.SplitHostPort(listen)
	access := filepath.Join(r.dir, "access.log")
	d := &restDoor{r, t, "https://localhost:" + port, authority.File, s, map[string]string{"traefik's access log": access}, "200"}
	ask := [2]string{"http://127.0.0.1:7432/auth", "http://" + door + "/auth"}
	return d, traefikChanges{listen,
		[][2]string{{`":443"`, listen}, {"/etc/traefik/jobward.yml", filepath.Join(r.dir, "jobward.yml")}, {"/var/log/traefik/access.log", access}},
		[][2]string{ask, {"packages.example.com`", "localhost`"}, {"http://127.0.0.1:8080", "http://" + s.at}, {"http://127.0.0.1:7433", "http://" + pass},
			{"/etc/traefik/tls/packages.example.com.pem", cert}, {"/etc/traefik/tls/packages.example.com.key", key}},
		[][2]string{ask},
	}
}

// launchTraefik starts Traefik and tries the door.
func (d *restDoor) launchTraefik(bodies bool, traefik string, args ...string) {
	t := d.t
	p := programs.Launch(t, d.dir, []string{"HOME=" + d.dir}, traefik, args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Traefik:\n%s%s", p.Out.String(), p.Log.Tail())
		}
	})
	// The listener is there before the routers and the certificate are.
	programs.Eventually(t, "Traefik's router", func() bool {
		cmd := exec.Command("curl", "-q", "-s", "--cacert", d.ca, "-o", "answer", "-w", "%{http_code}", d.url+"/api/v4/projects/11/packages/generic/a/1/f")
		cmd.Dir, cmd.Env = d.dir, programs.Environ()
		out, _ := cmd.Output()
		return string(out) == "401"
	})
	d.all(bodies)
	d.traefikOwn()
	said := p.Out.String() + p.Log.String()
	if strings.Contains(said, "aliasHeadersStrategy") || strings.Contains(said, "ERR") {
		t.Errorf("Traefik complains:\n%s", said)
	}
	if access := read(t, d.logs["traefik's access log"]); !strings.Contains(access, `"ClientUsername":"rest-`) || !strings.Contains(access, "/packages/generic/") {
		t.Errorf("the access log does not say who did what:\n%.2000s", access)
	}
	d.sidecar.Cmd.Process.Kill()
	<-d.sidecar.Done
	d.want("without the sidecar", "500", d.url+"/api/v4/projects/13/packages/generic/a/1/f")
}

// traefikOwn is what only Traefik could get wrong.
func (d *restDoor) traefikOwn() {
	t := d.t
	token := d.issue("own-" + filepath.Base(t.Name()))
	const chart = "/api/v4/projects/11/packages/helm/stable/index.yaml"
	for name, args := range map[string][]string{
		"told another way": {"--header", "X-Forwarded-Uri: /x", "--header", "X-Forwarded-Method: PUT", "--header", "X_Forwarded_Uri: /y", "--header", "Forwarded: for=1"},
		"other dialect":    {"--header", "X-Original-Uri: /x", "--header", "X-Original-Method: PUT"},
		"hop-by-hop":       {"--header", "Connection: close, Jobward-Job, Jobward-Project, Jobward-User"},
		"disguised":        {"--header", "Jobward_Job: 1", "--header", "Jobward.User: 1"},
	} {
		before := len(d.service.seen())
		d.want(name, "200", append(args, "--user", "gitlab-ci-token:"+token, d.url+chart)...)
		saw := d.service.seen()[before:]
		if !strings.HasPrefix(saw, "GET "+chart+" ") || strings.Contains(saw, "Forwarded-Uri") || strings.Contains(saw, "Forwarded_Uri") || strings.Contains(saw, "for=1") || strings.Contains(saw, "Jobward_") {
			t.Errorf("%s: the service got %s", name, saw)
		}
		if who := d.service.identity(); who != "job own-"+filepath.Base(t.Name())+" of 11 by 102" {
			t.Errorf("%s: the service was told %q", name, who)
		}
	}
	d.want("another method", "400", "--header", "X-HTTP-Method-Override: DELETE", "--header", "JOB-TOKEN: "+token, d.url+chart)
	d.want("HTTP/2", "200", "--http2", "--user", "gitlab-ci-token:"+token, d.url+chart)
	d.want("token that is named in Connection", "200", "--header", "Connection: close, Job-Token", "--header", "JOB-TOKEN: "+token, d.url+"/api/v4/projects/11/packages/generic/a/1/f")
	dead := "gitlab-ci-token:" + token[:len(token)-4] + "AAAA"
	d.want("dead, named in Connection", "401", "--user", dead, "--header", "Connection: Authorization", d.url+"/api/v4/projects/13/packages/generic/a/1/f")
	// An anonymous visitor is told to the service as nobody.
	d.want("visitor", "200", "--header", "Jobward-User: 101", d.url+"/api/v4/projects/13/packages/generic/a/1/f")
	if who := d.service.identity(); who != "job  of  by " {
		t.Errorf("visitor: the service was told %q", who)
	}
	// People's own credentials go on.
	before := len(d.service.seen())
	d.want("own credential", "200", "--user", "someone:else", d.url+"/api/v4/projects/13/packages/generic/a/1/f")
	if saw := d.service.seen()[before:]; !strings.Contains(saw, "Authorization:[Basic ") {
		t.Errorf("own credential: the service got %s", saw)
	}
	wantWithout(t, token, map[string]string{"what reached the service": d.service.seen(), "traefik's access log": read(t, d.logs["traefik's access log"])})
}

// TestTraefikForms: the middlewares of Kubernetes are those of the files, and the sidecar that the Helm values start is one.
func TestTraefikForms(t *testing.T) {
	file, err := yaml.Marshal(document(t, recipe(t, "traefik/jobward.yml"))[0]["http"].(map[string]any)["middlewares"])
	if err != nil {
		t.Fatal(err)
	}
	objects, err := yaml.Marshal(middlewares(t, recipe(t, "traefik/kubernetes.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != string(objects) {
		t.Errorf("deploy/traefik/jobward.yml has\n%s\nand kubernetes.yaml\n%s", file, objects)
	}

	dir := t.TempDir()
	certs.New(t, dir)
	key, _ := identity.NewKey()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	values := recipe(t, "traefik/values.yaml", [2]string{"/etc/jobward/ca.pem", filepath.Join(dir, "ca.pem")}, [2]string{"/etc/jobward/pdp.jobk", filepath.Join(dir, "key")})
	container := document(t, values)[0]["deployment"].(map[string]any)["additionalContainers"].([]any)[0].(map[string]any)
	args := []string{"config", "check"}
	for _, a := range container["args"].([]any) {
		args = append(args, a.(string))
	}
	check := exec.Command(filepath.Join(programs.Dir(t, "sidecar"), "sidecar"), args...)
	check.Env = programs.Environ()
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sidecar %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// document gives the documents of a YAML file.
func document(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var one map[string]any
		if err := d.Decode(&one); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

// middlewares gives those among the objects in the form of files, and wants that all objects are in one namespace and that the route has the middleware.
func middlewares(t *testing.T, objects string) map[string]any {
	t.Helper()
	m, guarded := map[string]any{}, false
	for _, o := range document(t, objects) {
		meta, spec := o["metadata"].(map[string]any), o["spec"].(map[string]any)
		if meta["namespace"] != "packages" || o["apiVersion"] != "traefik.io/v1alpha1" {
			t.Errorf("%v is of %v, in %v", meta["name"], o["apiVersion"], meta["namespace"])
		}
		switch o["kind"] {
		case "Middleware":
			if chain, ok := spec["chain"].(map[string]any); ok {
				chain["middlewares"] = names(chain["middlewares"])
			}
			m[meta["name"].(string)] = spec
		case "IngressRoute":
			for _, r := range spec["routes"].([]any) {
				guarded = names(r.(map[string]any)["middlewares"])[0] == "jobward"
			}
		}
	}
	if !guarded {
		t.Error("deploy/traefik/kubernetes.yaml has a route without the middleware")
	}
	return m
}

// names turns references to objects into names.
func names(refs any) (out []any) {
	for _, r := range refs.([]any) {
		out = append(out, r.(map[string]any)["name"])
	}
	return out
}
