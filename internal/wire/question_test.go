package wire

import (
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
)

func format(t testing.TB) *token.Format {
	t.Helper()
	f, err := token.NewFormat(token.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCheckRequest(t *testing.T) {
	f := format(t)
	tok := f.Mint()
	req, err := CheckRequest(f, &jobwardv1.CheckRequest{
		Token: tok.Reveal(), TargetProjectId: 7, TargetProjectPath: "a/b", Permission: "read_packages", Surface: jobwardv1.Surface_SURFACE_REST,
	})
	want := authz.Request{
		Token: tok.Digest(), Target: authz.Target{ID: 7, Path: "a/b"}, Permission: "read_packages", Surface: authz.SurfaceREST,
	}
	if err != nil || req != want {
		t.Errorf("got %+v, %v; want %+v", req, err, want)
	}
}

// TestTokenText is SEMANTICS §4.8: what is no token is asked about as the zero digest
// and is no error; only a missing one is.
func TestTokenText(t *testing.T) {
	f := format(t)
	other, err := token.NewFormat("other-")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"not a token": "x", "129 bytes": strings.Repeat("a", 129), "a megabyte": strings.Repeat("jobt-1", 1<<18), "blank": " ",
		"of another installation": other.Mint().Reveal(), "with a space behind": f.Mint().Reveal() + " ", "cut": f.Mint().Reveal()[1:],
	} {
		if d, err := Digest(f, text); err != nil || !d.IsZero() {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	_, err = CheckRequest(f, &jobwardv1.CheckRequest{Permission: "read_packages"})
	wantFields(t, err, "token")
}

// TestShownDigest: a digest stands for its token, and for nothing beside one.
func TestShownDigest(t *testing.T) {
	f := format(t)
	tok := f.Mint()
	digest, zero := tok.Digest(), make([]byte, 32)
	for _, c := range []struct {
		name, text string
		digest     []byte
		want       authz.Digest
		bad        []string
	}{
		{"a text", tok.Reveal(), nil, digest, nil},
		{"a text and an empty digest", tok.Reveal(), []byte{}, digest, nil},
		{"a digest", "", digest[:], digest, nil},
		{"a text that is none", "x", nil, authz.Digest{}, nil},
		{"the digest of such", "", zero, authz.Digest{}, nil},
		{"nothing", "", nil, authz.Digest{}, []string{"token"}},
		{"both", tok.Reveal(), digest[:], authz.Digest{}, []string{"token_digest"}},
		{"both, the digest zero", "x", zero, authz.Digest{}, []string{"token_digest"}},
		{"a short digest", "", digest[:31], authz.Digest{}, []string{"token_digest"}},
		{"a long digest", "", append(digest[:], 0), authz.Digest{}, []string{"token_digest"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ShownDigest(f, c.text, c.digest)
			wantFields(t, err, c.bad...)
			if got != c.want {
				t.Errorf("it is %v; want %v", got, c.want)
			}
			req, err := CheckRequest(f, &jobwardv1.CheckRequest{Token: c.text, TokenDigest: c.digest, Permission: "p"})
			wantFields(t, err, c.bad...)
			if req.Token != c.want {
				t.Errorf("CheckRequest: %v; want %v", req.Token, c.want)
			}
			reqs, err := BatchRequests(f, &jobwardv1.BatchCheckRequest{Token: c.text, TokenDigest: c.digest, Questions: many(&jobwardv1.Question{Permission: "p"}, 2)}, nil)
			wantFields(t, err, c.bad...)
			if len(c.bad) == 0 && (len(reqs) != 2 || reqs[1].Token != c.want) {
				t.Errorf("BatchRequests: %v", reqs)
			}
			reqs, err = StreamRequests(f, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{{Token: c.text, TokenDigest: c.digest, Permission: "p"}}}, nil)
			if len(c.bad) > 0 {
				wantFields(t, err, "questions[0]."+c.bad[0])
			} else if err != nil || reqs[0].Token != c.want {
				t.Errorf("StreamRequests: %v, %v", reqs, err)
			}
		})
	}
}

func TestQuestionBounds(t *testing.T) {
	ok := func() *jobwardv1.Question { return &jobwardv1.Question{TargetProjectId: 1, Permission: "p"} }
	long := strings.Repeat("x", 1025)
	for _, c := range []struct {
		name   string
		change func(*jobwardv1.Question)
		bad    []string
	}{
		{"nothing", func(*jobwardv1.Question) {}, nil},
		{"no target", func(q *jobwardv1.Question) { q.TargetProjectId = 0 }, nil},
		{"largest id", func(q *jobwardv1.Question) { q.TargetProjectId = authz.MaxID }, nil},
		{"id too large", func(q *jobwardv1.Question) { q.TargetProjectId = authz.MaxID + 1 }, []string{"target_project_id"}},
		{"negative id", func(q *jobwardv1.Question) { q.TargetProjectId = -1 }, []string{"target_project_id"}},
		{"smallest id", func(q *jobwardv1.Question) { q.TargetProjectId = math.MinInt64 }, []string{"target_project_id"}},
		{"longest path", func(q *jobwardv1.Question) { q.TargetProjectPath = long[:1024] }, nil},
		{"path too long", func(q *jobwardv1.Question) { q.TargetProjectPath = long }, []string{"target_project_path"}},
		{"deepest path", func(q *jobwardv1.Question) { q.TargetProjectPath = strings.Repeat("x/", 63) + "x" }, nil},
		{"path too deep", func(q *jobwardv1.Question) { q.TargetProjectPath = strings.Repeat("/", 64) }, []string{"target_project_path"}},
		{"longest permission", func(q *jobwardv1.Question) { q.Permission = long[:64] }, nil},
		{"permission too long", func(q *jobwardv1.Question) { q.Permission = long[:65] }, []string{"permission"}},
		{"no permission", func(q *jobwardv1.Question) { q.Permission = "" }, []string{"permission"}},
		{"last surface", func(q *jobwardv1.Question) { q.Surface = jobwardv1.Surface_SURFACE_UNLISTED }, nil},
		{"unknown surface", func(q *jobwardv1.Question) { q.Surface = 7 }, []string{"surface"}},
		{"surface that wraps", func(q *jobwardv1.Question) { q.Surface = 256 }, []string{"surface"}},
		{"negative surface", func(q *jobwardv1.Question) { q.Surface = -1 }, []string{"surface"}},
		{"all at once", func(q *jobwardv1.Question) {
			q.TargetProjectId, q.TargetProjectPath, q.Permission, q.Surface = -1, long, "", 99
		}, []string{"target_project_id", "target_project_path", "permission", "surface"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := ok()
			c.change(q)
			_, err := QuestionRequest(authz.Digest{1}, q)
			wantFields(t, err, c.bad...)
			_, err = CheckRequest(format(t), &jobwardv1.CheckRequest{
				Token: "x", TargetProjectId: q.TargetProjectId, TargetProjectPath: q.TargetProjectPath, Permission: q.Permission, Surface: q.Surface,
			})
			wantFields(t, err, c.bad...)
		})
	}
	if _, err := QuestionRequest(authz.Digest{}, nil); err == nil {
		t.Error("no question at all is accepted")
	}
}

func TestBatchRequests(t *testing.T) {
	f := format(t)
	tok := f.Mint()
	q := &jobwardv1.Question{TargetProjectId: 1, Permission: "p"}
	m := &jobwardv1.BatchCheckRequest{Token: tok.Reveal(), Questions: []*jobwardv1.Question{q, {TargetProjectPath: "a/b", Permission: "r"}}}
	got, err := BatchRequests(f, m, nil)
	if err != nil || len(got) != 2 || got[0].Token != tok.Digest() || got[1].Token != tok.Digest() || got[1].Target.Path != "a/b" {
		t.Errorf("got %+v, %v", got, err)
	}
	for n, bad := range map[int][]string{0: {"questions"}, 1: nil, 1000: nil, 1001: {"questions"}} {
		m.Questions = many(q, n)
		_, err := BatchRequests(f, m, nil)
		wantFields(t, err, bad...)
	}
	m.Questions = many(q, 5)
	m.Questions[3] = nil
	_, err = BatchRequests(f, m, nil)
	wantFields(t, err, "questions[3].permission")
	m.Token = ""
	_, err = BatchRequests(f, m, nil)
	wantFields(t, err, "token")
}

func TestStreamRequests(t *testing.T) {
	f := format(t)
	one, two := f.Mint(), f.Mint()
	ask := func(s token.Secret) *jobwardv1.CheckRequest {
		return &jobwardv1.CheckRequest{Token: s.Reveal(), TargetProjectId: 1, Permission: "p"}
	}
	got, err := StreamRequests(f, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{ask(one), ask(two)}}, nil)
	if err != nil || len(got) != 2 || got[0].Token != one.Digest() || got[1].Token != two.Digest() {
		t.Errorf("got %+v, %v", got, err)
	}
	for n, bad := range map[int][]string{0: {"questions"}, 100: nil, 101: {"questions"}} {
		_, err := StreamRequests(f, &jobwardv1.CheckStreamRequest{Questions: many(ask(one), n)}, nil)
		wantFields(t, err, bad...)
	}
	_, err = StreamRequests(f, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{ask(one), {Permission: "p"}}}, nil)
	wantFields(t, err, "questions[1].token")
}

// TestSameNumbers keeps Question a CheckRequest without its token in meaning: the same
// fields by name and type.
func TestSameNumbers(t *testing.T) {
	check, question := (&jobwardv1.CheckRequest{}).ProtoReflect().Descriptor(), (&jobwardv1.Question{}).ProtoReflect().Descriptor()
	for i := range question.Fields().Len() {
		q := question.Fields().Get(i)
		if c := check.Fields().ByName(q.Name()); c == nil || c.Kind() != q.Kind() {
			t.Errorf("CheckRequest has no %s like that of Question", q.Name())
		}
	}
}

// TestNoEcho is P7: what was sent as a token or where a token might be put by mistake
// does not come back in an error.
func TestNoEcho(t *testing.T) {
	f := format(t)
	secret := f.Mint().Reveal()
	_, err := CheckRequest(f, &jobwardv1.CheckRequest{
		Token: secret, TargetProjectPath: strings.Repeat("/", 70) + secret, Permission: secret + secret, Surface: 99,
	})
	if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(ToStatus(err).Error(), secret) {
		t.Errorf("the error is %v", err)
	}
}

// TestReadingAllocatesNothing: the hot path makes no garbage of its own.
func TestReadingAllocatesNothing(t *testing.T) {
	f := format(t)
	m := &jobwardv1.CheckRequest{Token: f.Mint().Reveal(), TargetProjectPath: "group/sub/project", Permission: "read_packages"}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := CheckRequest(f, m); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCheckRequest feeds bytes from a socket: never a panic, and what is accepted is
// within the bounds that the rest of the program relies on.
func FuzzCheckRequest(f *testing.F) {
	shape := format(f)
	for _, m := range []*jobwardv1.CheckRequest{
		{Token: shape.Mint().Reveal(), TargetProjectId: 1, Permission: "read_packages"},
		{Token: "x", TargetProjectPath: "a/b/c", Permission: "p", Surface: 6, MinRevision: math.MaxUint64},
	} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := &jobwardv1.CheckRequest{}
		if proto.Unmarshal(raw, m) != nil {
			return
		}
		req, err := CheckRequest(shape, m)
		if err != nil {
			if authz.KindOf(err) != authz.KindInvalid || len(AsError(err).Violations) == 0 {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		if keys := authz.AppendPathKeys(nil, req.Target.Path); len(keys) > MaxPathSegments || req.Target.ID < 0 || req.Target.ID > authz.MaxID ||
			len(req.Permission) > MaxPermission || req.Surface > authz.SurfaceUnlisted {
			t.Fatalf("accepted %+v", req)
		}
	})
}

func BenchmarkCheckRequest(b *testing.B) {
	f := format(b)
	m := &jobwardv1.CheckRequest{Token: f.Mint().Reveal(), TargetProjectId: 7, Permission: "read_packages"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CheckRequest(f, m); err != nil {
			b.Fatal(err)
		}
	}
}

func many[T any](one T, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = one
	}
	return all
}

// wantFields wants err to be nil without fields, else KindInvalid about exactly those.
func wantFields(t *testing.T, err error, fields ...string) {
	t.Helper()
	if err == nil {
		if len(fields) > 0 {
			t.Errorf("no error; want one about %v", fields)
		}
		return
	}
	var e *authz.Error
	if !errors.As(err, &e) || e.Kind != authz.KindInvalid {
		t.Errorf("the error is %v; want KindInvalid about %v", err, fields)
		return
	}
	var got []string
	for _, v := range e.Violations {
		got = append(got, v.Field)
		if v.Message == "" {
			t.Errorf("%s: nothing is said about it", v.Field)
		}
	}
	if strings.Join(got, " ") != strings.Join(fields, " ") {
		t.Errorf("the fields are %v; want %v", got, fields)
	}
}
