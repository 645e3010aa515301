package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/state"
)

// Settle has every other incarnation settle what was committed before the call. It tells
// progress (if not nil) each step, and ends when the receipt is effective or when ctx does.
// Without an answer of the store it is not effective.
func (m *Member) Settle(ctx context.Context, wants []Want, progress func(Receipt)) Receipt {
	s := &settling{
		m: m, wants: wants, began: m.opt.Now(), at: map[state.Incarnation]*standing{},
		news: make(chan struct{}, 1), bound: lease.GrantorTerm(m.opt.Term),
	}
	defer s.asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.run(ctx, progress)
}

// settling is one receipt. What peers say comes in by news.
type settling struct {
	m     *Member
	wants []Want
	began lease.Instant
	bound time.Duration
	news  chan struct{}

	asking sync.WaitGroup

	// Guarded by Member.mu.
	at    map[state.Incarnation]*standing
	order []*standing
}

// standing is how one incarnation stands.
type standing struct {
	Standing
	reg   state.Registration // as last listed, while it is live
	live  bool
	heard lease.Instant // the last answer or progress, at first the begin
	until lease.Instant // of one that has departed: when it is over
	stop  context.CancelFunc
	left  int // wants that are not settled
	open  map[Want]Answer
}

// run waits. It lists again while it does, to see what peers write and who has departed.
func (s *settling) run(ctx context.Context, progress func(Receipt)) Receipt {
	m := s.m
	listed := false
	var told Receipt
	for {
		again := min(m.opt.Fence/3, time.Second)
		if list, err := s.list(ctx); err == nil {
			listed = true
			s.take(ctx, list)
		} else if !listed {
			again = retryPause
		}
		end := time.NewTimer(again)
		for relist := false; !relist; {
			out, next := s.judge(ctx, listed)
			if progress != nil && !sameReceipt(out, told) {
				progress(out)
				told = out
			}
			if out.Effective || ctx.Err() != nil {
				end.Stop()
				return out
			}
			soon := time.NewTimer(next)
			select {
			case <-s.news:
			case <-soon.C:
			case <-end.C:
				relist = true
			case <-ctx.Done():
			}
			soon.Stop()
		}
	}
}

func (s *settling) list(ctx context.Context) (state.Registrations, error) {
	if s.m.opt.Fault == FaultListOld {
		return s.m.lists.old(ctx)
	}
	return s.m.lists.get(ctx)
}

// take notes who is in a list. Only the first list can bring somebody who has to settle: who
// joined later has loaded a view that has the change (M4).
func (s *settling) take(ctx context.Context, list state.Registrations) {
	m := s.m
	now := m.opt.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	first := s.order == nil
	if first {
		s.order = []*standing{}
	}
	for _, st := range s.order {
		st.live = false
	}
	for _, r := range list.Live {
		if r.Incarnation == m.reg.Incarnation {
			continue
		}
		st := s.at[r.Incarnation]
		switch {
		case st != nil:
			if r.Settled > st.reg.Settled {
				st.heard = now
			}
			st.reg, st.live = r, true
		case first && (r.Version > 1 || m.opt.Fault == FaultWaitsForLoading): // M9
			st = s.add(r.Incarnation, r.Name)
			st.reg, st.live, st.heard, st.left = r, true, now, len(s.wants)
			peer, err := m.contact(r)
			if err != nil {
				m.log.Warn("a PDP cannot be called", "replica", r.Name, "address", r.Address, "error", err)
				break
			}
			asking, cancel := context.WithCancel(ctx)
			st.stop = cancel
			for _, w := range s.wants {
				s.asking.Go(func() { s.ask(asking, st, peer, w) })
			}
		}
	}
	for _, d := range list.Departed {
		if m.opt.Fault == FaultForgetsDeparted {
			break
		}
		st := s.at[d.Incarnation]
		if st == nil && first {
			st = s.add(d.Incarnation, d.Name)
			st.reg.Fence, st.reg.Term = d.Fence, d.Term // for the bound
		}
		if st == nil || st.Outcome == Settled || st.Outcome == Gone {
			continue
		}
		st.Outcome, st.live, st.until = Fenced, true, over(m.gone[d.Incarnation], d)
		if m.opt.Fault == FaultFenceWaitOnly {
			st.until = now
		}
	}
	for _, st := range s.order {
		// Who is neither live nor departed has left without a lease out, or was waited out.
		if !st.live && st.Outcome != Settled {
			st.settle(Gone)
		}
	}
}

func (s *settling) add(id state.Incarnation, name string) *standing {
	st := &standing{Standing: Standing{Incarnation: id, Name: name}, open: map[Want]Answer{}}
	s.at[id], s.order = st, append(s.order, st)
	return st
}

func (st *standing) settle(o Outcome) {
	st.Outcome, st.Pending = o, 0
	if st.stop != nil {
		st.stop()
	}
}

// judge says how the receipt stands, and when to look again at the latest. It fences who is
// silent (M8).
func (s *settling) judge(ctx context.Context, listed bool) (out Receipt, next time.Duration) {
	m := s.m
	now := m.opt.Now()
	next = time.Second
	var silent []*standing
	m.mu.Lock()
	out.Effective = listed
	for _, st := range s.order {
		if st.Outcome == Pending && (st.left == 0 && st.reg.Version > 0 || s.written(st)) {
			st.settle(Settled)
		}
		if st.Outcome == Fenced && now >= st.until {
			st.settle(Gone)
		}
		switch st.Outcome {
		case Pending:
			quiet := st.heard.Add(st.reg.Fence)
			if now >= quiet {
				silent = append(silent, st)
			} else {
				next = min(next, quiet.Sub(now))
			}
		case Fenced:
			next = min(next, st.until.Sub(now))
		}
		out.Effective = out.Effective && (st.Outcome == Settled || st.Outcome == Gone)
		st.Acked, st.Lapsed, st.Pending = 0, 0, 0
		for _, a := range st.open {
			st.Acked, st.Lapsed, st.Pending = st.Acked+a.Acked, st.Lapsed+a.Lapsed, st.Pending+a.Pending
		}
		if st.Outcome == Pending || st.Outcome == Fenced {
			s.bound = max(s.bound, boundOf(st.reg, m.opt.Fence))
		} else {
			st.Pending = 0
		}
		out.Standings = append(out.Standings, st.Standing)
	}
	out.Bound = s.bound
	m.mu.Unlock()
	for _, st := range silent {
		s.fence(ctx, st)
	}
	if len(silent) > 0 {
		next = retryPause
	}
	return out, next
}

// written reports whether a registration says that everything is settled. Called with the lock.
func (s *settling) written(st *standing) bool {
	for _, w := range s.wants {
		if st.reg.Settled < w.Revision {
			return false
		}
	}
	return st.reg.Version > 0
}

// boundOf is the longest that a receipt can wait for a peer: until it is fenced, and until all
// that it may have granted is over (M8).
func boundOf(r state.Registration, ours time.Duration) time.Duration {
	return r.Fence + min(ours/3, time.Second) + lease.GrantorTerm(r.Fence) + lease.GrantorTerm(r.Term)
}

// fence fences a peer that was silent, as it was last listed, and lists again, which says
// since when it is gone. If it was renewed meanwhile, the next list has its newer version.
func (s *settling) fence(ctx context.Context, st *standing) {
	m := s.m
	m.mu.Lock()
	r := st.reg
	m.mu.Unlock()
	m.fence(r)
	if list, err := s.list(ctx); err == nil {
		s.take(ctx, list)
	}
}

// ask asks a peer about one want until it is settled.
func (s *settling) ask(ctx context.Context, st *standing, peer Peer, w Want) {
	m := s.m
	for ctx.Err() == nil {
		err := peer.Settle(ctx, w, func(a Answer) { s.answered(st, a) })
		if err == nil {
			return
		}
		if !pause(ctx, min(retryPause, m.opt.Fence/20)) {
			return
		}
	}
}

// answered notes what a peer says.
func (s *settling) answered(st *standing, a Answer) {
	m := s.m
	now := m.opt.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	before := st.open[a.Want]
	st.open[a.Want] = a
	switch {
	case a.Settled:
		st.heard = now
		if !before.Settled {
			st.left--
		}
	case a.Applied >= a.Revision || m.opt.Fault == FaultPendingForever:
		st.heard = now
	default:
		return // it has not applied the change: that is no answer for longer than F
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func sameReceipt(a, b Receipt) bool {
	return a.Effective == b.Effective && slices.Equal(a.Standings, b.Standings)
}
