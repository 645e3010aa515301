package replica

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Settle has every other incarnation settle what was committed before the call. It tells
// progress (if not nil) each step, and ends when the receipt is effective, when ctx does or
// when the Member is stopped. Without an answer of the store it is not effective.
func (m *Member) Settle(ctx context.Context, wants []Want, progress func(Receipt)) Receipt {
	s := &settling{
		m: m, began: m.opt.Now(), at: map[state.Incarnation]*standing{},
		news: make(chan struct{}, 1), bound: lease.GrantorTerm(m.opt.Term),
	}
	once := map[Want]bool{}
	for _, w := range wants {
		once[w], s.top = true, max(s.top, w.Revision)
	}
	s.wants = slices.Collect(maps.Keys(once))
	defer s.asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	return s.run(ctx, progress)
}

// settling is one receipt. What peers say comes in by news.
type settling struct {
	m      *Member
	wants  []Want         // each once
	top    authz.Revision // the newest of them
	began  lease.Instant
	listed lease.Instant // the last list was there, or zero
	news   chan struct{}

	asking sync.WaitGroup

	// Guarded by Member.mu.
	bound time.Duration
	at    map[state.Incarnation]*standing
	order []*standing
}

// standing is how one incarnation stands.
type standing struct {
	Standing
	reg     state.Registration // as last listed, while it is live
	listed  bool               // it is in the last list, live or departed
	applied bool               // it is known to have applied what is wanted
	quiet   lease.Instant      // when it is fenced, unless it is known to have applied
	until   lease.Instant      // when it is settled, if that is known, whatever it says
	stop    context.CancelFunc
	left    int // wants that are not settled
	open    map[Want]Answer
}

// run waits. It lists again while it does, to see what peers write and who has departed, and
// when somebody has been silent for so long that it is to be fenced.
func (s *settling) run(ctx context.Context, progress func(Receipt)) Receipt {
	m := s.m
	var told Receipt
	for {
		again := min(m.opt.Fence/3, time.Second)
		if list, err := s.list(ctx); err == nil {
			for _, r := range s.take(ctx, list) {
				m.fence(r)
				again = retryPause // the list says then since when it is gone
			}
		} else if s.listed == 0 {
			again = retryPause
		}
		end := time.NewTimer(again)
		for relist := false; !relist; {
			out, next := s.judge()
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
				relist = s.anySilent()
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

// take notes who is in a list, and gives whom to fence. Only the first list can bring
// somebody who has to settle: who joined later has loaded a view that has the change (M4).
func (s *settling) take(ctx context.Context, list state.Registrations) (fence []state.Registration) {
	m := s.m
	now := m.opt.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	first := s.listed == 0
	s.listed = now
	for _, st := range s.order {
		st.listed = false
	}
	for _, r := range list.Live {
		if r.Incarnation == m.reg.Incarnation {
			continue
		}
		st := s.at[r.Incarnation]
		if st == nil && first && (r.Version > 1 || m.opt.Fault == FaultWaitsForLoading) { // M9
			st = s.add(r.Incarnation, r.Name)
			st.reg, st.quiet, st.left = r, now.Add(r.Fence), len(s.wants)
			s.bound = max(s.bound, now.Sub(s.began)+boundOf(r, m.opt.Fence))
			s.call(ctx, st)
		}
		if st == nil {
			continue
		}
		st.reg, st.listed = r, true
		s.applied(st, r.Applied, now)
		if s.silent(st, now) {
			fence = append(fence, r)
		}
	}
	for _, d := range list.Departed {
		if m.opt.Fault == FaultForgetsDeparted {
			break
		}
		st := s.at[d.Incarnation]
		if st == nil && first {
			st = s.add(d.Incarnation, d.Name)
		}
		if st == nil || st.Outcome == Settled || st.Outcome == Gone {
			continue
		}
		st.Outcome, st.listed = Fenced, true
		if st.applied {
			continue // what it granted before is over sooner
		}
		st.until = over(m.gone[d.Incarnation], d)
		if m.opt.Fault == FaultFenceWaitOnly {
			st.until = m.gone[d.Incarnation].Add(lease.GrantorTerm(d.Fence))
		}
		if first { // of others boundOf has it
			s.bound = max(s.bound, st.until.Sub(s.began)+lease.Margin)
		}
	}
	for _, st := range s.order {
		// Who is neither live nor departed has left without a lease out, or was waited out.
		if !st.listed && st.Outcome != Settled {
			st.settle(Gone)
		}
	}
	return fence
}

func (s *settling) add(id state.Incarnation, name string) *standing {
	st := &standing{Standing: Standing{Incarnation: id, Name: name}, open: map[Want]Answer{}}
	s.at[id], s.order = st, append(s.order, st)
	return st
}

// call begins to ask an incarnation. Called with the lock.
func (s *settling) call(ctx context.Context, st *standing) {
	m := s.m
	peer, err := m.contact(st.reg)
	if err != nil {
		m.log.Warn("a PDP cannot be called", "replica", st.Name, "address", st.reg.Address, "error", err)
		return
	}
	ctx, st.stop = context.WithCancel(ctx)
	for _, w := range s.wants {
		s.asking.Go(func() { s.ask(ctx, st, peer, w) })
	}
}

// applied notes that an incarnation has applied rev, as was known at now. What it granted
// before it applied the change is over T(1+ρ)+m later, and what it grants since comes to its
// sidecars after the change (L8, L10): no more is waited for, whatever becomes of it (M6).
// Called with the lock.
func (s *settling) applied(st *standing, rev authz.Revision, now lease.Instant) {
	if st.applied || rev < s.top || st.Outcome != Pending || s.m.opt.Fault == FaultAppliedIsPending {
		return
	}
	st.applied, st.until = true, now.Add(lease.GrantorTerm(st.reg.Term))
	if s.m.opt.Fault == FaultAppliedIsSettled {
		st.until = now
	}
}

func (st *standing) settle(o Outcome) {
	st.Outcome, st.Pending = o, 0
	if st.stop != nil {
		st.stop()
	}
}

// judge says how the receipt stands, and when to look again at the latest.
func (s *settling) judge() (out Receipt, next time.Duration) {
	m := s.m
	next = time.Second
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opt.Now()
	out.Effective = s.listed != 0
	for _, st := range s.order {
		waited := st.until != 0 && now >= st.until
		if waited {
			st.Lapsed, st.Pending = st.Lapsed+st.Pending, 0
		}
		switch {
		case st.Outcome == Pending && (waited || st.left == 0 || s.written(st)):
			st.settle(Settled)
		case st.Outcome == Fenced && waited:
			st.settle(Gone)
		case st.Outcome != Pending && st.Outcome != Fenced:
		case st.until != 0:
			next = min(next, st.until.Sub(now))
		case now < st.quiet:
			next = min(next, st.quiet.Sub(now))
		}
		out.Effective = out.Effective && (st.Outcome == Settled || st.Outcome == Gone)
		out.Standings = append(out.Standings, st.Standing)
	}
	out.Bound = s.bound
	return out, next
}

// anySilent reports whether somebody is to be fenced, for which a new list is needed.
func (s *settling) anySilent() bool {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	now := s.m.opt.Now()
	return slices.ContainsFunc(s.order, func(st *standing) bool { return s.silent(st, now) })
}

// silent reports whether an incarnation is to be fenced (M8). Called with the lock.
func (s *settling) silent(st *standing, now lease.Instant) bool {
	heard, well := s.m.heard(now)
	return well && st.Outcome == Pending && !st.applied && !s.written(st) && now >= max(st.quiet, heard.Add(st.reg.Fence))
}

// written reports whether a registration says that everything is settled. Called with the lock.
func (s *settling) written(st *standing) bool { return st.reg.Version > 0 && st.reg.Settled >= s.top }

// boundOf is the longest that a receipt can wait for a peer that is listed: until it is fenced,
// and until all that it may have granted is over (M8).
func boundOf(r state.Registration, ours time.Duration) time.Duration {
	return r.Fence + min(ours/3, time.Second) + lease.GrantorTerm(r.Fence) + lease.GrantorTerm(r.Term)
}

// ask asks a peer about one want until it is settled.
func (s *settling) ask(ctx context.Context, st *standing, peer Peer, w Want) {
	most := s.m.opt.Fence / 20
	for wait := most / 16; ; wait = min(2*wait, most) {
		err := peer.Settle(ctx, w, func(a Answer) { s.answered(st, a) })
		if err == nil || !pause(ctx, wait) {
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
	if before.Settled || st.Outcome == Settled || st.Outcome == Gone {
		return
	}
	st.open[a.Want] = a
	st.Acked += a.Acked - before.Acked
	st.Lapsed += a.Lapsed - before.Lapsed
	st.Pending += a.Pending - before.Pending
	if a.Settled {
		st.left--
	}
	s.applied(st, a.Applied, now)
	if f := m.opt.Fault; f == FaultPendingForever || f == FaultAppliedIsPending && a.Applied >= s.top {
		st.quiet = now.Add(st.reg.Fence)
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func sameReceipt(a, b Receipt) bool {
	return a.Effective == b.Effective && slices.Equal(a.Standings, b.Standings)
}
