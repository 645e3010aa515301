package forwardauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/forwardauth"
	"github.com/jobward/jobward/sidecar/gate"
)

// five are the headers of every allow, there or not.
var five = []string{"Jobward-Job", "Jobward-Project", "Jobward-User", "Jobward-Uri", "Authorization"}

func fiveOf(w *httptest.ResponseRecorder) []string {
	var out []string
	for _, name := range five {
		if v, ok := w.Header()[name]; ok && len(v) == 1 {
			out = append(out, v[0])
		} else {
			out = append(out, fmt.Sprint("not once: ", v))
		}
	}
	return out
}

func TestAllowed(t *testing.T) {
	basic := func(r *http.Request) { r.SetBasicAuth("gitlab-ci-token", good) }
	for name, c := range map[string]struct {
		uri  string
		show func(*http.Request)
		want []string
	}{
		"header":    {packages + "?a=%2f&b", func(r *http.Request) { r.Header.Set("Job-Token", good) }, []string{"job-1", "10", "3", packages + "?a=%2f&b", ""}},
		"query":     {packages + "?a=1&job_token=" + good, func(*http.Request) {}, []string{"job-1", "10", "3", packages + "?a=1", ""}},
		"query all": {packages + "?job_token=" + good, func(*http.Request) {}, []string{"job-1", "10", "3", packages, ""}},
		"bare mark": {packages + "?", func(r *http.Request) { r.Header.Set("Job-Token", good) }, []string{"job-1", "10", "3", packages + "?", ""}},
		"bearer":    {packages, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+good) }, []string{"job-1", "10", "3", packages, ""}},
		"with another's": {packages, func(r *http.Request) {
			r.Header.Set("Job-Token", good)
			r.Header.Set("Authorization", "Bearer glpat-1")
		},
			[]string{"job-1", "10", "3", packages, "Bearer glpat-1"}},
		"git":    {"/acme/lib.git/info/refs?service=git-upload-pack", basic, []string{"job-1", "10", "3", "/acme/lib.git/info/refs?service=git-upload-pack", ""}},
		"forged": {packages, func(r *http.Request) { r.Header.Set("Job-Token", good); r.Header.Set("Jobward-Job", "root") }, []string{"job-1", "10", "3", packages, ""}},
	} {
		for i := range dialects {
			r := subrequest(i, "GET", c.uri)
			c.show(r)
			w := ask(doorOf(&fake{}), r)
			if w.Code != 204 || !slices.Equal(fiveOf(w), c.want) || w.Body.Len() > 0 {
				t.Errorf("%s, %s: %d %q, want %q", name, dialects[i].path, w.Code, fiveOf(w), c.want)
			}
		}
	}
	// An anonymous visitor leaves nothing standing that a client made up.
	for i := range dialects {
		r := subrequest(i, "GET", packages)
		for _, name := range five {
			r.Header.Set(name, "forged")
		}
		w := ask(doorOf(&fake{answer: &authz.Decision{Allow: true, Reason: authz.AllowedOpen}}), r)
		if w.Code != 204 || !slices.Equal(fiveOf(w), []string{"", "", "", packages, "forged"}) {
			t.Errorf("%d %q", w.Code, fiveOf(w))
		}
	}
}

func TestRefused(t *testing.T) {
	const git = "/acme/lib.git/info/refs?service=git-upload-pack"
	deny := func(r authz.Reason) *fake { return &fake{answer: &authz.Decision{Reason: r}} }
	for name, c := range map[string]struct {
		f    *fake
		uri  string
		show bool
		want int
	}{
		"anonymous":      {&fake{}, packages, false, 401},
		"anonymous, git": {&fake{}, git, false, 401},
		"dead":           {deny(authz.JobNotRunning), packages, true, 401},
		"not listed":     {deny(authz.InboundNotListed), packages, true, 404},
		"git not listed": {deny(authz.InboundNotListed), git, true, 404},
		"blocked":        {deny(authz.UserBlocked), packages, true, 403},
		"undecided":      {&fake{err: errors.New("boom")}, packages, true, 503},
		"lapsed":         {deny(authz.LeaseLapsed), packages, true, 503},
		"no route":       {&fake{}, "/nowhere", true, 404},
		"dots":           {&fake{}, "/api/v4/projects/7/../8/packages", true, 400},
		"two tokens":     {&fake{}, packages + "?job_token=" + other, true, 400},
	} {
		for i := range dialects {
			r := subrequest(i, "GET", c.uri)
			if c.show {
				r.Header.Set("Job-Token", good)
			}
			if strings.HasPrefix(name, "git") {
				r.SetBasicAuth("gitlab-ci-token", good)
			}
			w := ask(doorOf(c.f), r)
			h, code := w.Header(), c.want
			if i == 1 {
				if code != 401 {
					code = 403
				}
				if h.Get(forwardauth.OutcomeHeader) != fmt.Sprint(c.want) || h.Get(forwardauth.MessageHeader) != w.Body.String() ||
					h.Get(forwardauth.MessageTypeHeader) != h.Get("Content-Type") {
					t.Errorf("%s: %v", name, h)
				}
			} else if h.Get(forwardauth.OutcomeHeader) != "" {
				t.Errorf("%s: %v", name, h)
			}
			if w.Code != code || w.Body.Len() == 0 || strings.ContainsAny(w.Body.String(), "\r\n") {
				t.Errorf("%s, %s: %d %q, want %d", name, dialects[i].path, w.Code, w.Body, code)
			}
			if (h.Get("WWW-Authenticate") != "") != (c.want == 401) || (h.Get("Retry-After") != "") != (c.want == 503) || h.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %v", name, h)
			}
			if s := fmt.Sprint(h, w.Body); strings.Contains(s, "jobt-") || strings.Contains(s, "listed") || h.Get("Jobward-Reason") != "" {
				t.Errorf("%s tells: %s", name, s)
			}
			for _, name := range five {
				if _, ok := h[name]; ok {
					t.Errorf("a refusal has %s", name)
				}
			}
		}
	}
}

func TestRefuseQueryTokens(t *testing.T) {
	h := forwardauth.New(forwardauth.Options{Gate: &gate.Gate{Asker: &fake{}, Routes: table()}, TrustedProxies: proxies(), RefuseQueryTokens: true})
	for uri, want := range map[string]int{packages: 204, packages + "?a=1": 204, packages + "?a=1&job_token=" + good: 400, packages + "?x=" + good: 400} {
		r := subrequest(0, "GET", uri)
		r.Header.Set("Job-Token", good)
		if w := ask(h, r); w.Code != want || strings.Contains(w.Body.String(), good) {
			t.Errorf("%s: %d %s", uri, w.Code, w.Body)
		}
	}
}

// Caddy sends the query of the original request with the question.
func TestQueryOfQuestion(t *testing.T) {
	r := httptest.NewRequest("GET", "/auth?a;b&job_token="+good, nil)
	r.Header.Set("X-Forwarded-Method", "GET")
	r.Header.Set("X-Forwarded-Uri", packages)
	if w := ask(doorOf(&fake{}), r); w.Code != 401 {
		t.Errorf("%d: the token of the question was taken for that of the request", w.Code)
	}
}

func TestTold(t *testing.T) {
	g := &gate.Gate{Asker: &fake{answer: &authz.Decision{Reason: authz.InboundNotListed}}, Routes: table(), Tell: true}
	h := forwardauth.New(forwardauth.Options{Gate: g, TrustedProxies: proxies()})
	for i := range dialects {
		r := subrequest(i, "GET", packages)
		r.Header.Set("Job-Token", good)
		if w := ask(h, r); w.Header().Get("Jobward-Reason") != "inbound_not_listed" {
			t.Errorf("%v", w.Header())
		}
	}
}

// Whatever a proxy did not make itself, or made wrongly, is not judged.
func TestHostile(t *testing.T) {
	long := packages + "?" + strings.Repeat("a", 8<<10)
	for name, c := range map[string]struct {
		spoil func(h http.Header, method, uri, otherMethod, otherURI string)
		want  string
	}{
		"no method":        {func(h http.Header, m, u, om, ou string) { h.Del(m) }, "400"},
		"no uri":           {func(h http.Header, m, u, om, ou string) { h.Del(u) }, "400"},
		"two methods":      {func(h http.Header, m, u, om, ou string) { h.Add(m, "GET") }, "400"},
		"two uris":         {func(h http.Header, m, u, om, ou string) { h.Add(u, packages) }, "400"},
		"joined methods":   {func(h http.Header, m, u, om, ou string) { h.Set(m, "GET, GET") }, "400"},
		"blank uri":        {func(h http.Header, m, u, om, ou string) { h.Set(u, "") }, "400"},
		"blank method":     {func(h http.Header, m, u, om, ou string) { h.Set(m, "") }, "400"},
		"small method":     {func(h http.Header, m, u, om, ou string) { h.Set(m, "get") }, "400"},
		"long method":      {func(h http.Header, m, u, om, ou string) { h.Set(m, strings.Repeat("G", 33)) }, "400"},
		"method with more": {func(h http.Header, m, u, om, ou string) { h.Set(m, "GET /x HTTP/1.1\r\nX") }, "400"},
		"other method":     {func(h http.Header, m, u, om, ou string) { h.Set(om, "DELETE") }, "400"},
		"other uri":        {func(h http.Header, m, u, om, ou string) { h.Set(ou, "/x") }, "400"},
		"other blank":      {func(h http.Header, m, u, om, ou string) { h.Set(ou, "") }, "400"},
		"other twice":      {func(h http.Header, m, u, om, ou string) { h[ou] = []string{packages, "/x"} }, "400"},
		"absolute":         {func(h http.Header, m, u, om, ou string) { h.Set(u, "http://host"+packages) }, "400"},
		"relative":         {func(h http.Header, m, u, om, ou string) { h.Set(u, packages[1:]) }, "400"},
		"star":             {func(h http.Header, m, u, om, ou string) { h.Set(u, "*") }, "400"},
		"fragment":         {func(h http.Header, m, u, om, ou string) { h.Set(u, packages+"#x") }, "400"},
		"query fragment":   {func(h http.Header, m, u, om, ou string) { h.Set(u, packages+"?a#x") }, "400"},
		"space":            {func(h http.Header, m, u, om, ou string) { h.Set(u, packages+" /x") }, "400"},
		"query space":      {func(h http.Header, m, u, om, ou string) { h.Set(u, packages+"?a b") }, "400"},
		"tab":              {func(h http.Header, m, u, om, ou string) { h.Set(u, packages+"\t") }, "400"},
		"nul":              {func(h http.Header, m, u, om, ou string) { h.Set(u, packages+"\x00") }, "400"},
		"two slashes":      {func(h http.Header, m, u, om, ou string) { h.Set(u, "/"+packages) }, "400"},
		"encoded mark":     {func(h http.Header, m, u, om, ou string) { h.Set(u, packages+"%3Fx") }, "404"},
		"too long":         {func(h http.Header, m, u, om, ou string) { h.Set(u, long) }, "414"},
		"another spelling": {func(h http.Header, m, u, om, ou string) { h["Jobward_job"] = []string{"root"} }, "400"},
		"a third spelling": {func(h http.Header, m, u, om, ou string) { h["Job_token"] = []string{other} }, "400"},
		"credentials":      {func(h http.Header, m, u, om, ou string) { h["Authorization"] = []string{"Bearer x", "Bearer y"} }, "400"},
		"method override":  {func(h http.Header, m, u, om, ou string) { h.Set("X-HTTP-Method-Override", "PUT") }, "400"},
		"path override":    {func(h http.Header, m, u, om, ou string) { h.Set("X-Original-URL", "/x") }, "400"},
		"a huge token":     {func(h http.Header, m, u, om, ou string) { h.Set("Job-Token", "jobt-"+strings.Repeat("a", 1<<20)) }, "401"},
		"many tokens":      {func(h http.Header, m, u, om, ou string) { h["Job-Token"] = slices.Repeat([]string{good, other}, 1000) }, "400"},
		"many, the same":   {func(h http.Header, m, u, om, ou string) { h["Job-Token"] = slices.Repeat([]string{good}, 1000) }, ""},
		"the other, same":  {func(h http.Header, m, u, om, ou string) { h.Set(om, "GET"); h.Set(ou, packages) }, ""},
	} {
		for i, d := range dialects {
			f := &fake{}
			r := subrequest(i, "GET", packages)
			r.Header.Set("Job-Token", good)
			c.spoil(r.Header, d.method, d.uri, dialects[1-i].method, dialects[1-i].uri)
			w := ask(doorOf(f), r)
			got := fmt.Sprint(w.Code)
			if o := w.Header().Get(forwardauth.OutcomeHeader); o != "" {
				got = o
			}
			if c.want == "" {
				if w.Code != 204 {
					t.Errorf("%s, %s: %s %s", name, d.path, got, w.Body)
				}
				continue
			}
			if got != c.want || name != "a huge token" && f.asked > 0 {
				t.Errorf("%s, %s: %s, asked %d; want %s", name, d.path, got, f.asked, c.want)
			}
		}
	}
}

func TestTrust(t *testing.T) {
	for _, c := range []struct {
		peers, from string
		want        bool
	}{
		{"192.0.2.0/24", "192.0.2.1:1234", true}, {"192.0.2.7/24", "192.0.2.1:1234", true}, {"192.0.2.0/24", "[::ffff:192.0.2.1]:1", true},
		{"::ffff:192.0.2.0/120", "192.0.2.1:1", true}, {"fe80::/10", "[fe80::1%eth0]:1", true}, {"2001:db8::/32", "[2001:db8::1]:1", true},
		{"192.0.2.0/24", "192.0.3.1:1234", false}, {"0.0.0.0/0", "[2001:db8::1]:1", false}, {"192.0.2.0/24", "@", false}, {"192.0.2.0/24", "", false},
		{"", "192.0.2.1:1234", false}, {"127.0.0.1/32", "192.0.2.1:1", false},
	} {
		f := &fake{}
		o := forwardauth.Options{Gate: &gate.Gate{Asker: f, Routes: table()}, TrustUnix: true}
		if c.peers != "" {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(c.peers)}
		}
		for i := range dialects {
			r := subrequest(i, "GET", packages)
			r.Header.Set("Job-Token", good)
			r.Header.Set("X-Forwarded-For", "192.0.2.1") // believed by nobody
			r.RemoteAddr = c.from
			if w := ask(forwardauth.New(o), r); (w.Code == 204) != c.want || !c.want && (w.Code != 403 || f.asked > 0 || w.Header().Get(forwardauth.OutcomeHeader) != "") {
				t.Errorf("%s from %s: %d %s", c.peers, c.from, w.Code, w.Body)
			}
		}
	}
}

func TestNothingElse(t *testing.T) {
	for _, c := range [][2]string{{"GET", "/"}, {"GET", "/auth/"}, {"GET", "/auth/nginx/x"}, {"POST", "/auth"}, {"HEAD", "/auth"}, {"GET", packages}, {"PUT", "/auth/nginx"}} {
		r := httptest.NewRequest(c[0], c[1], nil)
		r.Header.Set("X-Forwarded-Method", "GET")
		r.Header.Set("X-Forwarded-Uri", packages)
		r.Header.Set("Job-Token", good)
		if w := ask(doorOf(&fake{}), r); w.Code != 404 {
			t.Errorf("%v: %d", c, w.Code)
		}
	}
}
