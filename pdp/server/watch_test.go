package server

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// termRig is a rig whose leases have a term of their own.

func termRig(t testing.TB, term time.Duration, change ...func(*Options)) *rig {
	t.Helper()
	r := newEngineRig(t, memstore.New(), func(o *engine.Options) { o.Feed.Term = term })
	r.serve(t, "unix", change...)
	return r
}

// revoke ends a job and gives the answer.

func TestWatchWelcome(t *testing.T) {
	r := termRig(t, 0)
	h := join(t, r.conn, &jobwardv1.WatchHello{Name: "side", Version: "v1"})
	w := h.welcome
	if w.GetGeneration() == 0 || w.GetHead().GetRevision() == 0 || len(w.GetHead().GetEpochId()) != 16 || len(w.GetHead().GetSeal()) == 0 || w.GetVouched() ||
		w.GetTerm().AsDuration() != 5*time.Second || !slices.Equal(w.GetTokenPrefixes(), r.tokens.Prefixes()) {
		t.Errorf("the welcome is %v", w)
	}
	h.renew(1)
	l := h.wait("a renewal", func(m *jobwardv1.WatchResponse) bool { return m.GetLease().GetNumber() == 1 }).GetLease()
	if l.GetTerm().AsDuration() != 5*time.Second || l.GetRevision() < w.GetHead().GetRevision() {
		t.Errorf("the lease is %v", l)
	}
	rev := r.revoke(t, ctx(t), "nobody", effective)
	if !rev.GetEffective() || rev.GetAcknowledged() != 0 {
		t.Errorf("a job that nobody holds: %v", rev)
	}
	beat := h.wait("a heartbeat", func(m *jobwardv1.WatchResponse) bool { return m.GetHeartbeat().GetRevision() >= rev.GetRevision() })
	if h.invalidations() != 0 {
		t.Errorf("it was told of what it does not hold (P10), beside %v", beat)
	}
}

// TestWatchReceipt is the life of a cached answer: hello, fill, invalidation, ack,

// receipt; and a second Revoke waits for the same (P1, R6).

// TestWatchDeadline: when the caller's deadline comes first the change is made all the

// same, and the receipt can be had later.

// check asks without a generation.

// TestWatchLapse: a sidecar that says nothing is waited out, whether its stream stands or

// not, and the receipt says so (L8).

// TestWatchRelease: a generation that was given up is not waited for.

// TestWatchOwner: another caller can use a generation for nothing (R3).

func TestWatchOwner(t *testing.T) {
	r := newEngineRig(t, memstore.New(), func(o *engine.Options) { o.Feed.Term = 30 * time.Second })
	r.serve(t, "unix", func(o *Options) { o.Callers = byRole{} })
	tok, err := r.token.Issue(as(ctx(t), "runner"), &jobwardv1.IssueRequest{JobId: "j1", ProjectId: app, UserId: maintainer})
	if err != nil {
		t.Fatal(err)
	}
	h := joinAs(t, as(context.Background(), "sidecar"), r.conn, &jobwardv1.WatchHello{})
	ask := func(role string) uint64 {
		out, err := r.decisions.Check(as(ctx(t), role), &jobwardv1.CheckRequest{
			Token: tok.Token, TargetProjectId: lib, Permission: "read_repository", Generation: h.welcome.GetGeneration(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.GetDecision().GetAnswerNumber()
	}
	if n := ask("sidecar"); n != 1 {
		t.Errorf("its owner gets number %d", n)
	}
	if n := ask("service"); n != 0 {
		t.Errorf("another caller gets number %d", n)
	}
	foreign := joinAs(t, as(context.Background(), "admin"), r.conn, &jobwardv1.WatchHello{})
	foreign.release(h.welcome.GetGeneration())
	foreign.renew(1) // answered when the release has been
	foreign.wait("renewal", func(m *jobwardv1.WatchResponse) bool { return m.GetLease().GetNumber() == 1 })
	if n := ask("sidecar"); n != 2 {
		t.Errorf("after another caller gave it up its owner gets number %d", n)
	}
}

// TestWatchGenerations: which answers may be kept, on every door.

func TestWatchGenerations(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	tok, gen := r.issue(t, "j1", maintainer), h.welcome.GetGeneration()
	secret, err := r.tokens.Parse(tok)
	if err != nil {
		t.Fatal(err)
	}
	digest := secret.Digest()
	question := &jobwardv1.Question{TargetProjectId: lib, Permission: "read_repository"}
	check := func(gen uint64) *jobwardv1.CheckRequest {
		return &jobwardv1.CheckRequest{TokenDigest: digest[:], TargetProjectId: lib, Permission: "read_repository", Generation: gen}
	}
	batch, err := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{TokenDigest: digest[:], Generation: gen, Questions: []*jobwardv1.Question{question, question}})
	if err != nil {
		t.Fatal(err)
	}
	stream := r.ask(t, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{check(gen), check(0), check(gen), check(gen + 1)}})
	var got []uint64
	for _, d := range append(batch.Decisions, stream.Decisions...) {
		if !d.Allow {
			t.Errorf("%v", d)
		}
		got = append(got, d.AnswerNumber)
	}
	if want := []uint64{1, 2, 3, 0, 4, 0}; !slices.Equal(got, want) {
		t.Errorf("the numbers are %v, want %v", got, want)
	}
	// What nobody has is kept without interest (R16).
	unknown := r.tokens.Mint().Digest()
	for name, d := range map[string][]byte{"unknown": unknown[:], "no token at all": make([]byte, 32)} {
		out, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{TokenDigest: d, Permission: "read_repository", Generation: gen})
		if err != nil || out.Decision.AnswerNumber == 0 || len(out.Decision.DependencyKeys) != 0 {
			t.Errorf("%s: %v, %v", name, out, err)
		}
	}
	for name, m := range map[string]*jobwardv1.CheckRequest{
		"both":  {Token: tok, TokenDigest: digest[:], Permission: "p"},
		"short": {TokenDigest: digest[:31], Permission: "p"},
	} {
		if _, err := r.decisions.Check(ctx(t), m); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	info, err := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{TokenDigest: digest[:]})
	if err != nil || !info.Live || info.Job.JobId != "j1" {
		t.Errorf("introspection by digest: %v, %v", info, err)
	}
}

// TestEpochs is R14 at the door: which history a question may be judged in.

func TestEpochs(t *testing.T) {
	r := newRig(t)
	tok, at := r.issue(t, "j1", maintainer), uint64(r.head())
	mark, _ := r.store.Head()
	epoch := mark.Epoch.Counter
	for _, c := range []struct {
		epoch, rev uint64
		ok         bool
	}{
		{0, 0, true}, {0, at, true}, {0, at + 1, false}, {epoch, at, true}, {epoch, at + 1, false}, {epoch + 1, 0, false}, {epoch + 1, at, false},
	} {
		_, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: tok, Permission: "p", Epoch: c.epoch, MinRevision: c.rev})
		_, berr := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{
			Token: tok, Questions: []*jobwardv1.Question{{Permission: "p"}}, Epoch: c.epoch, MinRevision: c.rev,
		})
		_, ierr := r.token.Introspect(ctx(t), &jobwardv1.IntrospectRequest{Token: tok, Epoch: c.epoch, MinRevision: c.rev})
		for what, err := range map[string]error{"Check": err, "BatchCheck": berr, "Introspect": ierr} {
			if c.ok != (err == nil) || err != nil && (status.Code(err) != codes.Unavailable || oneInfo(t, err).Reason != engine.CodeBehind) {
				t.Errorf("%s in epoch %d at %d: %v", what, c.epoch, c.rev, err)
			}
		}
		p := r.ask(t, &jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{{Token: tok, Permission: "p"}, {Token: tok, Permission: "p", Epoch: c.epoch, MinRevision: c.rev}}}).Problem
		if c.ok != (p == nil) {
			t.Errorf("CheckStream in epoch %d at %d: %v", c.epoch, c.rev, p)
		}
	}
}

// TestWatchVouched: entries are carried over into a new generation, with what changed

// since, and interest in them (L14); keys come in several messages.

func TestWatchVouched(t *testing.T) {
	r := termRig(t, 30*time.Second, func(o *Options) { o.MaxInterest = 3 })
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	h.fill(r, r.issue(t, "j1", maintainer))
	r.issue(t, "j2", maintainer)
	at := r.head()
	h.cancel()
	h.ended()
	r.revoke(t, ctx(t), "j2", durable)
	keys := []uint64{uint64(authz.JobKey("j1")), uint64(authz.JobKey("j2")), uint64(authz.ProjectKey(lib))}
	hello := func(more bool, keys ...uint64) *jobwardv1.WatchHello {
		return &jobwardv1.WatchHello{
			Seen: h.welcome.GetHead(), Vouch: true, AppliedRevision: uint64(at), RulesVersion: h.welcome.GetRulesVersion(), Keys: keys, MoreKeys: more,
		}
	}
	next := join(t, r.conn, hello(false, keys...)).silent()
	if !next.welcome.GetVouched() {
		t.Fatalf("the welcome is %v", next.welcome)
	}
	if got := next.wait("invalidation", func(m *jobwardv1.WatchResponse) bool { return m.GetInvalidation() != nil }).GetInvalidation().GetKeys(); !slices.Equal(got, keys[1:2]) {
		t.Errorf("it is told of %v, want %v", got, keys[1:2])
	}
	rev := r.revoke(t, ctx(t), "j1", durable)
	if inv := next.invalidated(rev.GetRevision()); !slices.Equal(inv.GetKeys(), keys[:1]) {
		t.Errorf("it is told of %v", inv)
	}

	// The same in pieces, then one key too many.
	for n, vouched := range map[int]bool{3: true, 4: false} {
		stream, err := r.watch.Watch(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		stream.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: hello(true, keys[0])}})
		for i := 1; i < n; i++ {
			stream.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Keys{Keys: &jobwardv1.MoreKeys{Keys: keys[i%3 : i%3+1], MoreKeys: i < n-1}}})
		}
		if m, err := stream.Recv(); err != nil || m.GetWelcome().GetVouched() != vouched {
			t.Errorf("%d keys: %v, %v", n, m, err)
		}
	}
}

// TestWatchHistory: a sidecar that has seen what this PDP has not is refused (L15).

func TestWatchHistory(t *testing.T) {
	r := termRig(t, 0)
	head := join(t, r.conn, &jobwardv1.WatchHello{}).welcome.GetHead()
	for name, c := range map[string]struct {
		change func(*jobwardv1.Mark)
		code   string
	}{
		"later":   {func(m *jobwardv1.Mark) { m.Revision += 100 }, feed.CodeHistoryBehind},
		"another": {func(m *jobwardv1.Mark) { m.EpochId = make([]byte, 16) }, feed.CodeHistoryBeside},
	} {
		m := &jobwardv1.Mark{Epoch: head.Epoch, EpochId: head.EpochId, Revision: head.Revision, Chain: head.Chain, Seal: head.Seal}
		c.change(m)
		stream, err := r.watch.Watch(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		stream.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Seen: m}}})
		if _, err := stream.Recv(); status.Code(err) != codes.FailedPrecondition || oneInfo(t, err).Reason != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWatchSlow: a sidecar that does not read is cut, its lease runs on and is waited

// out, and its stream does not hold the server (R2).

func TestWatchSlow(t *testing.T) {
	r := newEngineRig(t, memstore.New(), func(o *engine.Options) { o.Feed.Term, o.Feed.MaxQueue = 2*time.Second, 4 })
	r.serve(t, "unix")
	w := join(t, r.conn, &jobwardv1.WatchHello{}).welcome
	// It rests on the absence of many jobs, each revocation of a thousand is a message of 8 kB,
	// and the connection takes 64 of those while nobody reads.
	var jobs []string
	hello := lease.Hello{Vouch: true, Rules: w.GetRulesVersion(), Applied: authz.Revision(w.GetHead().GetRevision())}
	for i := range 20_000 {
		jobs = append(jobs, fmt.Sprint("slow-", i))
		hello.Keys = append(hello.Keys, authz.JobKey(authz.JobID(jobs[i])))
	}
	messages := wire.HelloToProto(hello, "slow", "")
	messages[0].GetHello().Seen = w.GetHead()
	cc := dial(t, "unix:"+r.addr.String(), grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
	stream, err := jobwardv1.NewWatchServiceClient(cc).Watch(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := stream.Recv(); err != nil || !m.GetWelcome().GetVouched() {
		t.Fatal(m, err)
	}
	revoke := func(i int, wait jobwardv1.ReceiptWait) *jobwardv1.Receipt {
		out, err := r.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: jobs[1000*i : 1000*i+1000], ReceiptWait: wait})
		if err != nil {
			t.Fatal(err)
		}
		return out.GetReceipt()
	}
	calls := 0
	for ; calls < 20 && r.engine.Feed().Stats().Overflows == 0; calls++ {
		if got := revoke(calls, durable); got.GetEffective() || got.GetPending() != 1 {
			t.Errorf("nobody confirmed, and the receipt is %v", got)
		}
	}
	if r.engine.Feed().Stats().Overflows == 0 {
		t.Fatal("it was not cut")
	}
	for _, i := range []int{0, calls - 1} {
		if got := revoke(i, effective); !got.GetEffective() || got.GetLapsed() != 1 {
			t.Errorf("the receipt is %v", got)
		}
	}
	// The first sidecar's lease has run out as well.
	if !r.noStream(t, jobwardv1.WatchService_Watch_FullMethodName) {
		t.Error("its stream still stands")
	}
}

// noStream waits until no stream of a method is open.

func (r *rig) noStream(t testing.TB, method string) bool {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if r.server.doors[method].inFlight.Load() == 0 {
			return true
		}
	}
	return false
}

// TestWatchQuiet: after a kill receipts wait out what may have been granted before (R1),

// and a clean stop spares that.

// again is another PDP on a copy of the store, as after a restart.

// TestWatchDrain: sidecars hear that the PDP is moving, their streams stand until the

// feed is closed, and other streams end at once.

func TestWatchDrain(t *testing.T) {
	r := termRig(t, time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	h.fill(r, r.issue(t, "j1", maintainer))
	report, err := r.watch.Report(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	report.Send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Hello{Hello: &jobwardv1.ReportHello{Name: "a"}}})
	tail, err := r.watch.Tail(ctx(t), &jobwardv1.TailRequest{Invalidations: true})
	if err != nil {
		t.Fatal(err)
	}
	r.server.Drain()
	for what, recv := range map[string]func() error{
		"Report": func() error { _, err := report.Recv(); return err }, "Tail": func() error { _, err := tail.Recv(); return err },
	} {
		if err := recv(); status.Code(err) != codes.Unavailable || oneInfo(t, err).Reason != wire.CodeDraining {
			t.Errorf("%s ended with %v", what, err)
		}
	}
	h.wait("moving", func(m *jobwardv1.WatchResponse) bool { return m.GetMoving() != nil })
	if got := r.revoke(t, ctx(t), "j1", effective); got.GetAcknowledged() != 1 {
		t.Errorf("while it drains: %v", got)
	}
	if _, err := r.watch.Watch(ctx(t)); err != nil {
		t.Fatal(err)
	}
	late, err := r.watch.Watch(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	late.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{}}})
	if _, err := late.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a hello while it drains: %v", err)
	}
	if err := r.engine.Feed().Close(ctx(t)); err != nil {
		t.Error(err)
	}
	if err := h.ended(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
	if !r.noStream(t, jobwardv1.WatchService_Watch_FullMethodName) {
		t.Error("a stream still stands")
	}
}

// TestWatchSequence: messages that come where they do not belong end the stream.

func TestWatchSequence(t *testing.T) {
	r := newRig(t)
	hello := func(more bool) *jobwardv1.WatchRequest {
		return &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{MoreKeys: more}}}
	}
	keys := &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Keys{Keys: &jobwardv1.MoreKeys{}}}
	renew := &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Renew{Renew: &jobwardv1.LeaseRenewal{}}}
	for name, c := range map[string]struct {
		send  []*jobwardv1.WatchRequest
		field string
	}{
		"nothing":           {nil, "hello"},
		"a renewal first":   {[]*jobwardv1.WatchRequest{renew}, "hello"},
		"keys first":        {[]*jobwardv1.WatchRequest{keys}, "hello"},
		"two hellos":        {[]*jobwardv1.WatchRequest{hello(false), hello(false)}, "hello"},
		"keys later":        {[]*jobwardv1.WatchRequest{hello(false), keys}, "keys"},
		"no keys":           {[]*jobwardv1.WatchRequest{hello(true), renew}, "keys"},
		"keys never come":   {[]*jobwardv1.WatchRequest{hello(true)}, "keys"},
		"another hello for": {[]*jobwardv1.WatchRequest{hello(true), hello(false)}, "keys"},
	} {
		stream, err := r.watch.Watch(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.send {
			stream.Send(m)
		}
		stream.CloseSend()
		for err == nil {
			_, err = stream.Recv()
		}
		e := wire.AsError(err)
		if status.Code(err) != codes.InvalidArgument || len(e.Violations) != 1 || e.Violations[0].Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryChangeHasAReceipt: whatever takes a right away waits for whoever believes in

// it (P1), and a job's first token for nobody.

// TestTailMisses: nobody waits for a slow reader, who is told how much it missed.
