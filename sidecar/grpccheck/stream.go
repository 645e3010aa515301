package grpccheck

import (
	"context"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/wire"
)

// streamMisses is how many messages of one stream may wait for the PDP at a time.
const streamMisses = 64

// decisionService is DecisionService. Check and BatchCheck are in hot.go and are registered past it.
type decisionService struct {
	jobwardv1.UnimplementedDecisionServiceServer
	s *Server
}

// Explain implements jobwardv1.DecisionServiceServer: a cache has no reasons beyond the reason.
func (d *decisionService) Explain(context.Context, *jobwardv1.ExplainRequest) (*jobwardv1.ExplainResponse, error) {
	return nil, errElsewhere(jobwardv1.DecisionService_Explain_FullMethodName)
}

// CheckStream implements jobwardv1.DecisionServiceServer. It ends when the caller closes its side and everything is answered, when something
// breaks, or when the server drains.
func (d *decisionService) CheckStream(stream grpc.BidiStreamingServer[jobwardv1.CheckStreamRequest, jobwardv1.CheckStreamResponse]) error {
	s := d.s
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel() // what waits for the PDP gives up
	by, _ := ctx.Value(callerKey{}).(string)
	c := &conversation{
		s: s, stream: stream, by: by, door: s.doors[jobwardv1.DecisionService_CheckStream_FullMethodName],
		free: make(chan struct{}, streamMisses), ended: make(chan error, 1+streamMisses),
	}
	s.streaming.Go(func() { c.ended <- s.recovered(ctx, c.readAll) })
	select {
	case err := <-c.ended:
		return err
	case <-s.drain:
		// Returning ends the stream, and with it the goroutines.
		return errDraining()
	}
}

// conversation is one stream.
type conversation struct {
	s      *Server
	stream grpc.ServerStream
	door   *door
	by     string
	free   chan struct{}  // holds a value for each message that waits for the PDP
	last   hot.Last       // used by readAll
	misses sync.WaitGroup // the same, to be waited for; used by readAll
	// ended takes what ends the stream: from readAll, and from each that waits for the PDP at most one. It never blocks them.
	ended   chan error
	sending sync.Mutex // gRPC takes one message at a time
}

// readAll reads until the caller closes its side, then waits for the last answers. It sends what it answers itself: gRPC's own writer already puts
// frames that wait together into one system call, and a goroutine between the two costs more than it saves.
func (c *conversation) readAll(ctx context.Context) error {
	h := c.borrow()
	for {
		h.in.Reset(hot.CheckStream)
		h.in.Remember(&c.last)
		if err := c.stream.RecvMsg(&h.in); err == io.EOF {
			c.s.giveBack(h)
			c.misses.Wait()
			return nil
		} else if err != nil {
			return err
		}
		start := time.Now()
		err := c.s.read(ctx, h)
		if err == nil && !c.s.look(ctx, h) {
			if err := c.askApart(ctx, h, start); err != nil {
				return err
			}
			h = c.borrow()
			continue
		}
		if err := c.send(h, start, err); err != nil {
			return err
		}
	}
}

func (c *conversation) borrow() *scratch {
	h := c.s.borrow(c.door, hot.CheckStream)
	h.by, h.out = c.by, &h.own
	return h
}

// askApart answers what is left of the message in h, and owns h, in a goroutine of its own, as soon as one may begin.
func (c *conversation) askApart(ctx context.Context, h *scratch, start time.Time) error {
	select {
	case c.free <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.misses.Add(1)
	c.s.streaming.Go(func() {
		defer c.misses.Done()
		err := c.s.recovered(ctx, func(ctx context.Context) error {
			return c.send(h, start, c.s.askRest(ctx, h))
		})
		<-c.free
		if err != nil {
			select {
			case c.ended <- err:
			default: // somebody else has said it
			}
			return
		}
		c.s.giveBack(h)
	})
	return nil
}

// send sends the answer in h or, for an error, the problem.
func (c *conversation) send(h *scratch, start time.Time, err error) error {
	if err != nil {
		if err := h.out.Problem(h.in.ID, wire.AsError(err)); err != nil {
			return err
		}
	}
	c.s.meters.answered(c.door, time.Since(start))
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.stream.SendMsg(h.out)
}
