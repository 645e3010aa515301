package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/token"
)

// wantError fails unless err has the code and the reason, and one ErrorInfo.
func wantError(t testing.TB, err error, code codes.Code, reason string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%v; want %v", err, code)
		return
	}
	if got := oneInfo(t, err).Reason; got != reason {
		t.Errorf("the reason is %s; want %s", got, reason)
	}
}

func TestIssue(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	req := &jobwardv1.IssueRequest{
		JobId: "j1", ProjectId: app, UserId: maintainer, PipelineId: 5, Ref: "main", Timeout: durationpb.New(600e9),
		RunnerId: "r1", HeartbeatTerm: durationpb.New(60e9), RequestId: "request-7",
		Limits: &jobwardv1.Limits{LimitPermissions: true, Targets: []*jobwardv1.Scope{{GroupId: acme}}},
	}
	req.ValidateOnly = true
	before := r.head()
	dry, err := r.token.Issue(ctx(t), req)
	if err != nil || dry.Token != "" || dry.Receipt.Effective || r.head() != before {
		t.Errorf("validating: %v, %v, head %d", dry, err, r.head())
	}
	req.ValidateOnly = false
	out, err := r.token.Issue(ctx(t), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.Parse(out.Token); err != nil || out.Replaced || out.Receipt.Revision != uint64(r.head()) || !out.Receipt.Effective {
		t.Errorf("%v, %v", out, err)
	}
	if left := out.ValidFor.AsDuration().Seconds(); left < 590 || left > 600 {
		t.Errorf("it is valid for %v s", left)
	}
	again, err := r.token.Issue(ctx(t), req)
	if err != nil || !again.Replaced || again.Token == out.Token {
		t.Errorf("%v, %v", again, err)
	}
	job, err := r.token.GetJob(ctx(t), &jobwardv1.GetJobRequest{JobId: "j1"})
	if err != nil {
		t.Fatal(err)
	}
	j := job.Job
	if !j.Live || j.PipelineId != 5 || j.Ref != "main" || j.RunnerId != "r1" || j.HeartbeatTerm.AsDuration().Seconds() != 60 ||
		!j.Limits.LimitPermissions || len(j.Limits.Permissions) != 0 || j.Limits.Targets[0].GroupId != acme {
		t.Errorf("%v", j)
	}
	for tok, want := range map[string]jobwardv1.Reason{out.Token: jobwardv1.Reason_REASON_TOKEN_REPLACED, again.Token: jobwardv1.Reason_REASON_ALLOWED_OWN_JOB} {
		if in, err := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok}); err != nil || in.Reason != want || in.Live != (tok == again.Token) || in.Job.JobId != "j1" {
			t.Errorf("%v, %v; want %v", in, err, want)
		}
	}
	_, err = r.token.Issue(ctx(t), &jobwardv1.IssueRequest{JobId: "j1", ProjectId: lib, UserId: maintainer})
	wantError(t, err, codes.FailedPrecondition, "JOB_MISMATCH")
	_, err = r.token.Issue(ctx(t), &jobwardv1.IssueRequest{JobId: "j2", ProjectId: 999, UserId: maintainer})
	wantError(t, err, codes.FailedPrecondition, "SOURCE_GONE")
	_, err = r.token.Issue(ctx(t), &jobwardv1.IssueRequest{JobId: "j2", ProjectId: app, UserId: maintainer, HeartbeatTerm: durationpb.New(60e9)})
	wantInvalid(t, err, "runner_id")
	r.grpc.Stop()
	if text := log.String(); strings.Count(text, "request_id=request-7") != 3 || strings.Contains(text, out.Token) {
		t.Errorf("the log is %s", text)
	}
}

func TestRevoke(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	r.issue(t, "j2", maintainer)
	const (
		revoked, dead, tomb, nobody = jobwardv1.RevokeEffect_REVOKE_EFFECT_REVOKED, jobwardv1.RevokeEffect_REVOKE_EFFECT_ALREADY_DEAD,
			jobwardv1.RevokeEffect_REVOKE_EFFECT_TOMBSTONED, jobwardv1.RevokeEffect_REVOKE_EFFECT_TOKEN_UNKNOWN
	)
	revoke := func(req *jobwardv1.RevokeRequest, want ...jobwardv1.RevokeEffect) *jobwardv1.RevokeResponse {
		t.Helper()
		out, err := r.token.Revoke(ctx(t), req)
		if err != nil || len(out.Results) != len(want) {
			t.Fatalf("%v, %v", out, err)
		}
		for i, res := range out.Results {
			if res.Effect != want[i] {
				t.Errorf("result %d is %v; want %v", i, res, want[i])
			}
		}
		return out
	}
	req := &jobwardv1.RevokeRequest{
		JobIds: []string{"j2", "never-issued"}, Tokens: []string{tok, "nonsense", r.tokens.Mint().Reveal(), tok, ""}, Outcome: jobwardv1.Outcome_OUTCOME_FAILED, ValidateOnly: true,
	}
	before := r.head()
	out := revoke(req, revoked, tomb, revoked, nobody, nobody, revoked, nobody)
	if out.Receipt.Effective || out.Results[0].Revision != 0 || r.head() != before {
		t.Errorf("validating: %v", out)
	}
	req.ValidateOnly = false
	out = revoke(req, revoked, tomb, revoked, nobody, nobody, revoked, nobody)
	if rev := uint64(r.head()); !out.Receipt.Effective || out.Receipt.Revision != rev || out.Results[0].Revision != rev || out.Results[2].JobId != "j1" || out.Results[3].JobId != "" {
		t.Errorf("%v", out)
	}
	first := out.Results[2].Revision
	out = revoke(req, dead, dead, dead, nobody, nobody, dead, nobody)
	if out.Results[2].Revision != first {
		t.Errorf("again: %v", out)
	}
	_, err := r.token.Issue(ctx(t), &jobwardv1.IssueRequest{JobId: "never-issued", ProjectId: app, UserId: maintainer})
	wantError(t, err, codes.FailedPrecondition, "JOB_ENDED")
	job, err := r.token.GetJob(ctx(t), &jobwardv1.GetJobRequest{JobId: "j1"})
	if err != nil || job.Job.Status != jobwardv1.JobStatus_JOB_STATUS_FAILED || job.Job.Live || job.Job.EndRevision != first {
		t.Errorf("%v, %v", job, err)
	}
	_, err = r.token.GetJob(ctx(t), &jobwardv1.GetJobRequest{JobId: "nobody"})
	wantError(t, err, codes.NotFound, "JOB_NOT_FOUND")
}

func TestKeepAlive(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		if _, err := r.token.Issue(ctx(t), &jobwardv1.IssueRequest{
			JobId: fmt.Sprint("j", i), ProjectId: app, UserId: maintainer, RunnerId: "r1", HeartbeatTerm: durationpb.New(600e9),
		}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := r.token.KeepAlive(ctx(t), &jobwardv1.KeepAliveRequest{RunnerId: "r1"})
	if err != nil || out.LiveJobs != 3 || len(out.LapsedJobIds) != 0 || out.MoreLapsed || out.Revision != uint64(r.head()) {
		t.Fatalf("%v, %v", out, err)
	}
	if w := out.NextWithin.AsDuration().Seconds(); w < 590 || w > 600 || out.NextDeadline == nil {
		t.Errorf("%v", out)
	}
	out, err = r.token.KeepAlive(ctx(t), &jobwardv1.KeepAliveRequest{RunnerId: "idle"})
	if err != nil || out.LiveJobs != 0 || out.NextWithin != nil {
		t.Errorf("%v, %v", out, err)
	}
}

// TestIntrospectNobodys: a token that nobody has is an answer, not an error.
func TestIntrospectNobodys(t *testing.T) {
	r := newRig(t)
	for tok, want := range map[string]jobwardv1.Reason{r.tokens.Mint().Reveal(): unknown, "nonsense": malformed} {
		out, err := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok})
		if err != nil || out.Live || out.Reason != want || out.Job != nil || out.ValidFor != nil || out.Revision != uint64(r.head()) {
			t.Errorf("%v, %v; want %v", out, err, want)
		}
	}
	_, err := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{})
	wantInvalid(t, err, "token")
}

func TestListJobs(t *testing.T) {
	r := newRig(t)
	for i := range 7 {
		r.issue(t, fmt.Sprint("j", i), maintainer)
	}
	r.issue(t, "other", dev)
	if _, err := r.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{"j3"}}); err != nil {
		t.Fatal(err)
	}
	for want, req := range map[int]*jobwardv1.ListJobsRequest{
		8: {PageSize: 3}, 7: {UserId: maintainer, PageSize: 2}, 6: {UserId: maintainer, LiveOnly: true, PageSize: 4}, 0: {RunnerId: "x"},
	} {
		seen := map[string]bool{}
		for {
			out, err := r.token.ListJobs(ctx(t), req)
			if err != nil || len(out.Jobs) > int(req.PageSize) && req.PageSize > 0 {
				t.Fatalf("%v, %v", out, err)
			}
			for _, j := range out.Jobs {
				if seen[j.JobId] {
					t.Errorf("%s comes twice", j.JobId)
				}
				seen[j.JobId] = true
			}
			if req.PageToken = out.NextPageToken; req.PageToken == "" {
				break
			}
		}
		if len(seen) != want {
			t.Errorf("%v: %d jobs; want %d", req, len(seen), want)
		}
	}
}

func TestReconcile(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.issue(t, fmt.Sprint("j", i), maintainer)
	}
	asOf := uint64(r.head())
	r.issue(t, "younger", maintainer)
	header := &jobwardv1.ReconcileHeader{AsOfRevision: asOf, Outcome: jobwardv1.Outcome_OUTCOME_SUCCESS, ValidateOnly: true}
	call := func(parts ...*jobwardv1.ReconcileRequest) (*jobwardv1.ReconcileResponse, error) {
		t.Helper()
		s, err := r.token.Reconcile(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			s.Send(p) // what it fails with comes with the answer
		}
		return s.CloseAndRecv()
	}
	head := &jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: header}}
	list := func(ids ...string) *jobwardv1.ReconcileRequest {
		return &jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Running{Running: &jobwardv1.JobIds{JobIds: ids}}}
	}
	want := func(what string, out *jobwardv1.ReconcileResponse, err error, effective bool) {
		t.Helper()
		if err != nil || out.Finished != 3 || strings.Join(out.FinishedJobIds, " ") != "j0 j3 j4" || out.NotLive != 1 || out.NotLiveJobIds[0] != "stranger" ||
			out.Younger != 1 || out.Confirmed != 2 || out.Receipt.Effective != effective || out.Receipt.Revision != uint64(r.head()) {
			t.Errorf("%s: %v, %v", what, out, err)
		}
	}
	before := r.head()
	out, err := call(head, list("j1"), list("j2", "stranger"))
	if want("validating", out, err, false); r.head() != before {
		t.Error("validating changed something")
	}
	header.ValidateOnly = false
	out, err = call(head, list("j1"), list("j2", "stranger"))
	want("for good", out, err, true)
	job, err := r.token.GetJob(ctx(t), &jobwardv1.GetJobRequest{JobId: "j0"})
	if err != nil || job.Job.Status != jobwardv1.JobStatus_JOB_STATUS_SUCCESS {
		t.Errorf("%v, %v", job, err)
	}
	for field, parts := range map[string][]*jobwardv1.ReconcileRequest{
		"header":                {list("j1")},
		"header.as_of_revision": {{Part: &jobwardv1.ReconcileRequest_Header{Header: &jobwardv1.ReconcileHeader{AsOfRevision: 1 << 40}}}},
		"part":                  {head, {}},
	} {
		_, err := call(parts...)
		wantInvalid(t, err, field)
	}
	_, err = call()
	wantInvalid(t, err, "header")
	_, err = call(head, head)
	wantInvalid(t, err, "header")
}

// TestBrokenStreamsChangeNothing: a list that was begun and not ended is not acted on.
func TestBrokenStreamsChangeNothing(t *testing.T) {
	r := newRig(t)
	r.issue(t, "j1", maintainer)
	before := r.head()
	rec, err := r.token.Reconcile(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	rec.Send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: &jobwardv1.ReconcileHeader{AsOfRevision: uint64(before)}}})
	sync, err := r.directory.SyncWorld(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	sync.Send(&jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Header{Header: &jobwardv1.SyncHeader{AsOfRevision: uint64(before)}}})
	for _, method := range []string{jobwardv1.TokenService_Reconcile_FullMethodName, jobwardv1.DirectoryService_SyncWorld_FullMethodName} {
		for r.server.doors[method].inFlight.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	r.conn.Close() // the caller is gone
	r.grpc.GracefulStop()
	if r.head() != before {
		t.Errorf("the head went from %d to %d", before, r.head())
	}
}
