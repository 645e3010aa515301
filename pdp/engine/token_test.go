package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// handClock is a Clock that tests move.
type handClock struct{ now atomic.Int64 }

func (c *handClock) Now() authz.Stamp        { return authz.Stamp(c.now.Load()) }
func (c *handClock) advance(d time.Duration) { c.now.Add(int64(d)) }
func newHandClock(t time.Time) *handClock    { c := &handClock{}; c.now.Store(t.UnixNano()); return c }
func noon() time.Time                        { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
func runner() Actor                          { return Actor{Name: "runner-1"} }
func read(d authz.Digest) authz.Request      { return ask(d, "read_releases", 1) }
func byJob(ids ...authz.JobID) RevokeRequest { return RevokeRequest{Jobs: ids} }
func codeOf(err error) string {
	var e *authz.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func ask(d authz.Digest, p authz.Permission, target authz.ProjectID) authz.Request {
	return authz.Request{Token: d, Permission: p, Target: authz.Target{ID: target}}
}

// tokenWorld is two private projects and two developers of the first.
func tokenWorld() []state.Record {
	return []state.Record{
		&state.Project{ID: 1, Namespace: "dev", Name: "app", PublicBuilds: true},
		&state.Project{ID: 2, Namespace: "dev", Name: "lib", PublicBuilds: true},
		&state.User{ID: 1, Name: "dana"},
		&state.User{ID: 2, Name: "eli"},
		&state.Members{User: 1, List: []state.Membership{{Scope: authz.InProject(1), Role: authz.RoleDeveloper}}},
		&state.Members{User: 2, List: []state.Membership{{Scope: authz.InProject(1), Role: authz.RoleDeveloper}}},
	}
}

// startEngine opens an engine on st and closes it with the test.
func startEngine(t *testing.T, st state.Store, clock Clock) *Engine {
	t.Helper()
	tokens, err := token.NewFormat("jobt-")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(context.Background(), Options{Store: st, Clock: clock, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func newTokenEngine(t *testing.T) (*Engine, *handClock, state.Store) {
	t.Helper()
	st, clock := memstore.New(), newHandClock(noon())
	e := startEngine(t, st, clock)
	if _, err := st.Commit(context.Background(), state.Batch{Puts: tokenWorld(), Stamp: clock.Now()}); err != nil {
		t.Fatal(err)
	}
	return e, clock, st
}

func mustIssue(t *testing.T, e *Engine, req IssueRequest) authz.Digest {
	t.Helper()
	out, err := e.Issue(context.Background(), runner(), req)
	if err != nil {
		t.Fatalf("issue %s: %v", req.Job, err)
	}
	return out.Token.Digest()
}

func wantReason(t *testing.T, e *Engine, req authz.Request, want authz.Reason) {
	t.Helper()
	d, err := e.Check(context.Background(), req)
	if err != nil || d.Reason != want {
		t.Fatalf("check of %s: %s, %v; want %s", req.Token, d.Reason, err, want)
	}
}

func issue1(job authz.JobID) IssueRequest { return IssueRequest{Job: job, Project: 1, User: 1} }

func TestIssueIsSeenByTheNextCheck(t *testing.T) {
	e, _, _ := newTokenEngine(t)
	for i := range 50 {
		d := mustIssue(t, e, issue1(authz.JobID(fmt.Sprint(i))))
		wantReason(t, e, read(d), authz.AllowedSelf)
	}
}

func TestIssueAgainReplaces(t *testing.T) {
	e, _, _ := newTokenEngine(t)
	first := mustIssue(t, e, issue1("j"))
	out, err := e.Issue(context.Background(), runner(), issue1("j"))
	if err != nil || !out.Replaced {
		t.Fatalf("second issue: %+v, %v", out, err)
	}
	wantReason(t, e, read(first), authz.TokenReplaced)
	wantReason(t, e, read(out.Token.Digest()), authz.AllowedSelf)

	// Ending the job by its old token must not end it: that token is dead already.
	rev, err := e.Revoke(context.Background(), runner(), RevokeRequest{Tokens: []authz.Digest{first}})
	if err != nil || rev.Items[0].Ending != EndedBefore {
		t.Fatalf("revoke of a replaced token: %+v, %v", rev, err)
	}
	wantReason(t, e, read(out.Token.Digest()), authz.AllowedSelf)
}

// P1: when Revoke has returned, the next check denies; R6: so does every repetition,
// at the same revision.
func TestRevoke(t *testing.T) {
	ctx := context.Background()
	for outcome, want := range map[Outcome]authz.Reason{
		Succeeded: authz.JobNotRunning, Failed: authz.JobNotRunning, Canceled: authz.JobNotRunning,
		Skipped: authz.JobNotRunning, Erased: authz.JobErased,
	} {
		e, _, _ := newTokenEngine(t)
		d := mustIssue(t, e, issue1("j"))
		got, err := e.Revoke(ctx, runner(), RevokeRequest{Tokens: []authz.Digest{d}, Outcome: outcome})
		if err != nil || got.Items[0] != (Revocation{"j", EndedNow, got.Revision}) {
			t.Fatalf("%s: %+v, %v", outcome, got, err)
		}
		wantReason(t, e, read(d), want)
		again, err := e.Revoke(ctx, runner(), RevokeRequest{Jobs: []authz.JobID{"j", "j"}, Outcome: outcome})
		if err != nil || again.Items[0] != (Revocation{"j", EndedBefore, got.Revision}) || again.Items[1] != again.Items[0] {
			t.Fatalf("%s again: %+v, %v", outcome, again, err)
		}
		if _, err := e.Issue(ctx, runner(), issue1("j")); codeOf(err) != CodeJobEnded {
			t.Fatalf("issue after %s: %v, want %s", outcome, err, CodeJobEnded)
		}
	}
}

// R7: Revoke overtakes Issue.
func TestRevokeBeforeIssue(t *testing.T) {
	e, _, _ := newTokenEngine(t)
	got, err := e.Revoke(context.Background(), runner(), byJob("late"))
	if err != nil || got.Items[0].Ending != Tombstoned {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := e.Issue(context.Background(), runner(), issue1("late")); codeOf(err) != CodeJobEnded {
		t.Fatalf("issue of a tombstoned job: %v", err)
	}
	if info, err := e.GetJob(context.Background(), "late"); err != nil || info.Live {
		t.Fatalf("tombstone: %+v, %v", info, err)
	}
}

func TestRevokeValidateOnlyDoesNothing(t *testing.T) {
	e, _, _ := newTokenEngine(t)
	d := mustIssue(t, e, issue1("j"))
	before := e.View().Mark().Revision
	if _, err := e.Revoke(context.Background(), runner(), RevokeRequest{Jobs: []authz.JobID{"j", "x"}, ValidateOnly: true}); err != nil {
		t.Fatal(err)
	}
	if out, err := e.Issue(context.Background(), runner(), IssueRequest{Job: "y", Project: 1, User: 1, ValidateOnly: true}); err != nil || !out.Token.IsZero() {
		t.Fatalf("%+v, %v", out, err)
	}
	if at := e.View().Mark().Revision; at != before {
		t.Fatalf("revision went from %d to %d", before, at)
	}
	wantReason(t, e, read(d), authz.AllowedSelf)
}

func TestIssueRefuses(t *testing.T) {
	e, _, _ := newTokenEngine(t)
	mustIssue(t, e, issue1("taken"))
	cases := map[string]struct {
		req  IssueRequest
		code string
	}{
		"no job id":           {IssueRequest{Project: 1, User: 1}, "INVALID_FIELD"},
		"job id with a space": {IssueRequest{Job: "a b", Project: 1, User: 1}, "INVALID_FIELD"},
		"no such project":     {IssueRequest{Job: "j", Project: 99, User: 1}, CodeSourceGone},
		"no such user":        {IssueRequest{Job: "j", Project: 1, User: 99}, CodeUserInactive},
		"another project":     {IssueRequest{Job: "taken", Project: 2, User: 1}, CodeJobMismatch},
		"another user":        {IssueRequest{Job: "taken", Project: 1, User: 2}, CodeJobMismatch},
		"negative timeout":    {IssueRequest{Job: "j", Project: 1, User: 1, Timeout: -1}, "INVALID_FIELD"},
		"long timeout":        {IssueRequest{Job: "j", Project: 1, User: 1, Timeout: 8 * 24 * time.Hour}, "INVALID_FIELD"},
		"ended status":        {IssueRequest{Job: "j", Project: 1, User: 1, Status: authz.JobFailed}, "INVALID_FIELD"},
		"term without runner": {IssueRequest{Job: "j", Project: 1, User: 1, Term: time.Minute}, "INVALID_FIELD"},
		"tiny term":           {IssueRequest{Job: "j", Project: 1, User: 1, Term: 1, Runner: "r"}, "INVALID_FIELD"},
		"unknown permission":  {IssueRequest{Job: "j", Project: 1, User: 1, Limits: policy.Limits{Permissions: []authz.Permission{"fly"}}}, "INVALID_FIELD"},
		"bad target":          {IssueRequest{Job: "j", Project: 1, User: 1, Limits: policy.Limits{Targets: []authz.Scope{{}}}}, "INVALID_FIELD"},
	}
	for name, c := range cases {
		before := e.View().Mark().Revision
		if _, err := e.Issue(context.Background(), runner(), c.req); codeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if at := e.View().Mark().Revision; at != before {
			t.Errorf("%s: the refused call changed something", name)
		}
	}
}

func TestLimitsGiveLess(t *testing.T) {
	e, _, _ := newTokenEngine(t)
	req := issue1("j")
	req.Limits = policy.Limits{Permissions: []authz.Permission{"read_releases"}, Targets: []authz.Scope{authz.InProject(1)}}
	d := mustIssue(t, e, req)
	wantReason(t, e, read(d), authz.AllowedSelf)
	wantReason(t, e, ask(d, "create_release", 1), authz.LimitedPermission)
	wantReason(t, e, ask(d, "read_releases", 2), authz.LimitedTarget)
}

func TestTimeout(t *testing.T) {
	e, clock, _ := newTokenEngine(t)
	req := issue1("j")
	req.Timeout = time.Minute
	d := mustIssue(t, e, req)
	clock.advance(time.Minute - 1)
	dec, _ := e.Check(context.Background(), read(d))
	if !dec.Allow || dec.ValidFor != 1 {
		t.Fatalf("at the last moment: %+v", dec)
	}
	clock.advance(1)
	wantReason(t, e, read(d), authz.TokenExpired)
}

// R12: a lapse needs nobody to say so, and is for good.
func TestHeartbeat(t *testing.T) {
	ctx := context.Background()
	e, clock, _ := newTokenEngine(t)
	req := issue1("j")
	req.Runner, req.Term = "r", 10*time.Second
	d := mustIssue(t, e, req)
	for range 3 {
		clock.advance(9 * time.Second)
		wantReason(t, e, read(d), authz.AllowedSelf)
		hb, err := e.KeepAlive(ctx, runner(), "r")
		if err != nil || hb.Alive != 1 || len(hb.Lapsed) != 0 || hb.Next != clock.Now().Add(10*time.Second) {
			t.Fatalf("%+v, %v", hb, err)
		}
	}
	clock.advance(10 * time.Second)
	wantReason(t, e, read(d), authz.HeartbeatLapsed)
	hb, err := e.KeepAlive(ctx, runner(), "r")
	if err != nil || hb.Alive != 0 || len(hb.Lapsed) != 1 {
		t.Fatalf("%+v, %v", hb, err)
	}
	wantReason(t, e, read(d), authz.HeartbeatLapsed)
	if hb, err = e.KeepAlive(ctx, runner(), "r"); err != nil || len(hb.Lapsed) != 1 {
		t.Fatalf("told once only: %+v, %v", hb, err)
	}
	clock.advance(time.Hour)
	if hb, err = e.KeepAlive(ctx, runner(), "r"); err != nil || len(hb.Lapsed) != 0 {
		t.Fatalf("told for ever: %+v, %v", hb, err)
	}
	if _, err := e.Issue(ctx, runner(), req); codeOf(err) != CodeJobEnded {
		t.Fatalf("issue after a lapse: %v", err)
	}
}

// R12: after an outage, what had lapsed at the last stamp is dead, and the others
// get one full term.
func TestHeartbeatsAfterAnOutage(t *testing.T) {
	ctx := context.Background()
	e, clock, st := newTokenEngine(t)
	short, long := issue1("short"), issue1("long")
	short.Runner, short.Term = "r", 5*time.Second
	long.Runner, long.Term = "r", time.Minute
	ds, dl := mustIssue(t, e, short), mustIssue(t, e, long)
	clock.advance(30 * time.Second)
	mustIssue(t, e, issue1("stamp")) // the last committed stamp: 30 s in
	e.Close()

	clock.advance(10 * time.Hour / 20) // half an hour away; the tokens' own hour is not over
	again := startEngine(t, st.(*memstore.Store).Reopen(), clock)
	wantReason(t, again, read(ds), authz.HeartbeatLapsed)
	wantReason(t, again, read(dl), authz.AllowedSelf)
	clock.advance(59 * time.Second)
	wantReason(t, again, read(dl), authz.AllowedSelf)
	clock.advance(time.Second)
	wantReason(t, again, read(dl), authz.HeartbeatLapsed)
	if _, err := again.KeepAlive(ctx, runner(), "r"); err != nil {
		t.Fatal(err)
	}
	wantReason(t, again, read(dl), authz.HeartbeatLapsed)
}

func TestReconcile(t *testing.T) {
	ctx := context.Background()
	e, _, _ := newTokenEngine(t)
	kept, gone := mustIssue(t, e, issue1("kept")), mustIssue(t, e, issue1("gone"))
	asOf := e.View().Mark().Revision
	young := mustIssue(t, e, issue1("young"))
	req := ReconcileRequest{AsOf: asOf, Running: []authz.JobID{"kept", "nobody"}, ValidateOnly: true}
	for _, req.ValidateOnly = range []bool{true, false} {
		got, err := e.Reconcile(ctx, runner(), req)
		if err != nil || len(got.Finished) != 1 || got.Finished[0] != "gone" || len(got.Dead) != 1 || got.Dead[0] != "nobody" || got.Younger != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		if req.ValidateOnly {
			wantReason(t, e, read(gone), authz.AllowedSelf)
		}
	}
	wantReason(t, e, read(gone), authz.JobNotRunning)
	wantReason(t, e, read(kept), authz.AllowedSelf)
	wantReason(t, e, read(young), authz.AllowedSelf)
	if _, err := e.Reconcile(ctx, runner(), ReconcileRequest{AsOf: 1 << 40}); codeOf(err) != "INVALID_FIELD" {
		t.Fatalf("a list from the future: %v", err)
	}
}

// Many runners fight over few jobs. Whatever the order, a revoked job is dead and of
// the tokens of one job at most the newest lives.
func TestConcurrentIssueAndRevoke(t *testing.T) {
	ctx := context.Background()
	e, _, _ := newTokenEngine(t)
	type issued struct {
		job authz.JobID
		d   authz.Digest
		rev authz.Revision
	}
	var mu sync.Mutex
	var all []issued
	revoked := map[authz.JobID]bool{}
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for range 50 {
				job := authz.JobID(fmt.Sprint(rng.IntN(20)))
				if rng.IntN(8) == 0 {
					if _, err := e.Revoke(ctx, runner(), byJob(job)); err != nil {
						t.Error(err)
					}
					mu.Lock()
					revoked[job] = true
					mu.Unlock()
					continue
				}
				out, err := e.Issue(ctx, runner(), issue1(job))
				if err != nil {
					if codeOf(err) != CodeJobEnded {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				all = append(all, issued{job, out.Token.Digest(), out.Revision})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	newest := map[authz.JobID]authz.Revision{}
	for _, i := range all {
		newest[i.job] = max(newest[i.job], i.rev)
	}
	for _, i := range all {
		d, _ := e.Check(ctx, read(i.d))
		if want := !revoked[i.job] && i.rev == newest[i.job]; d.Allow != want {
			t.Errorf("job %s, token of revision %d: %s; revoked %t, newest %d", i.job, i.rev, d.Reason, revoked[i.job], newest[i.job])
		}
	}
}

func TestPrune(t *testing.T) {
	ctx := context.Background()
	e, clock, _ := newTokenEngine(t)
	mustIssue(t, e, issue1("ended"))
	d := mustIssue(t, e, issue1("expired"))
	if _, err := e.Revoke(ctx, runner(), byJob("ended", "never")); err != nil {
		t.Fatal(err)
	}
	clock.advance(e.opt.Retention - time.Second)
	if err := e.Prune(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Issue(ctx, runner(), issue1("never")); codeOf(err) != CodeJobEnded {
		t.Fatalf("a tombstone went too early: %v", err)
	}
	clock.advance(2 * time.Hour)
	if err := e.Prune(ctx); err != nil {
		t.Fatal(err)
	}
	for _, id := range []authz.JobID{"ended", "never", "expired"} {
		if _, err := e.GetJob(ctx, id); codeOf(err) != CodeJobNotFound {
			t.Errorf("%s is still there: %v", id, err)
		}
	}
	wantReason(t, e, read(d), authz.TokenUnknown)
}

func TestIntrospectAndExplainOfADeadJob(t *testing.T) {
	ctx := context.Background()
	e, _, _ := newTokenEngine(t)
	d := mustIssue(t, e, issue1("j"))
	info, err := e.Introspect(ctx, d)
	if err != nil || !info.Live || info.Job.ID != "j" {
		t.Fatalf("%+v, %v", info, err)
	}
	if _, err := e.Revoke(ctx, runner(), byJob("j")); err != nil {
		t.Fatal(err)
	}
	info, err = e.Introspect(ctx, d)
	if err != nil || info.Live || info.Reason != authz.JobNotRunning {
		t.Fatalf("%+v, %v", info, err)
	}
	ex, err := e.Explain(ctx, ExplainRequest{Job: "j", Request: ask(authz.Digest{}, "read_releases", 1)})
	if err != nil || ex.Reason != authz.JobNotRunning || len(ex.Steps) != policy.NumRules {
		t.Fatalf("%s with %d steps, %v", ex.Reason, len(ex.Steps), err)
	}
	if _, err := e.Introspect(ctx, authz.Digest{1}); codeOf(err) != CodeTokenUnknown {
		t.Fatal(err)
	}
}
