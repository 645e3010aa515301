package recipes

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/programs"
)

// service is a small package and artifact server that knows nothing of tokens: what is put somewhere can be got there. It notes all that reaches it.
type service struct {
	at string // host:port

	mu    sync.Mutex
	files map[string][]byte
	saw   strings.Builder
	whose string // the identity headers of the newest request
}

func startService(t testing.TB) *service {
	s := &service{files: map[string][]byte{}}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(server.Close)
	s.at = server.Listener.Addr().String()
	return s
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.saw, "%s %s %v %q\n", r.Method, r.RequestURI, r.Header, body)
	s.whose = fmt.Sprintf("job %s of %s by %s", r.Header.Get("Jobward-Job"), r.Header.Get("Jobward-Project"), r.Header.Get("Jobward-User"))
	switch r.Method {
	case http.MethodPut:
		s.files[r.URL.Path] = body
		w.WriteHeader(http.StatusCreated)
	case http.MethodPost:
		w.WriteHeader(http.StatusCreated)
	default:
		f, ok := s.files[r.URL.Path]
		if !ok {
			f = []byte("what " + r.URL.Path + " holds")
		}
		w.Write(f)
	}
}

func (s *service) identity() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whose
}

func (s *service) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saw.String()
}

// restDoor is a proxy before the service, as curl sees it.
type restDoor struct {
	*rig
	t       testing.TB
	url     string
	ca      string
	service *service
	logs    map[string]string // files
	inQuery string            // the status of what a token in the query would allow
}

// curl gives the status and the body.
func (d *restDoor) curl(args ...string) (status, body string) {
	d.t.Helper()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "https://gitlab.example.com", d.url)
	}
	// Not by HTTP/2 unless told so: it has no Connection, and with it curl 7.88 can lose the answer to an upload that is refused under way.
	cmd := exec.Command("curl", append([]string{"-q", "-sS", "--http1.1", "--max-time", "60", "-w", "\n%{http_code}"}, args...)...)
	if d.ca != "" {
		cmd.Args = append(cmd.Args, "--cacert", d.ca)
	}
	cmd.Dir, cmd.Env = d.dir, programs.Environ()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("curl: %v\n%s", err, &stderr)
	}
	i := strings.LastIndexByte(string(out), '\n')
	return string(out[i+1:]), string(out[:i])
}

func (d *restDoor) want(what, status string, args ...string) (body string) {
	d.t.Helper()
	got, body := d.curl(args...)
	if got != status {
		d.t.Errorf("%s: %s, want %s\n%s", what, got, status, body)
	}
	return body
}

// all tries every carrier, both directions and the refusals. bodies says whether the door sees bodies.
func (d *restDoor) all(bodies bool) {
	t := d.t
	token := d.issue("rest-" + filepath.Base(t.Name()))
	const own, listed, unlisted = "11", "14", "16"
	path := func(project string) string {
		return "https://gitlab.example.com/api/v4/projects/" + project + "/packages/generic/my_package/0.0.1/file.txt"
	}
	big := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB
	write(t, filepath.Join(d.dir, "big"), big)

	d.want("upload by header", "201", "--header", "JOB-TOKEN: "+token, "--upload-file", "big", path(own))
	if got := d.want("download", "200", "--header", "JOB-TOKEN: "+token, path(own)); got != big {
		t.Errorf("%d bytes came back", len(got))
	}
	if got, want := d.service.identity(), "job rest-"+filepath.Base(t.Name())+" of 11 by 102"; got != want {
		t.Errorf("the service was told %q, want %q", got, want)
	}
	for name, args := range map[string][]string{
		"header": {"--header", "JOB-TOKEN: " + token, path(listed)},
		"basic":  {"--user", "gitlab-ci-token:" + token, path(listed)}, "bearer": {"--header", "Authorization: Bearer " + token, path(listed)},
		"path id":     {"--header", "JOB-TOKEN: " + token, path("acme%2Fplatform%2Fapi")},
		"forged":      {"--header", "JOB-TOKEN: " + token, "--header", "Jobward-User: 101", path(listed)},
		"case of url": {"--header", "job-token: " + token, path(listed)},
	} {
		d.want(name, "200", args...)
		if got := d.service.identity(); !strings.HasSuffix(got, "of 11 by 102") {
			t.Errorf("%s: the service was told %q", name, got)
		}
	}
	d.want("parameter", d.inQuery, path(listed)+"?x=1&job_token="+token+"&y=2")
	disguised, body := d.curl("--header", "JOB-TOKEN: "+token, "--header", "Jobward_User: 101", path(listed))
	if who := d.service.identity(); disguised != "400" && !strings.HasSuffix(who, "of 11 by 102") {
		t.Errorf("disguised: %s %s; the service was told %q", disguised, body, who)
	}
	d.want("upload where the user may only read", "403", "--header", "JOB-TOKEN: "+token, "--upload-file", "big", path(listed))
	d.want("unlisted", "404", "--header", "JOB-TOKEN: "+token, path(unlisted))
	// What a client names in Connection belongs to one connection: many a proxy drops it from what it asks, and from what it passes on.
	d.want("hop-by-hop", "200", "--header", "JOB-TOKEN: "+token, "--header", "Connection: close, Jobward-Job, Jobward-Project, Jobward-User", path(listed))
	if got := d.service.identity(); !strings.HasSuffix(got, "of 11 by 102") {
		t.Errorf("hop-by-hop: the service was told %q", got)
	}
	d.want("dead, hop-by-hop", "401", "--header", "JOB-TOKEN: "+token[:len(token)-4]+"AAAA", "--header", "Connection: close, Job-Token", path("13"))
	d.want("no such project", "404", "--header", "JOB-TOKEN: "+token, path("999"))
	d.want("no route", "404", "--header", "JOB-TOKEN: "+token, "https://gitlab.example.com/api/v4/projects/11/hooks")
	d.want("two tokens", "400", "--header", "JOB-TOKEN: "+token, "--user", "gitlab-ci-token:other", path(own))
	d.want("wrong user", "401", "--user", "someone:"+token, path(own))
	d.want("private, without a token", "401", path(own))
	d.want("public, without a token", "200", path("13"))
	d.want("a token nobody has", "401", "--header", "JOB-TOKEN: "+token[:len(token)-4]+"AAAA", path("13"))
	for _, odd := range []string{"/api/v4/projects/13/..%2f16/packages", "/api/v4/projects/13/../16/packages", "/api/v4/projects/%31%36/packages/generic/a/1/f", "/api/v4//projects/16/packages"} {
		if got, body := d.curl("--path-as-is", "--header", "JOB-TOKEN: "+token, d.url+odd); got == "200" {
			t.Errorf("%s: %s %s", odd, got, body)
		}
	}

	d.oddNames(token)

	// The seed's own examples, verbatim but for the host and the project.
	d.want("artifacts", d.inQuery, "--location", "https://gitlab.example.com/api/v4/projects/11/jobs/artifacts/main/download?job=test&job_token="+token)
	if bodies {
		d.want("trigger", "201", "--request", "POST", "--form", "token="+token, "--form", "ref=master", "https://gitlab.example.com/api/v4/projects/11/trigger/pipeline")
		body := d.want("trigger elsewhere", "404", "--request", "POST", "--form", "token="+token, "--form", "ref=master", "https://gitlab.example.com/api/v4/projects/16/trigger/pipeline")
		if strings.TrimSpace(body) != `{"message":"404 Not Found"}` {
			t.Errorf("trigger elsewhere says %s", body)
		}
	}

	d.revoke("rest-"+filepath.Base(t.Name()), jobwardv1.Outcome_OUTCOME_UNSPECIFIED)
	d.want("after the job", "401", "--header", "JOB-TOKEN: "+token, path(own))
	d.want("after the job, public", "401", "--header", "JOB-TOKEN: "+token, path("13"))

	texts := map[string]string{"what reached the service": d.service.seen(), "the sidecar's log": d.sidecar.Log.String()}
	for name, file := range d.logs {
		texts[name] = read(t, file)
	}
	wantWithout(t, token, texts)
}

func TestNginxREST(t *testing.T) { startNginxREST(t).all(true) }

// startNginxREST starts nginx with the recipe for a REST API, and all that it needs.
func startNginxREST(t testing.TB) *restDoor {
	t.Helper()
	nginx := programs.Find(t, "nginx")
	programs.Find(t, "curl")
	door, pass, listen, s := freeAddress(t), freeAddress(t), freeAddress(t), startService(t)
	r := start(t, "--http-addr="+door, "--proxy-addr="+pass, "--proxy-to=http://"+s.at)
	logs := filepath.Join(r.dir, "logs")
	if err := os.Mkdir(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	authority := certs.New(t, r.dir)
	cert, key := authority.Issue(r.dir, "rest", "", time.Now().Add(time.Hour))
	write(t, filepath.Join(r.dir, "jobward.inc"), recipe(t, "nginx/jobward.inc", [2]string{"127.0.0.1:7432", door}))
	write(t, filepath.Join(r.dir, "00-jobward.conf"), recipe(t, "nginx/00-jobward.conf"))
	write(t, filepath.Join(r.dir, "rest.conf"), recipe(t, "nginx/rest.conf",
		[2]string{"/etc/nginx/tls/packages.example.com.pem", cert}, [2]string{"/etc/nginx/tls/packages.example.com.key", key},
		[2]string{"/etc/nginx/jobward.inc;", filepath.Join(r.dir, "jobward.inc;")},
		[2]string{"listen 443", "listen " + listen}, [2]string{"server_name packages.example.com", "server_name localhost"},
		[2]string{"/var/log/nginx", logs}, [2]string{"http://127.0.0.1:7433;", "http://" + pass + ";"}, [2]string{"server 127.0.0.1:8080;", "server " + s.at + ";"}))
	launchNginx(t, r, nginx, "00-jobward.conf", "rest.conf")
	waitFor(t, listen)
	_, port, _ := net.SplitHostPort(listen)
	return &restDoor{r, t, "https://localhost:" + port, authority.File, s, map[string]string{
		"nginx's access log": filepath.Join(logs, "rest.access.log"), "nginx's error log": filepath.Join(logs, "rest.error.log")}, "200"}
}

func TestCaddy(t *testing.T) { startCaddy(t).all(true) }

// startCaddy starts Caddy with its recipe, and all that it needs.
func startCaddy(t testing.TB) *restDoor {
	t.Helper()
	caddy := programs.Find(t, "caddy")
	programs.Find(t, "curl")
	door, pass, listen, s := freeAddress(t), freeAddress(t), freeAddress(t), startService(t)
	r := start(t, "--http-addr="+door, "--refuse-query-tokens", "--proxy-addr="+pass, "--proxy-to=http://"+s.at)
	write(t, filepath.Join(r.dir, "Caddyfile"), "{\n\tadmin off\n\tauto_https off\n}\n"+recipe(t, "caddy/Caddyfile",
		[2]string{"\npackages.example.com {", "\nhttp://localhost:" + listen[strings.LastIndexByte(listen, ':')+1:] + " {"},
		[2]string{"forward_auth 127.0.0.1:7432", "forward_auth " + door}, [2]string{" 127.0.0.1:7433\n", " " + pass + "\n"}, [2]string{"\treverse_proxy 127.0.0.1:8080", "\treverse_proxy " + s.at}))
	programs.Launch(t, r.dir, []string{"HOME=" + r.dir, "XDG_DATA_HOME=" + r.dir, "XDG_CONFIG_HOME=" + r.dir}, caddy, "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	waitFor(t, listen)
	return &restDoor{r, t, "http://" + strings.Replace(listen, "127.0.0.1", "localhost", 1), "", s, nil, "200"}
}

func TestReverseProxyMode(t *testing.T) {
	programs.Find(t, "curl")
	s := startService(t)
	listen := freeAddress(t)
	r := start(t, "--proxy-addr="+listen, "--proxy-to=http://"+s.at)
	d := &restDoor{r, t, "http://" + listen, "", s, nil, "200"}
	d.all(true)
}
