package gate

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Tokens of the fake: what begins with jobt- has the shape of one.
const (
	good  = "jobt-good"
	other = "jobt-other"
)

// fake is an Asker that answers by a function, and remembers what it was asked.
type fake struct {
	answer func(authz.Request) (authz.Decision, error)

	mu    sync.Mutex
	asked []authz.Request
	last  authz.Decision
}

func (f *fake) Digest(text string) authz.Digest {
	if !strings.HasPrefix(text, "jobt-") || len(text) > token.MaxLen {
		return authz.Digest{}
	}
	return sha256.Sum256([]byte(text))
}

func (f *fake) Check(_ context.Context, q authz.Request) (authz.Decision, error) {
	d, err := f.answer(q)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.last = append(f.asked, q), d
	return d, err
}

// allows is the fake that lets good do everything and knows no other token; public projects are read by everybody.
func allows(public bool) *fake {
	f := &fake{}
	f.answer = func(q authz.Request) (authz.Decision, error) {
		switch {
		case q.Token == f.Digest(good):
			return authz.Decision{Allow: true, Reason: authz.AllowedListed, Job: "job-1", Source: 10, User: 3, Target: q.Target.ID}, nil
		case q.Token == authz.Nobody && public:
			return authz.Decision{Allow: true, Reason: authz.AllowedOpen}, nil
		case q.Token == authz.Nobody:
			return authz.Decision{Reason: authz.TokenMissing}, nil
		case q.Token.IsZero():
			return authz.Decision{Reason: authz.TokenMalformed}, nil
		}
		return authz.Decision{Reason: authz.TokenUnknown}, nil
	}
	return f
}

func says1(d authz.Decision, err error) *fake {
	return &fake{answer: func(authz.Request) (authz.Decision, error) { return d, err }}
}

var table = sync.OnceValue(route.Builtin)

func gateOf(a pep.Asker) *Gate { return &Gate{Asker: a, Routes: table()} }

// place puts a token on a request.
type place struct {
	name string
	bit  route.Carriers
	put  func(r *Request, token string)
}

func basicOf(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func addQuery(r *Request, text string) {
	if r.Query != "" {
		text = "&" + text
	}
	r.Query += text
}

func addForm(r *Request, name, value string) {
	if r.Form == nil {
		r.Form = url.Values{}
	}
	r.Form.Add(name, value)
}

func head(r *Request) http.Header { return r.Header.(http.Header) }

func places() []place {
	const tok = route.Param | route.ParamTok
	return []place{
		{"header", route.Header, func(r *Request, t string) { head(r).Add("Job-Token", t) }},
		{"query job_token", route.Param, func(r *Request, t string) { addQuery(r, "job_token="+url.QueryEscape(t)) }},
		{"query token", tok, func(r *Request, t string) { addQuery(r, "token="+url.QueryEscape(t)) }},
		{"form job_token", route.Param, func(r *Request, t string) { addForm(r, "job_token", t) }},
		{"form token", tok, func(r *Request, t string) { addForm(r, "token", t) }},
		{"basic", route.Basic, func(r *Request, t string) { head(r).Add("Authorization", basicOf("gitlab-ci-token", t)) }},
		{"bearer", route.Bearer, func(r *Request, t string) { head(r).Add("Authorization", "Bearer "+t) }},
	}
}

// target is a request of one style.
type target struct{ name, method, path, query string }

func (t target) request() *Request {
	return &Request{Request: route.Request{Method: t.method, Path: t.path, Query: t.query}, Header: http.Header{}}
}

var (
	restReq    = target{"rest", "GET", "/api/v4/projects/7/packages", ""}
	basicReq   = target{"rest, basic", "GET", "/api/v4/projects/7/packages/generic/p/1/f.txt", ""}
	gitReq     = target{"git", "GET", "/acme/lib.git/info/refs", "service=git-upload-pack"}
	pushReq    = target{"git push", "GET", "/acme/lib.git/info/refs", "service=git-receive-pack"}
	runnerReq  = target{"runner", "PUT", "/api/v4/jobs/job-1", ""}
	ownReq     = target{"own", "GET", "/api/v4/projects/7/registry/repositories", ""}
	triggerReq = target{"trigger", "POST", "/api/v4/projects/7/trigger/pipeline", ""}
	jobReq     = target{"own job", "GET", "/api/v4/job", ""}
	ownerReq   = target{"owner", "GET", "/api/v4/packages/npm/left-pad", ""}
)

// quick is an Asker that costs what a cached answer's digest does, and no more.
type quick struct{ d authz.Decision }

func (quick) Digest(text string) authz.Digest {
	if !strings.HasPrefix(text, "jobt-") {
		return authz.Digest{}
	}
	return sha256.Sum256([]byte(text))
}
func (q quick) Check(context.Context, authz.Request) (authz.Decision, error) { return q.d, nil }
