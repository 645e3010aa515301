package feed

import (
	"context"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Figures are what a sidecar tells of itself, for people.
type Figures struct {
	Entries, Hits, Misses int64
	Applied               authz.Revision
}

// Stream is one open generation. Next is for one goroutine, the other methods for any.
type Stream struct {
	f     *Feed
	gen   lease.Generation
	owner string
	about About
	since time.Time
	wake  chan struct{} // has one when there may be something to take

	// guarded by Feed.mu

	figures Figures
	gone    bool           // the stream is over, by Close or because it was cut
	marked  authz.Revision // the newest sealed mark that was given
}

// Generation gives what the stream has opened.
func (s *Stream) Generation() lease.Generation { return s.gen }

func (s *Stream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Next waits for messages to the sidecar and gives them in order. The error is
// KindCanceled when ctx ended, or STREAM_CUT when there will be none any more.
func (s *Stream) Next(ctx context.Context) ([]lease.Message, error) {
	for {
		ms, open := s.take()
		switch {
		case len(ms) > 0:
			return ms, nil
		case !open:
			return nil, authz.Errorf(authz.KindUnavailable, CodeStreamCut,
				"generation %v gets nothing any more: its holder was too slow, or its lease has ended, or this policy decision point stops; say hello again", s.gen)
		}
		select {
		case <-s.wake:
		case <-s.f.done:
		case <-ctx.Done():
			return nil, &authz.Error{Kind: authz.KindCanceled, Code: "CANCELED", Message: "the caller gave the stream up", Cause: context.Cause(ctx)}
		}
	}
}

// take gives what there is, with sealed marks put in.
func (s *Stream) take() (ms []lease.Message, open bool) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	ms, open = f.grantor.Take(s.gen)
	for i := range ms {
		if ms[i].Kind == lease.Welcome {
			ms[i].Head = seal(f.key, ms[i].Head)
			s.marked = ms[i].Head.Revision
		}
	}
	// A mark is given when everything up to it was sent, so that a sidecar that starts again
	// with it has not missed anything.
	if m := f.checkpoint; open && m.Revision > s.marked {
		if info, _ := f.grantor.Info(s.gen); info.Told >= m.Revision {
			s.marked = m.Revision
			ms = append(ms, lease.Message{Kind: lease.Heartbeat, Generation: s.gen, Revision: info.Told, Head: m})
		}
	}
	return ms, open && f.phase != stopped
}

// Renew asks for a lease. While this PDP is closing none is given.
func (s *Stream) Renew(number uint64, fig Figures) {
	s.do(func(now lease.Instant, g *lease.Grantor) {
		s.figures = fig
		if s.f.phase < closing && s.f.serves(now) {
			g.Renew(now, s.gen, s.owner, number)
		}
	})
}

// Ack confirms invalidations up to rev.
func (s *Stream) Ack(rev authz.Revision) {
	s.do(func(_ lease.Instant, g *lease.Grantor) { g.Ack(s.gen, s.owner, rev) })
}

// Forget says what no entry rests on any more; number is the highest answer number that
// the sidecar had seen.
func (s *Stream) Forget(keys []authz.Key, number uint64) {
	s.do(func(_ lease.Instant, g *lease.Grantor) { g.Forget(s.gen, s.owner, keys, number) })
}

// Release gives up a generation of the same owner, this one or an older one.
func (s *Stream) Release(gen lease.Generation) {
	s.do(func(_ lease.Instant, g *lease.Grantor) { g.Release(gen, s.owner) })
}

// Close says that the stream is gone. The lease runs on (L3).
func (s *Stream) Close() {
	s.do(func(_ lease.Instant, g *lease.Grantor) {
		s.gone = true
		g.Broken(s.gen)
	})
}

func (s *Stream) do(act func(lease.Instant, *lease.Grantor)) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	act(f.opt.Now(), f.grantor)
	f.flush()
}
