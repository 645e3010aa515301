package extauthz_test

import (
	"encoding/base64"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"

	"github.com/jobward/jobward/sidecar/extauthz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep/peptest"
	"github.com/jobward/jobward/sidecar/route"
)

// TestRevoke asks a real PDP by way of its cache, in every carrier, until the job is revoked.
func TestRevoke(t *testing.T) {
	pdp := peptest.Start(t)
	c := extauthz.Serve(t, &gate.Gate{Asker: pdp.Decider(), Routes: route.Builtin()}, nil, 0)
	token := pdp.Issue("build-1", peptest.App, peptest.Dev)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("gitlab-ci-token:"+token))
	withBody := func(kind, body string) *authv3.CheckRequest {
		in := extauthz.Asked("POST", "/api/v4/projects/11/trigger/pipeline", "content-type", kind, "x-envoy-auth-partial-body", "false")
		in.Attributes.Request.Http.Body = body
		return in
	}
	requests := map[string]*authv3.CheckRequest{
		"header":      extauthz.Asked("GET", "/api/v4/projects/11/packages", "job-token", token),
		"bearer":      extauthz.Asked("GET", "/api/v4/projects/11/packages", "authorization", "Bearer "+token),
		"query":       extauthz.Asked("GET", "/api/v4/projects/11/packages?job_token="+token),
		"git":         extauthz.Asked("GET", "/acme/lib.git/info/refs?service=git-upload-pack", "authorization", basic),
		"form":        withBody("application/x-www-form-urlencoded", "ref=main&token="+token),
		"JSON":        withBody("application/json", `{"ref":"main","token":"`+token+`"}`),
		"public, git": extauthz.Asked("GET", "/acme/open.git/info/refs?service=git-upload-pack", "authorization", basic),
	}
	for name, in := range requests {
		for range 2 {
			out := extauthz.Check(t, c, in)
			if extauthz.Outcome(out) != 200 || out.GetDynamicMetadata().GetFields()["job"].GetStringValue() != "build-1" {
				t.Errorf("%s: %v", name, out)
			}
			if strings.Contains(out.String(), token) {
				t.Errorf("%s: the token is in the answer", name)
			}
		}
	}
	if out := extauthz.Check(t, c, extauthz.Asked("GET", "/acme/closed.git/info/refs?service=git-upload-pack", "authorization", basic)); extauthz.Outcome(out) != 404 {
		t.Error("not listed:", out)
	}
	pdp.Revoke("build-1")
	for name, in := range requests {
		if out := extauthz.Check(t, c, in); extauthz.Outcome(out) != 401 || out.GetStatus().GetCode() != int32(codes.Unauthenticated) {
			t.Errorf("%s, revoked: %v", name, out)
		}
	}
}
