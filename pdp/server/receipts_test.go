package server

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/state/memstore"
)

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
