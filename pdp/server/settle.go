package server

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
)

// maxWants is how many changes one stream may ask about at a time.
const maxWants = 10_000

// want is a change, or everything up to it.
type want struct {
	revision authz.Revision
	all      bool
}

// settling is one Settle stream. One goroutine reads what is wanted, one owns everything
// else and sends. A want costs nothing but its place here when it is settled at once or the
// view has not reached it; one that sidecars are waited for has a goroutine, and no timer.
type settling struct {
	s      *Server
	may    func() error
	stream grpc.BidiStreamingServer[jobwardv1.SettleRequest, jobwardv1.SettleResponse]

	in   chan []*jobwardv1.SettleWant
	done chan outcome

	// Of serve's goroutine alone.
	open  map[want]context.CancelFunc // not settled; nil for those ahead
	ahead map[want]struct{}           // of open, those that the view has not reached
	tail  *feed.Tail                  // while there are any ahead
	out   *jobwardv1.SettleResponse   // what is settled and not sent
}

// outcome is the end of a wait.
type outcome struct {
	want
	ctx     context.Context // of the wait
	receipt lease.Receipt
	err     error
}

func newSettling(s *Server, meant [16]byte, stream grpc.BidiStreamingServer[jobwardv1.SettleRequest, jobwardv1.SettleResponse]) *settling {
	return &settling{
		s: s, may: func() error { return s.mayAnswerFor(meant) }, stream: stream,
		in: make(chan []*jobwardv1.SettleWant), done: make(chan outcome, 64),
		open: map[want]context.CancelFunc{}, ahead: map[want]struct{}{}, out: &jobwardv1.SettleResponse{},
	}
}

// read hands over what is wanted, until the peer closes its side.
func (st *settling) read(ctx context.Context) error {
	for {
		m, err := st.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		part, ok := m.GetPart().(*jobwardv1.SettleRequest_Wants)
		if !ok {
			return authz.Invalid("hello", "comes once, in the first message")
		}
		select {
		case st.in <- part.Wants.GetWants():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serve answers. What is ready together leaves in one message. Whether this PDP may answer
// is asked for every message, and at least as often as pending wants are answered.
func (st *settling) serve(ctx context.Context, end func(error)) error {
	defer st.close()
	tick := time.NewTicker(st.s.pendingEvery())
	defer tick.Stop()
	for {
		var moved <-chan feed.Event
		if st.tail != nil {
			moved = st.tail.C
		}
		select {
		case wants := <-st.in:
			if err := st.take(ctx, end, wants); err != nil {
				return err
			}
		case o := <-st.done:
			if err := st.settled(o); err != nil {
				return err
			}
		case <-moved:
			st.lookAhead(ctx, end)
		case <-tick.C:
			st.lookAhead(ctx, end)
			st.pending()
			if err := st.may(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := st.gather(ctx, end); err != nil {
			return err
		}
		if err := st.send(); err != nil {
			return err
		}
	}
}

// gather takes what else is there without waiting.
func (st *settling) gather(ctx context.Context, end func(error)) error {
	for range maxWants {
		select {
		case o := <-st.done:
			if err := st.settled(o); err != nil {
				return err
			}
		case wants := <-st.in:
			if err := st.take(ctx, end, wants); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// send sends what is settled, if anything is, and tells how far the view is.
func (st *settling) send() error {
	if len(st.out.Standings) == 0 {
		return nil
	}
	m := st.out
	st.out = &jobwardv1.SettleResponse{}
	m.AppliedRevision = uint64(st.s.feed.Head().Revision)
	if err := st.may(); err != nil {
		return err
	}
	return st.stream.Send(m)
}

// take notes wants, and answers those that are settled already.
func (st *settling) take(ctx context.Context, end func(error), wants []*jobwardv1.SettleWant) error {
	for _, m := range wants {
		w := want{authz.Revision(m.GetRevision()), m.GetAll()}
		_, known := st.open[w]
		switch {
		case m.GetCancel():
			st.forget(w)
		case known:
		case len(st.open) >= maxWants:
			return authz.Errorf(authz.KindExhausted, CodeTooManyWants, "more than %d changes are asked about at a time on one stream: cancel those that nobody waits for", maxWants)
		default:
			st.begin(ctx, end, w)
		}
	}
	st.lookAhead(ctx, end)
	return nil
}

// ended is a context that has ended: with it the feed says how a receipt stands, and does not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// begin looks at a want once, and waits for it where that is needed.
func (st *settling) begin(ctx context.Context, end func(error), w want) {
	r, err := st.s.settle(ended, w)
	switch {
	case err != nil: // the view has not reached it
		st.open[w], st.ahead[w] = nil, struct{}{}
		if st.tail == nil {
			st.tail = st.s.feed.Tail(1)
		}
	case r.Effective:
		st.forget(w)
		st.answer(w, r)
	default:
		delete(st.ahead, w)
		ctx, cancel := context.WithCancel(ctx)
		st.open[w] = cancel
		go func() {
			defer func() {
				if p := recover(); p != nil {
					end(st.s.panicked(ctx, p))
				}
			}()
			r, err := st.s.settle(ctx, w)
			select {
			case st.done <- outcome{w, ctx, r, err}:
			case <-ctx.Done():
			}
		}()
	}
}

// settle waits for the receipt of a want. It fails when the view has not reached it.
func (s *Server) settle(ctx context.Context, w want) (lease.Receipt, error) {
	if w.all {
		return s.feed.AwaitAll(ctx, w.revision, nil)
	}
	return s.feed.Await(ctx, w.revision, nil)
}

// lookAhead looks again at what the view had not reached. A tail was opened before the
// look, so no change is missed.
func (st *settling) lookAhead(ctx context.Context, end func(error)) {
	if len(st.ahead) > 0 {
		head := st.s.feed.Head().Revision
		for w := range st.ahead {
			if w.revision <= head {
				st.begin(ctx, end, w)
			}
		}
	}
	if len(st.ahead) == 0 && st.tail != nil {
		st.tail.Close()
		st.tail = nil
	}
}

// settled takes the end of a wait. One that has ended and is not effective says that the
// feed has stopped, and with it the stream.
func (st *settling) settled(o outcome) error {
	switch {
	case o.ctx.Err() != nil: // nobody waits any more
		return nil
	case o.err != nil:
		return o.err
	case !o.receipt.Effective:
		return errDraining()
	}
	st.forget(o.want)
	st.answer(o.want, o.receipt)
	return nil
}

// pending answers what is not settled, as it stands.
func (st *settling) pending() {
	for w := range st.open {
		r, err := st.s.settle(ended, w)
		if err != nil {
			r = lease.Receipt{}
		}
		if r.Effective {
			st.forget(w)
		}
		st.answer(w, r)
	}
}

func (st *settling) answer(w want, r lease.Receipt) {
	st.out.Standings = append(st.out.Standings, &jobwardv1.SettleStanding{
		Revision: uint64(w.revision), All: w.all, Settled: r.Effective,
		Acknowledged: int32(r.Acked), Lapsed: int32(r.Lapsed), Pending: int32(r.Pending),
	})
}

// forget ends the wait for a want.
func (st *settling) forget(w want) {
	if cancel := st.open[w]; cancel != nil {
		cancel()
	}
	delete(st.open, w)
	delete(st.ahead, w)
}

func (st *settling) close() {
	for w := range st.open {
		st.forget(w)
	}
	if st.tail != nil {
		st.tail.Close()
	}
}
