package grpccheck

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/pdp/authz"
)

// TestCheck asks what the cache has and what it has not, and gets answers without what only a cache could use.
func TestCheck(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		permission string
		cached     bool
	}{{"hit_a", true}, {"miss_a", false}} {
		resp, err := r.decisions.Check(ctx(t), r.check(c.permission))
		if err != nil {
			t.Fatal(err)
		}
		id := resp.Decision.DecisionId
		want := &jobwardv1.Decision{
			Allow: true, Reason: jobwardv1.Reason_REASON_ALLOWED_LISTED, Revision: 5, ValidFor: resp.Decision.ValidFor, JobId: "build-1", SourceProjectId: 11, UserId: 102,
			TargetProjectId: 14, Entry: &jobwardv1.Scope{GroupId: 2}, Role: jobwardv1.Role_ROLE_REPORTER, RoleScope: &jobwardv1.Scope{GroupId: 3}, DecisionId: id, Cached: c.cached,
		}
		if !proto.Equal(resp.Decision, want) || id == "" || resp.Decision.ValidFor.AsDuration() == 0 {
			t.Errorf("%s: %v\nwant %v", c.permission, resp.Decision, want)
		}
	}
	if n := r.asked.Load(); n != 1 {
		t.Errorf("the PDP was asked %d times", n)
	}
}

// TestMinRevision asks the PDP when the cache is not as far, and looks at no generation.
func TestMinRevision(t *testing.T) {
	r := newRig(t)
	q := r.check("hit")
	q.MinRevision, q.Generation = 7, 99
	if resp, err := r.decisions.Check(ctx(t), q); err != nil || !resp.Decision.Cached {
		t.Error(resp, err)
	}
	q.MinRevision = 8
	if resp, err := r.decisions.Check(ctx(t), q); err != nil || resp.Decision.Cached {
		t.Error(resp, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.least != (hot.Least{Revision: 8}) {
		t.Errorf("asked for %+v", r.least)
	}
}

// TestBatch mixes what the cache has and what it has not: one question to the PDP, and the answers in order.
func TestBatch(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		permissions string
		asked       int64
	}{{"hit", 0}, {"miss", 1}, {"hit hit hit", 0}, {"miss hit miss hit hit miss", 1}, {"hit miss", 1}, {"hit miss hit", 1}} {
		before := r.asked.Load()
		in := &jobwardv1.BatchCheckRequest{Token: r.token}
		names := strings.Fields(c.permissions)
		for i, p := range names {
			in.Questions = append(in.Questions, &jobwardv1.Question{TargetProjectId: int64(100 + i), Permission: p})
		}
		resp, err := r.decisions.BatchCheck(ctx(t), in)
		if err != nil || len(resp.Decisions) != len(names) {
			t.Fatal(c.permissions, resp, err)
		}
		for i, d := range resp.Decisions {
			if d.TargetProjectId != int64(100+i) || d.Cached != (names[i] == "hit") || len(d.DependencyKeys) > 0 || d.AnswerNumber != 0 {
				t.Errorf("%s: %d is %v", c.permissions, i, d)
			}
		}
		if n := r.asked.Load() - before; n != c.asked {
			t.Errorf("%s: the PDP was asked %d times", c.permissions, n)
		}
	}
	big := &jobwardv1.BatchCheckRequest{Token: r.token}
	for i := range 1000 {
		big.Questions = append(big.Questions, &jobwardv1.Question{TargetProjectId: int64(1 + i), Permission: []string{"hit", "miss"}[i%2]})
	}
	if resp, err := r.decisions.BatchCheck(ctx(t), big); err != nil || len(resp.Decisions) != 1000 || resp.Decisions[999].TargetProjectId != 1000 {
		t.Error(err)
	}
}

// TestErrors wants "could not decide" with the PDP's own words, and no decision.
func TestErrors(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{authz.Errorf(authz.KindUnavailable, "LEASE_LAPSED", "gone"), codes.Unavailable},
		{authz.Errorf(authz.KindExhausted, "TOO_MANY_UNKNOWN_TOKENS", "slow down"), codes.ResourceExhausted},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{errors.New("what nobody should see"), codes.Internal},
	} {
		r.fail = c.err
		resp, err := r.decisions.Check(ctx(t), r.check("miss"))
		wantCode(t, err, c.want)
		if resp != nil || strings.Contains(status.Convert(err).Message(), "nobody should see") {
			t.Error(resp, err)
		}
		infos := 0
		for _, d := range status.Convert(err).Details() {
			if _, ok := d.(*errdetails.ErrorInfo); ok {
				infos++
			}
		}
		if infos != 1 {
			t.Errorf("%v has %d ErrorInfo", err, infos)
		}
		_, err = r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: r.token, Questions: []*jobwardv1.Question{{Permission: "hit"}, {Permission: "miss"}}})
		wantCode(t, err, c.want)
	}
	r.fail = nil
	if resp, err := r.decisions.Check(ctx(t), r.check("lapsed")); err != nil || resp.Decision.Allow || resp.Decision.Reason != jobwardv1.Reason_REASON_LEASE_LAPSED {
		t.Error(resp, err)
	}
	_, err := r.decisions.Check(ctx(t), r.check("panic"))
	wantCode(t, err, codes.Internal)
	if resp, err := r.decisions.Check(ctx(t), r.check("hit")); err != nil || !resp.Decision.Cached {
		t.Error("after a panic:", resp, err)
	}
}

// TestBadQuestions wants what the PDP says of the same messages.
func TestBadQuestions(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxMessage = 64 << 10 })
	for name, c := range map[string]struct {
		in    *jobwardv1.CheckRequest
		code  codes.Code
		field string
	}{
		"no token":         {&jobwardv1.CheckRequest{Permission: "hit"}, codes.InvalidArgument, "token"},
		"both":             {&jobwardv1.CheckRequest{Token: "x", TokenDigest: make([]byte, 32), Permission: "hit"}, codes.InvalidArgument, "token_digest"},
		"short digest":     {&jobwardv1.CheckRequest{TokenDigest: make([]byte, 31), Permission: "hit"}, codes.InvalidArgument, "token_digest"},
		"no permission":    {&jobwardv1.CheckRequest{Token: "x"}, codes.InvalidArgument, "permission"},
		"long permission":  {&jobwardv1.CheckRequest{Token: "x", Permission: strings.Repeat("p", 65)}, codes.InvalidArgument, "permission"},
		"negative target":  {&jobwardv1.CheckRequest{Token: "x", Permission: "hit", TargetProjectId: -1}, codes.InvalidArgument, "target_project_id"},
		"long path":        {&jobwardv1.CheckRequest{Token: "x", Permission: "hit", TargetProjectPath: strings.Repeat("p", 1025)}, codes.InvalidArgument, "target_project_path"},
		"unknown surface":  {&jobwardv1.CheckRequest{Token: "x", Permission: "hit", Surface: 99}, codes.InvalidArgument, "surface"},
		"large":            {&jobwardv1.CheckRequest{Token: strings.Repeat("x", 70<<10), Permission: "hit"}, codes.ResourceExhausted, ""},
		"larger than read": {&jobwardv1.CheckRequest{Token: strings.Repeat("x", 200<<10), Permission: "hit"}, codes.ResourceExhausted, ""},
	} {
		_, err := r.decisions.Check(ctx(t), c.in)
		wantCode(t, err, c.code)
		for _, d := range status.Convert(err).Details() {
			if bad, ok := d.(*errdetails.BadRequest); ok && bad.FieldViolations[0].Field != c.field {
				t.Errorf("%s: %v", name, bad)
			}
		}
		if strings.Contains(status.Convert(err).Message(), "xxx") {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
	if resp, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: "no token at all", Permission: "hit"}); err != nil || resp.Decision.Reason != jobwardv1.Reason_REASON_TOKEN_MALFORMED {
		t.Error(resp, err)
	}
	if r.asked.Load() != 0 {
		t.Error("the PDP was asked")
	}
}

// TestNotHere calls what a sidecar does not do.
func TestNotHere(t *testing.T) {
	r := newRig(t)
	calls := map[string]func() error{
		"Explain": func() error {
			_, err := r.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{})
			return err
		},
		"Issue": func() error { _, err := r.tokens1.Issue(ctx(t), &jobwardv1.IssueRequest{}); return err },
		"Revoke": func() error {
			_, err := r.tokens1.Revoke(ctx(t), &jobwardv1.RevokeRequest{})
			return err
		},
		"Reconcile": func() error {
			s, err := r.tokens1.Reconcile(ctx(t))
			if err != nil {
				return err
			}
			_, err = s.CloseAndRecv()
			return err
		},
		"AllowlistService": func() error {
			_, err := jobwardv1.NewAllowlistServiceClient(r.conn).GetAllowlist(ctx(t), &jobwardv1.GetAllowlistRequest{})
			return err
		},
		"WatchService": func() error {
			s, err := jobwardv1.NewWatchServiceClient(r.conn).Watch(ctx(t))
			if err != nil {
				return err
			}
			_, err = s.Recv()
			return err
		},
	}
	for name, call := range calls {
		err := call()
		wantCode(t, err, codes.Unimplemented)
		if !strings.Contains(status.Convert(err).Message(), "call the policy decision point") || !strings.Contains(status.Convert(err).Message(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHot wants of another package's hot method what Check has: a panic is an error and no more, and what is left out says so.
func TestHot(t *testing.T) {
	r := newRig(t)
	envoy := authv3.NewAuthorizationClient(r.conn)
	_, err := envoy.Check(ctx(t), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{}})
	wantCode(t, err, codes.Internal)
	if _, err := envoy.Check(ctx(t), &authv3.CheckRequest{}); err != nil {
		t.Error("after a panic:", err)
	}
	bare := newRig(t, func(o *Options) { o.Reflection = false })
	s, err := reflectionpb.NewServerReflectionClient(bare.conn).ServerReflectionInfo(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv()
	wantCode(t, err, codes.Unimplemented)
	if !strings.Contains(status.Convert(err).Message(), "the settings of this sidecar") {
		t.Error(err)
	}
}

func TestIntrospect(t *testing.T) {
	r := newRig(t)
	if resp, err := r.tokens1.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: r.token}); err != nil || !resp.Live {
		t.Error(resp, err)
	}
	_, err := r.tokens1.Introspect(ctx(t), &jobwardv1.IntrospectRequest{})
	wantCode(t, err, codes.InvalidArgument)
	r.fail = authz.Errorf(authz.KindUnavailable, "X", "gone")
	_, err = r.tokens1.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: r.token})
	wantCode(t, err, codes.Unavailable)
}

// TestDoors calls every method as every role.
func TestDoors(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Callers = byRole{} })
	want := map[string]string{ // by caller: what Check, Introspect and Issue say
		"":           "Unauthenticated Unauthenticated Unauthenticated",
		"nonsense":   "Unauthenticated Unauthenticated Unauthenticated",
		"nothing":    "PermissionDenied PermissionDenied PermissionDenied",
		"runner":     "PermissionDenied PermissionDenied Unimplemented",
		"service":    "OK OK Unimplemented",
		"sidecar":    "PermissionDenied PermissionDenied Unimplemented",
		"directory":  "PermissionDenied PermissionDenied Unimplemented",
		"maintainer": "PermissionDenied PermissionDenied Unimplemented",
		"admin":      "OK OK Unimplemented",
		"peer":       "PermissionDenied PermissionDenied Unimplemented",
	}
	for who, codes := range want {
		ctx := as(ctx(t), who)
		_, err1 := r.decisions.Check(ctx, r.check("hit"))
		_, err2 := r.tokens1.Introspect(ctx, &jobwardv1.IntrospectRequest{Token: r.token})
		_, err3 := r.tokens1.Issue(ctx, &jobwardv1.IssueRequest{})
		got := status.Code(err1).String() + " " + status.Code(err2).String() + " " + status.Code(err3).String()
		if got != codes {
			t.Errorf("%q: %s, want %s", who, got, codes)
		}
		_, err := r.decisions.BatchCheck(ctx, &jobwardv1.BatchCheckRequest{Token: r.token, Questions: []*jobwardv1.Question{{Permission: "hit"}}})
		stream, serr := r.decisions.CheckStream(ctx)
		if serr != nil {
			t.Fatal(serr)
		}
		stream.CloseSend()
		_, serr = stream.Recv()
		if serr == io.EOF {
			serr = nil
		}
		_, aerr := authv3.NewAuthorizationClient(r.conn).Check(ctx, &authv3.CheckRequest{})
		if status.Code(err) != status.Code(err1) || status.Code(serr) != status.Code(err1) || status.Code(aerr) != status.Code(err1) {
			t.Errorf("%q: Check %v, BatchCheck %v, CheckStream %v, Envoy's Check %v", who, err1, err, serr, aerr)
		}
	}
	// Every method of every service has a row, or is the PDP's; no row is stale.
	rows := map[string]bool{}
	for service, info := range r.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			rows["/"+service+"/"+m.Name] = true
		}
	}
	labels := map[string]string{}
	for method, d := range r.server.doors {
		if other := labels[d.short()]; d.hot && other != "" {
			t.Errorf("%s and %s are one in the metrics", method, other)
		} else if d.hot {
			labels[d.short()] = method
		}
		if !rows[method] {
			t.Errorf("the row of %s is stale: there is no such method", method)
		}
		if d.why == "" || strings.HasSuffix(d.why, ".") {
			t.Errorf("%s does not say why in a phrase: %q", method, d.why)
		}
	}
}
