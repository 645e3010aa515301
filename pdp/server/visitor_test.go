package server

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/pdp/authz"
)

// TestVisitor asks about nobody by every way to ask. No unknown token is shown by that, so
// the limit on those, which is none here, is not reached; and nobody authenticated, so the
// audit log has nothing of it.
func TestVisitor(t *testing.T) {
	r := newRig(t)
	r.server.unknown = hot.NewFlood(0)
	nobody := authz.Nobody[:]
	const missing, opened = jobwardv1.Reason_REASON_TOKEN_MISSING, jobwardv1.Reason_REASON_ALLOWED_OPEN
	for _, c := range []struct {
		target     int64
		permission string
		want       jobwardv1.Reason
	}{
		{open, "download_code", opened},
		{open, "push_code", missing},
		{lib, "download_code", missing},
		{99, "download_code", missing},
		{open, "fly", jobwardv1.Reason_REASON_PERMISSION_UNKNOWN},
	} {
		q := &jobwardv1.Question{TargetProjectId: c.target, Permission: c.permission}
		check := &jobwardv1.CheckRequest{TokenDigest: nobody, TargetProjectId: c.target, Permission: c.permission}
		one, err1 := r.decisions.Check(ctx(t), check)
		batch, err2 := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{TokenDigest: nobody, Questions: []*jobwardv1.Question{q}})
		stream := r.ask(t, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{check}})
		told, err3 := r.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{Subject: &jobwardv1.ExplainRequest_Anonymous{Anonymous: true}, Question: q})
		if err1 != nil || err2 != nil || err3 != nil || stream.Problem != nil {
			t.Fatal(err1, err2, err3, stream.Problem)
		}
		for i, d := range []*jobwardv1.Decision{one.Decision, batch.Decisions[0], stream.Decisions[0], told.Decision} {
			switch {
			case d.Reason != c.want || d.Allow != (c.want == opened):
				t.Errorf("%d: %s on %d: %v, want %v", i, c.permission, c.target, d.Reason, c.want)
			case d.JobId != "" || d.SourceProjectId != 0 || d.UserId != 0 || d.ValidFor.AsDuration() != authz.VisitorTerm:
				t.Errorf("%d: %s on %d: %v", i, c.permission, c.target, d)
			}
		}
	}
	in, err := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{TokenDigest: nobody})
	if err != nil || in.Live || in.Reason != missing || in.Job != nil || in.Revision == 0 {
		t.Errorf("%v, %v", in, err)
	}
	_, err = r.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{
		Subject: &jobwardv1.ExplainRequest_Anonymous{}, Question: &jobwardv1.Question{TargetProjectId: open, Permission: "download_code"},
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("anonymous: false is about whom? %v", err)
	}
	if n := r.server.unknown.Shown(); n != 0 {
		t.Errorf("%d unknown tokens were counted", n)
	}
	// What is written later than they would have been is there, and they are not.
	if d := r.check(t, "no token"); d.Reason != malformed {
		t.Fatal(d)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		events, err := r.audit.ListEvents(ctx(t), &jobwardv1.ListEventsRequest{Verb: "check"})
		if err != nil || time.Now().After(deadline) {
			t.Fatal(events, err)
		}
		if len(events.Events) == 0 {
			continue
		}
		if len(events.Events) != 1 || events.Events[0].Reason != malformed {
			t.Errorf("%v", events.Events)
		}
		break
	}
}
