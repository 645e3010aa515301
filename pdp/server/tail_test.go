package server

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
)

// tail opens a Tail of everything and waits until it is there.
func (r *rig) tail(t *testing.T, ctx context.Context) grpc.ServerStreamingClient[jobwardv1.TailResponse] {
	t.Helper()
	before := r.server.tails.count.Load()
	s, err := r.watch.Tail(ctx, &jobwardv1.TailRequest{Invalidations: true, Decisions: true})
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, "the tail is open", func() bool { return r.server.tails.count.Load() == before+1 })
	return s
}

func (r *rig) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after 20 s", what)
		}
	}
}

// TestTailClientGone: a Tail ends with its client, and takes nothing from another.
func TestTailClientGone(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	leaving, leave := context.WithCancel(ctx(t))
	gone, stays := r.tail(t, leaving), r.tail(t, ctx(t))
	leave()
	if _, err := gone.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("the client left, and %v", err)
	}
	inFlight := &r.server.doors[jobwardv1.WatchService_Tail_FullMethodName].inFlight
	r.until(t, "one is left", func() bool { return r.server.tails.count.Load() == 1 && inFlight.Load() == 1 })
	r.check(t, tok)
	for {
		m, err := stays.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetDecision() != nil {
			break
		}
	}
	r.conn.Close() // the whole connection breaks
	r.until(t, "none is left", func() bool { return r.server.tails.count.Load() == 0 && inFlight.Load() == 0 })
}

// TestTailDrain: a Tail ends when the server stops, also one whose reader reads nothing, so
// that what it was to be sent has no way to go.
func TestTailDrain(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	reads, stuck := r.tail(t, ctx(t)), r.tail(t, ctx(t))
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := reads.Recv(); err != nil {
				ended <- err
				return
			}
		}
	}()
	many := &jobwardv1.BatchCheckRequest{Token: tok}
	for range 1000 {
		many.Questions = append(many.Questions, &jobwardv1.Question{TargetProjectId: lib, Permission: "read_repository"})
	}
	r.until(t, "a reader that does not read misses something", func() bool {
		if _, err := r.decisions.BatchCheck(ctx(t), many); err != nil {
			t.Fatal(err)
		}
		r.server.tails.mu.Lock()
		defer r.server.tails.mu.Unlock()
		return r.server.tails.all[1].missed.Load() > 1000
	})
	r.server.Drain()
	if err := <-ended; status.Code(err) != codes.Unavailable || oneInfo(t, err).Reason != wire.CodeDraining {
		t.Errorf("it ended with %v", err)
	}
	if !r.noStream(t, jobwardv1.WatchService_Tail_FullMethodName) || r.server.tails.count.Load() != 0 {
		t.Error("a tail still stands")
	}
	var err error
	for err == nil {
		_, err = stuck.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the other ended with %v", err)
	}
}
