package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep/peptest"
	"github.com/jobward/jobward/sidecar/proxy"
	"github.com/jobward/jobward/sidecar/route"
	"github.com/jobward/jobward/test/capture"
)

const patience = proxy.Patience

type zeros = proxy.Zeros

// house is the whole door before a service, with a real PDP.
type house struct {
	t     testing.TB
	pdp   *peptest.PDP
	door  *proxy.Door
	front *httptest.Server
	ended chan proxy.Outcome
	log   capture.Output
}

func newHouse(t testing.TB, service http.HandlerFunc, change ...func(*proxy.Options)) *house {
	t.Helper()
	h := &house{t: t, pdp: peptest.Start(t), ended: make(chan proxy.Outcome, 100)}
	behind := httptest.NewServer(service)
	t.Cleanup(behind.Close)
	log := slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opt := proxy.Options{To: behind.URL, Every: 10 * time.Millisecond, Logger: log}
	for _, f := range change {
		f(&opt)
	}
	up, err := proxy.NewUpstream(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	h.door = &proxy.Door{
		Gate:    &gate.Gate{Asker: h.pdp.Decider(), Routes: route.Builtin(), Logger: log},
		Service: up, Done: func(o proxy.Outcome) { h.ended <- o },
	}
	h.front = httptest.NewUnstartedServer(h.door)
	h.front.Config.ConnContext = proxy.ConnContext
	h.front.Start()
	t.Cleanup(h.front.Close)
	return h
}

func (h *house) outcome() proxy.Outcome { h.t.Helper(); return proxy.Ended(h.t, h.ended) }

func (h *house) do(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	h.t.Helper()
	return proxy.Do(h.t, h.front, method, path, body, headers...)
}

// echo answers with what a service sees of a request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s \n", r.Method, r.RequestURI)
	for name, values := range r.Header {
		fmt.Fprintf(w, "%s: %s\n", name, strings.Join(values, ", "))
	}
	fmt.Fprintf(w, "body=%q\n", body)
}

func packageOf(project any) string {
	return fmt.Sprintf("/api/v4/projects/%v/packages/generic/a/1.0/a.bin", project)
}

// TestCarriers asks in each way that a token can be shown (§4.2), and wants that the service sees whose job it is and no token.
func TestCarriers(t *testing.T) {
	h := newHouse(t, echo)
	token := h.pdp.Issue("1", peptest.App, peptest.Dev)
	plain := packageOf(peptest.Lib)
	for name, c := range map[string]struct {
		path    string
		headers []string
		arrives string
	}{
		"header":          {plain, []string{"JOB-TOKEN: " + token}, plain},
		"bearer":          {plain, []string{"Authorization: Bearer " + token}, plain},
		"basic":           {plain, []string{"Authorization: Basic " + basicOf("gitlab-ci-token", token)}, plain},
		"job_token":       {plain + "?job_token=" + token, nil, plain},
		"token":           {plain + "?a=%2f&token=" + token + "&b", nil, plain + "?a=%2f&b"},
		"encoded project": {packageOf("acme%2Flib") + "?x=y", []string{"JOB-TOKEN: " + token}, packageOf("acme%2Flib") + "?x=y"},
	} {
		resp, body := h.do("GET", c.path, nil, append(c.headers, "Jobward-User: root")...)
		if resp == nil || resp.StatusCode != 200 || !strings.HasPrefix(body, "GET "+c.arrives+" ") {
			t.Errorf("%s: %v %s", name, resp, body)
		}
		if strings.Contains(body, token) || strings.Contains(body, "Authorization") || strings.Contains(body, "root") {
			t.Errorf("%s: the service sees\n%s", name, body)
		}
		for _, want := range []string{"\nJobward-Job: 1\n", "\nJobward-Project: 10\n", "\nJobward-User: 1\n"} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q in\n%s", name, want, body)
			}
		}
	}
	if strings.Contains(h.log.String(), token) {
		t.Error("the log has the token")
	}
}

func basicOf(user, password string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(user, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// TestDenials looks at refusals as clients see them.
func TestDenials(t *testing.T) {
	h := newHouse(t, func(http.ResponseWriter, *http.Request) { t.Error("the service is asked") })
	token := h.pdp.Issue("1", peptest.App, peptest.Dev)
	dead := h.pdp.Issue("2", peptest.App, peptest.Dev)
	h.pdp.Revoke("2")
	for name, c := range map[string]struct {
		method, path, token string
		status              int
		body                string
	}{
		"not let in":   {"GET", packageOf(peptest.Closed), token, 404, "Not Found"},
		"no such":      {"GET", packageOf(99), token, 404, "Not Found"},
		"dead":         {"GET", packageOf(peptest.Open), dead, 401, "Unauthorized"},
		"no token":     {"GET", packageOf(peptest.Lib), "", 401, "Unauthorized"},
		"no route":     {"GET", "/api/v4/nonsense", token, 404, ""},
		"two meanings": {"GET", packageOf(peptest.App) + "/../x", token, 400, ""},
		"a double dot": {"GET", "/api/v4/projects/10/packages/generic/a/%2e%2e/a.bin", token, 400, ""},
		"two slashes":  {"GET", "//api/v4/job", token, 400, "two slashes"},
		"an upload":    {"PUT", packageOf(peptest.Closed), token, 404, "Not Found"},
	} {
		var headers []string
		if c.token != "" {
			headers = append(headers, "JOB-TOKEN: "+c.token)
		}
		var body io.Reader
		if c.method == "PUT" {
			body = io.LimitReader(zeros{}, 10<<20)
		}
		resp, got := h.do(c.method, c.path, body, headers...)
		if resp == nil && c.method == "PUT" {
			continue // it was sending when the answer came, and the connection went: as other servers do
		}
		if resp == nil || resp.StatusCode != c.status || !strings.Contains(got, c.body) || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v %q", name, resp, got)
		}
		if resp, got := h.do("HEAD", c.path, nil, headers...); c.method == "GET" && (resp == nil || got != "" || c.status < 404 && resp.StatusCode != c.status) {
			t.Errorf("%s: HEAD gives %v", name, resp)
		}
	}
}

// TestLeft has clients announce a body and not send it. They get their answer all the same, from the door or from the service, and are let go.
func TestLeft(t *testing.T) {
	h := newHouse(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "PUT" {
			t.Errorf("what is left of a body is taken for the request %s %s", r.Method, r.RequestURI)
		}
		http.NewResponseController(w).EnableFullDuplex() // else this server, too, waits for the rest
		http.Error(w, "full", http.StatusInsufficientStorage)
	})
	token := h.pdp.Issue("1", peptest.App, peptest.Dev)
	for name, c := range map[string]struct {
		project authz.ProjectID
		status  int
	}{"refused by the door": {peptest.Closed, 404}, "refused by the service": {peptest.App, 507}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", h.front.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nJob-Token: %s\r\nContent-Length: 1000\r\n\r\nsome", packageOf(c.project), token)
			late := time.AfterFunc(2500*time.Millisecond, func() {
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nJob-Token: %s\r\nConnection: close\r\n\r\n", packageOf(peptest.App), token)
			})
			defer late.Stop()
			all, err := io.ReadAll(conn)
			if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); err != nil || !strings.HasPrefix(string(all), want) || !strings.Contains(string(all), "\r\nConnection: close\r\n") {
				t.Errorf("%v, %q", err, all)
			}
		})
	}
}

// TestTrigger sends the token in the body, as the documentation of triggers has it (form fields), and in the other forms of a body.
func TestTrigger(t *testing.T) {
	h := newHouse(t, echo)
	token := h.pdp.Issue("1", peptest.App, peptest.Dev)
	path := fmt.Sprintf("/api/v4/projects/%d/trigger/pipeline", peptest.Lib)
	form := func(pairs ...string) (string, io.Reader) {
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for i := 0; i < len(pairs); i += 2 {
			m.WriteField(pairs[i], pairs[i+1])
		}
		m.Close()
		return m.FormDataContentType(), &b
	}
	multi, parts := form("token", token, "ref", "main")
	for name, c := range map[string]struct {
		kind   string
		body   io.Reader
		status int
		want   string
	}{
		"curl --form":        {multi, parts, 200, `name=\"ref\"\r\n\r\nmain\r\n`},
		"curl --data":        {"application/x-www-form-urlencoded", strings.NewReader("token=" + token + "&ref=main"), 200, `body="ref=main"`},
		"JSON":               {"application/json", strings.NewReader(`{"token": "` + token + `", "ref": "main"}`), 200, `"main\"}"`},
		"a body too large":   {"application/json", strings.NewReader(`{"ref": "` + strings.Repeat("x", 64<<10) + `", "token": "` + token + `"}`), 413, "JOB-TOKEN"},
		"an unknown token":   {"application/x-www-form-urlencoded", strings.NewReader("token=" + token[:len(token)-4] + "AAAA&ref=main"), 401, ""},
		"no token":           {"application/x-www-form-urlencoded", strings.NewReader("ref=main"), 401, ""},
		"not a carrier here": {"application/x-www-form-urlencoded", strings.NewReader("job_token=" + token), 401, ""},
	} {
		resp, body := h.do("POST", path, c.body, "Content-Type: "+c.kind)
		if resp == nil || resp.StatusCode != c.status || !strings.Contains(body, c.want) || strings.Contains(body, token) {
			t.Errorf("%s: %v %s", name, resp, body)
		}
	}
	h.door.Gate.WithoutToken = gate.Pass
	if resp, body := h.do("POST", path, strings.NewReader("token=glptt-0123456789&ref=main"), "Content-Type: application/x-www-form-urlencoded"); resp == nil ||
		!strings.Contains(body, `body="token=glptt-0123456789&ref=main"`) {
		t.Errorf("a trigger token: %v %s", resp, body)
	}
	if resp, body := h.do("POST", path, strings.NewReader("token="+token+"&ref=main"), "Content-Type: application/x-www-form-urlencoded"); resp == nil || !strings.Contains(body, `body="ref=main"`) {
		t.Errorf("a job token: %v %s", resp, body)
	}
}

// TestTwoTokens and its like: what gate refuses never reaches the service, whatever the body says.
func TestTwoTokens(t *testing.T) {
	h := newHouse(t, echo)
	mine := h.pdp.Issue("1", peptest.App, peptest.Dev)
	other := h.pdp.Issue("2", peptest.App, peptest.Guest)
	form := "Content-Type: application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		query, body string
		headers     []string
	}{
		"header and query":  {"?job_token=" + other, "", []string{"JOB-TOKEN: " + mine}},
		"two in the query":  {"?job_token=" + other + "&token=" + mine, "", nil},
		"two in the form":   {"", "job_token=" + mine + "&token=" + other, []string{form}},
		"the same name":     {"", "token=" + mine + "&token=" + other, []string{form}},
		"two headers":       {"", "", []string{"JOB-TOKEN: " + mine, "JOB-TOKEN: " + other}},
		"overridden method": {"", "", []string{"JOB-TOKEN: " + mine, "X-HTTP-Method-Override: DELETE"}},
	} {
		resp, body := h.do("PUT", packageOf(peptest.App)+c.query, strings.NewReader(c.body), c.headers...)
		if resp == nil || resp.StatusCode < 400 || resp.StatusCode >= 500 || strings.Contains(body, mine) {
			t.Errorf("%s: %v %s", name, resp, body)
		}
	}
}
