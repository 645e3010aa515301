package registry

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = "container_registry"
	issuer  = "jobward"
	outside = "https://registry.example"
	alive   = "jobt-alive" // the fake's job token
)

// fake is an Asker that knows some projects and what one job may do to them.
type fake struct {
	mu       sync.Mutex
	projects map[string]bool                      // which there are
	may      map[string]map[authz.Permission]bool // of the job, by project
	public   map[string]bool                      // who may be pulled by anybody
	reason   authz.Reason                         // of every answer about the job, if set
	err      error                                // of every question, if set
	validFor time.Duration                        // of the job
	asked    []authz.Request
	hook     func(*authz.Request) (authz.Decision, bool)
}

func newFake() *fake {
	all := map[authz.Permission]bool{"pull_image": true, "push_image": true, "delete_image": true}
	return &fake{
		projects: map[string]bool{"acme/app": true, "acme/lib": true, "acme/open": true, "acme/closed": true, "acme/sub/deep": true},
		may:      map[string]map[authz.Permission]bool{"acme/app": all, "acme/lib": {"pull_image": true}, "acme/sub/deep": {"pull_image": true, "push_image": true}},
		public:   map[string]bool{"acme/open": true},
		validFor: time.Hour,
	}
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// Digest implements pep.Asker.
func (f *fake) Digest(text string) authz.Digest {
	if !strings.HasPrefix(text, "jobt-") {
		return authz.Digest{}
	}
	return sha256.Sum256([]byte(text))
}

// Check implements authz.Decider.
func (f *fake) Check(_ context.Context, q authz.Request) (authz.Decision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	if f.err != nil {
		return authz.Decision{}, f.err
	}
	if f.hook != nil {
		if d, ok := f.hook(&q); ok {
			return d, nil
		}
	}
	no := func(r authz.Reason) (authz.Decision, error) {
		return authz.Decision{Reason: r, ValidFor: f.validFor}, nil
	}
	yes := authz.Decision{Allow: true, Reason: authz.AllowedSelf, ValidFor: f.validFor, Job: "42"}
	if q.Token == authz.Nobody {
		if f.public[q.Target.Path] && q.Permission == "pull_image" {
			return authz.Decision{Allow: true, Reason: authz.AllowedOpen}, nil
		}
		return authz.Decision{Reason: authz.TokenMissing}, nil
	}
	switch {
	case q.Token != sha256.Sum256([]byte(alive)):
		return authz.Decision{Reason: authz.TokenUnknown}, nil
	case f.reason != authz.ReasonNone:
		return no(f.reason)
	case q.Permission == ownJob:
		return yes, nil
	case !f.projects[q.Target.Path]:
		return no(authz.TargetNotFound)
	case f.may[q.Target.Path][q.Permission], f.public[q.Target.Path] && q.Permission == "pull_image":
		return yes, nil
	}
	return no(authz.InboundNotListed)
}

// CheckMany implements Asker.
func (f *fake) CheckMany(ctx context.Context, reqs []authz.Request) (out []authz.Decision, err error) {
	for _, q := range reqs {
		d, err := f.Check(ctx, q)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// rig is a Handler before a registry that says what it got.
type rig struct {
	t      testing.TB
	h      *Handler
	fake   *fake
	now    time.Time
	dir    string
	signer *identity.Signer
	served http.HandlerFunc // nil: 200
	got    []*http.Request
	forms  []url.Values
	reader *sdkmetric.ManualReader // after measure
}

func newRig(t testing.TB) *rig { return newRigOf(t, nil) }

func newRigOf(t testing.TB, asker Asker) *rig {
	t.Helper()
	r := &rig{t: t, fake: newFake(), now: time.Now(), dir: t.TempDir()}
	if err := MakeKeys(r.dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.FormValue("from") // as distribution looks
		r.got, r.forms = append(r.got, req), append(r.forms, req.Form)
		if r.served != nil {
			r.served(w, req)
		}
	}))
	t.Cleanup(behind.Close)
	up, err := proxy.NewUpstream(proxy.Options{To: behind.URL, Every: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	r.load()
	if asker == nil {
		asker = r.fake
	}
	r.h, err = New(Options{
		Asker: asker, Service: service, Issuer: issuer, URL: outside, Keys: r, Registry: up, Now: func() time.Time { return r.now }, Tell: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Signing implements Keys.
func (r *rig) Signing() *identity.Signing { return r.signer.Signing() }

// load reads the key files of the rig.
func (r *rig) load() {
	r.t.Helper()
	var err error
	if r.signer, err = identity.LoadSigner(filepath.Join(r.dir, CertFile), filepath.Join(r.dir, KeyFile)); err != nil {
		r.t.Fatal(err)
	}
}

// do sends a request with headers, name and value by turns.
func (r *rig) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, "/", reader)
	req.RequestURI = target
	path, query, _ := strings.Cut(target, "?")
	req.URL = &url.URL{Path: path, RawQuery: query}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	return w
}

func basicOf(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// token logs in and gives the registry token.
func (r *rig) token(jobToken string, scopes ...string) string {
	r.t.Helper()
	var headers []string
	if jobToken != "" {
		headers = []string{"Authorization", basicOf(pep.CIUser, jobToken)}
	}
	w := r.do("GET", "/jwt/auth?"+url.Values{"service": {service}, "scope": scopes}.Encode(), "", headers...)
	var body answerBody
	if json.Unmarshal(w.Body.Bytes(), &body) != nil || w.Code != 200 || body.Token == "" || body.Token != body.AccessToken {
		r.t.Fatalf("login: %d %s", w.Code, w.Body)
	}
	return body.Token
}

// claimsOf reads a token without judging it.
func claimsOf(t testing.TB, token string) (c claims) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// accessOf is what a token opens, as people write scopes.
func accessOf(t testing.TB, token string) string {
	t.Helper()
	var list []string
	for _, a := range claimsOf(t, token).Access {
		list = append(list, fmt.Sprintf("%s:%s:%s", a.Type, a.Name, strings.Join(a.Actions, ",")))
	}
	return strings.Join(list, " ")
}
