package registry

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/jobward/jobward/pdp/authz"
)

// measured is what a rig's Handler counts, by name and labels.
func (r *rig) measured() map[string]float64 {
	r.t.Helper()
	var data metricdata.ResourceMetrics
	if err := r.reader.Collect(r.t.Context(), &data); err != nil {
		r.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range data.ScopeMetrics {
		for _, m := range s.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					got[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					got[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
				}
			}
		}
	}
	return got
}

// measure gives a rig a reader of metrics.
func (r *rig) measure() {
	r.reader = sdkmetric.NewManualReader()
	p := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	r.t.Cleanup(func() { p.Shutdown(context.Background()) })
	r.h.opt.Meters = p
	if err := r.h.counts.start(p, r.h); err != nil {
		r.t.Fatal(err)
	}
}

// TestCounts does one thing after the other, and looks at all that was counted for it.
func TestCounts(t *testing.T) {
	r := newRig(t)
	r.measure()
	var breaks atomic.Bool
	r.served = func(http.ResponseWriter, *http.Request) {
		if breaks.Load() {
			panic(http.ErrAbortHandler)
		}
	}
	own := basicOf("gitlab-ci-token", alive)
	login := func(auth string, scopes string) func() {
		return func() { r.do("GET", "/jwt/auth?service="+service+scopes, "", "Authorization", auth) }
	}
	const scoped = "&scope=repository:"
	pulls := r.token(alive, "repository:acme/app:pull", "repository:acme/lib:pull")
	open := r.token("", "repository:acme/open:pull")
	get := func(path string, token string) func() {
		return func() { r.do("GET", path, "", "Authorization", "Bearer "+token) }
	}
	const manifest = "/manifests/1"
	fails := func(do func()) func() {
		return func() {
			r.fake.set(func(f *fake) { f.err = errors.New("no PDP") })
			do()
			r.fake.set(func(f *fake) { f.err = nil })
		}
	}
	refused := func(reason authz.Reason, do func()) func() {
		return func() {
			r.fake.set(func(f *fake) { f.reason = reason })
			do()
			r.fake.set(func(f *fake) { f.reason = authz.ReasonNone })
		}
	}
	const allow, deny = ",effect=allow,reason=", ",effect=deny,reason="
	self, unlisted := allow+"allowed_self", deny+authz.InboundNotListed.String()
	steps := []struct {
		name    string
		do      func()
		login   string
		verdict string
		passage string
		decided map[string]float64 // by effect and reason
	}{
		{"all", login(own, scoped+"acme/app:pull,push"), "granted", "", "", map[string]float64{self: 3}},
		{"nothing asked", login(own, ""), "granted", "", "", map[string]float64{self: 1}},
		{"some", login(own, scoped+"acme/lib:pull,push"), "partly", "", "", map[string]float64{self: 2, unlisted: 1}},
		{"one of two", login(own, scoped+"acme/lib:pull"+scoped+"acme/closed:pull"), "partly", "", "", map[string]float64{self: 2, unlisted: 1}},
		{"none", login(own, scoped+"acme/closed:pull"), "nothing", "", "", map[string]float64{self: 1, unlisted: 1}},
		{"what no project can be", login(own, scoped+"app:pull"), "nothing", "", "", map[string]float64{self: 1}},
		{"a dead token", login(basicOf("gitlab-ci-token", "jobt-dead"), ""), "dead", "", "", map[string]float64{deny + "token_unknown": 1}},
		{"no token", login(basicOf("gitlab-ci-token", "x"), ""), "malformed", "", "", nil},
		{"another user", login(basicOf("someone", alive), ""), "malformed", "", "", nil},
		{"a blocked user", refused(authz.UserBlocked, login(own, "")), "user_refused", "", "", map[string]float64{deny + "user_blocked": 1}},
		{"another service", login(own, "&service=other"), "bad_request", "", "", nil},
		{"a scope that is none", login(own, "&scope=x"), "bad_request", "", "", nil},
		{"undecided", fails(login(own, "")), "undecided", "", "", nil},

		{"a request", get("/v2/acme/app"+manifest, pulls), "", "allowed", "served", map[string]float64{self: 1}},
		{"a visitor's", get("/v2/acme/open"+manifest, open), "", "allowed_anonymous", "served", map[string]float64{allow + authz.AllowedOpen.String(): 1}},
		{"ping", get("/v2/", pulls), "", "allowed", "served", map[string]float64{self: 1}},
		{"without a token", func() { r.do("GET", "/v2/", "") }, "", "no_token", "", nil},
		{"with the job token", func() { r.do("GET", "/v2/", "", "Authorization", own) }, "", "bad_login", "", nil},
		{"with another's token", get("/v2/", "x.y.z"), "", "bad_login", "", nil},
		{"with a token for less", get("/v2/acme/closed"+manifest, pulls), "", "bad_login", "", nil},
		{"that nobody may", get("/v2/_catalog", pulls), "", "caller_refused", "", nil},
		{"that there is none of", get("/v3/", pulls), "", "unrouted", "", nil},
		{"that is nothing", get("/v2/acme/App"+manifest, pulls), "", "bad_request", "", nil},
		{"that is two things", get("//v2/", pulls), "", "bad_request", "", nil},
		{"not any more", func() {
			r.fake.set(func(f *fake) { f.may["acme/lib"] = nil })
			get("/v2/acme/lib"+manifest, pulls)()
		}, "", "forbidden", "", map[string]float64{unlisted: 1}},
		{"on what has gone", func() {
			r.fake.set(func(f *fake) { f.projects["acme/lib"] = false })
			get("/v2/acme/lib"+manifest, pulls)()
		}, "", "not_found", "", map[string]float64{deny + "target_not_found": 1}},
		{"a visitor's, not any more", func() {
			r.fake.set(func(f *fake) { f.public["acme/open"] = false })
			get("/v2/acme/open"+manifest, open)()
		}, "", "no_token", "", map[string]float64{deny + "token_missing": 1}},
		{"that cannot be decided", fails(get("/v2/acme/app"+manifest, pulls)), "", "undecided", "", nil},
		{"of a job that limited itself", refused(authz.LimitedTarget, get("/v2/acme/app"+manifest, pulls)), "", "caller_refused", "", map[string]float64{deny + "limited_target": 1}},
		{"of a blocked user", refused(authz.UserBlocked, get("/v2/acme/app"+manifest, pulls)), "", "user_refused", "", map[string]float64{deny + "user_blocked": 1}},
		{"of a job that ended", refused(authz.JobNotRunning, get("/v2/acme/app"+manifest, pulls)), "", "dead", "", map[string]float64{deny + authz.JobNotRunning.String(): 1}},
		{"broken off", func() {
			breaks.Store(true)
			get("/v2/acme/app"+manifest, pulls)()
		}, "", "allowed", "failed", map[string]float64{self: 1}},
	}
	for _, s := range steps {
		before := r.measured()
		s.do()
		want := map[string]float64{}
		if s.login != "" {
			want["jobward.registry.logins outcome="+s.login] = 1
		}
		if s.verdict != "" {
			want["jobward.verdicts door=Registry,outcome="+s.verdict] = 1
		}
		if s.passage != "" {
			want["jobward.passages door=Registry,outcome="+s.passage] = 1
		}
		for k, n := range s.decided {
			want["jobward.decisions door=Registry"+k+",source=pdp"] = n
		}
		got := r.measured()
		for k := range got {
			if got[k] -= before[k]; got[k] == 0 || k == "jobward.registry.signing.expiry " {
				delete(got, k)
			}
		}
		for k := range want {
			if got[k] != want[k] {
				t.Errorf("%s: %s is %v, want %v", s.name, k, got[k], want[k])
			}
			delete(got, k)
		}
		for k, n := range got {
			t.Errorf("%s: %s is %v, want 0", s.name, k, n)
		}
	}
	r.now = r.now.Add(2 * time.Minute)
	left := r.signer.Signing().Chain[0].NotAfter.Sub(r.now).Seconds()
	if got := r.measured()["jobward.registry.signing.expiry "]; got != left || left < 3000 {
		t.Errorf("the certificate ends in %v s, want %v", got, left)
	}
}
