package grpccheck

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

type checkStream = jobwardv1.DecisionService_CheckStreamClient

func (r *rig) stream(t *testing.T, ctx context.Context) checkStream {
	t.Helper()
	s, err := r.decisions.CheckStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rig) send(t *testing.T, s checkStream, id uint64, permissions ...string) {
	t.Helper()
	m := &jobwardv1.CheckStreamRequest{Id: id}
	for _, p := range permissions {
		m.Questions = append(m.Questions, r.check(p))
	}
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
}

func recv(t *testing.T, s checkStream) *jobwardv1.CheckStreamResponse {
	t.Helper()
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestStreamOvertakes lets a message wait for the PDP while later ones are answered from the cache, and gets each answer once.
func TestStreamOvertakes(t *testing.T) {
	r := newRig(t)
	r.gate = make(chan struct{}, 100)
	s := r.stream(t, ctx(t))
	r.send(t, s, 1, "hit", "miss", "hit")
	r.send(t, s, 2, "hit")
	r.send(t, s, 3, "hit", "hit")
	r.send(t, s, 4)
	for _, want := range []uint64{2, 3, 4} {
		m := recv(t, s)
		if m.Id != want || want == 4 && m.Problem == nil || want != 4 && !m.Decisions[0].Cached {
			t.Errorf("%v, want that of %d", m, want)
		}
	}
	r.gate <- struct{}{}
	m := recv(t, s)
	if m.Id != 1 || len(m.Decisions) != 3 || !m.Decisions[0].Cached || m.Decisions[1].Cached || !m.Decisions[2].Cached {
		t.Error(m)
	}
	s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		t.Error(err)
	}
}

// TestStreamWaitsForTheLast closes the caller's side while answers are to come.
func TestStreamWaitsForTheLast(t *testing.T) {
	r := newRig(t)
	r.gate = make(chan struct{}, 100)
	s := r.stream(t, ctx(t))
	for id := range uint64(5) {
		r.send(t, s, id, "miss")
	}
	s.CloseSend()
	eventually(t, func() bool { return r.waiting.Load() == 5 })
	for range 5 {
		r.gate <- struct{}{}
	}
	seen := map[uint64]bool{}
	for range 5 {
		seen[recv(t, s).Id] = true
	}
	if _, err := s.Recv(); err != io.EOF || len(seen) != 5 {
		t.Error(err, seen)
	}
}

// TestStreamBound reads no further while too many messages wait, and goes on when one does not any more.
func TestStreamBound(t *testing.T) {
	r := newRig(t)
	r.gate = make(chan struct{})
	s := r.stream(t, ctx(t))
	const all = 3 * streamMisses
	for id := range uint64(all) {
		r.send(t, s, id, "miss")
	}
	eventually(t, func() bool { return r.waiting.Load() == streamMisses })
	time.Sleep(20 * time.Millisecond)
	if n := r.waiting.Load(); n != streamMisses {
		t.Errorf("%d wait for the PDP", n)
	}
	go func() {
		for range all {
			r.gate <- struct{}{}
		}
	}()
	seen := map[uint64]bool{}
	for range all {
		seen[recv(t, s).Id] = true
	}
	if len(seen) != all {
		t.Errorf("%d answers", len(seen))
	}
}

// TestStreamProblems answers what cannot be answered by a problem, and goes on.
func TestStreamProblems(t *testing.T) {
	r := newRig(t)
	s := r.stream(t, ctx(t))
	r.fail = authz.Errorf(authz.KindUnavailable, "X", "gone")
	r.send(t, s, 1, "miss")
	if m := recv(t, s); m.Id != 1 || m.Problem.GetCode() != int32(codes.Unavailable) || len(m.Decisions) > 0 {
		t.Error(m)
	}
	r.send(t, s, 2, "hit", "")
	if m := recv(t, s); m.Id != 2 || m.Problem.GetCode() != int32(codes.InvalidArgument) || m.Problem.Violations[0].Field != "questions[1].permission" || len(m.Decisions) > 0 {
		t.Error(m)
	}
	r.send(t, s, 3, "hit")
	if m := recv(t, s); m.Id != 3 || len(m.Decisions) != 1 {
		t.Error(m)
	}
}

// TestStreamEnds ends streams with messages that wait: by the caller, by a panic, and by a drain. Nothing waits on.
func TestStreamEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, r *rig, s checkStream, cancel func())
		want codes.Code
	}{
		"canceled": {func(_ *testing.T, _ *rig, _ checkStream, cancel func()) { cancel() }, codes.Canceled},
		"drained":  {func(_ *testing.T, r *rig, _ checkStream, _ func()) { r.server.Drain() }, codes.Unavailable},
		"panic": {func(t *testing.T, r *rig, s checkStream, _ func()) {
			r.send(t, s, 9, "panic")
			eventually(t, func() bool { return r.waiting.Load() == 11 })
			for range 11 {
				r.gate <- struct{}{}
			}
		}, codes.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.gate = make(chan struct{}, 100)
			ctx, cancel := context.WithCancel(ctx(t))
			defer cancel()
			s := r.stream(t, ctx)
			for id := range uint64(10) {
				r.send(t, s, id, "miss")
			}
			eventually(t, func() bool { return r.waiting.Load() == 10 })
			c.end(t, r, s, cancel)
			var err error
			for err == nil {
				_, err = s.Recv()
			}
			if !errors.Is(err, io.EOF) {
				wantCode(t, err, c.want)
			} else {
				t.Error("it ended well")
			}
			eventually(t, func() bool { return r.waiting.Load() == 0 })
			r.server.Wait()
		})
	}
}

// TestDrained takes no stream any more, and answers the rest.
func TestDrained(t *testing.T) {
	r := newRig(t)
	r.server.Drain()
	r.server.Drain()
	_, err := r.stream(t, ctx(t)).Recv()
	wantCode(t, err, codes.Unavailable)
	if _, err := r.decisions.Check(ctx(t), r.check("hit")); err != nil {
		t.Error(err)
	}
}
