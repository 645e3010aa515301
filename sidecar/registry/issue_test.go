package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
)

// §11.1, §11.2, §11.4: who logs in, and what is left out of the token.
func TestLogin(t *testing.T) {
	const auth = "Authorization"
	good := basicOf(pep.CIUser, alive)
	form := func(pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Add(pairs[i], pairs[i+1])
		}
		return v.Encode()
	}
	const formType = "application/x-www-form-urlencoded"
	password := form("grant_type", "password", "username", pep.CIUser, "password", alive, "service", service, "scope", "repository:acme/app:pull")
	pull := "?service=" + service + "&scope=repository:acme/app:pull"
	for _, row := range []struct {
		what, method, query, body string
		headers                   []string
		status                    int
		opens                     string // or what the refusal says
	}{
		{"a job", "GET", pull, "", []string{auth, good}, 200, "repository:acme/app:pull"},
		{"docker's parameters", "GET", pull + "&account=gitlab-ci-token&client_id=docker&offline_token=true", "", []string{auth, good}, 200, "repository:acme/app:pull"},
		{"two scope parameters", "GET", pull + "&scope=repository:acme/lib:pull", "", []string{auth, good}, 200, "repository:acme/app:pull repository:acme/lib:pull"},
		{"no scope", "GET", "?service=" + service, "", []string{auth, good}, 200, ""},
		{"no service", "GET", "?scope=repository:acme/app:pull", "", []string{auth, good}, 200, "repository:acme/app:pull"},
		{"another service", "GET", "?service=other", "", []string{auth, good}, 400, "for the service container_registry only"},
		{"two services", "GET", pull + "&service=other", "", []string{auth, good}, 400, "for the service"},
		{"nobody", "GET", pull, "", nil, 200, ""},
		{"nobody, public", "GET", "?scope=repository:acme/open:pull,push", "", nil, 200, "repository:acme/open:pull"},
		{"a dead token on public data", "GET", "?scope=repository:acme/open:pull", "", []string{auth, basicOf(pep.CIUser, "jobt-dead")}, 401, "not valid"},
		{"no token at all", "GET", "?scope=repository:acme/open:pull", "", []string{auth, basicOf(pep.CIUser, "hunter2")}, 401, "not valid"},
		{"a blank password", "GET", "?scope=repository:acme/open:pull", "", []string{auth, basicOf(pep.CIUser, "")}, 401, "not valid"},
		{"another user", "GET", pull, "", []string{auth, basicOf("dana", alive)}, 401, "not valid"},
		{"the user in capitals", "GET", pull, "", []string{auth, basicOf("GITLAB-CI-TOKEN", alive)}, 401, "not valid"},
		{"a bearer", "GET", pull, "", []string{auth, "Bearer " + alive}, 401, "not valid"},
		{"rubbish", "GET", pull, "", []string{auth, "Basic ?"}, 401, "not valid"},
		{"an empty Authorization", "GET", pull, "", []string{auth, ""}, 401, "not valid"},
		{"two Authorizations", "GET", pull, "", []string{auth, good, auth, good}, 401, "not valid"},
		{"the token in the query", "GET", pull + "&password=" + alive + "&username=gitlab-ci-token", "", nil, 200, ""},
		{"a bad query", "GET", pull + ";x=%zz", "", []string{auth, good}, 400, "query cannot be read"},
		{"a bad scope", "GET", "?scope=repository", "", []string{auth, good}, 400, "scope 1: it must be type:name:action"},
		{"PUT", "PUT", pull, "", []string{auth, good}, 405, "GET or POST"},

		{"POST", "POST", "", password, []string{"Content-Type", formType}, 200, "repository:acme/app:pull"},
		{"POST, its query counts for nothing", "POST", "?scope=repository:acme/lib:pull&service=x", password, []string{"Content-Type", formType}, 200, "repository:acme/app:pull"},
		{"POST of JSON", "POST", "", "{}", []string{"Content-Type", "application/json"}, 400, "is a form"},
		{"POST of a refresh token", "POST", "", form("grant_type", "refresh_token", "refresh_token", alive), []string{"Content-Type", formType}, 400, "grant_type=password"},
		{"POST of two kinds of credentials", "POST", "", password, []string{"Content-Type", formType, auth, good}, 400, "no Authorization"},
		{"POST of another user", "POST", "", form("grant_type", "password", "username", "x", "password", alive), []string{"Content-Type", formType}, 401, "not valid"},
		{"POST of a dead token", "POST", "", form("grant_type", "password", "username", pep.CIUser, "password", "jobt-x"), []string{"Content-Type", formType}, 401, "not valid"},
		{"POST without a password", "POST", "", form("grant_type", "password", "username", pep.CIUser, "scope", "repository:acme/open:pull"), []string{"Content-Type", formType}, 401, "not valid"},
		{"POST of too much", "POST", "", password + "&x=" + strings.Repeat("x", maxForm), []string{"Content-Type", formType}, 400, "too large"},
	} {
		r := newRig(t)
		w := r.do(row.method, authPath+row.query, row.body, row.headers...)
		if w.Code != row.status {
			t.Errorf("%s: %d %s", row.what, w.Code, w.Body)
			continue
		}
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: headers %v", row.what, w.Header())
		}
		if w.Code != 200 {
			if !strings.Contains(w.Body.String(), row.opens) || !strings.Contains(w.Body.String(), `{"errors":[{"code":"`) {
				t.Errorf("%s: said %s", row.what, w.Body)
			}
			if got := w.Header().Get("Www-Authenticate"); w.Code == 401 && got != `Basic realm="https://registry.example/jwt/auth"` || w.Code != 401 && got != "" {
				t.Errorf("%s: challenge %q", row.what, got)
			}
			if strings.Contains(w.Body.String(), alive) {
				t.Errorf("%s: the token is repeated: %s", row.what, w.Body)
			}
			continue
		}
		token := between(w.Body.String(), `"token":"`, `"`)
		if got := accessOf(t, token); got != row.opens {
			t.Errorf("%s: opens %q, want %q", row.what, got, row.opens)
		}
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

func TestClaims(t *testing.T) {
	r := newRig(t)
	c := claimsOf(t, r.token(alive, "repository:acme/app:pull"))
	now := r.now.Unix()
	if c.Issuer != issuer || c.Audience != service || c.Subject != "42" || c.NotBefore != now || c.IssuedAt != now || c.Expires != now+300 || len(c.ID) != 22 {
		t.Errorf("%+v", c)
	}
	if other := claimsOf(t, r.token(alive)); other.ID == c.ID || other.Access == nil {
		t.Errorf("%+v", other)
	}
	if c := claimsOf(t, r.token("")); c.Subject != "" || c.Job != strings.Repeat("_", 42)+"8" {
		t.Errorf("a visitor's: %+v", c)
	}
	// Never beyond the job's own token, whichever answer said so.
	r.fake.set(func(f *fake) { f.validFor = 90*time.Second + time.Millisecond })
	if c := claimsOf(t, r.token(alive)); c.Expires-now > 91 || c.Expires-now < 89 {
		t.Errorf("ends after %d s", c.Expires-now)
	}
	r.fake.set(func(f *fake) {
		f.validFor = time.Hour
		f.hook = func(q *authz.Request) (authz.Decision, bool) {
			return authz.Decision{Allow: true, Reason: authz.AllowedSelf, ValidFor: 70 * time.Second}, q.Permission == "push_image"
		}
	})
	if c := claimsOf(t, r.token(alive, "repository:acme/app:pull,push")); c.Expires-now > 70 || c.Expires-now < 69 {
		t.Errorf("ends after %d s, and the shortest answer holds for 70", c.Expires-now)
	}
	// And never shorter than clients take for granted: the job is asked about all the same.
	r.fake.set(func(f *fake) { f.hook, f.validFor = nil, time.Second })
	if c := claimsOf(t, r.token(alive)); c.Expires-now != 60 {
		t.Errorf("ends after %d s", c.Expires-now)
	}
}

func TestLoginUndecided(t *testing.T) {
	for name, change := range map[string]func(*fake){
		"error":  func(f *fake) { f.err = errors.New("no PDP") },
		"lapsed": func(f *fake) { f.reason = authz.LeaseLapsed },
		"lapsed later": func(f *fake) {
			f.hook = func(q *authz.Request) (authz.Decision, bool) {
				return authz.Decision{Reason: authz.LeaseLapsed}, q.Permission != ownJob
			}
		},
	} {
		r := newRig(t)
		r.fake.set(change)
		w := r.do("GET", authPath+"?scope=repository:acme/app:pull", "", "Authorization", basicOf(pep.CIUser, alive))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, reason := range []authz.Reason{authz.JobNotRunning, authz.JobErased, authz.TokenExpired, authz.HeartbeatLapsed, authz.SourceGone, authz.UserBlocked} {
		r := newRig(t)
		r.fake.set(func(f *fake) { f.reason = reason })
		w := r.do("GET", authPath+"?scope=repository:acme/open:pull", "", "Authorization", basicOf(pep.CIUser, alive))
		if w.Code != 401 || w.Header().Get(pep.ReasonHeader) != reason.String() {
			t.Errorf("%s: %d %s", reason, w.Code, w.Body)
		}
	}
	// A name that the PDP cannot be asked about is left out, and does not spoil the login.
	r := newRig(t)
	r.fake.set(func(f *fake) {
		f.err = nil
		f.hook = nil
	})
	r.h.opt.Asker = invalid{r.fake}
	if got := accessOf(t, r.token(alive, "repository:acme/app:pull", "repository:bad/bad:pull")); got != "repository:acme/app:pull" {
		t.Error(got)
	}
}

// invalid refuses to be asked about some paths.
type invalid struct{ *fake }

func (i invalid) CheckMany(ctx context.Context, reqs []authz.Request) ([]authz.Decision, error) {
	for _, q := range reqs {
		if strings.HasPrefix(q.Target.Path, "bad/") {
			return nil, authz.Invalid("target", "bad")
		}
	}
	return i.fake.CheckMany(ctx, reqs)
}

// TestBounded counts the questions of the largest login there is.
func TestBounded(t *testing.T) {
	r := newRig(t)
	var scopes []string
	for i := range maxScopes {
		scopes = append(scopes, fmt.Sprintf("repository:acme/none%d%s:*", i, strings.Repeat("/a", maxComponents-2)))
	}
	r.token(alive, scopes...)
	if n, most := len(r.fake.asked), 1+maxScopes*3*(maxComponents-1); n > most {
		t.Errorf("%d questions, and at most %d were promised", n, most)
	}
	r.fake.asked = nil
	r.do("GET", authPath+"?"+url.Values{"scope": scopes}.Encode(), "", "Authorization", basicOf(pep.CIUser, "jobt-dead"))
	if n := len(r.fake.asked); n != 1 {
		t.Errorf("a dead token costs %d questions", n)
	}
}
