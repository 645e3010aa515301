package server

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// fleetRig is one of several servers on one history, with a real Member.
type fleetRig struct {
	*rig
	handle *memstore.Handle
	m      *replica.Member
}

// newFleet starts servers that find each other by their registrations.
func newFleet(t testing.TB, n int, fence time.Duration, change ...func(*Options)) (all []*fleetRig) {
	t.Helper()
	c, peers, start := memstore.NewCluster(memstore.Options{}), &peers{feeds: map[string]*feed.Feed{}}, time.Now()
	for i := range n {
		f := &fleetRig{handle: c.Open()}
		name := string(rune('a' + i))
		f.m = replica.New(replica.Options{
			Registry: f.handle.Registry(), Dialer: peers, Name: name, Address: name, Fence: fence,
			Now: func() lease.Instant { return lease.Instant(time.Since(start) + time.Hour) },
		})
		if err := f.m.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.rig = newEngineRig(t, f.handle, func(o *engine.Options) {
			o.Replica, o.Heard = f.m, func(context.Context) (bool, error) { return true, nil }
		})
		peers.add(name, f.engine.Feed())
		f.serve(t, "unix", append([]func(*Options){func(o *Options) { o.Replica, o.Now, o.Fence = f.m, f.m.Now, fence }}, change...)...)
		t.Cleanup(func() {
			f.handle.Mend()
			f.handle.Release()
			if err := f.m.Stop(context.Background(), false); err != nil {
				t.Error(err)
			}
		})
		if err := f.m.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

// peers is a dialer that calls feeds by the names of their PDPs.
type peers struct {
	mu    sync.Mutex
	feeds map[string]*feed.Feed
}

func (p *peers) add(name string, f *feed.Feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feeds[name] = f
}

func (p *peers) Dial(r state.Registration) (replica.Peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.feeds[r.Name]; f != nil {
		return link{f}, nil
	}
	return nil, errors.New("it does not listen yet")
}

type link struct{ to *feed.Feed }

func (l link) Close() error { return nil }

func (l link) Settle(ctx context.Context, w replica.Want, each func(replica.Answer)) error {
	if err := l.to.AwaitApplied(ctx, w.Revision); err != nil {
		return err
	}
	tell := func(r lease.Receipt) {
		each(replica.Answer{Want: w, Settled: r.Effective, Acked: r.Acked, Lapsed: r.Lapsed, Pending: r.Pending, Applied: l.to.Applied()})
	}
	_, err := l.to.AwaitAll(ctx, w.Revision, tell)
	return err
}

// held holds back what others commit until the end of run.
func (f *fleetRig) held(run func()) {
	f.handle.Hold()
	defer f.handle.Release()
	run()
}

// checks asks about a token in all ways, and gives the answers by way.
func (f *fleetRig) checks(t *testing.T, tok string, least authz.Revision) map[string]func() (*jobwardv1.Decision, error) {
	return map[string]func() (*jobwardv1.Decision, error){
		"Check": func() (*jobwardv1.Decision, error) {
			out, err := f.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository", MinRevision: uint64(least)})
			return out.GetDecision(), err
		},
		"BatchCheck": func() (*jobwardv1.Decision, error) {
			out, err := f.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: tok, MinRevision: uint64(least), Questions: []*jobwardv1.Question{
				{TargetProjectId: lib, Permission: "no_such_thing"}, {TargetProjectId: lib, Permission: "read_repository"},
			}})
			if err != nil {
				return nil, err
			}
			return out.Decisions[1], nil
		},
		"CheckStream": func() (*jobwardv1.Decision, error) {
			s, err := f.decisions.CheckStream(ctx(t))
			if err != nil {
				return nil, err
			}
			if err := s.Send(&jobwardv1.CheckStreamRequest{Id: 1, Questions: []*jobwardv1.CheckRequest{
				{Token: tok, TargetProjectId: lib, Permission: "read_repository", MinRevision: uint64(least)},
			}}); err != nil {
				return nil, err
			}
			m, err := s.Recv()
			if err != nil {
				return nil, err
			}
			if p := m.GetProblem(); p != nil {
				return nil, status.Error(codes.Code(p.GetCode()), p.GetReason())
			}
			return m.GetDecisions()[0], nil
		},
	}
}

// TestFreshTokenElsewhere: a token that one PDP has issued is known to all others at the very
// next call, whatever they have heard; who cannot tell says so (R16). Unknown tokens are
// counted before anything is read for them.
func TestFreshTokenElsewhere(t *testing.T) {
	fs := newFleet(t, 2, time.Minute, func(o *Options) { o.MaxUnknown = 20 })
	b := fs[1]
	for way := range b.checks(t, "", 0) {
		b.held(func() {
			tok := fs[0].issue(t, "job-"+way, maintainer)
			b.handle.Cut()
			if d, err := b.checks(t, tok, 0)[way](); status.Code(err) != codes.Unavailable {
				t.Errorf("%s, while the store is out of reach: %v, %v", way, d, err)
			}
			b.handle.Mend()
			if d, err := b.checks(t, tok, 0)[way](); err != nil || !d.Allow {
				t.Errorf("%s: %v, %v", way, d, err)
			}
		})
	}
	b.held(func() {
		tok := fs[0].issue(t, "j", maintainer)
		in, err := b.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok})
		if err != nil || !in.Live {
			t.Errorf("Introspect: %v, %v", in, err)
		}
		ex, err := b.decisions.Explain(ctx(t), &jobwardv1.ExplainRequest{
			Subject: &jobwardv1.ExplainRequest_JobId{JobId: "j"}, Question: &jobwardv1.Question{TargetProjectId: lib, Permission: "read_repository"},
		})
		if err != nil || !ex.Decision.Allow {
			t.Errorf("Explain: %v, %v", ex, err)
		}
	})
	for i := range 40 {
		_, err := b.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: b.tokens.Mint().Reveal(), Permission: "p"})
		if status.Code(err) == codes.ResourceExhausted {
			b.handle.Cut() // then no more is read, either
			_, err = b.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: b.tokens.Mint().Reveal(), Permission: "p"})
			b.handle.Mend()
			if status.Code(err) != codes.ResourceExhausted {
				t.Errorf("past the limit: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(i, err)
		}
	}
	t.Error("no limit")
}

// TestLeastRevisionElsewhere: whoever names what they have seen at one PDP is answered by
// another after it has caught up (R14).
func TestLeastRevisionElsewhere(t *testing.T) {
	fs := newFleet(t, 2, time.Minute)
	a, b := fs[0], fs[1]
	tok := a.issue(t, "j", maintainer)
	if err := b.engine.CatchUp(ctx(t)); err != nil {
		t.Fatal(err)
	}
	for way := range b.checks(t, "", 0) {
		b.held(func() {
			a.issue(t, "other-"+way, maintainer)
			head := a.head()
			if b.engine.View().Mark().Revision >= head {
				t.Fatal("it does not lag")
			}
			if d, err := b.checks(t, tok, head)[way](); err != nil || !d.Allow || authz.Revision(d.Revision) < head {
				t.Errorf("%s: %v, %v", way, d, err)
			}
			if _, err := b.checks(t, tok, head+1)[way](); status.Code(err) != codes.Unavailable {
				t.Errorf("%s, of the future: %v", way, err)
			}
		})
	}
	b.held(func() {
		a.issue(t, "third", maintainer)
		d, err := b.decisions.Check(ctx(t), &jobwardv1.CheckRequest{
			Token: tok, TargetProjectId: lib, Permission: "read_repository", Epoch: 1, MinRevision: uint64(a.head()),
		})
		if err != nil || authz.Revision(d.Decision.Revision) < a.head() {
			t.Errorf("a holder's revision: %v, %v", d, err)
		}
	})
}

// TestReadsAreFresh: what was written at one PDP is there to be read at the next.
func TestReadsAreFresh(t *testing.T) {
	fs := newFleet(t, 2, time.Minute)
	a, b := fs[0], fs[1]
	b.held(func() {
		a.issue(t, "j", maintainer)
		if out, err := b.token.GetJob(ctx(t), &jobwardv1.GetJobRequest{JobId: "j"}); err != nil || out.Job.GetProjectId() != app {
			t.Errorf("GetJob: %v, %v", out, err)
		}
		a.issue(t, "k", maintainer)
		if out, err := b.token.ListJobs(ctx(t), &jobwardv1.ListJobsRequest{}); err != nil || len(out.Jobs) != 2 {
			t.Errorf("ListJobs: %v, %v", out, err)
		}
		if _, err := a.directory.ApplyChanges(ctx(t), &jobwardv1.ApplyChangesRequest{ReceiptWait: jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE, Changes: []*jobwardv1.Change{
			{Change: &jobwardv1.Change_SetUser{SetUser: &jobwardv1.User{UserId: 77, Name: "new"}}},
		}}); err != nil {
			t.Fatal(err)
		}
		if out, err := b.directory.GetUser(ctx(t), &jobwardv1.GetUserRequest{UserId: 77}); err != nil {
			t.Errorf("GetUser: %v, %v", out, err)
		}
		b.handle.Cut()
		if _, err := b.token.ListJobs(ctx(t), &jobwardv1.ListJobsRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("ListJobs, while the store is out of reach: %v", err)
		}
		if _, err := b.directory.GetStatus(ctx(t), &jobwardv1.GetStatusRequest{}); err != nil {
			t.Errorf("GetStatus, while the store is out of reach: %v", err)
		}
		b.handle.Mend()
	})
	for _, d := range doors() {
		name := d.short()
		reads := name == "Explain" || strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List")
		own := name == "GetStatus" || name == "ListSidecars" || name == "ListReplicas"
		if d.fresh != (reads && !own) || d.fresh && d.hot {
			t.Errorf("%s is fresh: %t", d.name(), d.fresh)
		}
	}
}

// TestFencedServer: a PDP that may not answer says so to every check, each by itself, and to
// whoever wants to keep answers (M1); and it does again when it may (M2).
func TestFencedServer(t *testing.T) {
	fs := newFleet(t, 2, time.Second)
	a, b := fs[0], fs[1]
	tok := a.issue(t, "j", maintainer)
	if err := b.engine.CatchUp(ctx(t)); err != nil {
		t.Fatal(err)
	}
	stream, err := b.decisions.CheckStream(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(id uint64) *jobwardv1.CheckStreamResponse {
		if err := stream.Send(&jobwardv1.CheckStreamRequest{Id: id, Questions: []*jobwardv1.CheckRequest{{Token: tok, TargetProjectId: lib, Permission: "read_repository"}}}); err != nil {
			t.Fatal(err)
		}
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for ask(1).GetProblem() != nil { // on a busy machine it may have been silent
		time.Sleep(10 * time.Millisecond)
	}
	b.handle.Cut()
	for b.engine.Serving() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if p := ask(2).GetProblem(); p.GetReason() != state.CodeFenced {
		t.Errorf("on a stream that stands: %v", p)
	}
	began := time.Now()
	for way, check := range b.checks(t, tok, 1<<40) {
		if d, err := check(); status.Code(err) != codes.Unavailable || way != "CheckStream" && oneInfo(t, err).Reason != state.CodeFenced ||
			way == "CheckStream" && status.Convert(err).Message() != state.CodeFenced {
			t.Errorf("%s: %v, %v", way, d, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	if out, err := b.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok}); status.Code(err) != codes.Unavailable || oneInfo(t, err).Reason != state.CodeFenced {
		t.Errorf("Introspect: %v, %v", out, err)
	}
	w, err := b.watch.Watch(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Name: "s"}}}); err != nil {
		t.Fatal(err)
	}
	if m, err := w.Recv(); status.Code(err) != codes.Unavailable || oneInfo(t, err).Reason != feed.CodeFenced {
		t.Errorf("a hello: %v, %v", m, err)
	}
	if _, err := a.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{"j"}, ReceiptWait: jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE}); err != nil {
		t.Fatal(err)
	}
	b.handle.Mend()
	for {
		m := ask(3)
		if m.GetProblem() == nil {
			if d := m.GetDecisions()[0]; d.Allow {
				t.Errorf("when it may answer again: %v", d)
			}
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestReceiptHasThePeers: a receipt waits for the sidecars of the other PDPs, says who they
// are, and tells each step to whoever waits for it by revision (R8).
func TestReceiptHasThePeers(t *testing.T) {
	fs := newFleet(t, 2, time.Minute)
	a, b := fs[0], fs[1]
	tok := a.issue(t, "j", maintainer)
	if err := b.engine.CatchUp(ctx(t)); err != nil {
		t.Fatal(err)
	}
	h := join(t, b.conn, &jobwardv1.WatchHello{Name: "s"}).silent()
	h.fill(b.rig, tok)
	out, err := a.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{"j"}, ReceiptWait: jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE})
	if err != nil || out.Receipt.Effective {
		t.Fatalf("%v, %v", out, err)
	}
	rev := out.Receipt.Revision
	s, err := a.watch.AwaitReceipt(ctx(t), &jobwardv1.AwaitReceiptRequest{Revision: rev})
	if err != nil {
		t.Fatal(err)
	}
	acked := false
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		r := m.Receipt
		if r.Effective {
			if !acked || r.Acknowledged != 1 || len(r.Replicas) != 1 || r.Replicas[0].Name != "b" || r.Replicas[0].Outcome != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED || r.Bound.AsDuration() <= 0 {
				t.Errorf("%v", r)
			}
			break
		}
		if r.Pending == 1 && !acked {
			if r.Replicas[0].Outcome != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_PENDING {
				t.Errorf("%v", r)
			}
			acked = true
			h.ack(rev)
		}
	}
	again, err := b.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{"j"}})
	if err != nil || !again.Receipt.Effective || again.Receipt.Replicas[0].Name != "a" {
		t.Errorf("%v, %v", again, err)
	}
}
