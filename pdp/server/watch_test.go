package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/audit"
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
func (r *rig) revoke(t testing.TB, c context.Context, job string, wait jobwardv1.ReceiptWait) *jobwardv1.Receipt {
	t.Helper()
	out, err := r.token.Revoke(c, &jobwardv1.RevokeRequest{JobIds: []string{job}, ReceiptWait: wait})
	if err != nil {
		t.Fatal(err)
	}
	return out.GetReceipt()
}

const (
	effective = jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE
	durable   = jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE
)

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
func TestWatchReceipt(t *testing.T) {
	r := termRig(t, 0)
	h, other := join(t, r.conn, &jobwardv1.WatchHello{Name: "a"}), join(t, r.conn, &jobwardv1.WatchHello{Name: "b"})
	tok := r.issue(t, "j1", maintainer)
	if d := h.fill(r, tok); !d.GetAllow() {
		t.Fatalf("not allowed: %v", d)
	}
	h.silent()
	first, second := make(chan *jobwardv1.Receipt, 1), make(chan *jobwardv1.Receipt, 1)
	go func() { first <- r.revoke(t, ctx(t), "j1", effective) }()
	inv := h.wait("invalidation", func(m *jobwardv1.WatchResponse) bool { return m.GetInvalidation() != nil }).GetInvalidation()
	if !slices.Contains(inv.GetKeys(), uint64(authz.JobKey("j1"))) {
		t.Errorf("it is told of %v", inv.GetKeys())
	}
	go func() { second <- r.revoke(t, ctx(t), "j1", effective) }()
	select {
	case got := <-first:
		t.Errorf("effective before the ack: %v", got)
	case got := <-second:
		t.Errorf("repeated, and effective before the ack: %v", got)
	case <-time.After(200 * time.Millisecond):
	}
	if d := h.ask(r, tok); d.GetAllow() || d.GetAnswerNumber() == 0 {
		t.Errorf("after the commit the PDP says %v", d)
	}
	h.ack(inv.GetRevision())
	for what, c := range map[string]chan *jobwardv1.Receipt{"the first": first, "the second": second} {
		if got := <-c; !got.GetEffective() || got.GetAcknowledged() != 1 || got.GetLapsed()+got.GetPending() != 0 || got.GetElapsed().AsDuration() <= 0 {
			t.Errorf("%s receipt is %v", what, got)
		}
	}
	if n := other.invalidations(); n != 0 {
		t.Errorf("a sidecar that does not hold the job was told of %d changes", n)
	}
	again := r.revoke(t, ctx(t), "j1", effective)
	if !again.GetEffective() || again.GetAcknowledged() != 1 {
		t.Errorf("much later: %v", again)
	}
}

// TestWatchDeadline: when the caller's deadline comes first the change is made all the
// same, and the receipt can be had later.
func TestWatchDeadline(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{Name: "a"})
	tok := r.issue(t, "j1", maintainer)
	h.fill(r, tok)
	h.silent()
	short, cancel := context.WithTimeout(ctx(t), 500*time.Millisecond)
	defer cancel()
	got := r.revoke(t, short, "j1", effective)
	if got.GetEffective() || got.GetPending() != 1 {
		t.Errorf("at the deadline: %v", got)
	}
	if d := r.check(t, tok); d.GetAllow() {
		t.Errorf("the revocation is not in force at the PDP: %v", d)
	}
	began := time.Now()
	if d := r.revoke(t, ctx(t), "j1", durable); d.GetEffective() || d.GetPending() != 1 || time.Since(began) > time.Second {
		t.Errorf("durable only: %v", d)
	}
	stream, err := r.watch.AwaitReceipt(ctx(t), &jobwardv1.AwaitReceiptRequest{Revision: got.GetRevision()})
	if err != nil {
		t.Fatal(err)
	}
	step, err := stream.Recv()
	if err != nil || step.GetReceipt().GetEffective() || step.GetReceipt().GetPending() != 1 {
		t.Fatalf("the first step is %v, %v", step, err)
	}
	h.ack(h.invalidated(got.GetRevision()).GetRevision())
	for !step.GetReceipt().GetEffective() {
		if step, err = stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if r := step.GetReceipt(); r.GetAcknowledged() != 1 || r.GetPending() != 0 || r.GetElapsed().AsDuration() <= 0 {
		t.Errorf("the last step is %v", r)
	}
	if step, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after it comes %v, %v", step, err)
	}
}

// check asks without a generation.
func (r *rig) check(t testing.TB, tok string) *jobwardv1.Decision {
	t.Helper()
	out, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"})
	if err != nil {
		t.Fatal(err)
	}
	return out.GetDecision()
}

func TestAwaitReceipt(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	h.fill(r, r.issue(t, "j1", maintainer))
	h.silent()
	rev := r.revoke(t, ctx(t), "j1", durable)
	t.Run("deadline", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx(t), 400*time.Millisecond)
		defer cancel()
		stream, err := r.watch.AwaitReceipt(short, &jobwardv1.AwaitReceiptRequest{Revision: rev.GetRevision()})
		if err != nil {
			t.Fatal(err)
		}
		var last *jobwardv1.AwaitReceiptResponse
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			last = m
		}
		if last.GetReceipt().GetEffective() || last.GetReceipt().GetPending() != 1 {
			t.Errorf("the last message is %v", last)
		}
	})
	for name, rev := range map[string]uint64{"not there yet": uint64(r.head()) + 1, "never": 1 << 63} {
		stream, err := r.watch.AwaitReceipt(ctx(t), &jobwardv1.AwaitReceiptRequest{Revision: rev})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.InvalidArgument || oneInfo(t, err).Reason != feed.CodeRevisionAhead {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWatchLapse: a sidecar that says nothing is waited out, whether its stream stands or
// not, and the receipt says so (L8).
func TestWatchLapse(t *testing.T) {
	r := termRig(t, time.Second)
	for _, broken := range []bool{false, true} {
		h := join(t, r.conn, &jobwardv1.WatchHello{})
		job := map[bool]string{false: "j1", true: "j2"}[broken]
		h.fill(r, r.issue(t, job, maintainer))
		h.silent()
		if broken {
			h.cancel()
			h.ended()
		}
		began := time.Now()
		got := r.revoke(t, ctx(t), job, effective)
		if !got.GetEffective() || got.GetLapsed() != 1 || got.GetAcknowledged() != 0 {
			t.Errorf("broken %t: %v", broken, got)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("broken %t: it took %v", broken, took)
		}
		if !broken {
			if err := h.ended(); status.Code(err) != codes.Unavailable || oneInfo(t, err).Reason != feed.CodeStreamCut {
				t.Errorf("the stream ended with %v", err)
			}
		}
	}
}

// TestWatchRelease: a generation that was given up is not waited for.
func TestWatchRelease(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	tok := r.issue(t, "j1", maintainer)
	h.fill(r, tok)
	h.silent()
	next := join(t, r.conn, &jobwardv1.WatchHello{})
	next.release(h.welcome.GetGeneration())
	h.ended()
	if got := r.revoke(t, ctx(t), "j1", effective); !got.GetEffective() {
		t.Errorf("the receipt is %v", got)
	}
	if d := h.ask(r, tok); d.GetAnswerNumber() != 0 {
		t.Errorf("an answer of a generation that was given up may be kept: %v", d)
	}
}

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
func TestWatchQuiet(t *testing.T) {
	store := memstore.New()
	r := newEngineRig(t, store, func(o *engine.Options) { o.Feed.Term = time.Second })
	r.serve(t, "unix")
	join(t, r.conn, &jobwardv1.WatchHello{}).cancel()
	r.issue(t, "j1", maintainer)
	next := r.again(t) // the first is not closed, as after a kill
	list, err := next.watch.ListSidecars(ctx(t), &jobwardv1.ListSidecarsRequest{})
	if err != nil || list.GetQuietRemaining().AsDuration() <= 0 {
		t.Errorf("%v, %v", list, err)
	}
	began := time.Now()
	if got := next.revoke(t, ctx(t), "j1", durable); got.GetEffective() || got.GetQuietRemaining().AsDuration() <= 0 {
		t.Errorf("at once: %v", got)
	}
	if got := next.revoke(t, ctx(t), "j1", effective); !got.GetEffective() || got.GetQuietRemaining() != nil || time.Since(began) < 300*time.Millisecond {
		t.Errorf("after %v: %v", time.Since(began), got)
	}
	if err := next.engine.Feed().Close(ctx(t)); err != nil {
		t.Fatal(err)
	}
	last := next.again(t)
	last.issue(t, "j2", maintainer)
	if got := last.revoke(t, ctx(t), "j2", durable); !got.GetEffective() {
		t.Errorf("after a clean stop: %v", got)
	}
}

// again is another PDP on a copy of the store, as after a restart.
func (r *rig) again(t testing.TB) *rig {
	t.Helper()
	next := &rig{store: r.store.(*memstore.Store).Reopen(), tokens: r.tokens}
	var err error
	if next.engine, err = engine.New(context.Background(), engine.Options{Store: next.store, Tokens: r.tokens, Feed: feed.Options{Term: time.Second}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.engine.Close)
	next.serve(t, "unix")
	return next
}

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

func TestListSidecars(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{Name: "b", Version: "v2"})
	h.fill(r, r.issue(t, "j1", maintainer))
	h.silent()
	h.renew(1)
	h.wait("renewal", func(m *jobwardv1.WatchResponse) bool { return m.GetLease().GetNumber() == 1 })
	r.revoke(t, ctx(t), "j1", durable)
	gone := join(t, r.conn, &jobwardv1.WatchHello{Name: "a"})
	gone.cancel()
	gone.ended()
	var list *jobwardv1.ListSidecarsResponse
	for ok := false; !ok; time.Sleep(time.Millisecond) {
		var err error
		if list, err = r.watch.ListSidecars(ctx(t), &jobwardv1.ListSidecarsRequest{}); err != nil {
			t.Fatal(err)
		}
		ok = len(list.Sidecars) == 2 && !list.Sidecars[0].Connected
	}
	a, b := list.Sidecars[0], list.Sidecars[1]
	if a.Name != "a" || a.LeaseRemaining.AsDuration() <= 0 || a.Caller != "local:development" || len(a.Generation) != 16 {
		t.Errorf("%v", a)
	}
	if b.Name != "b" || b.Version != "v2" || !b.Connected || b.Entries != 3 || b.Hits != 20 || b.Misses != 10 || b.AppliedRevision != 5 ||
		b.Unacknowledged != 1 || b.InterestKeys == 0 || b.InterestInBuckets || b.ConnectTime.AsTime().IsZero() || b.TimeToDeny != nil {
		t.Errorf("%v", b)
	}
	if list.HeadRevision != uint64(r.head()) || list.Term.AsDuration() != 30*time.Second || list.QuietRemaining != nil {
		t.Errorf("%v", list)
	}
}

// TestEveryChangeHasAReceipt: whatever takes a right away waits for whoever believes in
// it (P1), and a job's first token for nobody.
func TestEveryChangeHasAReceipt(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	off, strict := false, jobwardv1.PublicScope_PUBLIC_SCOPE_STRICT
	scope := &jobwardv1.Scope{ProjectId: app}
	change := func(c *jobwardv1.Change) func(context.Context) (*jobwardv1.Receipt, error) {
		return func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.directory.ApplyChanges(ctx, &jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{c}})
			return out.GetReceipt(), err
		}
	}
	for i, do := range []func(context.Context) (*jobwardv1.Receipt, error){
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.token.Issue(ctx, &jobwardv1.IssueRequest{JobId: "job", ProjectId: app, UserId: maintainer})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.allowlists.UpdateEntry(ctx, &jobwardv1.UpdateEntryRequest{ProjectId: lib, ActingUserId: maintainer,
				Entry: &jobwardv1.AllowlistEntry{Scope: scope, Policies: []string{"read_packages"}}})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.allowlists.RemoveEntry(ctx, &jobwardv1.RemoveEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: 1, Scope: scope})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.allowlists.AddEntry(ctx, &jobwardv1.AddEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: 1,
				Entry: &jobwardv1.AllowlistEntry{Scope: scope, DefaultPermissions: true}})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.allowlists.UpdateSettings(ctx, &jobwardv1.UpdateSettingsRequest{ProjectId: lib, ActingUserId: maintainer, InboundEnabled: &off})
			return out.GetReceipt(), err
		},
		change(&jobwardv1.Change{Change: &jobwardv1.Change_SetMembership{SetMembership: &jobwardv1.Membership{
			UserId: maintainer, Scope: &jobwardv1.Scope{GroupId: acme}, Role: jobwardv1.Role_ROLE_OWNER}}}),
		change(&jobwardv1.Change{Change: &jobwardv1.Change_SetGroup{SetGroup: &jobwardv1.Group{GroupId: acme, Name: "acme2"}}}),
		change(&jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: &jobwardv1.Project{ProjectId: lib, GroupId: acme, Name: "lib", PublicBuilds: true, ReadOnly: true}}}),
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.directory.UpdateInstanceSettings(ctx, &jobwardv1.UpdateInstanceSettingsRequest{ActingUserId: admin, PublicScope: &strict})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.directory.UpdateCatalogue(ctx, &jobwardv1.UpdateCatalogueRequest{Document: []byte(`{"policies":[],"permissions":[]}`)})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			stream, err := r.token.Reconcile(ctx)
			if err != nil {
				return nil, err
			}
			stream.Send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: &jobwardv1.ReconcileHeader{AsOfRevision: uint64(r.head())}}})
			out, err := stream.CloseAndRecv()
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.directory.BeginProjectDeletion(ctx, &jobwardv1.BeginProjectDeletionRequest{ProjectId: lib})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.directory.FinishProjectDeletion(ctx, &jobwardv1.FinishProjectDeletionRequest{ProjectId: lib})
			return out.GetReceipt(), err
		},
		func(ctx context.Context) (*jobwardv1.Receipt, error) {
			out, err := r.directory.BlockUser(ctx, &jobwardv1.BlockUserRequest{UserId: maintainer})
			return out.GetReceipt(), err
		},
	} {
		job := "job"
		if i > 0 {
			job = "job-" + string(rune('a'+i))
		}
		out, err := r.token.Issue(ctx(t), &jobwardv1.IssueRequest{JobId: job, ProjectId: app, UserId: maintainer})
		if err != nil || !out.Receipt.Effective || out.Receipt.Acknowledged != 0 {
			t.Fatalf("change %d: a first token: %v, %v", i, out.GetReceipt(), err)
		}
		// By path, so that it rests on all that there is.
		d, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{
			Token: out.Token, TargetProjectPath: "acme/lib", Permission: "read_repository", Generation: h.welcome.GetGeneration(),
		})
		if err != nil || d.Decision.AnswerNumber == 0 {
			t.Fatalf("change %d: %v, %v", i, d, err)
		}
		d, err = r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{
			Token: out.Token, TargetProjectId: lib, Permission: "read_repository", Generation: h.welcome.GetGeneration(),
		})
		if err != nil || d.Decision.AnswerNumber == 0 {
			t.Fatalf("change %d: %v, %v", i, d, err)
		}
		got, err := do(ctx(t))
		if err != nil || !got.GetEffective() || got.GetAcknowledged() < 1 || got.GetPending()+got.GetLapsed() != 0 {
			t.Errorf("change %d: %v, %v", i, got, err)
		}
	}
}

func TestReport(t *testing.T) {
	r := newRig(t)
	stream, err := r.watch.Report(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *jobwardv1.ReportRequest) {
		t.Helper()
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Hello{Hello: &jobwardv1.ReportHello{Name: "side"}}})
	for range 2 {
		send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Accesses{Accesses: &jobwardv1.AccessBatch{Dropped: 7, Accesses: []*jobwardv1.Access{
			{SourceProjectId: app, TargetProjectId: closed, Permission: "read_repository", Reason: jobwardv1.Reason_REASON_INBOUND_NOT_LISTED, Count: 5, LastAge: durationpb.New(time.Minute)},
			{SourceProjectId: app, TargetProjectId: lib, Permission: "read_repository", Reason: jobwardv1.Reason_REASON_ALLOWED_LISTED, Count: 50},
		}}}})
	}
	send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Canary{Canary: &jobwardv1.CanaryAnswer{Id: 9}}}) // that nobody asked
	stream.CloseSend()
	if m, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("it ends with %v, %v", m, err)
	}
	if taken, dropped := r.server.reports.taken.Load(), r.server.reports.dropped.Load(); taken != 110 || dropped != 14 {
		t.Errorf("%d taken, %d dropped", taken, dropped)
	}
	var events []*jobwardv1.AuditEvent
	for end := time.Now().Add(20 * time.Second); len(events) == 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		list, err := r.audit.ListEvents(ctx(t), &jobwardv1.ListEventsRequest{Verb: audit.VerbCheck})
		if err != nil {
			t.Fatal(err)
		}
		events = list.Events
	}
	if len(events) != 1 {
		t.Fatalf("the audit log has %v", events)
	}
	e := events[0]
	if age := time.Since(e.EventTime.AsTime()); e.Count != 10 || e.Detail != audit.FromCache || e.Actor != "local:development" || e.SourceProjectId != app ||
		e.TargetProjectId != closed || e.Reason != jobwardv1.Reason_REASON_INBOUND_NOT_LISTED || age < time.Minute || age > 2*time.Minute {
		t.Errorf("the event is %v", e)
	}
	for name, c := range map[string]struct {
		m     *jobwardv1.ReportRequest
		field string
	}{
		"no hello": {&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Accesses{Accesses: &jobwardv1.AccessBatch{}}}, "hello"},
		"nothing":  {&jobwardv1.ReportRequest{}, "part"},
	} {
		stream, err := r.watch.Report(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		stream.Send(c.m)
		_, err = stream.Recv()
		if e := wire.AsError(err); status.Code(err) != codes.InvalidArgument || len(e.Violations) != 1 || e.Violations[0].Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTail(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	tail, err := r.watch.Tail(ctx(t), &jobwardv1.TailRequest{Invalidations: true, Decisions: true})
	if err != nil {
		t.Fatal(err)
	}
	for r.server.tails.count.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	tok := r.issue(t, "j1", maintainer)
	h.fill(r, tok)
	rev := r.revoke(t, ctx(t), "j1", effective)
	var changes []*jobwardv1.ChangeEvent
	var decisions []*jobwardv1.DecisionEvent
	for len(changes) < 2 || len(decisions) < 1 {
		m, err := tail.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetTime().AsTime().Year() < 2020 {
			t.Errorf("no time in %v", m)
		}
		switch {
		case m.GetChange() != nil:
			changes = append(changes, m.GetChange())
		case m.GetDecision() != nil:
			decisions = append(decisions, m.GetDecision())
		}
	}
	last := changes[len(changes)-1]
	if last.Revision != rev.Revision || last.Verb != "revoke" || last.Actor != "local:development" || last.Sidecars != 1 ||
		!slices.Equal(last.Keys, []string{authz.JobKey("j1").String()}) || last.KeyCount != 1 {
		t.Errorf("the revocation is told as %v", last)
	}
	d := decisions[0]
	if d.Caller != "local:development" || d.Permission != "read_repository" || !d.Decision.Allow || d.Decision.JobId != "j1" || len(d.Decision.DependencyKeys) != 0 ||
		d.Decision.DecisionId == "" {
		t.Errorf("the decision is told as %v", d)
	}
	if text := last.String() + d.String(); strings.Contains(text, tok) {
		t.Error("the token is in it (P7)")
	}
}

// TestTailMisses: nobody waits for a slow reader, who is told how much it missed.
func TestTailMisses(t *testing.T) {
	r := newRig(t)
	reader := r.server.tails.add()
	defer r.server.tails.remove(reader)
	tok := r.issue(t, "j1", maintainer)
	for range tailQueue + 5 {
		r.check(t, tok)
	}
	if n := missed(nil, reader); n != 5 {
		t.Errorf("%d missed", n)
	}
	if n := missed(nil, reader); n != 0 {
		t.Errorf("told twice: %d", n)
	}
}

func TestWatchMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	r := termRig(t, 30*time.Second, func(o *Options) {
		o.Meters, o.Canary = provider, Canary{Project: app, User: maintainer, Every: time.Hour}
	})
	h := join(t, r.conn, &jobwardv1.WatchHello{Name: "a"})
	for _, job := range []string{"j1", "j2"} {
		h.fill(r, r.issue(t, job, maintainer))
	}
	r.revoke(t, ctx(t), "j1", effective)
	r.revoke(t, ctx(t), "nobody", effective)
	h.silent()
	r.revoke(t, ctx(t), "j2", durable)
	r.server.canaries.put("a", canaryResult{20 * time.Millisecond, 0})
	got := collect(t, reader)
	for k, n := range map[string]int64{
		"jobward.lease.live{}": 1, "jobward.lease.cut{}": 0, "jobward.lease.in_buckets{}": 0, "jobward.lease.opened{}": 1, "jobward.lease.refused{}": 0,
		"jobward.lease.lapses{}": 0, "jobward.lease.overflows{}": 0, "jobward.lease.quiet{}": 0,
		"jobward.watch.invalidations{}": 2, "jobward.watch.unacknowledged{}": 1,
		"jobward.receipt.duration{outcome=acked}": 1, "jobward.receipt.duration{outcome=effective_none}": 1, "jobward.receipt.duration{outcome=durable}": 1,
		"jobward.receipt.pending{}": 1, "jobward.receipt.waiting{}": 0, "jobward.receipt.sidecars{how=acked}": 1, "jobward.receipt.sidecars{how=lapsed}": 0,
		"jobward.access.reported{}": 0, "jobward.access.dropped{}": 0, "jobward.canary.stale.allows{}": 0, "jobward.canary.runs{outcome=measured}": 1,
		"jobward.canary.time_to_deny{sidecar=a,since=revoke}": 20, "jobward.canary.time_to_deny{sidecar=a,since=receipt}": 0,
	} {
		if have, ok := got[k]; !ok || have != n {
			t.Errorf("%s is %d (%t); want %d", k, have, ok, n)
		}
	}
	if got["jobward.lease.interest{}"] == 0 || got["jobward.watch.changes{}"] == 0 {
		t.Errorf("%v", got)
	}
}
