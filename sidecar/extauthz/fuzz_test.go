package extauthz

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

// seeds are the recorded requests, encoded, and some bytes that are none.
func seeds(t testing.TB) (all [][]byte) {
	names, err := filepath.Glob("testdata/*.request.json")
	must(t, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(t, err)
		in := &authv3.CheckRequest{}
		must(t, protojson.Unmarshal(data, in))
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(in)
		must(t, err)
		all = append(all, b)
	}
	return append(all, nil, []byte{0x0a}, []byte{0x0a, 0x03, 0x22, 0x01, 0x12}, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
}

// compare reads a message by hand and by the generated code: what the latter takes the former reads the same way, or refuses.
func compare(data []byte) error {
	var in inbox
	err := in.Decode(data)
	want := &authv3.CheckRequest{}
	if proto.Unmarshal(data, want) != nil || err != nil || in.many {
		return nil
	}
	h := want.GetAttributes().GetRequest().GetHttp()
	if in.http != (h != nil) || in.method != h.GetMethod() || in.path != h.GetPath() || in.body != h.GetBody() || in.rawBody != string(h.GetRawBody()) {
		return fmt.Errorf("read %+v of %v", in, h)
	}
	mapped, listed := map[string]string{}, []header{}
	for _, x := range in.headers.list {
		if x.mapped {
			mapped[x.key] = x.value
		} else {
			listed = append(listed, x)
		}
	}
	if len(mapped) != len(h.GetHeaders()) || len(listed) != len(h.GetHeaderMap().GetHeaders()) {
		return fmt.Errorf("read the headers %v of %v", in.headers.list, h)
	}
	for k, v := range h.GetHeaders() {
		if got, ok := mapped[k]; !ok || got != v {
			return fmt.Errorf("read %q: %q, is %q", k, got, v)
		}
	}
	for i, v := range h.GetHeaderMap().GetHeaders() {
		value := v.GetValue()
		if len(v.GetRawValue()) > 0 {
			value = string(v.GetRawValue())
		}
		if listed[i].key != v.GetKey() || listed[i].value != value {
			return fmt.Errorf("read %v, is %v", listed[i], v)
		}
	}
	return nil
}

// FuzzDecode compares the two readers.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := compare(data); err != nil {
			t.Error(err)
		}
	})
}

// TestSeedsAreRead wants every recorded request taken by the reader, so that the comparison is one.
func TestSeedsAreRead(t *testing.T) {
	n := 0
	for _, s := range seeds(t) {
		var in inbox
		if in.Decode(s) == nil && in.http {
			n++
		}
		must(t, compare(s))
	}
	if n < 20 {
		t.Errorf("%d requests were read", n)
	}
}

// TestMalformed breaks a good message at every byte, and adds to it: what does not decode whole is refused, however much of it is good.
func TestMalformed(t *testing.T) {
	s, err := New(scripted(), nil)
	must(t, err)
	good, err := proto.Marshal(asked("GET", "/api/v4/projects/11/packages", "job-token", alive))
	must(t, err)
	if outcome(answered(t, s, good)) != 200 {
		t.Fatal("the good one is not let through")
	}
	for i := 1; i < len(good); i++ {
		if got := outcome(answered(t, s, good[:i])); got != 400 {
			t.Errorf("the first %d bytes: %d", i, got)
		}
	}
	for _, tail := range []string{"\x0a", "\x0a\x05", "\x00", "\x0b\x0c", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x0d\x01\x02"} {
		if got := outcome(answered(t, s, append(slices.Clone(good), tail...))); got != 400 {
			t.Errorf("with %q behind: %d", tail, got)
		}
	}
	for _, path := range []string{"/api/v4/projects/11/packages\xff", "\xff"} {
		var in inbox
		// Fields 1, 4, 2 and 4, one in the other.
		text := string([]byte{4<<3 | 2, byte(len(path))}) + path
		for _, num := range []byte{2, 4, 1} {
			text = string([]byte{num<<3 | 2, byte(len(text))}) + text
		}
		if err := in.Decode([]byte(text)); err == nil || in.path != "" {
			t.Errorf("a path that is no UTF-8: %v %q", err, in.path)
		}
	}
}

// TestBothForms reads a message with a list of headers before the map: each form keeps its own.
func TestBothForms(t *testing.T) {
	list := asked("GET", "/")
	http(list).Headers = nil
	http(list).HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "a", RawValue: []byte("1")}, {Key: "a", Value: "2"}}}
	var data []byte
	for _, m := range []*authv3.CheckRequest{list, asked("GET", "/", "a", "3"), asked("POST", "/x", "a", "4")} {
		b, err := proto.Marshal(m)
		must(t, err)
		data = append(data, b...)
	}
	must(t, compare(data))
	var in inbox
	must(t, in.Decode(data))
	if got := strings.Join(in.headers.Values("A"), " "); got != "1 2 4" || in.method != "POST" {
		t.Errorf("%q", got)
	}
	in.reset()
	for _, h := range in.headers.list[:cap(in.headers.list)] {
		if h != (header{}) {
			t.Errorf("%v is kept after the call", h)
		}
	}
	for _, v := range in.headers.values[:cap(in.headers.values)] {
		if v != "" {
			t.Errorf("%q is kept after the call", v)
		}
	}
}

// answered is what a server answers to bytes.
func answered(t testing.TB, s *Server, data []byte) *authv3.CheckResponse {
	var d authz.Decision
	out, err := s.check(context.Background(), func(m any) error {
		in := m.(*inbox)
		if err := in.Decode(data); err != nil {
			in.Fail(err)
		}
		return nil
	}, &d)
	must(t, err)
	resp := &authv3.CheckResponse{}
	if err := proto.Unmarshal(out.(*answer).Encoded(), resp); err != nil {
		t.Fatalf("the answer is no message: %v", err)
	}
	out.(*answer).Sent()
	if got := outcome(resp); got == 200 != d.Allow || got == 0 {
		t.Errorf("an answer that is none: %v", resp)
	}
	return resp
}

// FuzzCheck answers arbitrary bytes. Nothing panics, every answer is one, nothing is let through that the asker denies, and what is let through loses
// what a client must not say.
func FuzzCheck(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	strict, err := New(&gate.Gate{Asker: script{deny: true}, Routes: route.Builtin()}, nil)
	must(f, err)
	loose, err := New(scripted(), nil)
	must(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		if resp := answered(t, strict, data); outcome(resp) == 200 {
			t.Errorf("let through: %v", resp)
		}
		resp := answered(t, loose, data)
		if outcome(resp) != 200 {
			return
		}
		var in inbox
		must(t, in.Decode(data))
		clean(t, in.headers.list, resp.GetOkResponse())
	})
}

// clean wants nothing of ours that a client sent to be left.
func clean(t testing.TB, sent []header, ok *authv3.OkHttpResponse) {
	t.Helper()
	gone := slices.Clone(ok.GetHeadersToRemove())
	for _, h := range ok.GetHeaders() {
		//lint:ignore SA1019 Envoys that do not know append_action look at it
		if h.Append == nil || h.Append.Value || h.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("%v does not overwrite", h)
		}
		if slices.Contains(ok.GetHeadersToRemove(), h.GetHeader().GetKey()) {
			t.Errorf("%v is set, and removed again", h)
		}
		gone = append(gone, h.GetHeader().GetKey())
	}
	for _, h := range sent {
		name := strings.ToLower(h.key)
		folded := strings.NewReplacer("_", "-", ".", "-").Replace(name)
		if (folded == "job-token" || strings.HasPrefix(folded, "jobward-")) && !slices.ContainsFunc(gone, func(g string) bool { return strings.EqualFold(g, h.key) }) {
			t.Errorf("%q is passed on", h.key)
		}
	}
}

var seedFlag = flag.Uint64("seed", 0, "seed of the random test; 0 draws one")

// TestRandom is FuzzCheck and FuzzDecode on requests that are nearly good.
func TestRandom(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("run again with -seed=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	strict, err := New(&gate.Gate{Asker: script{deny: true}, Routes: route.Builtin()}, nil)
	must(t, err)
	loose, err := New(scripted(), nil)
	must(t, err)
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	through := 0
	for range 4000 {
		in := asked(pick("GET", "GET", "GET", "GET", "POST", "get", "", "CONNECT"), pick("/api/v4/projects/11/packages", "/api/v4/projects/11/trigger/pipeline",
			"/acme/lib.git/info/refs?service=git-upload-pack", "/acme/open.git/info/refs?service=git-upload-pack", "/", "*", "//x", "/%2e%2e/%00")+
			pick("", "", "", "?token=jw-alive", "&job_token=jw-alive", "?job_token=jw-alive;x", "#x", "?"))
		h := http(in)
		if r.IntN(2) == 0 {
			h.Headers["job-token"] = alive
		}
		for range r.IntN(4) {
			name := pick("job-token", "Job-Token", "job_token", "jobward-job", "JOBWARD-USER", "jobward_x", "jobward.project", "authorization", "private-token", "content-type",
				"x-envoy-auth-partial-body", "x-http-method-override", strings.Repeat("jobward-", 1+r.IntN(50)))
			value := pick("jw-alive", "jw-dead", "", "Bearer jw-alive", "Basic Z2l0bGFiLWNpLXRva2VuOmp3LWFsaXZl", "a,b", "true", "application/x-www-form-urlencoded", strings.Repeat("x", 300))
			if r.IntN(2) == 0 {
				h.Headers[name] = value
				continue
			}
			if h.HeaderMap == nil {
				h.HeaderMap = &corev3.HeaderMap{}
			}
			h.HeaderMap.Headers = append(h.HeaderMap.Headers, &corev3.HeaderValue{Key: name, RawValue: append([]byte(value), make([]byte, r.IntN(2))...)})
		}
		h.Body = pick("", "token=jw-alive", "token=jw-alive&x", "{}")
		data, err := proto.Marshal(in)
		must(t, err)
		must(t, compare(data))
		if resp := answered(t, strict, data); outcome(resp) == 200 {
			t.Errorf("%v let through: %v", in, resp)
		}
		resp := answered(t, loose, data)
		if outcome(resp) == 200 {
			through++
			var b inbox
			must(t, b.Decode(data))
			clean(t, b.headers.list, resp.GetOkResponse())
		}
	}
	if through < 50 {
		t.Errorf("%d were let through: this tests nothing", through)
	}
}
