package bench

import (
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

// emptyAuthz is the floor of ext_authz, as empty is that of Check.
type emptyAuthz struct {
	authv3.UnimplementedAuthorizationServer
	answer *authv3.CheckResponse
}

// Check implements authv3.AuthorizationServer.
func (e emptyAuthz) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return e.answer, nil
}

// envoyRequest is what Envoy sends of a request of curl.
func envoyRequest(method, path string, headers ...string) *authv3.CheckRequest {
	h := map[string]string{
		":authority": "forge.example", ":method": method, ":path": path, ":scheme": "https", "accept": "*/*", "user-agent": "curl/8.5.0",
		"x-forwarded-proto": "https", "x-request-id": "5b2c1f0e-7f53-4a63-9d7e-0f6d3cb0a911", "x-envoy-auth-partial-body": "false",
	}
	for i := 0; i < len(headers); i += 2 {
		h[headers[i]] = headers[i+1]
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:      &authv3.AttributeContext_Peer{Principal: "spiffe://forge.example/runner/7"},
		Destination: &authv3.AttributeContext_Peer{Principal: "spiffe://forge.example/envoy"},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "9381772564130912466", Method: method, Path: path, Host: "forge.example", Scheme: "https", Protocol: "HTTP/2", Size: -1, Headers: h,
		}},
	}}
}

// BenchmarkExtAuthz is the shipped sidecar answering Envoy from its cache, beside an empty handler with messages of the same size: the server's
// CPU per request over ten interleaved rounds. Target: at least 0.8 requests of an empty handler's for the same CPU (empty×authz).
func BenchmarkExtAuthz(b *testing.B) {
	dir := b.TempDir()
	at, emptyAt := "unix:"+filepath.Join(dir, "sidecar"), "unix:"+filepath.Join(dir, "empty")
	side, issue := startSidecar(b, os.Args[0], dir, at)
	ours := authv3.NewAuthorizationClient(side.conn)
	token := issue("bench")
	for name, req := range map[string]*authv3.CheckRequest{
		"header": envoyRequest("GET", "/api/v4/projects/14/packages?per_page=20", "job-token", token),
		"basic": envoyRequest("GET", "/api/v4/projects/14/packages/generic/app/1.0/app.tar.gz", "authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte("gitlab-ci-token:"+token))),
	} {
		b.Run(name, func(b *testing.B) {
			answer := throughAnswer(b, ours, req)
			raw, err := proto.Marshal(answer)
			if err != nil {
				b.Fatal(err)
			}
			floor := start(b, []string{childEnv + "=" + emptyAt, authzEnv + "=" + base64.StdEncoding.EncodeToString(raw)}, emptyAt)
			theirs := authv3.NewAuthorizationClient(floor.conn)
			var empty, authz []float64
			for i := range 11 {
				e, _ := floor.round(b, 1, func(ctx context.Context) error { _, err := theirs.Check(ctx, req); return err })
				a, _ := side.round(b, 1, func(ctx context.Context) error { _, err := ours.Check(ctx, req); return err })
				if i > 0 { // the first warms up
					empty, authz = append(empty, e), append(authz, a)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(empty), "empty-µs")
			b.ReportMetric(middle(authz), "authz-µs")
			b.ReportMetric(middle(ratios(empty, authz)), "empty×authz")
		})
	}
}

// throughAnswer asks until the request is let through, twice, so that the next is from the cache.
func throughAnswer(b *testing.B, c authv3.AuthorizationClient, req *authv3.CheckRequest) *authv3.CheckResponse {
	b.Helper()
	n := 0
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer, err := c.Check(context.Background(), req)
		if err == nil && answer.GetOkResponse() != nil {
			if n++; n > 10 {
				return answer
			}
		}
		if time.Now().After(end) {
			b.Fatalf("not let through: %v %v", answer, err)
		}
	}
}

// authzAnswer reads the answer of the floor from the environment.
func authzAnswer() (emptyAuthz, error) {
	e := emptyAuthz{answer: &authv3.CheckResponse{}}
	raw, err := base64.StdEncoding.DecodeString(os.Getenv(authzEnv))
	if err == nil {
		err = proto.Unmarshal(raw, e.answer)
	}
	return e, err
}
