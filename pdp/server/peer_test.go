package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// fakeReplica is what a test says that it is.
type fakeReplica struct {
	mu   sync.Mutex
	id   state.Incarnation
	mute bool
	list state.Registrations
}

func (f *fakeReplica) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

func (f *fakeReplica) Serving(lease.Instant) bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.mute }

func (f *fakeReplica) Why(now lease.Instant) error {
	if f.Serving(now) {
		return nil
	}
	return authz.Errorf(authz.KindUnavailable, state.CodeFenced, "fenced")
}

func (f *fakeReplica) Incarnation() state.Incarnation { f.mu.Lock(); defer f.mu.Unlock(); return f.id }

func (f *fakeReplica) Registrations(context.Context) (state.Registrations, state.Incarnation, error) {
	return f.list, f.Incarnation(), nil
}

// peerRig is a rig that is one of several, pending wants answered five times in fence.
func peerRig(t testing.TB, fence time.Duration) (*rig, *fakeReplica) {
	f := &fakeReplica{id: state.Incarnation{7}}
	start := time.Now()
	r := newRig(t, func(o *Options) {
		o.Replica, o.Fence = f, fence
		o.Now = func() lease.Instant { return lease.Instant(time.Since(start)) }
	})
	return r, f
}

type settleStream = grpc.BidiStreamingClient[jobwardv1.SettleRequest, jobwardv1.SettleResponse]

func (r *rig) settleStream(t testing.TB, id state.Incarnation) settleStream {
	t.Helper()
	s, err := jobwardv1.NewPeerServiceClient(r.conn).Settle(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	head := r.engine.Feed().Head()
	sendSettle(t, s, &jobwardv1.SettleRequest{Part: &jobwardv1.SettleRequest_Hello{Hello: &jobwardv1.SettleHello{
		Incarnation: id[:], Epoch: head.Epoch, EpochId: head.ID[:],
	}}})
	return s
}

func sendSettle(t testing.TB, s settleStream, m *jobwardv1.SettleRequest) {
	t.Helper()
	if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) { // Recv says why
		t.Fatal(err)
	}
}

func wants(ws ...*jobwardv1.SettleWant) *jobwardv1.SettleRequest {
	return &jobwardv1.SettleRequest{Part: &jobwardv1.SettleRequest_Wants{Wants: &jobwardv1.SettleWants{Wants: ws}}}
}

// nextStanding reads until a change is answered as wished.
func nextStanding(t testing.TB, s settleStream, rev authz.Revision, settled bool) *jobwardv1.SettleResponse {
	t.Helper()
	for {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range m.Standings {
			if authz.Revision(st.Revision) != rev {
				continue
			}
			if st.Settled && !settled {
				t.Fatalf("revision %d is said to be settled: %v", rev, m)
			}
			if st.Settled == settled {
				return m
			}
		}
	}
}

// wantEnd reads to the end of a stream, which has to have this reason.
func wantEnd(t testing.TB, s settleStream, code codes.Code, reason string) {
	t.Helper()
	for {
		if _, err := s.Recv(); err != nil {
			if status.Code(err) != code || oneInfo(t, err).Reason != reason {
				t.Errorf("it ended with %v; want %s", err, reason)
			}
			return
		}
	}
}

// TestSettleWaitsForHolders: a PDP settles a change when its own sidecars have let go of
// it, and not when it has applied it (R8, M6); one that it has not applied is pending.
func TestSettleWaitsForHolders(t *testing.T) {
	r, f := peerRig(t, 500*time.Millisecond)
	for job, all := range map[string]bool{"one": false, "all": true} {
		h := join(t, r.conn, &jobwardv1.WatchHello{Name: job}).silent()
		h.fill(r, r.issue(t, job, maintainer))
		s := r.settleStream(t, f.id)
		next := r.head() + 1
		sendSettle(t, s, wants(&jobwardv1.SettleWant{Revision: uint64(next), All: all}))
		if m := nextStanding(t, s, next, false); authz.Revision(m.AppliedRevision) >= next {
			t.Errorf("before the change: %v", m)
		}
		if _, err := r.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{job}, ReceiptWait: jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE}); err != nil {
			t.Fatal(err)
		}
		for {
			m := nextStanding(t, s, next, false)
			if authz.Revision(m.AppliedRevision) >= next && m.Standings[0].Pending == 1 {
				break
			}
		}
		h.ack(uint64(next))
		if m := nextStanding(t, s, next, true); m.Standings[0].Acknowledged != 1 || m.Standings[0].All != all {
			t.Errorf("settled: %v", m)
		}
		h.release(h.welcome.Generation)
	}
}

// TestSettleManyAtOnce: a thousand changes ahead of the view are answered, most of them
// together, when it reaches them; what was cancelled is not.
func TestSettleManyAtOnce(t *testing.T) {
	r, f := peerRig(t, time.Minute)
	s := r.settleStream(t, f.id)
	const n = 1000
	first := r.head() + 1
	var ws []*jobwardv1.SettleWant
	for i := range uint64(n) {
		ws = append(ws, &jobwardv1.SettleWant{Revision: uint64(first) + i, All: i%2 == 0})
	}
	sendSettle(t, s, wants(append(ws, &jobwardv1.SettleWant{Revision: uint64(first) + n - 1, Cancel: true})...))
	sendSettle(t, s, wants(&jobwardv1.SettleWant{Revision: uint64(first) - 1}))
	nextStanding(t, s, first-1, true) // what was sent before has been read
	for i := range n {
		if _, err := r.store.Commit(ctx(t), state.Batch{Puts: world()[:1], Stamp: r.engine.Now(), Actor: "test", Verb: "again"}); err != nil {
			t.Fatal(i, err)
		}
	}
	seen := map[uint64]bool{}
	for len(seen) < n-1 {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range m.Standings {
			if !st.Settled || seen[st.Revision] || st.Revision == uint64(first)+n-1 || st.Revision > m.AppliedRevision {
				t.Fatalf("%v in %d", st, m.AppliedRevision)
			}
			seen[st.Revision] = true
		}
	}
}

// TestSettleIsRefused: a PDP that may not answer does not, also not on a stream that
// stands (M1), nor in the name of another life of it, or of another history.
func TestSettleIsRefused(t *testing.T) {
	r, f := peerRig(t, 50*time.Millisecond)
	wantEnd(t, r.settleStream(t, state.Incarnation{8}), codes.FailedPrecondition, CodeOtherIncarnation)
	s, err := jobwardv1.NewPeerServiceClient(r.conn).Settle(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	sendSettle(t, s, &jobwardv1.SettleRequest{Part: &jobwardv1.SettleRequest_Hello{Hello: &jobwardv1.SettleHello{Incarnation: f.id[:], Epoch: 99}}})
	wantEnd(t, s, codes.FailedPrecondition, CodeOtherHistory)

	standing := func() settleStream {
		s := r.settleStream(t, state.Incarnation{7})
		sendSettle(t, s, wants(&jobwardv1.SettleWant{Revision: uint64(r.head())}))
		nextStanding(t, s, r.head(), true)
		return s
	}
	s = standing()
	f.set(func() { f.mute = true })
	wantEnd(t, s, codes.Unavailable, state.CodeFenced)
	wantEnd(t, r.settleStream(t, f.id), codes.Unavailable, state.CodeFenced)
	f.set(func() { f.mute = false })
	s = standing()
	f.set(func() { f.id = state.Incarnation{8} })
	wantEnd(t, s, codes.FailedPrecondition, CodeOtherIncarnation)
	f.set(func() { f.id = state.Incarnation{7} })

	s = standing()
	var ws []*jobwardv1.SettleWant
	for i := range uint64(maxWants) {
		ws = append(ws, &jobwardv1.SettleWant{Revision: 1<<40 + i})
	}
	sendSettle(t, s, wants(ws...))
	sendSettle(t, s, wants(&jobwardv1.SettleWant{Revision: 1 << 50}))
	wantEnd(t, s, codes.ResourceExhausted, CodeTooManyWants)

	alone := newRig(t)
	wantEnd(t, alone.settleStream(t, state.Incarnation{7}), codes.FailedPrecondition, CodeNotReplicated)
}

// TestListReplicas tells who is there, who has departed, and why this one does not answer.
func TestListReplicas(t *testing.T) {
	r, f := peerRig(t, 0)
	f.list = state.Registrations{
		Live: []state.Registration{
			{Incarnation: state.Incarnation{8}, Name: "b", Address: "b:1", Applied: 5, Settled: 4}, {Incarnation: state.Incarnation{7}, Name: "a", Address: "a:1"},
		},
		Departed: []state.Departed{{Incarnation: state.Incarnation{6}, Name: "a"}},
	}
	f.mute = true
	out, err := jobwardv1.NewPeerServiceClient(r.conn).ListReplicas(ctx(t), &jobwardv1.ListReplicasRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := out.Replicas[0], out.Replicas[1], out.Replicas[2]; !a.Departed || a.Name != "a" || !b.Self || b.Problem.GetReason() != state.CodeFenced ||
		c.Self || c.Problem != nil || c.AppliedRevision != 5 || c.SettledRevision != 4 || c.Address != "b:1" {
		t.Errorf("it is %v", out)
	}
}
