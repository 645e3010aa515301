package extauthz

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

// TestOutage (P2) wants 503 when nobody can decide, as an answer.
func TestOutage(t *testing.T) {
	c := serve(t, scripted(), nil, 0)
	out := check(t, c, asked("GET", "/api/v4/projects/15/packages", "job-token", alive))
	if outcome(out) != 503 || out.GetStatus().GetCode() != int32(codes.Unavailable) {
		t.Error(out)
	}
}

// TestTell tells the client the reason, where the operator wants it told.
func TestTell(t *testing.T) {
	for _, tell := range []bool{false, true} {
		c := serve(t, &gate.Gate{Asker: script{}, Routes: route.Builtin(), Tell: tell}, nil, 0)
		out := check(t, c, asked("GET", "/api/v4/projects/14/packages", "job-token", alive))
		told := slices.ContainsFunc(out.GetDeniedResponse().GetHeaders(), func(h *corev3.HeaderValueOption) bool {
			return h.GetHeader().GetKey() == "jobward-reason" && h.GetHeader().GetValue() == "inbound_not_listed"
		})
		if told != tell || out.GetDynamicMetadata().GetFields()["reason"].GetStringValue() != "inbound_not_listed" {
			t.Errorf("%t: %v", tell, out)
		}
	}
}

// TestSize sends bodies of every size. Over the limit the answer is a refusal as long as there can be one, and then an error; never a way through.
func TestSize(t *testing.T) {
	const limit = 256 << 10
	c := serve(t, scripted(), nil, limit)
	for _, x := range []struct {
		size, want int
	}{{0, 200}, {64 << 10, 200}, {limit - 2000, 200}, {limit + 1, 413}, {2*limit - 2000, 413}, {2*limit + 1, 0}, {16 << 20, 0}} {
		in := asked("GET", "/api/v4/projects/11/packages", "job-token", alive, "content-type", "application/json")
		http(in).RawBody = []byte(strings.Repeat("[", x.size))
		out, err := c.Check(context.Background(), in)
		if x.want == 0 {
			if status.Code(err) != codes.ResourceExhausted {
				t.Errorf("%d: %v", x.size, err)
			}
			continue
		}
		must(t, err)
		if outcome(out) != x.want {
			t.Errorf("%d: %d, want %d", x.size, outcome(out), x.want)
		}
	}
}

// TestHostileHeaders sends headers that no client should be let say, by the hundred.
func TestHostileHeaders(t *testing.T) {
	c := serve(t, scripted(), nil, 0)
	in := asked("GET", "/api/v4/projects/11/packages", "job-token", alive)
	for i := range 900 {
		http(in).Headers["jobward_"+strings.Repeat("x", i)] = "1"
	}
	out := check(t, c, in)
	if outcome(out) != 200 || len(out.GetOkResponse().GetHeadersToRemove()) != 901 {
		t.Errorf("%d, %d headers removed", outcome(out), len(out.GetOkResponse().GetHeadersToRemove()))
	}
	for i := range 200 {
		http(in).Headers["x"+strings.Repeat("x", i)] = "1"
	}
	if out := check(t, c, in); outcome(out) != 431 {
		t.Error(outcome(out))
	}
	for name, headers := range map[string][]string{
		"joined, ours last":   {"authorization", "Basic YTpi, Bearer " + alive},
		"joined, ours first":  {"authorization", "Bearer " + alive + ",Basic YTpi"},
		"method override":     {"job-token", alive, "x_http_method_override", "DELETE"},
		"another path":        {"job-token", alive, "x-original_url", "/api/v4/projects/12/packages"},
		"a token for persons": {"job-token", alive, "private-token", alive},
		"two tokens":          {"job-token", alive, "authorization", "Bearer " + dead},
	} {
		if out := check(t, c, asked("GET", "/api/v4/projects/11/packages", headers...)); outcome(out) == 200 {
			t.Errorf("%s: %v", name, out)
		}
	}
	// Other schemes have commas, and are not ours.
	digest := `Digest username="a", realm="b", nonce="c"`
	if out := check(t, c, asked("GET", "/acme/open.git/info/refs?service=git-upload-pack", "authorization", digest)); outcome(out) != 200 {
		t.Error(out)
	}
}

// TestPanic wants a fault to be an error, and the next call served.
func TestPanic(t *testing.T) {
	c := serve(t, faulty{scripted()}, nil, 0)
	_, err := c.Check(context.Background(), asked("GET", "/panic"))
	if status.Code(err) != codes.Internal {
		t.Error(err)
	}
	if out := check(t, c, asked("GET", "/api/v4/projects/11/packages", "job-token", alive)); outcome(out) != 200 {
		t.Error(out)
	}
}

type faulty struct{ judge Judge }

func (f faulty) Judge(ctx context.Context, r *gate.Request) gate.Verdict {
	if r.Path == "/panic" {
		panic("planted")
	}
	return f.judge.Judge(ctx, r)
}
