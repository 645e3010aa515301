package daemon

import (
	"context"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestExtAuthz asks as Envoy does, of a sidecar without a PDP: nothing is let through, and a setting takes the service away.
func TestExtAuthz(t *testing.T) {
	in := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
		Method: "GET", Path: "/acme/lib.git/info/refs?service=git-upload-pack",
	}}}}
	for _, c := range []struct {
		arg  string
		code codes.Code
		http int
	}{{"--ext-authz", codes.OK, 503}, {"--no-ext-authz", codes.Unimplemented, 0}} {
		l := runLocal(t, c.arg)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		out, err := authv3.NewAuthorizationClient(dial(t, l.GRPC[0].String())).Check(ctx, in)
		if status.Code(err) != c.code || int(out.GetDeniedResponse().GetStatus().GetCode()) != c.http {
			t.Errorf("%s: %v %v", c.arg, out, err)
		}
	}
}
