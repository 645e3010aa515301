package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
)

const (
	// tailQueue is how many events of each sort wait for a slow reader.
	tailQueue = 1024
	// tailKeys is how many keys of a change are told.
	tailKeys = 100
	// tellMissed is how long a reader waits at most to hear that it missed something.
	tellMissed = time.Second
)

// tails are the readers of decisions. As long as there is none, a decision costs them
// one look at count.
type tails struct {
	count atomic.Int32
	mu    sync.Mutex
	all   []*tail
}

// tail is one reader of decisions.
type tail struct {
	decisions chan *jobwardv1.TailResponse
	missed    atomic.Int64
}

func (ts *tails) add() *tail {
	t := &tail{decisions: make(chan *jobwardv1.TailResponse, tailQueue)}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = append(ts.all, t)
	ts.count.Store(int32(len(ts.all)))
	return t
}

func (ts *tails) remove(t *tail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = slices.DeleteFunc(ts.all, func(o *tail) bool { return o == t })
	ts.count.Store(int32(len(ts.all)))
}

// decided tells all readers of a decision; nobody waits for a slow one.
func (ts *tails) decided(now authz.Stamp, caller string, req *authz.Request, d *authz.Decision, id string) {
	said := *d
	said.Keys = nil
	m := &jobwardv1.TailResponse{Time: wire.StampToProto(now), Event: &jobwardv1.TailResponse_Decision{Decision: &jobwardv1.DecisionEvent{
		Caller: caller, Permission: string(req.Permission), Decision: wire.DecisionToProto(&said, id),
	}}}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		select {
		case t.decisions <- m:
		default:
			t.missed.Add(1)
		}
	}
}

// Tail implements jobwardv1.WatchServiceServer.
func (w *watchService) Tail(in *jobwardv1.TailRequest, stream grpc.ServerStreamingServer[jobwardv1.TailResponse]) error {
	s := w.s
	var changes *feed.Tail
	var decisions *tail
	if in.GetInvalidations() {
		changes = s.feed.Tail(tailQueue)
		defer changes.Close()
	}
	if in.GetDecisions() {
		decisions = s.tails.add()
		defer s.tails.remove(decisions)
	}
	return s.held(stream.Context(), s.drain, func(ctx context.Context, _ func(error)) error { return s.tell(ctx, stream, changes, decisions) })
}

// tell sends events until ctx ends.
func (s *Server) tell(ctx context.Context, stream grpc.ServerStreamingServer[jobwardv1.TailResponse], changes *feed.Tail, decisions *tail) error {
	var changed <-chan feed.Event
	var decided <-chan *jobwardv1.TailResponse
	if changes != nil {
		changed = changes.C
	}
	if decisions != nil {
		decided = decisions.decisions
	}
	tick := time.NewTicker(tellMissed)
	defer tick.Stop()
	for {
		var m *jobwardv1.TailResponse
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-changed:
			m = changeToProto(e)
		case m = <-decided:
		case <-tick.C:
		}
		if n := missed(changes, decisions); n > 0 {
			lost := &jobwardv1.TailResponse{Time: wire.StampToProto(s.engine.Now()), Event: &jobwardv1.TailResponse_Missed{Missed: n}}
			if err := stream.Send(lost); err != nil {
				return err
			}
		}
		if m != nil {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
}

func missed(changes *feed.Tail, decisions *tail) (n int64) {
	if changes != nil {
		n += int64(changes.Missed())
	}
	if decisions != nil {
		n += decisions.missed.Swap(0)
	}
	return n
}

func changeToProto(e feed.Event) *jobwardv1.TailResponse {
	c := &jobwardv1.ChangeEvent{
		Revision: uint64(e.Revision), Actor: e.Actor, Verb: e.Verb, KeyCount: int32(len(e.Keys)), Sidecars: int32(e.Told),
	}
	for _, k := range e.Keys[:min(len(e.Keys), tailKeys)] {
		c.Keys = append(c.Keys, k.String())
	}
	return &jobwardv1.TailResponse{Time: wire.StampToProto(e.Stamp), Event: &jobwardv1.TailResponse_Change{Change: c}}
}
