package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

const (
	allowed    = jobwardv1.Reason_REASON_ALLOWED_LISTED
	notListed  = jobwardv1.Reason_REASON_INBOUND_NOT_LISTED
	notRunning = jobwardv1.Reason_REASON_JOB_NOT_RUNNING
	unknown    = jobwardv1.Reason_REASON_TOKEN_UNKNOWN
	malformed  = jobwardv1.Reason_REASON_TOKEN_MALFORMED
)

// TestCheck asks one question about a token over its life, on both kinds of socket, and
// the answer is the engine's.
func TestCheck(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := newEngineRig(t, newStore())
			r.serve(t, network)
			tok := r.issue(t, "j1", maintainer)
			check := func(q *jobwardv1.CheckRequest, want jobwardv1.Reason) *jobwardv1.Decision {
				t.Helper()
				out, err := r.decisions.Check(ctx(t), q)
				if err != nil || out.Decision.Reason != want {
					t.Fatalf("%v: %v, %v; want %v", q, out, err, want)
				}
				digest, _ := r.tokens.DigestOfString(q.Token)
				req, err := wire.QuestionRequest(digest, &jobwardv1.Question{
					TargetProjectId: q.TargetProjectId, TargetProjectPath: q.TargetProjectPath, Permission: q.Permission, Surface: q.Surface,
				})
				if err != nil {
					t.Fatal(err)
				}
				direct, _ := r.engine.Check(ctx(t), req)
				m := wire.DecisionToProto(&direct, out.Decision.DecisionId)
				if m.ValidFor, out.Decision.ValidFor = nil, nil; !proto.Equal(m, out.Decision) {
					t.Errorf("over the wire %v; the engine says %v", out.Decision, m)
				}
				return out.Decision
			}
			ask := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
			check(ask, allowed)
			check(&jobwardv1.CheckRequest{Token: tok, TargetProjectPath: "acme/lib", Permission: "read_repository"}, allowed)
			check(&jobwardv1.CheckRequest{Token: tok, TargetProjectPath: "acme/lüb", Permission: "read_repository"}, jobwardv1.Reason_REASON_TARGET_NOT_FOUND)
			check(&jobwardv1.CheckRequest{Token: tok, TargetProjectId: closed, Permission: "read_repository"}, notListed)
			check(&jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository", Surface: jobwardv1.Surface_SURFACE_GRAPHQL}, jobwardv1.Reason_REASON_SURFACE_CLOSED)
			check(&jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "fly"}, jobwardv1.Reason_REASON_PERMISSION_UNKNOWN)
			check(&jobwardv1.CheckRequest{Token: r.tokens.Mint().Reveal(), TargetProjectId: lib, Permission: "read_repository"}, unknown)
			for _, text := range []string{"x", strings.Repeat("x", 129), strings.Repeat("x", 100_000), tok + "x", tok[1:]} {
				check(&jobwardv1.CheckRequest{Token: text, TargetProjectId: lib, Permission: "read_repository"}, malformed)
			}
			if _, err := r.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{"j1"}}); err != nil {
				t.Fatal(err)
			}
			check(ask, notRunning)
		})
	}
}

// TestCheckRefuses: what is no question is the asker's error, and the field is named.
func TestCheckRefuses(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	q := func(change func(*jobwardv1.CheckRequest)) *jobwardv1.CheckRequest {
		m := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
		change(m)
		return m
	}
	good := q(func(*jobwardv1.CheckRequest) {})
	for field, m := range map[string]*jobwardv1.CheckRequest{
		"token":               q(func(m *jobwardv1.CheckRequest) { m.Token = "" }),
		"target_project_id":   q(func(m *jobwardv1.CheckRequest) { m.TargetProjectId = -1 }),
		"target_project_path": q(func(m *jobwardv1.CheckRequest) { m.TargetProjectPath = strings.Repeat("a/", 64) + "b" }),
		"permission":          q(func(m *jobwardv1.CheckRequest) { m.Permission = "" }),
		"surface":             q(func(m *jobwardv1.CheckRequest) { m.Surface = 7 }),
	} {
		_, err := r.decisions.Check(ctx(t), m)
		wantInvalid(t, err, field)
		// The same in the middle of many: all of the call is refused.
		if field != "token" {
			question := func(m *jobwardv1.CheckRequest) *jobwardv1.Question {
				return &jobwardv1.Question{TargetProjectId: m.TargetProjectId, TargetProjectPath: m.TargetProjectPath, Permission: m.Permission, Surface: m.Surface}
			}
			_, err = r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: tok, Questions: []*jobwardv1.Question{question(good), question(m)}})
			wantInvalid(t, err, "questions[1]."+field)
		}
		out := r.ask(t, &jobwardv1.CheckStreamRequest{Id: 5, Questions: []*jobwardv1.CheckRequest{good, m}})
		if len(out.Decisions) > 0 || out.Id != 5 {
			t.Errorf("%s: the message is answered by %v", field, out)
		}
		wantInvalid(t, wire.ToStatus(wire.ProblemFromProto(out.Problem)), "questions[1]."+field)
	}
	_, err := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Questions: []*jobwardv1.Question{{Permission: "x"}}})
	wantInvalid(t, err, "token")
	_, err = r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: tok})
	wantInvalid(t, err, "questions")
	many := &jobwardv1.BatchCheckRequest{Token: tok}
	for range wire.MaxBatchQuestions + 1 {
		many.Questions = append(many.Questions, &jobwardv1.Question{Permission: "x"})
	}
	_, err = r.decisions.BatchCheck(ctx(t), many)
	wantInvalid(t, err, "questions")
}

func wantInvalid(t testing.TB, err error, field string) {
	t.Helper()
	e := wire.AsError(err)
	if e == nil || e.Kind != authz.KindInvalid || len(e.Violations) != 1 || e.Violations[0].Field != field {
		t.Errorf("the error is %v; want one about %s", err, field)
		return
	}
	oneInfo(t, err)
}

// ask sends one message on a stream of its own.
func (r *rig) ask(t testing.TB, m *jobwardv1.CheckStreamRequest) *jobwardv1.CheckStreamResponse {
	t.Helper()
	s, err := r.decisions.CheckStream(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
	out, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ends with %v", err)
	}
	return out
}

func TestMinRevision(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	head := uint64(r.head())
	for rev, want := range map[uint64]codes.Code{0: codes.OK, head: codes.OK, head + 1: codes.Unavailable} {
		check := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository", MinRevision: rev}
		_, err1 := r.decisions.Check(ctx(t), check)
		_, err2 := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{
			Token: tok, MinRevision: rev, Questions: []*jobwardv1.Question{{TargetProjectId: lib, Permission: "read_repository"}},
		})
		_, err3 := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok, MinRevision: rev})
		_, err4 := r.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{
			Subject: &jobwardv1.ExplainRequest_Token{Token: tok}, Question: &jobwardv1.Question{Permission: "read_own_job"}, MinRevision: rev,
		})
		err5 := wire.ToStatus(wire.ProblemFromProto(r.ask(t, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{check}}).Problem))
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if status.Code(err) != want {
				t.Errorf("%d: revision %d of %d: %v; want %v", i, rev, head, err, want)
			}
			if err != nil && oneInfo(t, err).Reason != "BEHIND" {
				t.Errorf("%d: %v", i, err)
			}
		}
	}
}

// TestBatchCheck: answers stand in the order of the questions.
func TestBatchCheck(t *testing.T) {
	r := newRig(t)
	req := &jobwardv1.BatchCheckRequest{Token: r.issue(t, "j1", maintainer)}
	targets := []int64{lib, closed, app, 999}
	reasons := []jobwardv1.Reason{allowed, notListed, jobwardv1.Reason_REASON_ALLOWED_SELF, jobwardv1.Reason_REASON_TARGET_NOT_FOUND}
	for i := range wire.MaxBatchQuestions {
		req.Questions = append(req.Questions, &jobwardv1.Question{TargetProjectId: targets[i%4], Permission: "read_repository"})
	}
	out, err := r.decisions.BatchCheck(ctx(t), req)
	if err != nil || len(out.Decisions) != len(req.Questions) {
		t.Fatalf("%d decisions, %v", len(out.GetDecisions()), err)
	}
	ids := map[string]bool{}
	for i, d := range out.Decisions {
		if d.Reason != reasons[i%4] {
			t.Fatalf("answer %d is %v", i, d)
		}
		ids[d.DecisionId] = true
	}
	if len(ids) != len(req.Questions) {
		t.Errorf("%d ids for %d decisions", len(ids), len(req.Questions))
	}
}

// TestCheckStream keeps many messages under way and finds each answered once, by its
// id, with bad ones in between that do not disturb the others.
func TestCheckStream(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	s, err := r.decisions.CheckStream(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	const messages = 500
	go func() {
		for id := range uint64(messages) {
			m := &jobwardv1.CheckStreamRequest{Id: id}
			for i := range id % 7 { // none is a bad message
				target := int64(lib)
				if i%2 == 1 {
					target = closed
				}
				m.Questions = append(m.Questions, &jobwardv1.CheckRequest{Token: tok, TargetProjectId: target, Permission: "read_repository"})
			}
			if s.Send(m) != nil {
				return
			}
		}
		s.CloseSend()
	}()
	seen := map[uint64]bool{}
	for {
		out, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen[out.Id] {
			t.Errorf("message %d is answered twice", out.Id)
		}
		seen[out.Id] = true
		if bad := out.Id%7 == 0; bad != (out.Problem != nil) || len(out.Decisions) != int(out.Id%7) {
			t.Errorf("message %d: %v", out.Id, out)
		}
		for i, d := range out.Decisions {
			if d.Allow != (i%2 == 0) {
				t.Errorf("message %d, question %d: %v", out.Id, i, d)
			}
		}
	}
	if len(seen) != messages {
		t.Errorf("%d of %d messages are answered", len(seen), messages)
	}
}

// TestJudgedWhenJudged: a question that is sent after a revocation returned, on a
// stream that has been open all along, is judged after it (PROTOCOL R10).
func TestJudgedWhenJudged(t *testing.T) {
	r := newRig(t)
	s, err := r.decisions.CheckStream(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.CloseSend()
	for i := range uint64(50) {
		job := fmt.Sprint("job-", i)
		q := &jobwardv1.CheckStreamRequest{Id: i, Questions: []*jobwardv1.CheckRequest{{
			Token: r.issue(t, job, maintainer), TargetProjectId: lib, Permission: "read_repository",
		}}}
		for _, want := range []jobwardv1.Reason{allowed, notRunning} {
			if err := s.Send(q); err != nil {
				t.Fatal(err)
			}
			out, err := s.Recv()
			if err != nil || out.Decisions[0].Reason != want {
				t.Fatalf("%v, %v; want %v", out, err, want)
			}
			if want == allowed {
				rv, err := r.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{job}})
				if err != nil || !rv.Receipt.Effective {
					t.Fatal(rv, err)
				}
			}
		}
	}
}

// TestConcurrentChecks mixes callers that share the pools; run with -race.
func TestConcurrentChecks(t *testing.T) {
	r := newRig(t)
	toks := []string{r.issue(t, "j0", maintainer), r.issue(t, "j1", dev), "nonsense"}
	want := []jobwardv1.Reason{allowed, jobwardv1.Reason_REASON_NOT_MEMBER, malformed}
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 100 {
				k := (w + i) % 3
				if i%10 == 0 {
					out, err := r.decisions.BatchCheck(context.Background(), &jobwardv1.BatchCheckRequest{Token: toks[k], Questions: []*jobwardv1.Question{
						{TargetProjectId: lib, Permission: "read_repository"}, {TargetProjectId: lib, Permission: "read_repository"},
					}})
					if err != nil || out.Decisions[1].Reason != want[k] {
						t.Errorf("%v, %v; want %v", out, err, want[k])
					}
				}
				out, err := r.decisions.Check(context.Background(), &jobwardv1.CheckRequest{Token: toks[k], TargetProjectId: lib, Permission: "read_repository"})
				if err != nil || out.Decision.Reason != want[k] {
					t.Errorf("%v, %v; want %v", out, err, want[k])
				}
			}
		})
	}
	all.Wait()
}

// TestDecisionsAreFoundAgain: the id in the answer is in the audit log and the log.
func TestDecisionsAreFoundAgain(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	tok := r.issue(t, "j1", maintainer)
	out, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: tok, TargetProjectId: closed, Permission: "read_repository"})
	if err != nil {
		t.Fatal(err)
	}
	id := out.Decision.DecisionId
	if len(id) == 0 || len(id) > 64 {
		t.Errorf("the id is %q", id)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		events, err := r.audit.ListEvents(ctx(t), &jobwardv1.ListEventsRequest{JobId: "j1", DenialsOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(events.Events) == 1 && events.Events[0].DecisionId == id && events.Events[0].Reason == notListed {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the audit log has %v", events)
		}
		time.Sleep(20 * time.Millisecond) // the recorder writes every few seconds
	}
	r.grpc.Stop()
	if text := log.String(); !strings.Contains(text, "decision="+id) || strings.Contains(text, tok) || !strings.Contains(text, "reason=inbound_not_listed") {
		t.Errorf("the log is %s", text)
	}
}

func TestExplain(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	question := &jobwardv1.Question{TargetProjectId: closed, Permission: "read_repository"}
	byToken, err := r.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{Subject: &jobwardv1.ExplainRequest_Token{Token: tok}, Question: question})
	if err != nil {
		t.Fatal(err)
	}
	byJob, err := r.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{Subject: &jobwardv1.ExplainRequest_JobId{JobId: "j1"}, Question: question})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []*jobwardv1.ExplainResponse{byToken, byJob} {
		var refused *jobwardv1.Step
		for _, s := range out.Steps {
			if refused == nil && s.Reason != 0 {
				refused = s
			}
		}
		if out.Decision.Reason != notListed || refused == nil || refused.Reason != notListed || refused.Text == "" || out.ReasonText == "" {
			t.Errorf("%v", out)
		}
	}
	for want, req := range map[codes.Code]*jobwardv1.ExplainRequest{
		codes.NotFound:        {Subject: &jobwardv1.ExplainRequest_JobId{JobId: "nobody"}, Question: question},
		codes.InvalidArgument: {Subject: &jobwardv1.ExplainRequest_JobId{JobId: "j1"}, Question: &jobwardv1.Question{TargetProjectId: -1, Permission: "x"}},
	} {
		_, err := r.decisions.Explain(ctx(t), req)
		if oneInfo(t, err); status.Code(err) != want {
			t.Errorf("%v; want %v", err, want)
		}
	}
}

// TestDrain: a stream that is held ends when the server drains, with words, and other
// calls go on.
func TestDrain(t *testing.T) {
	r := newRig(t)
	s, err := r.decisions.CheckStream(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{{Token: "x", Permission: "y"}}}
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	r.server.Drain()
	r.server.Drain() // again is nothing
	_, err = s.Recv()
	if status.Code(err) != codes.Unavailable || oneInfo(t, err).Reason != wire.CodeDraining {
		t.Errorf("the stream ends with %v", err)
	}
	if _, err := r.directory.GetStatus(ctx(t), &jobwardv1.GetStatusRequest{}); err != nil {
		t.Error(err)
	}
	done := make(chan struct{})
	go func() { r.grpc.GracefulStop(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the server does not stop gracefully")
	}
}

// TestPanic: a fault in a call ends the call and not the server.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	tok := r.issue(t, "j1", maintainer)
	engine := r.server.engine
	r.server.engine = nil // whoever uses it panics
	check := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
	_, err1 := r.decisions.Check(ctx(t), check)
	_, err2 := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: tok, Questions: []*jobwardv1.Question{{TargetProjectId: lib, Permission: "read_repository"}}})
	_, err3 := r.token.GetJob(ctx(t), &jobwardv1.GetJobRequest{JobId: "j1"})
	s, err := r.decisions.CheckStream(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Send(&jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{check}})
	_, err4 := s.Recv()
	rs, err := r.token.Reconcile(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	rs.Send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: &jobwardv1.ReconcileHeader{AsOfRevision: 1}}})
	_, err5 := rs.CloseAndRecv()
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if status.Code(err) != codes.Internal || oneInfo(t, err).Reason != wire.CodePanic || strings.Contains(err.Error(), "nil pointer") {
			t.Errorf("%d: %v", i, err)
		}
	}
	r.server.engine = engine
	if out, err := r.decisions.Check(ctx(t), check); err != nil || !out.Decision.Allow {
		t.Errorf("afterwards: %v, %v", out, err)
	}
	r.grpc.Stop()
	if text := log.String(); strings.Count(text, "panic in a call") != 5 || !strings.Contains(text, "server.go") && !strings.Contains(text, "hot.go") || strings.Contains(text, tok) {
		t.Errorf("the log is %s", text)
	}
}
