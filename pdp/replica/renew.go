package replica

import (
	"context"
	"encoding/hex"
	"math"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// renewLoop keeps the registration, three times in F and more often when that fails. A timer
// says when to try, never what time it is (R11). It begins when the view is there (M9), and
// does nothing else: what holds a renewal up ends the serving.
func (m *Member) renewLoop() {
	select {
	case <-m.attached:
	case <-m.ctx.Done():
		return
	}
	for wait := time.Duration(0); pause(m.ctx, wait); m.look() {
		if wait = m.opt.Fence / 20; m.renew() {
			wait = m.opt.Fence / 3
		}
	}
}

// lookLoop sees that the serving has ended when nobody else looks.
func (m *Member) lookLoop() {
	for {
		wait := m.opt.Fence / 3
		if left := m.left(); left > 0 {
			wait = min(wait, left+time.Millisecond)
		}
		if !pause(m.ctx, wait) {
			return
		}
		m.look()
	}
}

// renew renews the registration once, or joins again when it was fenced.
func (m *Member) renew() bool {
	m.mu.Lock()
	joined := m.joined
	m.mu.Unlock()
	if !joined {
		return m.join(m.ctx) == nil
	}
	reg := m.next()
	ctx, cancel := context.WithTimeout(m.ctx, m.opt.Fence/3)
	defer cancel()
	sent := m.opt.Now()
	head, err := m.opt.Registry.Renew(ctx, reg)
	switch {
	case err == nil:
		m.mu.Lock()
		m.stats.Renewals++
		m.mu.Unlock()
		m.extend(reg.Incarnation, sent, head)
		return true
	case codeOf(err) == state.CodeFenced:
		m.fenced()
		return m.join(m.ctx) == nil
	}
	m.mu.Lock()
	m.stats.Failed++
	m.mu.Unlock()
	if m.ctx.Err() == nil {
		m.log.Warn("the registration could not be renewed", "left", m.left().Round(time.Millisecond).String(), "error", err)
	}
	return false
}

// next is what the next renewal says. What it says of the view and the sidecars was so
// before it is sent.
func (m *Member) next() state.Registration {
	// Settled first: it must not be of a later moment than Applied.
	settled, applied := m.local.Settled(), m.local.Applied()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reg.Version++
	m.reg.Settled, m.reg.Applied = settled, applied
	return m.reg
}

// left is how long this PDP may still answer.
func (m *Member) left() time.Duration {
	return max(lease.Instant(m.until.Load()).Sub(m.opt.Now()), 0)
}

// extend lets this PDP serve until F(1-ρ) after sent, once its view has reached head (M1, M2).
func (m *Member) extend(id state.Incarnation, sent lease.Instant, head authz.Revision) {
	if m.opt.Fault == FaultAnswerCounts {
		sent = m.opt.Now()
	}
	until := sent.Add(lease.HolderTerm(m.opt.Fence))
	m.mu.Lock()
	if m.reg.Incarnation == id && sent >= m.put.sent {
		if m.put.sent == 0 || sent.Sub(m.put.sent) >= m.opt.Fence {
			m.well = m.opt.Now()
		}
		m.put = put{sent, head}
	}
	m.mu.Unlock()
	if m.opt.Fault == FaultHeadIgnored || m.local.Applied() >= head {
		m.raise(id, until)
		return
	}
	m.runs.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, until.Sub(m.opt.Now()))
		defer cancel()
		if err := m.local.AwaitApplied(ctx, head); err == nil {
			m.raise(id, until)
		}
	})
}

// raise moves the end of serving, unless this is another incarnation by now, or none.
func (m *Member) raise(id state.Incarnation, until lease.Instant) {
	m.mu.Lock()
	if !m.stopped && m.joined && m.reg.Incarnation == id && int64(until) > m.until.Load() {
		m.until.Store(int64(until))
	}
	m.mu.Unlock()
	m.look()
}

// fenced ends this incarnation: nothing is answered or granted any more, and no lease that is
// out is renewed (M3). They run out, which whoever fenced it waits for.
func (m *Member) fenced() {
	m.mu.Lock()
	id := m.reg.Incarnation
	m.joined, m.cause = false, fenced
	m.ceased = m.opt.Now()
	m.stats.Fenced++
	m.until.Store(0)
	if m.opt.Fault == FaultServesOn {
		m.until.Store(math.MaxInt64)
	}
	m.mu.Unlock()
	m.log.Error("this PDP may not answer: the others have fenced it, as nothing was heard of it; it joins anew", "incarnation", short(id))
	m.look()
	m.cut()
}

// cut ends the streams of all sidecars, so that they go elsewhere, and renews none of their
// leases any more.
func (m *Member) cut() {
	if m.opt.Fault != FaultKeepsLeases {
		m.local.CutAll()
	}
}

// look tells whoever wants to know when serving has begun or ended. When it has ended because
// the store could not be reached, the sidecars are sent elsewhere; their leases run on.
func (m *Member) look() {
	m.mu.Lock()
	now := m.opt.Now() // under the lock, or an older look could have the last word
	serves := m.Serving(now)
	if serves == m.serving || m.stopped {
		m.mu.Unlock()
		return
	}
	quiet := !serves && m.joined
	var why error
	if m.serving = serves; serves {
		m.cause = silent // if it ends and nobody says why
		select {
		case <-m.served:
		default:
			close(m.served)
		}
	} else {
		if quiet {
			m.ceased = min(now, lease.Instant(m.until.Load()))
			m.stats.Silent++
		}
		why = m.why(now)
	}
	m.calls.tell(why)
	m.mu.Unlock()
	if quiet {
		m.log.Error("this PDP may not answer at present", "error", why)
		m.cut()
	} else if serves {
		m.log.Info("this PDP may answer")
	}
}

// caller calls OnChange, one call at a time and in order, without holding anybody up.
type caller struct {
	mu    sync.Mutex
	queue []error
	more  chan struct{}
	done  chan struct{}
}

func (c *caller) begin(runs *sync.WaitGroup, call func(error)) {
	c.mu.Lock()
	more, done := make(chan struct{}, 1), make(chan struct{})
	c.more, c.done = more, done
	c.mu.Unlock()
	runs.Go(func() {
		for {
			select {
			case <-more:
			case <-done:
				return
			}
			c.mu.Lock()
			queue := c.queue
			c.queue = nil
			c.mu.Unlock()
			for _, why := range queue {
				if call != nil {
					call(why)
				}
			}
		}
	})
	c.tellOn()
}

func (c *caller) tell(why error) {
	c.mu.Lock()
	c.queue = append(c.queue, why)
	c.mu.Unlock()
	c.tellOn()
}

func (c *caller) tellOn() {
	c.mu.Lock()
	more := c.more
	c.mu.Unlock()
	if more == nil {
		return // Join has not returned yet
	}
	select {
	case more <- struct{}{}:
	default:
	}
}

func (c *caller) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		close(c.done)
		c.done = nil
	}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
