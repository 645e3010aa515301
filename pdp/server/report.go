package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// maxAccessAge is how old an access can be that is told of: it is put down for then, and
// not before what the audit log keeps.
const maxAccessAge = 24 * time.Hour

// reports counts what sidecars tell.
type reports struct {
	// taken answers from caches were told of, dropped were not because too many different
	// ones waited at the sidecar.
	taken, dropped atomic.Uint64
}

// Report implements jobwardv1.WatchServiceServer.
func (w *watchService) Report(stream grpc.BidiStreamingServer[jobwardv1.ReportRequest, jobwardv1.ReportResponse]) error {
	s, by := w.s, actorOf(stream.Context(), 0)
	l := newLane(by.Name)
	defer s.lanes.remove(l)
	return s.held(stream.Context(), s.drain,
		func(context.Context, func(error)) error { return s.readReport(stream, l, by) },
		func(ctx context.Context, _ func(error)) error { return l.write(ctx, stream.Send) })
}

// readReport reads the hello and then what the sidecar tells.
func (s *Server) readReport(stream grpc.BidiStreamingServer[jobwardv1.ReportRequest, jobwardv1.ReportResponse], l *lane, by engine.Actor) error {
	for first := true; ; first = false {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		hello := m.GetHello()
		switch {
		case first && hello == nil:
			return errHelloFirst()
		case !first && hello != nil:
			return authz.Invalid("hello", "comes once, in the first message")
		case hello != nil:
			l.name = hello.GetName()
			if hello.GetCanary() {
				s.lanes.add(l)
			}
		case m.GetAccesses() != nil:
			if err := s.accesses(by, m.GetAccesses()); err != nil {
				return err
			}
		case m.GetCanary() != nil:
			l.answered(m.GetCanary())
		}
	}
}

// accesses puts answers from a cache into the audit log.
func (s *Server) accesses(by engine.Actor, batch *jobwardv1.AccessBatch) error {
	now := s.engine.Now()
	for i, a := range batch.GetAccesses() {
		reason, ok := wire.ReasonFromProto(a.GetReason())
		if !ok || reason == authz.ReasonNone {
			return authz.Invalid(fmt.Sprintf("accesses.accesses[%d].reason", i), "is required")
		}
		s.engine.RecordAccess(by, audit.Access{
			Source: authz.ProjectID(a.GetSourceProjectId()), Target: authz.ProjectID(a.GetTargetProjectId()), Permission: authz.Permission(a.GetPermission()),
			Reason: reason, Last: now.Add(-min(max(a.GetLastAge().AsDuration(), 0), maxAccessAge)), Count: uint64(a.GetCount()),
		})
		s.reports.taken.Add(uint64(a.GetCount()))
	}
	s.reports.dropped.Add(uint64(batch.GetDropped()))
	return nil
}

// lanes are the Report streams of sidecars that answer canary questions.
type lanes struct {
	mu  sync.Mutex
	all map[*lane]struct{}
}

func (ls *lanes) add(l *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.all == nil {
		ls.all = map[*lane]struct{}{}
	}
	ls.all[l] = struct{}{}
}

func (ls *lanes) remove(l *lane) {
	ls.mu.Lock()
	delete(ls.all, l)
	ls.mu.Unlock()
	close(l.gone)
}

func (ls *lanes) list() []*lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := make([]*lane, 0, len(ls.all))
	for l := range ls.all {
		out = append(out, l)
	}
	return out
}

// lane is one Report stream. name is set by its reader before it is among the lanes.
type lane struct {
	name, caller string
	questions    chan *jobwardv1.CanaryQuestion
	gone         chan struct{} // closed when the stream has ended

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *jobwardv1.CanaryAnswer
}

func newLane(caller string) *lane {
	return &lane{
		caller: caller, questions: make(chan *jobwardv1.CanaryQuestion), gone: make(chan struct{}), waiting: map[uint64]chan *jobwardv1.CanaryAnswer{},
	}
}

// write sends the questions until ctx ends.
func (l *lane) write(ctx context.Context, send func(*jobwardv1.ReportResponse) error) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case q := <-l.questions:
			if err := send(&jobwardv1.ReportResponse{Canary: q}); err != nil {
				return err
			}
		}
	}
}

var errLaneGone = errors.New("the sidecar's report stream has ended")

// ask asks a question through the sidecar.
func (l *lane) ask(ctx context.Context, q *jobwardv1.CheckRequest) (*jobwardv1.CanaryAnswer, error) {
	got := make(chan *jobwardv1.CanaryAnswer, 1)
	l.mu.Lock()
	l.last++
	id := l.last
	l.waiting[id] = got
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, id)
		l.mu.Unlock()
	}()
	select {
	case l.questions <- &jobwardv1.CanaryQuestion{Id: id, Question: q}:
	case <-l.gone:
		return nil, errLaneGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-got:
		return a, nil
	case <-l.gone:
		return nil, errLaneGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answered takes an answer. One that nobody waits for is passed over.
func (l *lane) answered(a *jobwardv1.CanaryAnswer) {
	l.mu.Lock()
	got := l.waiting[a.GetId()]
	delete(l.waiting, a.GetId())
	l.mu.Unlock()
	if got != nil {
		got <- a
	}
}
