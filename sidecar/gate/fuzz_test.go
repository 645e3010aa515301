package gate

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/route"
)

// FuzzJudge: nothing makes Judge panic, or allow what was not allowed, or pass a token on.
func FuzzJudge(f *testing.F) {
	for _, to := range append(targets, ownerReq) {
		for _, c := range [][4]string{
			{"job_token=" + good, "", "", ""}, {"token=" + good + ";job_token=" + other, basicOf("gitlab-ci-token", good), good, good},
			{"%6aob_token=%zz&_method=x", "Bearer " + good, other + "," + good, "x"}, {"", "Basic !!", " ", "jobt-"},
		} {
			f.Add(to.method, to.path, to.query+"&"+c[0], c[1], c[2], c[3], uint8(0))
			f.Add(to.method, to.path, c[0], c[1], c[2], c[3], uint8(1))
		}
	}
	f.Fuzz(func(t *testing.T, method, path, query, authorization, header, form string, mode uint8) {
		a := allows(mode&4 != 0)
		g := gateOf(a)
		g.WithoutToken = WithoutToken(mode & 3)
		r := &Request{Request: route.Request{Method: method, Path: path, Query: query}, Header: http.Header{
			"Authorization": {authorization}, "Job-Token": {header}, "Private-Token": {form}}}
		if mode&8 != 0 {
			r.Form = url.Values{"token": {form}, "job_token": {header}}
		}
		v := g.Judge(t.Context(), r)
		if len(v.Query) > len(query) {
			t.Errorf("%q became %q", query, v.Query)
		}
		for _, piece := range strings.FieldsFunc(v.Query, func(c rune) bool { return c == '&' || c == ';' }) {
			name, value, _ := strings.Cut(piece, "=")
			if value, err := url.QueryUnescape(value); err == nil && !a.Digest(strings.TrimSpace(value)).IsZero() {
				t.Errorf("%q passes %q on", query, piece)
			}
			if name, err := url.QueryUnescape(name); err == nil && name == "job_token" {
				t.Errorf("%q passes %q on", query, piece)
			}
		}
		if !v.Allow {
			if v.Status < 400 || v.Body == "" || v.ContentType == "" {
				t.Errorf("%+v", v)
			}
			return
		}
		switch {
		case v.Route == nil:
			t.Error("what has no route is allowed")
		case v.Route.Open:
		case len(a.asked) == 0:
			if g.WithoutToken != Pass || v.Identity.Job != "" {
				t.Errorf("allowed without asking: %+v", v)
			}
		case !a.last.Allow || v.Question != a.asked[len(a.asked)-1]:
			t.Errorf("the last answer was %v: %+v", a.last.Reason, v)
		case (v.Question.Token == authz.Nobody) != (v.Identity.Job == ""):
			t.Errorf("whose is it? %+v", v)
		}
	})
}

func benchmarkJudge(b *testing.B, to target, put func(*Request, string)) {
	r := to.request()
	put(r, good)
	d := authz.Decision{Allow: true, Reason: authz.AllowedListed, Job: "job-1", Source: 10, User: 3, Cached: true}
	g := gateOf(quick{d})
	g.Counts = &Counts{}
	if v := g.Judge(b.Context(), r); !v.Allow {
		b.Fatal(v)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := g.Judge(b.Context(), r); !v.Allow {
			b.Fatal(v)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	for _, at := range places() {
		to := basicReq
		if at.name == "form token" || at.name == "query token" {
			to = triggerReq
		}
		b.Run(at.name, func(b *testing.B) { benchmarkJudge(b, to, at.put) })
	}
	b.Run("git", func(b *testing.B) { benchmarkJudge(b, gitReq, places()[5].put) })
}
