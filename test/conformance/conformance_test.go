package conformance

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/gitlab"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/sidecar/extauthz"
	"github.com/jobward/jobward/sidecar/forwardauth"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/grpccheck"
	"github.com/jobward/jobward/sidecar/proxy"
	"github.com/jobward/jobward/sidecar/route"
)

// verdict is what a door said.
type verdict struct {
	asked bool // the door has a way to ask this question
	allow bool
	said  string // more about it
}

func decided(d *authz.Decision, err error) verdict {
	if err != nil {
		return verdict{asked: true, said: err.Error()}
	}
	return verdict{true, d.Allow, d.Reason.String()}
}

// A door puts the question of a scenario to one way in.
type door struct {
	name string
	pkg  string
	// least is how many questions of the corpus it must have been asked, so that a door that asks nothing does not pass.
	least int
	ask   func(*system) verdict
}

func doors() []door {
	return []door{
		{"the rule", "pdp/policy", 600, askPolicy},
		{"PDP, gRPC", "pdp/server", 600, askPDP},
		{"PDP, REST", "pdp/gitlab", 4, askREST},
		{"cache", "sidecar/pep", 600, func(s *system) verdict { d, err := s.cache.Check(s.t.Context(), s.req); return decided(&d, err) }},
		{"cache, again", "sidecar/pep", 600, func(s *system) verdict { d, err := s.cache.Check(s.t.Context(), s.req); return decided(&d, err) }},
		{"sidecar, gRPC", "sidecar/grpccheck", 600, askSidecar},
		{"Envoy", "sidecar/extauthz", 300, askEnvoy},
		{"forward-auth", "sidecar/forwardauth", 300, func(s *system) verdict {
			return askForward(s, forwardauth.Path, "X-Forwarded-Method", "X-Forwarded-Uri")
		}},
		{"nginx", "sidecar/forwardauth", 300, func(s *system) verdict {
			return askForward(s, forwardauth.NginxPath, "X-Original-Method", "X-Original-Uri")
		}},
		{"reverse proxy", "sidecar/proxy", 300, askProxy},
		{"container registry", "sidecar/registry", 30, askRegistry},
	}
}

// notDoors are the other packages of the two programs. A new one has to be put into one of the two lists.
var notDoors = []string{
	"pdp/audit", "pdp/authz", "pdp/daemon", "pdp/engine", "pdp/feed", "pdp/pdpctl", "pdp/peer", "pdp/replica", "pdp/scenario", "pdp/state",
	"sidecar/daemon", "sidecar/gate", "sidecar/route",
}

// TestEveryDoorIsThere: no door is forgotten, and no permission is asked for by none.
func TestEveryDoorIsThere(t *testing.T) {
	known := slices.Clone(notDoors)
	for _, d := range doors() {
		known = append(known, d.pkg)
	}
	there := doorPackages(t)
	for _, pkg := range there {
		if !slices.Contains(known, pkg) {
			t.Errorf("%s is new: is it a door? Then it belongs into doors, else into notDoors", pkg)
		}
	}
	for _, pkg := range known {
		if !slices.Contains(there, pkg) {
			t.Errorf("%s is gone", pkg)
		}
	}
	routed := map[authz.Permission]bool{}
	for _, r := range routes.Routes() {
		routed[r.Permission] = true
	}
	for _, p := range policy.Builtin().Permissions() {
		_, asked := requests[p.Name]
		_, elsewhere := notRouted[p.Name]
		switch {
		case asked == elsewhere:
			t.Errorf("%s: name a request that asks for it, or say in notRouted where it is asked for", p.Name)
		case asked != routed[p.Name]:
			t.Errorf("%s: in requests %t, in a route %t", p.Name, asked, routed[p.Name])
		}
	}
	for p, how := range requests {
		method, target, _ := strings.Cut(how, " ")
		path, query, _ := strings.Cut(strings.NewReplacer("ID", "7", "PATH", "a/b").Replace(target), "?")
		m, err := routes.Match(&route.Request{Method: method, Path: path, Query: query})
		if err != nil || m.Route.Permission != p {
			t.Errorf("%s asks for %+v, %v; want %s", how, m.Route, err, p)
		}
	}
}

// TestConformance: P8, and every door's verdict is that of the case.
func TestConformance(t *testing.T) {
	all := doors()
	asked := make([]int, len(all))
	cases := 0
	corpus(t, func(c *scenario.Scenario) {
		cases++
		t.Run(c.ID, func(t *testing.T) {
			s := start(t, c)
			for i, d := range all {
				v := d.ask(s)
				if !v.asked {
					continue
				}
				asked[i]++
				if v.allow != (c.Expect == "allow") {
					t.Errorf("%s: allow %t (%s), want %s: %s", d.name, v.allow, v.said, c.Expect, c.Why)
				}
			}
		})
	})
	for i, d := range all {
		t.Logf("%-20s %4d of %d", d.name, asked[i], cases)
		if asked[i] < d.least {
			t.Errorf("%s was asked %d questions, fewer than %d", d.name, asked[i], d.least)
		}
	}
}

func askPolicy(s *system) verdict {
	d, _, err := scenario.Run(s.scenario)
	return decided(&d, err)
}

func askPDP(s *system) verdict { return askGRPC(s, jobwardv1.NewDecisionServiceClient(s.conn)) }

// askGRPC shows the token itself, or for a visitor the digest that says so.
func askGRPC(s *system, c jobwardv1.DecisionServiceClient) verdict {
	in := &jobwardv1.CheckRequest{TargetProjectId: int64(s.req.Target.ID), TargetProjectPath: s.req.Target.Path, Permission: string(s.req.Permission),
		Surface: wire.SurfaceToProto(s.req.Surface), Token: s.text}
	if s.text == "" {
		in.TokenDigest = authz.Nobody[:]
	}
	out, err := c.Check(s.t.Context(), in)
	if err != nil {
		return verdict{asked: true, said: err.Error()}
	}
	return verdict{true, out.Decision.Allow, out.Decision.Reason.String()}
}

// local is the sidecar's gRPC with ext_authz.
func (s *system) local() *grpc.ClientConn {
	t := s.t
	callers, err := identity.NewDevelopment(&net.UnixAddr{Name: "conformance", Net: "unix"})
	must(t, err)
	services, err := grpccheck.New(grpccheck.Options{Decider: grpccheck.Of(s.cache), Callers: callers})
	must(t, err)
	envoy, err := extauthz.New(s.gate(), nil)
	must(t, err)
	g := grpc.NewServer(append(services.ServerOptions(), grpc.WaitForHandlers(true))...)
	services.Register(g)
	envoy.Register(g, services)
	c := dial(t, serve(t, g))
	t.Cleanup(func() { c.Close() })
	return c
}

// routes are read once: it takes a while.
var routes = route.Builtin()

func (s *system) gate() *gate.Gate {
	return &gate.Gate{Asker: s.cache, Routes: routes, Logger: slog.New(slog.DiscardHandler)}
}

func askSidecar(s *system) verdict {
	s.sidecar = s.local()
	return askGRPC(s, jobwardv1.NewDecisionServiceClient(s.sidecar))
}

// routed gives the request of the scenario where the question is one that a route asks.
func (s *system) routed() *http.Request {
	if s.scenario.World.Catalogue != nil {
		return nil // permissions of an operator, whose routes are an operator's too
	}
	p, ok := policy.Builtin().Permission(s.req.Permission)
	if !ok || s.req.Surface != authz.SurfaceDefault && s.req.Surface != p.Surface {
		return nil
	}
	return s.request()
}

func askEnvoy(s *system) verdict {
	r := s.routed()
	if r == nil {
		return verdict{}
	}
	in := &authv3.AttributeContext_HttpRequest{Method: r.Method, Path: r.RequestURI, HeaderMap: &corev3.HeaderMap{}}
	for name, values := range r.Header {
		in.HeaderMap.Headers = append(in.HeaderMap.Headers, &corev3.HeaderValue{Key: strings.ToLower(name), RawValue: []byte(values[0])})
	}
	out, err := authv3.NewAuthorizationClient(s.sidecar).Check(s.t.Context(), &authv3.CheckRequest{
		Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: in}}})
	if err != nil {
		return verdict{asked: true, said: err.Error()}
	}
	return verdict{true, out.GetStatus().GetCode() == 0 && out.GetOkResponse() != nil, fmt.Sprint(out.GetDeniedResponse().GetStatus())}
}

func askForward(s *system, path, method, uri string) verdict {
	r := s.routed()
	if r == nil {
		return verdict{}
	}
	h := forwardauth.New(forwardauth.Options{Gate: s.gate(), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	q := httptest.NewRequest(http.MethodGet, path, nil)
	maps.Copy(q.Header, r.Header)
	q.Header.Set(method, r.Method)
	q.Header.Set(uri, r.RequestURI)
	return answered(h, q, http.StatusNoContent)
}

func answered(h http.Handler, r *http.Request, allowed int) verdict {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return verdict{true, w.Code == allowed, fmt.Sprint(w.Code, " ", w.Body.String())}
}

// askProxy has a service that tells whether the token reached it.
func askProxy(s *system) verdict {
	r := s.routed()
	if r == nil {
		return verdict{}
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.text != "" && strings.Contains(fmt.Sprint(r.Header, r.RequestURI), s.text) {
			s.t.Error("the token reached the service")
		}
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "short and stout")
	}))
	defer service.Close()
	up, err := proxy.NewUpstream(proxy.Options{To: service.URL})
	must(s.t, err)
	defer up.Close()
	front := httptest.NewServer(&proxy.Door{Gate: s.gate(), Service: up})
	defer front.Close()
	out, err := http.NewRequestWithContext(context.Background(), r.Method, front.URL, nil)
	must(s.t, err)
	out.URL.Opaque, out.URL.RawQuery, out.Header = strings.SplitN(r.RequestURI, "?", 2)[0], r.URL.RawQuery, r.Header
	resp, err := front.Client().Do(out)
	if err != nil {
		return verdict{asked: true, said: err.Error()}
	}
	defer resp.Body.Close()
	return verdict{true, resp.StatusCode == http.StatusTeapot, resp.Status}
}

// askREST asks for the job itself, which is the one thing that a job token opens at the PDP.
func askREST(s *system) verdict {
	if s.req.Permission != "read_own_job" || s.routed() == nil || s.scenario.Job.Limits != nil {
		return verdict{}
	}
	callers, err := identity.NewDevelopment(&net.UnixAddr{Name: "conformance", Net: "unix"})
	must(s.t, err)
	h, err := gitlab.New(gitlab.Options{Engine: s.engine, Tokens: s.tokens, Callers: callers})
	must(s.t, err)
	return answered(h, s.routed(), http.StatusOK)
}
