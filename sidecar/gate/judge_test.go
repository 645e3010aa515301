package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/route"
)

// answers are what a PDP can say, with the column of the package comment's table that it belongs to.
func answers() map[string][]*fake {
	deny := func(r authz.Reason, role authz.Role) *fake {
		return says1(authz.Decision{Reason: r, Role: role, Job: "job-1", Source: 10, User: 3, Target: 7}, nil)
	}
	return map[string][]*fake{
		"dead": {deny(authz.TokenUnknown, 0), deny(authz.TokenMalformed, 0), deny(authz.JobNotRunning, 0), deny(authz.JobErased, 0), deny(authz.SourceGone, 0),
			deny(authz.TokenExpired, 0), deny(authz.HeartbeatLapsed, 0), deny(authz.TokenReplaced, 0)},
		"user":    {deny(authz.UserBlocked, 0), deny(authz.UserMissing, 0), deny(authz.UserPendingApproval, 0)},
		"limited": {deny(authz.LimitedTarget, 0), deny(authz.LimitedPermission, authz.RoleOwner), deny(authz.SurfaceClosed, 0)},
		"hidden":  {deny(authz.TargetNotFound, 0), deny(authz.InboundNotListed, 0), deny(authz.NotMember, 0), deny(authz.OutboundNotListed, 0)},
		"seen":    {deny(authz.RoleTooLow, authz.RoleGuest), deny(authz.TargetArchived, authz.RoleDeveloper), deny(authz.PublicSetOnly, 0)},
		"undecided": {deny(authz.LeaseLapsed, 0), says1(authz.Decision{}, errors.New("boom")),
			says1(authz.Decision{}, authz.Errorf(authz.KindUnavailable, "X", "x")), says1(authz.Decision{}, authz.Errorf(authz.KindExhausted, "X", "x")),
			says1(authz.Decision{}, context.Canceled)},
	}
}

// The table of the package comment.
func looks() map[route.Style]map[string]int {
	row := func(none, dead, user, limited, hidden, seen, two, undecided int) map[string]int {
		return map[string]int{"none": none, "dead": dead, "user": user, "limited": limited, "hidden": hidden, "seen": seen, "two": two, "undecided": undecided}
	}
	return map[route.Style]map[string]int{
		route.REST:    row(401, 401, 403, 403, 404, 403, 400, 503),
		route.Git:     row(401, 401, 401, 403, 404, 403, 400, 503),
		route.Runner:  row(403, 403, 403, 403, 403, 403, 403, 503),
		route.Own:     row(401, 401, 403, 403, 403, 403, 400, 503),
		route.Trigger: row(401, 401, 403, 403, 404, 400, 400, 503),
	}
}

var targets = []target{restReq, basicReq, gitReq, pushReq, runnerReq, ownReq, triggerReq, jobReq}

// TestTable goes through carriers (§4.2), styles and answers (§10.3, §15).
func TestTable(t *testing.T) {
	for _, to := range targets {
		m, err := table().Match(&to.request().Request)
		if err != nil {
			t.Fatalf("%s: %v", to.name, err)
		}
		want := looks()[m.Route.Style]
		for _, at := range places() {
			t.Run(to.name+", "+at.name, func(t *testing.T) {
				carried := m.Route.Carriers&at.bit != 0
				r := to.request()
				at.put(r, good)
				f := allows(false)
				v := gateOf(f).Judge(t.Context(), r)
				switch {
				case carried && (!v.Allow || v.Identity.Job != "job-1" || v.Question.Token != f.Digest(good) || v.Status != 0 || v.Body != ""):
					t.Errorf("not allowed: %+v", v)
				case !carried && (v.Allow || v.Status != want["none"] || v.Reason != authz.TokenMissing):
					t.Errorf("seen where no token stands: %+v", v)
				}
				if at.name == "basic" || at.name == "bearer" != v.DropAuthorization && at.name != "basic" {
					if !v.DropAuthorization {
						t.Error("Authorization is passed on")
					}
				}
				if strings.Contains(v.Query, good) {
					t.Errorf("passed on: %q", v.Query)
				}
				if !carried {
					return
				}
				for column, fakes := range answers() {
					for _, f := range fakes {
						r := to.request()
						at.put(r, good)
						if v := gateOf(f).Judge(t.Context(), r); v.Allow || v.Status != want[column] {
							t.Errorf("%s, %v: %d, want %d", column, f.last.Reason, v.Status, want[column])
						}
					}
				}
				for _, second := range places() {
					if m.Route.Carriers&second.bit == 0 {
						continue
					}
					r := to.request()
					at.put(r, good)
					second.put(r, good)
					if v := gateOf(allows(false)).Judge(t.Context(), r); !v.Allow {
						t.Errorf("the same token in %s as well: %+v", second.name, v)
					}
					second.put(r, other)
					f := allows(false)
					if v := gateOf(f).Judge(t.Context(), r); v.Allow || v.Status != want["two"] || len(f.asked) > 0 {
						t.Errorf("another token in %s as well: %d", second.name, v.Status)
					}
				}
			})
		}
	}
}

// P8 and §0.4: what is not there and what may not be seen look the same to the byte.
func TestNothingTold(t *testing.T) {
	for _, to := range targets {
		m, _ := table().Match(&to.request().Request)
		var first *Verdict
		for _, f := range answers()["hidden"] {
			for _, at := range places() {
				if m.Route.Carriers&at.bit == 0 {
					continue
				}
				r := to.request()
				at.put(r, good)
				v := gateOf(f).Judge(t.Context(), r)
				if first == nil {
					first = &v
				}
				if v.Status != first.Status || v.Body != first.Body || fmt.Sprint(v.Header) != fmt.Sprint(first.Header) || v.ContentType != first.ContentType {
					t.Errorf("%s: %+v and %+v", to.name, v, *first)
				}
			}
		}
	}
	for column, fakes := range answers() {
		for _, f := range fakes {
			for _, tell := range []bool{false, true} {
				g := gateOf(f)
				g.Tell = tell
				r := restReq.request()
				head(r).Set("Job-Token", good)
				v := g.Judge(t.Context(), r)
				want := ""
				if tell && f.last.Reason != authz.ReasonNone {
					want = f.last.Reason.String()
				}
				if got := header(&v, pep.ReasonHeader); got != want {
					t.Errorf("%s: reason %q, want %q", column, got, want)
				}
				if !tell && strings.Contains(fmt.Sprint(v.Header, v.Body), f.last.Reason.String()) {
					t.Errorf("the reason is told: %+v", v)
				}
			}
		}
	}
	if len(plain) != 1 || len(basicH) != 2 || len(ended) != 2 {
		t.Error("shared headers were changed")
	}
}

func header(v *Verdict, name string) string {
	for _, h := range v.Header {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

func TestNoToken(t *testing.T) {
	shows := map[string]func(*Request){
		"nothing":            func(*Request) {},
		"blank header":       func(r *Request) { head(r).Set("Job-Token", "  ") },
		"blank headers":      func(r *Request) { head(r)["Job-Token"] = []string{"", " , "} },
		"blank parameters":   func(r *Request) { addQuery(r, "job_token=&token=%20"); addForm(r, "job_token", "") },
		"blank password":     func(r *Request) { head(r).Set("Authorization", basicOf("gitlab-ci-token", "")) },
		"another user":       func(r *Request) { head(r).Set("Authorization", basicOf("bob", good)) },
		"nearly our user":    func(r *Request) { head(r).Set("Authorization", basicOf("Gitlab-ci-token", good)) },
		"no colon":           func(r *Request) { head(r).Set("Authorization", "Basic Z2l0bGFiLWNpLXRva2Vu") },
		"a personal token":   func(r *Request) { head(r).Set("Private-Token", "glpat-1") },
		"somebody's Bearer":  func(r *Request) { head(r).Set("Authorization", "Bearer glpat-1") },
		"an empty Bearer":    func(r *Request) { head(r).Set("Authorization", "Bearer") },
		"no scheme":          func(r *Request) { head(r).Set("Authorization", good) },
		"an underscore":      func(r *Request) { head(r)["Job_token"] = []string{good} },
		"another parameter":  func(r *Request) { addQuery(r, "JOB_TOKEN="+good+"&job-token="+good) },
		"a list":             func(r *Request) { addQuery(r, "job_token[]="+good) },
		"behind a semicolon": func(r *Request) { addQuery(r, "a=1;job_token="+good) },
	}
	for name, show := range shows {
		for _, to := range []target{restReq, basicReq} {
			for _, mode := range []WithoutToken{Judge, Pass, Deny} {
				for _, public := range []bool{true, false} {
					f := allows(public)
					g := gateOf(f)
					g.WithoutToken = mode
					r := to.request()
					show(r)
					v := g.Judge(t.Context(), r)
					allow := mode == Pass || mode == Judge && public
					asked := 0
					if mode == Judge {
						asked = 1
					}
					if v.Allow != allow || len(f.asked) != asked || v.Identity != (pep.Identity{}) {
						t.Errorf("%s, %s, mode %d, public %v: %+v", to.name, name, mode, public, v)
					}
					if asked == 1 && f.asked[0] != (authz.Request{Token: authz.Nobody, Target: authz.Target{ID: 7}, Permission: "read_packages", Surface: authz.SurfaceREST}) {
						t.Errorf("asked %+v", f.asked[0])
					}
					if strings.Contains(v.Query, good) {
						t.Errorf("%s: passed on: %q", name, v.Query)
					}
					if !allow && (v.Status != 401 || header(&v, "WWW-Authenticate") == "") {
						t.Errorf("%s: %+v", name, v)
					}
				}
			}
		}
	}
}

// A token that is there and opens nothing is 401 and never anonymous, on public data too (§4.4); one that is too long is unknown unasked (§4.8).
func TestNoFallback(t *testing.T) {
	for name, text := range map[string]string{"unknown": other, "malformed": "glcbt-64_x", "too long": "jobt-" + strings.Repeat("a", 1<<20), "a bit too long": strings.Repeat("b", 129)} {
		for _, at := range places() {
			if at.name == "bearer" && name != "unknown" {
				continue // not the shape: somebody else's
			}
			for _, mode := range []WithoutToken{Judge, Pass, Deny} {
				f := allows(true)
				g := gateOf(f)
				g.WithoutToken = mode
				r := basicReq.request()
				at.put(r, text)
				v := g.Judge(t.Context(), r)
				if v.Allow || v.Status != 401 {
					t.Errorf("%s in %s, mode %d: %+v", name, at.name, mode, v)
				}
				for _, q := range f.asked {
					if q.Token == authz.Nobody {
						t.Errorf("%s in %s became anonymous", name, at.name)
					}
				}
				if strings.HasSuffix(name, "too long") && (len(f.asked) > 0 || v.Reason != authz.TokenUnknown) {
					t.Errorf("%s in %s was looked at: %v", name, at.name, v.Reason)
				}
			}
		}
	}
}

func TestBearer(t *testing.T) {
	for value, want := range map[string]int{
		"Bearer " + good: 0, "bearer  " + good + " ": 0, "BEARER\t" + good: 0, "Bearer " + good + ", " + good: 0,
		"Bearer " + other: 401, "Bearer glpat-1": 401, "Bearer": 401, "Token " + good: 401,
	} {
		r := restReq.request()
		head(r).Set("Authorization", value)
		if v := gateOf(allows(false)).Judge(t.Context(), r); v.Allow != (want == 0) || v.Status != want {
			t.Errorf("%q: %+v", value, v)
		}
	}
	// Somebody else's Bearer does not stand in the way of a job token behind it (§4.3), and is passed on.
	r := restReq.request()
	head(r).Set("Authorization", "Bearer glpat-1")
	head(r).Set("Job-Token", good)
	if v := gateOf(allows(false)).Judge(t.Context(), r); !v.Allow || v.DropAuthorization {
		t.Errorf("%+v", v)
	}
}

func TestBasic(t *testing.T) {
	encoded := func(s string) string { return strings.TrimPrefix(basicOf("gitlab-ci-token", s), "Basic ") }
	for value, want := range map[string]int{
		"Basic " + encoded(good): 0, "basic   " + encoded(good): 0, "Basic " + strings.TrimRight(encoded(good), "="): 0,
		"Basic " + encoded(good) + ", Basic " + encoded(good): 0,
		"Basic " + encoded(other):                             401,
		"Basic " + encoded("x") + "!!!":                       401, // unreadable is not absent
		"Basic " + strings.Repeat("A", 1<<20):                 401,
	} {
		f := allows(false)
		r := gitReq.request()
		head(r).Set("Authorization", value)
		v := gateOf(f).Judge(t.Context(), r)
		if v.Allow != (want == 0) || v.Status != want {
			t.Errorf("%.60q: %+v", value, v)
		}
		if ours := !strings.Contains(value, "AAAA"); v.DropAuthorization != ours {
			t.Errorf("%.60q: drop %v", value, v.DropAuthorization)
		}
	}
	v := gateOf(allows(true)).Judge(t.Context(), func() *Request {
		r := gitReq.request()
		head(r).Set("Authorization", "Basic "+encoded("x")+"!!!")
		return r
	}())
	if v.Allow {
		t.Error("unreadable credentials became anonymous")
	}
}

// §4.5, and what must not be passed on because a door cannot take it away.
func TestPrivateToken(t *testing.T) {
	for _, with := range []bool{false, true} {
		f := allows(true)
		r := restReq.request()
		head(r).Set("Private-Token", good)
		if with {
			head(r).Set("Job-Token", good)
		}
		if v := gateOf(f).Judge(t.Context(), r); v.Allow || v.Status != 401 || len(f.asked) > 0 {
			t.Errorf("%+v", v)
		}
	}
}

func TestOverrides(t *testing.T) {
	for name, put := range map[string]func(*Request){
		"method": func(r *Request) { head(r).Set("X-HTTP-Method-Override", "DELETE") }, "method 2": func(r *Request) { head(r).Set("X-Method-Override", "DELETE") },
		"method 3": func(r *Request) { head(r).Set("X-HTTP-Method", "DELETE") }, "url": func(r *Request) { head(r).Set("X-Original-URL", "/x") },
		"url 2": func(r *Request) { head(r).Set("X-Rewrite-URL", "/x") }, "query": func(r *Request) { addQuery(r, "%5fmethod=delete") },
	} {
		r := restReq.request()
		put(r)
		g := gateOf(allows(true))
		if v := g.Judge(t.Context(), r); v.Allow || v.Status != 400 {
			t.Errorf("%s, anonymous: %+v", name, v)
		}
		g.WithoutToken = Pass
		if v := g.Judge(t.Context(), r); !v.Allow {
			t.Errorf("%s, for the service to judge: %+v", name, v)
		}
		head(r).Set("Job-Token", good)
		if v := g.Judge(t.Context(), r); v.Allow || v.Status != 400 {
			t.Errorf("%s, with a token: %+v", name, v)
		}
	}
}

// §12.1, §12.2: a runner gets 403 whatever it is, and learns that its job has ended.
func TestRunner(t *testing.T) {
	for reason, want := range map[authz.Reason]string{authz.JobNotRunning: "not_running", authz.JobErased: "erased", authz.TokenUnknown: ""} {
		r := runnerReq.request()
		head(r).Set("Job-Token", good)
		v := gateOf(says1(authz.Decision{Reason: reason}, nil)).Judge(t.Context(), r)
		if v.Status != 403 || header(&v, "Job-Status") != want {
			t.Errorf("%v: %+v", reason, v)
		}
	}
	r := runnerReq.request()
	r.Path = "/api/v4/jobs/job-2"
	head(r).Set("Job-Token", good)
	if v := gateOf(allows(true)).Judge(t.Context(), r); v.Allow || v.Status != 403 || v.Identity != (pep.Identity{}) {
		t.Errorf("another job: %+v", v)
	}
	// A malformed token is no trigger token here, so that it is not left to the service.
	r = runnerReq.request()
	addQuery(r, "token=rubbish")
	g := gateOf(allows(true))
	g.WithoutToken = Pass
	if v := g.Judge(t.Context(), r); v.Allow || v.Status != 403 {
		t.Errorf("malformed: %+v", v)
	}
}

// On the trigger route a token of another shape is a pipeline trigger token: nobody's here, and passed on where the service knows people.
func TestTrigger(t *testing.T) {
	r := triggerReq.request()
	addQuery(r, "ref=main&token=glptt-1")
	g := gateOf(allows(false))
	if v := g.Judge(t.Context(), r); v.Allow || v.Status != 401 {
		t.Errorf("%+v", v)
	}
	g.WithoutToken = Pass
	if v := g.Judge(t.Context(), r); !v.Allow || v.Query != r.Query {
		t.Errorf("%+v", v)
	}
	r.Query = "ref=main&token=" + good
	if v := g.Judge(t.Context(), r); !v.Allow || v.Query != "ref=main" || v.Identity.Job != "job-1" {
		t.Errorf("%+v", v)
	}
}

func TestUnrouted(t *testing.T) {
	for _, c := range []struct {
		path string
		want int
	}{{"/nowhere", 404}, {"/api/v4/projects/7/../8/packages", 400}, {"", 404}, {"/api/v4/projects/%2e%2e/packages", 400}} {
		for _, mode := range []WithoutToken{Judge, Pass, Deny} {
			f := allows(true)
			g := gateOf(f)
			g.WithoutToken = mode
			r := restReq.request()
			r.Path, r.Query = c.path, "a=1&job_token="+good
			head(r).Set("Job-Token", good)
			v := g.Judge(t.Context(), r)
			if v.Allow || v.Status != c.want && !(c.path == "" && v.Status == 400) || len(f.asked) > 0 || v.Route != nil || v.Query != "a=1" {
				t.Errorf("%q: %+v", c.path, v)
			}
		}
	}
}

func TestGitWords(t *testing.T) {
	for _, to := range []target{gitReq, pushReq} {
		v := gateOf(allows(false)).Judge(t.Context(), to.request())
		if v.Status != 401 || header(&v, "WWW-Authenticate") != `Basic realm="jobward"` {
			t.Errorf("anonymous %s: %+v", to.name, v)
		}
		r := to.request()
		head(r).Set("Authorization", basicOf("gitlab-ci-token", good))
		v = gateOf(says1(authz.Decision{Reason: authz.InboundNotListed}, nil)).Judge(t.Context(), r)
		if v.Status != 404 || !strings.HasPrefix(v.ContentType, "text/plain") || v.Body != "The project you were looking for could not be found or you don't have permission to view it." {
			t.Errorf("not listed: %+v", v)
		}
	}
	r := restReq.request()
	head(r).Set("Job-Token", good)
	v := gateOf(says1(authz.Decision{Reason: authz.InboundNotListed}, nil)).Judge(t.Context(), r)
	if v.Body != `{"message":"404 Project Not Found"}` || v.ContentType != "application/json" {
		t.Errorf("%+v", v)
	}
	v = gateOf(says1(authz.Decision{Reason: authz.LeaseLapsed}, nil)).Judge(t.Context(), r)
	if header(&v, "Retry-After") == "" {
		t.Errorf("%+v", v)
	}
}
