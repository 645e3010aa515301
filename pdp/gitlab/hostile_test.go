package gitlab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// TestIDs writes the project in every way (SEMANTICS §21, details 1): what is the same names the same, and what could be read in
// two ways names nothing.
func TestIDs(t *testing.T) {
	r := newRig(t)
	for id, status := range map[string]int{
		"10": 200, "acme%2Fdeep%2Fapp.go": 200, "acme%2fdeep%2fapp%2ego": 200, "acme%2Fdeep%2Fapp%2Ego": 200, "%61cme%2Fdeep%2Fapp.go": 200,
		"0": 404, "-10": 404, "+10": 404, "010": 404, "10.0": 404, "1e1": 404, "0x0a": 404, "%3110": 404, "1%30": 200, "null": 404, "true": 404, "%20": 404, "%00": 404, "10%00": 404,
		"9007199254740993": 404, "9223372036854775807": 404, "9223372036854775808": 404, strings.Repeat("9", 400): 404, "10,11": 404, "10;11": 404,
		"acme%252Fdeep%252Fapp.go": 404, "acme/deep/app.go": 404, "acme%2F%2Fdeep%2Fapp.go": 404, "%2Facme%2Fdeep%2Fapp.go": 404, "acme%2Fdeep%2Fapp.go%2F": 404,
		"acme%2Fdeep%2F..%2Fdeep%2Fapp.go": 404, "..%2Facme%2Fdeep%2Fapp.go": 404, "acme%2F.%2Fdeep%2Fapp.go": 404, "acme%2Fdeep%2Fapp.go%2F..%2F..%2Flib": 404,
		"..%2F..%2Fprojects%2F10": 404, "..": 404, ".": 404, "%2e%2e": 404, "acme%5Cdeep%5Capp.go": 404, "acme%2Fdeep%2Fapp.go%3Fx": 404, "acme%2Fdeep%2Fapp.go%23": 404,
		"ACME%2Fdeep%2Fapp.go": 404, "acme%2Fdeep%2Fapp": 404, "acme%2Fdeep": 404, "acme": 404, "%ff%fe": 404, strings.Repeat("a%2F", 1500) + "b": 404,
	} {
		a := r.as(mia, "GET", "projects/"+id, "")
		if a.status != status {
			t.Errorf("%s: %d %s", short(id), a.status, a.body)
		}
		if status == 200 && !strings.Contains(a.body, `"id":10,`) {
			t.Errorf("%s: %s", id, a.body)
		}
	}
	for path, status := range map[string]int{
		"/api/v4/projects/10/": 404, "/api/v4//projects/10": 404, "/api/v4/projects//10": 404, "//api/v4/projects/10": 404, "/api/v4/projects/10/job_token_scope/": 404, "/api/v4/": 404,
		"/api/v4": 404, "/": 404, "/api/v4/projects": 404, "/api/v5/projects/10": 404, "/API/v4/projects/10": 404, "/api/v4/%70rojects/10": 404, "/api/v4/projects/10/job%5Ftoken_scope": 404,
		"/api/v4/../v4/projects/10": 404, "/api/v4/projects/11/../10": 404, "/api/v4/projects/10%2Fjob_token_scope": 404, "/api%2Fv4/projects/10": 404,
		"/api/v4/projects/10/job_token_scope/allowlist/12/more": 404, "/api/v4/projects/10/job_token_scope/Allowlist": 404, "/api/v4/projects/10.json": 404,
		"/api/v4/projects/10/job_token_scope/allowlist?page=1": 200, "/api/v4/projects/10?%zz": 400, "/api/v4/projects/10?a;b": 400,
	} {
		r.want(path, r.do("GET", path, "", "Private-Token", r.keys[mia]), status, "")
	}
}

// TestBodies sends every body that a client could get wrong, and some that attack.
func TestBodies(t *testing.T) {
	r := newRig(t)
	const json, form = "application/json", "application/x-www-form-urlencoded"
	before := r.engine.View().Mark().Revision
	for _, c := range []struct {
		kind, body string
		status     int
		says       string
	}{
		{json, `{"enabled":false`, 400, "error: the body is not one JSON object"},
		{json, `{"enabled":false}}`, 400, "not one JSON object"},
		{json, `{"enabled":false}{"enabled":false}`, 400, "not one JSON object"},
		{json, `[{"enabled":false}]`, 400, "not one JSON object"},
		{json, `false`, 400, "not one JSON object"},
		{json, `null`, 400, "not one JSON object"},
		{json, `"enabled"`, 400, "not one JSON object"},
		{json, `enabled=false`, 400, "not one JSON object"},
		{json, `{"enabled":false,}`, 400, "not one JSON object"},
		{json, `{enabled:false}`, 400, "not one JSON object"},
		{json, "{\"enabled\":\"\xff\"}", 400, "not one JSON object"},
		{json, `{"enabled":true,"enabled":false}`, 400, "error: enabled is there twice"},
		{json, `{"enabled":true,"\u0065nabled":false}`, 400, "error: enabled is there twice"},
		{json, `{"x":1,"x":1,"enabled":false}`, 400, "error: x is there twice"},
		{json, `{"Enabled":false}`, 400, "error: enabled is missing"},
		{json, `{"enabled":{"enabled":false}}`, 400, "error: enabled is invalid"},
		{json, strings.Repeat(`{"enabled":`, 12000), 413, "larger than 64 KiB"},
		{json, strings.Repeat(`{"enabled":`, 5000), 400, "not one JSON object"},
		{json, `{"enabled":` + strings.Repeat("[", 20000), 400, "not one JSON object"},
		{json, `{"enabled":false,"x":"` + strings.Repeat("y", MaxBody) + `"}`, 413, "error: the body is larger than 64 KiB"},
		{json + "; charset=utf-8", ` `, 400, "error: enabled is missing"},
		{form, "enabled=true&enabled=false", 400, "error: enabled is there twice"},
		{form, "enabled[]=false", 400, "error: enabled is invalid"},
		{form, "enabled=%zz", 400, "error: the form"},
		{form, "enabled=false;x", 400, "error: the form"},
		{form, `{"enabled":false}`, 400, "error: enabled is missing"},
		{"", `{"enabled":false}`, 415, "error: send the body as"},
		{"text/plain", `{"enabled":false}`, 415, "error: send the body as"},
		{"text/json", `{"enabled":false}`, 415, "error: send the body as"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"enabled\"\r\n\r\nfalse\r\n--x--\r\n", 415, "error: send the body as"},
		{"application/json, text/plain", `{"enabled":false}`, 415, "error: send the body as"},
	} {
		r.want(c.kind+" "+short(c.body), r.as(mia, "PATCH", scopePath, c.body, "Content-Type", c.kind), c.status, c.says)
	}
	r.want("compressed", r.as(mia, "PATCH", scopePath, "x", "Content-Type", json, "Content-Encoding", "gzip"), 415, "not compressed")
	r.want("query against body", r.as(mia, "PATCH", scopePath+"?enabled=true", `{"enabled":false}`), 400, "enabled is there twice")
	r.want("a body of GET", r.as(mia, "GET", scopePath, `{"enabled":false}`), 200, "")
	if at := r.engine.View().Mark().Revision; at != before {
		t.Errorf("something was changed: revision %d, was %d", at, before)
	}
	r.want("the good one", r.as(mia, "PATCH", scopePath, ` {"enabled" : false } `, "Content-Type", json+"; charset=utf-8"), 204, "")
}

// TestMethods: other methods are 405 with those that there are, and never do anything.
func TestMethods(t *testing.T) {
	r := newRig(t)
	for path, allow := range map[string]string{
		"projects/10": "GET, HEAD, PUT", scopePath: "GET, HEAD, PATCH", listPath: "GET, HEAD, POST", groupPath: "GET, HEAD, POST",
		listPath + "/12": "DELETE, PATCH, PUT", groupPath + "/3": "DELETE, PATCH, PUT", "application/settings": "GET, HEAD, PUT", "job": "GET, HEAD", "user": "GET, HEAD",
	} {
		for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "PROPFIND"} {
			if slices.Contains(strings.Split(allow, ", "), m) {
				continue
			}
			a := r.as(mia, m, path, "")
			if key, text := a.says(); a.status != 405 || a.header.Get("Allow") != allow || m != "HEAD" && (key != keyError || text != "405 Not Allowed") {
				t.Errorf("%s %s: %d, Allow: %s, %s", m, path, a.status, a.header.Get("Allow"), a.body)
			}
		}
	}
	if a := r.as(mia, "HEAD", listPath, ""); a.status != 200 || a.header.Get("X-Total") != "1" || a.body != "" {
		t.Errorf("HEAD: %+v", a)
	}
}

// TestRaw writes bytes that no HTTP library would, on a connection of its own.
func TestRaw(t *testing.T) {
	r := newRig(t)
	key := "Private-Token: " + r.keys[mia] + "\r\n"
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"space in the path": {"GET /api/v4/projects/1 0 HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 400},
		"NUL in the path":   {"GET /api/v4/projects/10\x00 HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 400},
		"bad escape":        {"GET /api/v4/projects/%zz HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 400},
		"absolute":          {"GET http://other/api/v4/projects/10 HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 200},
		"star":              {"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 200}, // net/http's own answer
		"connect":           {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 404},
		"two keys":          {"GET /api/v4/projects/10 HTTP/1.1\r\nHost: x\r\n" + key + key + "\r\n", 401},
		"half a body":       {"PATCH /api/v4/" + scopePath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n" + key + "\r\n{\"enabled\":false}", 400},
		"two lengths":       {"PATCH /api/v4/" + scopePath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + key + "\r\n{}", 400},
		"raw slashes":       {"GET /api/v4/projects/acme/deep/app.go HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 404},
		"dots":              {"GET /api/v4/projects/11/../10 HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 404},
		"quotes":            {"GET /api/v4/projects/acme%2Fdeep%2F\"app.go HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", 404},
	} {
		conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, c.text)
		conn.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if resp.StatusCode != c.status {
			body, _ := io.ReadAll(resp.Body)
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		conn.Close()
	}
}

// FuzzHandler asks anything as a stranger to every project: nothing is changed, nothing is a fault, and of what exists and is
// hidden nothing is said.
func FuzzHandler(f *testing.F) {
	for _, seed := range []string{"projects/10/job_token_scope/allowlist/12", "projects/acme%2Fdeep%2Fapp.go", "job?job_token=x", "application/settings", "projects/..%2F10", "projects/%2e/job_token_scope"} {
		f.Add("DELETE", seed, "a=b", true)
		f.Add("PATCH", seed, `{"enabled":false,"job_token_policies":["READ_JOBS"]}`, false)
		f.Add("POST", seed, `{"target_project_id":12}`, false)
	}
	r := newRig(f)
	h := r.server.Config.Handler
	before := r.engine.View().Mark().Revision
	f.Fuzz(func(t *testing.T, method, path, body string, form bool) {
		req, err := http.NewRequest(method, "http://localhost/api/v4/"+path, strings.NewReader(body))
		if err != nil || req.Method == "" {
			t.Skip()
		}
		req.Header.Set("Private-Token", r.keys[out])
		req.Header.Set("Content-Type", "application/json")
		if form {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := &recorder{header: http.Header{}}
		h.ServeHTTP(w, req)
		if w.status >= 500 || w.status == 0 || strings.Contains(w.body.String(), "app.go\",") {
			t.Errorf("%s %q %q: %d %s", method, path, body, w.status, w.body.String())
		}
		if at := r.engine.View().Mark().Revision; at != before {
			t.Fatalf("%s %q %q: changed something", method, path, body)
		}
	})
}

type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// FuzzPath: what a path is read as is what it says. A number is written back as it stood, a path decodes to itself and
// holds nothing that a second reader could take for something else.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"10", "010", "acme%2Fapp", "..%2Fa", "%252e", "a%00", "-1", "9007199254740992"} {
		f.Add(s)
	}
	table := routes()
	f.Fuzz(func(t *testing.T, s string) {
		segments, ok := split("/api/v4/projects/" + s)
		if !ok {
			return
		}
		matched := 0
		for _, r := range table {
			ids, ok := r.match(segments)
			if !ok || r.method != http.MethodGet {
				continue
			}
			matched++
			at, ok := readTarget(ids[0])
			switch {
			case !ok:
			case at.ID != 0:
				if !at.ID.Valid() || fmt.Sprint(at.ID) != ids[0] {
					t.Errorf("%q is %d", s, at.ID)
				}
			case at.Path != ids[0] || strings.Contains("/"+at.Path+"/", "/../") || strings.Contains("/"+at.Path+"/", "/./") || strings.Contains("/"+at.Path+"/", "//") || strings.ContainsAny(at.Path, "%\\\x00 "):
				t.Errorf("%q is %q", s, at.Path)
			}
		}
		if matched > 1 {
			t.Errorf("%q matches %d routes", s, matched)
		}
	})
}

// TestTable: no two rows of the table can match one request, and all paths are taken apart as far as the longest.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range routes() {
		sample := strings.NewReplacer(":id", "10", ":other", "12").Replace(r.path)
		for _, other := range routes() {
			segments, ok := split("/api/v4/" + sample)
			if _, match := other.match(segments); !ok || match != (r.path == other.path) {
				t.Errorf("%s and %s", r.path, other.path)
			}
		}
		if name := r.method + " " + r.path; seen[name] {
			t.Errorf("%s is there twice", name)
		} else {
			seen[name] = true
		}
	}
	if len(seen) != 18 {
		t.Errorf("%d routes", len(seen))
	}
	if _, ok := readTarget(fmt.Sprint(int64(authz.MaxID) + 1)); ok {
		t.Error("an id that is too large")
	}
}

// short shortens text for a message.
func short(s string) string { return s[:min(len(s), 100)] }

// TestTokensInWrongPlaces: whatever of a request a token is put into, neither the answer nor the log repeats it.
func TestTokensInWrongPlaces(t *testing.T) {
	r := newRig(t)
	job := r.issue("1", app, mia)
	for _, c := range [][3]string{
		{"GET", "projects/" + job, ""}, {"GET", job, ""}, {"GET", "projects/acme%2F" + job, ""}, {"DELETE", listPath + "/" + job, ""}, {"DELETE", groupPath + "/" + job, ""},
		{"DELETE", groupPath + "/acme%2F" + job, ""}, {job, "projects/10", ""}, {"PATCH", scopePath, job}, {"PATCH", scopePath, job + "&" + job}, {"PATCH", scopePath, "enabled=" + job},
		{"POST", listPath, job}, {"POST", listPath, job + "=x"}, {"POST", listPath, "target_project_id=" + job}, {"POST", listPath, `{"target_project_id":12,"` + job + `":1}`},
		{"POST", listPath, `{"` + job + `":1,"` + job + `":1}`}, {"POST", listPath, "target_project_id=12&job_token_policies=" + job}, {"POST", listPath, "target_project_id=12&default_permissions=" + job},
		{"PUT", "projects/10", job}, {"PUT", "application/settings", job}, {"GET", listPath + "?page=" + job, ""}, {"GET", listPath + "?" + job + "&" + job, ""}, {"GET", scopePath + "?job_token=" + job, ""},
		{"GET", scopePath + "?private_token=" + job, ""}, {"GET", "job?job_token=" + job + "x", ""},
	} {
		a := r.as(mia, c[0], c[1], c[2])
		if a.status < 400 || strings.Contains(a.body, job[5:20]) {
			t.Errorf("%s %s %s: %d %s", c[0], c[1], c[2], a.status, a.body)
		}
	}
	a := r.do("GET", "/api/v4/"+scopePath, "", "Private-Token", r.named["front"], "Sudo", job)
	if a.status != 404 || strings.Contains(a.body, job[5:20]) {
		t.Errorf("Sudo: %d %s", a.status, a.body)
	}
	if r.log.Has(job[5:20]) || !r.log.Has("request failed") {
		t.Error("the log says too much, or nothing")
	}
}
