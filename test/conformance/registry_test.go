package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/sidecar/proxy"
	"github.com/jobward/jobward/sidecar/registry"
)

// images are what each permission is in a scope, and the request that needs it. A push needs a pull as well, and so does its token.
var images = map[authz.Permission]struct{ scope, method, path string }{
	"pull_image":   {"pull", http.MethodGet, "/manifests/latest"},
	"push_image":   {"pull,push", http.MethodPost, "/blobs/uploads/"},
	"delete_image": {"delete", http.MethodDelete, "/manifests/latest"},
}

// askRegistry logs in for the scope, as docker does, and makes the request with the token that it got.
func askRegistry(s *system) verdict {
	image, ok := images[s.req.Permission]
	if p, known := policy.Builtin().Permission(s.req.Permission); !ok || !known || s.scenario.World.Catalogue != nil ||
		s.req.Surface != authz.SurfaceDefault && s.req.Surface != p.Surface || s.path != strings.ToLower(s.path) {
		return verdict{}
	}
	dir := s.t.TempDir()
	must(s.t, registry.MakeKeys(dir, time.Hour))
	keys, err := identity.LoadSigner(filepath.Join(dir, registry.CertFile), filepath.Join(dir, registry.KeyFile))
	must(s.t, err)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer behind.Close()
	up, err := proxy.NewUpstream(proxy.Options{To: behind.URL})
	must(s.t, err)
	defer up.Close()
	h, err := registry.New(registry.Options{Asker: s.cache, Service: "images", Issuer: "jobward", URL: "https://registry.example", Keys: keys, Registry: up})
	must(s.t, err)
	front := httptest.NewServer(h)
	defer front.Close()

	login, err := http.NewRequest(http.MethodGet, front.URL+"/jwt/auth?service=images&scope="+url.QueryEscape("repository:"+s.path+"/image:"+image.scope), nil)
	must(s.t, err)
	if s.text != "" {
		login.SetBasicAuth("gitlab-ci-token", s.text)
	}
	resp, err := front.Client().Do(login)
	must(s.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return verdict{asked: true, said: "login: " + resp.Status}
	}
	var out struct{ Token string }
	must(s.t, json.NewDecoder(resp.Body).Decode(&out))

	want := strings.Split(image.scope, ",")
	granted := access(s, out.Token)
	use, err := http.NewRequest(image.method, front.URL+"/v2/"+s.path+"/image"+image.path, nil)
	must(s.t, err)
	use.Header.Set("Authorization", "Bearer "+out.Token)
	resp, err = front.Client().Do(use)
	must(s.t, err)
	resp.Body.Close()
	through := resp.StatusCode == http.StatusTeapot
	if has := strings.Contains(granted, want[len(want)-1]); has != through && s.req.Permission != "push_image" {
		s.t.Errorf("container registry: the token grants %q, and the front answers %s", granted, resp.Status)
	}
	return verdict{true, through, fmt.Sprint(granted, ", ", resp.Status)}
}

// access gives the actions that a registry token grants.
func access(s *system, token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		s.t.Fatalf("no token: %q", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(s.t, err)
	var claims struct{ Access []struct{ Actions []string } }
	must(s.t, json.Unmarshal(payload, &claims))
	var all []string
	for _, a := range claims.Access {
		all = append(all, a.Actions...)
	}
	return strings.Join(all, ",")
}
