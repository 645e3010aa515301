package peer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state"
)

// Peer implements [replica.Peer]: one other incarnation.
type Peer struct {
	to     state.Registration
	opt    Options
	conn   *grpc.ClientConn
	client jobwardv1.PeerServiceClient

	ctx  context.Context
	stop context.CancelFunc
	runs sync.WaitGroup
	wake chan struct{} // something is to be sent; holds one

	mu     sync.Mutex
	asks   map[replica.Want]*ask
	out    []*jobwardv1.SettleWant // to be sent on this stream
	closed bool
}

// ask is one want, and who waits for it.
type ask struct{ waiters []*waiter }

// waiter is one call of Settle.
type waiter struct {
	each func(replica.Answer)
	end  chan error // holds one
}

var errClosed = errors.New("the connection to the peer was closed")

// Settle implements [replica.Peer].
func (p *Peer) Settle(ctx context.Context, w replica.Want, each func(replica.Answer)) error {
	me := &waiter{each, make(chan error, 1)}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed
	}
	a := p.asks[w]
	if a == nil {
		a = &ask{}
		p.asks[w] = a
		p.out = append(p.out, wantToProto(w))
		p.poke()
	}
	a.waiters = append(a.waiters, me)
	p.mu.Unlock()
	select {
	case err := <-me.end:
		return err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.waiters = slices.DeleteFunc(a.waiters, func(o *waiter) bool { return o == me }); len(a.waiters) == 0 && p.asks[w] == a {
		delete(p.asks, w)
		m := wantToProto(w)
		m.Cancel = true
		p.out = append(p.out, m)
		p.poke()
	}
	return ctx.Err()
}

func wantToProto(w replica.Want) *jobwardv1.SettleWant {
	return &jobwardv1.SettleWant{Revision: uint64(w.Revision), All: w.All}
}

func (p *Peer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close implements [replica.Peer]. Those who wait are told.
func (p *Peer) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.runs.Wait()
	p.fail(errClosed)
	return p.conn.Close()
}

// fail ends the waits of all, who may ask again.
func (p *Peer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, a := range p.asks {
		for _, one := range a.waiters {
			one.end <- err
		}
		delete(p.asks, w)
	}
	p.out = nil
}

// run holds a stream while somebody asks, and opens another when it breaks.
func (p *Peer) run() {
	const pause = 50 * time.Millisecond
	for {
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
		err := p.hold()
		if p.ctx.Err() != nil {
			return
		}
		p.opt.Logger.Debug("the stream to a peer broke", "replica", p.to.Name, "address", p.to.Address, "error", err)
		p.fail(wire.AsError(err))
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
			return
		}
	}
}

// hold is one stream: the hello, and then what is wanted, until it breaks.
func (p *Peer) hold() error {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	stream, err := p.client.Settle(ctx)
	if err != nil {
		return err
	}
	epoch := p.opt.Epoch()
	hello := &jobwardv1.SettleHello{Incarnation: p.to.Incarnation[:], Epoch: epoch.Counter, EpochId: epoch.ID[:]}
	if err := stream.Send(&jobwardv1.SettleRequest{Part: &jobwardv1.SettleRequest_Hello{Hello: hello}}); err != nil {
		return cause(stream, err)
	}
	ended := make(chan error, 1)
	p.runs.Go(func() { ended <- p.receive(stream) })
	for {
		const most = 10_000 // of the proto rules
		p.mu.Lock()
		wants := p.out
		p.out = nil
		p.mu.Unlock()
		for part := range slices.Chunk(wants, most) {
			if err := stream.Send(&jobwardv1.SettleRequest{Part: &jobwardv1.SettleRequest_Wants{Wants: &jobwardv1.SettleWants{Wants: part}}}); err != nil {
				return <-ended // Recv says why
			}
		}
		select {
		case <-p.wake:
		case err := <-ended:
			return err
		}
	}
}

// cause is why a stream ended, when sending on it failed.
func cause(stream grpc.BidiStreamingClient[jobwardv1.SettleRequest, jobwardv1.SettleResponse], err error) error {
	if _, said := stream.Recv(); said != nil {
		return said
	}
	return err
}

// receive hands answers to those who wait, until the stream ends.
func (p *Peer) receive(stream grpc.BidiStreamingClient[jobwardv1.SettleRequest, jobwardv1.SettleResponse]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, s := range m.GetStandings() {
			p.answered(replica.Answer{
				Want:    replica.Want{Revision: authz.Revision(s.GetRevision()), All: s.GetAll()},
				Settled: s.GetSettled(), Acked: int(s.GetAcknowledged()), Lapsed: int(s.GetLapsed()), Pending: int(s.GetPending()),
				Applied: authz.Revision(m.GetAppliedRevision()),
			})
		}
	}
}

func (p *Peer) answered(a replica.Answer) {
	p.mu.Lock()
	asked := p.asks[a.Want]
	var waiters []*waiter
	if asked != nil {
		waiters = slices.Clone(asked.waiters)
		if a.Settled {
			delete(p.asks, a.Want)
		}
	}
	p.mu.Unlock()
	for _, w := range waiters {
		w.each(a)
		if a.Settled {
			w.end <- nil
		}
	}
}
