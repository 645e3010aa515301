package extauthz

import (
	"os"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	ext_authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/req_without_query/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/grpccheck"
)

const recipe = "../../deploy/envoy/envoy.yaml"

// parse reads an Envoy configuration with Envoy's own messages: a field or a value that they have not is an error.
func parse(text string) (*bootstrapv3.Bootstrap, error) {
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(data, b); err != nil {
		return nil, err
	}
	return b, b.Validate()
}

// unpack gives what is in an Any, after Envoy's rules for it.
func unpack[M interface{ Validate() error }](t *testing.T, a *anypb.Any) M {
	t.Helper()
	m, err := a.UnmarshalNew()
	must(t, err)
	v, ok := m.(M)
	if !ok {
		t.Fatalf("%s is not what is wanted", a.GetTypeUrl())
	}
	must(t, v.Validate())
	return v
}

// TestRecipe reads the file that users copy, since there is no Envoy to run it: every field is one, and those that the safety rests on are as this
// door needs them.
func TestRecipe(t *testing.T) {
	text, err := os.ReadFile(recipe)
	must(t, err)
	b, err := parse(string(text))
	must(t, err)
	filter := b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0]
	hcm := unpack[*hcmv3.HttpConnectionManager](t, filter.GetTypedConfig())
	if hcm.GetNormalizePath() == nil || hcm.GetNormalizePath().GetValue() || hcm.GetMergeSlashes() ||
		hcm.GetPathWithEscapedSlashesAction() != hcmv3.HttpConnectionManager_KEEP_UNCHANGED {
		t.Error("Envoy changes paths")
	}
	if hcm.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction() != corev3.HttpProtocolOptions_REJECT_REQUEST {
		t.Error("headers with underscores are passed on")
	}
	var names []string
	var authz *ext_authzv3.ExtAuthz
	for _, f := range hcm.GetHttpFilters() {
		names = append(names, strings.TrimPrefix(f.GetName(), "envoy.filters.http."))
		if f.GetDisabled() || f.GetIsOptional() {
			t.Errorf("%s may be left out", f.GetName())
		}
		switch names[len(names)-1] {
		case "ext_authz":
			authz = unpack[*ext_authzv3.ExtAuthz](t, f.GetTypedConfig())
		case "header_mutation":
			checkRemoved(t, unpack[*mutationv3.HeaderMutation](t, f.GetTypedConfig()))
		}
	}
	if got := strings.Join(names, " "); got != "header_mutation ext_authz router" {
		t.Fatalf("filters: %s", got)
	}
	if authz.GetFailureModeAllow() || authz.GetAllowedHeaders() != nil || authz.GetDisallowedHeaders() != nil || !authz.GetEncodeRawHeaders() ||
		authz.GetFilterEnabled() != nil || authz.GetShadowMode() || authz.GetClearRouteCache() || authz.GetDecoderHeaderMutationRules() != nil {
		t.Errorf("ext_authz: %v", authz)
	}
	body := authz.GetWithRequestBody()
	if n := int(body.GetMaxRequestBytes()); n != gate.MaxSearched || n*4 > grpccheck.DefaultMaxMessage || !body.GetAllowPartialMessage() || !body.GetPackAsBytes() {
		t.Errorf("body: %v", body)
	}
	checkRoutes(t, hcm)
	for _, taken := range []string{"%PATH", "(:PATH", "ORIGINAL-PATH", "AUTHORIZATION", "JOB-TOKEN)"} {
		if log := strings.ReplaceAll(strings.ToUpper(hcm.GetAccessLog()[0].String()), "REQ_WITHOUT_QUERY(:PATH)", ""); strings.Contains(log, taken) {
			t.Errorf("the access log has %s", taken)
		}
	}
}

// checkRemoved wants that nothing of what clients may not say goes on.
func checkRemoved(t *testing.T, m *mutationv3.HeaderMutation) {
	t.Helper()
	removed := map[string]bool{}
	for _, one := range m.GetMutations().GetRequestMutations() {
		removed[one.GetRemove()] = true
		removed[one.GetRemoveOnMatch().GetKeyMatcher().GetPrefix()+"*"] = true
	}
	for _, want := range []string{"jobward*", "forwarded", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-prefix"} {
		if !removed[want] {
			t.Errorf("%s is not removed", want)
		}
	}
}

// checkRoutes wants no route that changes a path or leaves the question out.
func checkRoutes(t *testing.T, hcm *hcmv3.HttpConnectionManager) {
	for _, host := range hcm.GetRouteConfig().GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			a := r.GetRoute()
			if a == nil || a.GetPrefixRewrite() != "" || a.GetRegexRewrite() != nil || a.GetPathRewritePolicy() != nil || a.GetPathRewrite() != "" {
				t.Errorf("%v changes the path", r)
			}
			for name, config := range r.GetTypedPerFilterConfig() {
				if name == "envoy.filters.http.ext_authz" && unpack[*ext_authzv3.ExtAuthzPerRoute](t, config).GetDisabled() {
					t.Errorf("%v is not asked about", r)
				}
			}
			if len(r.GetRequestHeadersToRemove()) > 0 || len(r.GetRequestHeadersToAdd()) > 0 {
				t.Errorf("%v changes headers after the sidecar", r)
			}
		}
	}
}

// TestRecipeIsRead misspells fields and values at every depth.
func TestRecipeIsRead(t *testing.T) {
	text, err := os.ReadFile(recipe)
	must(t, err)
	for _, good := range []string{"static_resources:", "failure_mode_allow:", "normalize_path: ", "KEEP_UNCHANGED\n", "max_request_bytes:", "remove_on_match:",
		"REJECT_REQUEST\n", "disable_request_body_buffering:", "explicit_http_config:", "ServiceUnavailable", "ext_authz.v3.ExtAuthz\n", "json_format:", "certificate_chain:"} {
		if !strings.Contains(string(text), good) {
			t.Errorf("%q is not there", good)
		}
		if _, err := parse(strings.ReplaceAll(string(text), good, "x"+good)); err == nil {
			t.Errorf("x%q is taken", good)
		}
	}
}
