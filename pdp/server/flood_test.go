package server

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// counting is a store that counts what it is asked, but for what the engine does by
// itself: writing the audit log.
type counting struct {
	state.Store
	calls atomic.Int64
}

func (c *counting) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	if b.Verb != "audit" {
		c.calls.Add(1)
	}
	return c.Store.Commit(ctx, b)
}

func (c *counting) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	c.calls.Add(1)
	return c.Store.History(ctx, after, fn)
}

func (c *counting) Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	c.calls.Add(1)
	return c.Store.Events(ctx, from, to, cursor, fn)
}

// TestNoDiskForBadTokens: neither unknown nor dead nor malformed tokens touch the store.
func TestNoDiskForBadTokens(t *testing.T) {
	store := &counting{Store: newStore()}
	r := newEngineRig(t, store)
	r.serve(t, "unix")
	dead := r.issue(t, "j1", maintainer)
	if _, err := r.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{"j1"}}); err != nil {
		t.Fatal(err)
	}
	before := store.calls.Load()
	for range 500 {
		for _, tok := range []string{r.tokens.Mint().Reveal(), dead, "nonsense"} {
			c := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
			if out, err := r.decisions.Check(ctx(t), c); err != nil || out.Decision.Allow {
				t.Fatal(out, err)
			}
			if out, err := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok}); err != nil || out.Live {
				t.Fatal(out, err)
			}
		}
	}
	if n := store.calls.Load() - before; n != 0 {
		t.Errorf("the store was called %d times", n)
	}
}

// TestFloodLimit: past the limit an unknown token is not called unknown, by whatever
// way it was asked about; known tokens and other callers are answered as ever.
func TestFloodLimit(t *testing.T) {
	r := guardedRig(t, func(o *Options) { o.MaxUnknown = 5 })
	admin := as(ctx(t), "admin")
	issued, err := r.token.Issue(admin, &jobwardv1.IssueRequest{JobId: "j1", ProjectId: app, UserId: maintainer})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(tok string) *jobwardv1.CheckRequest {
		return &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
	}
	service := as(ctx(t), "service")
	// The clock may turn to the next second on the way, so more than the limit are shown.
	var refusal error
	for range 100 {
		out, err := r.decisions.Check(service, ask(r.tokens.Mint().Reveal()))
		if err != nil {
			refusal = err
			break
		}
		if out.Decision.Reason != unknown {
			t.Fatal(out)
		}
	}
	wantFlood := func(what string, err error) {
		t.Helper()
		if status.Code(err) != codes.ResourceExhausted || oneInfo(t, err).Reason != wire.CodeTooManyUnknown {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantFlood("Check", refusal)
	retry := false
	for _, d := range status.Convert(refusal).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok && r.RetryDelay.AsDuration() > 0 && r.RetryDelay.AsDuration() <= time.Second {
			retry = true
		}
	}
	if !retry {
		t.Errorf("it does not say when to come again: %v", status.Convert(refusal).Details())
	}
	if out, err := r.decisions.Check(service, ask(issued.Token)); err != nil || !out.Decision.Allow {
		t.Errorf("a known token: %v, %v", out, err)
	}
	if out, err := r.decisions.Check(service, ask("nonsense")); err != nil || out.Decision.Reason != malformed {
		t.Errorf("no token at all: %v, %v", out, err)
	}
	if out, err := r.decisions.Check(as(ctx(t), "sidecar"), ask(r.tokens.Mint().Reveal())); err != nil || out.Decision.Reason != unknown {
		t.Errorf("another caller: %v, %v", out, err)
	}
}

// TestFloodEveryWay: all ways to learn that a token is unknown count.
func TestFloodEveryWay(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxUnknown = 1 })
	r.server.unknown = hot.NewFlood(0) // not one
	tok := r.tokens.Mint().Reveal()
	check := &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"}
	_, err1 := r.decisions.Check(ctx(t), check)
	_, err2 := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: tok, Questions: []*jobwardv1.Question{{Permission: "read_repository"}}})
	_, err3 := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok})
	_, err4 := r.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{
		Subject: &jobwardv1.ExplainRequest_Token{Token: tok}, Question: &jobwardv1.Question{Permission: "read_repository"},
	})
	err5 := wire.ProblemFromProto(r.ask(t, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{check}}).Problem)
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if e := wire.AsError(err); e == nil || e.Kind != authz.KindExhausted || e.Code != wire.CodeTooManyUnknown || e.RetryAfter <= 0 {
			t.Errorf("%d: %v", i, err)
		}
	}
	if n := r.server.unknown.Shown(); n != 5 {
		t.Errorf("%d unknown tokens were counted", n)
	}
}

// TestBatchCountsOnce: a thousand questions about one unknown token show one.
func TestBatchCountsOnce(t *testing.T) {
	r := newRig(t)
	tok, other := r.tokens.Mint().Reveal(), r.tokens.Mint().Reveal()
	batch := &jobwardv1.BatchCheckRequest{Token: tok}
	stream := &jobwardv1.CheckStreamRequest{}
	for i := range 50 {
		batch.Questions = append(batch.Questions, &jobwardv1.Question{Permission: "read_repository"})
		text := tok
		if i == 25 {
			text = other
		}
		stream.Questions = append(stream.Questions, &jobwardv1.CheckRequest{Token: text, Permission: "read_repository"})
	}
	if _, err := r.decisions.BatchCheck(ctx(t), batch); err != nil {
		t.Fatal(err)
	}
	if n := r.server.unknown.Shown(); n != 1 {
		t.Errorf("a batch shows %d", n)
	}
	if out := r.ask(t, stream); out.Problem != nil {
		t.Fatal(out.Problem)
	}
	if n := r.server.unknown.Shown(); n != 4 {
		t.Errorf("the message shows %d more; want each change of token", n-1)
	}
}
