package replica

import (
	"context"
	"sync"

	"github.com/jobward/jobward/pdp/state"
)

// contact is the connection to one incarnation, dialled when it is first needed and kept
// while it is listed.
type contact struct {
	Peer
	once sync.Once
}

func (c *contact) close() { c.once.Do(func() { go c.Peer.Close() }) }

// contact gives the connection to an incarnation. Called with the lock.
func (m *Member) contact(r state.Registration) (Peer, error) {
	if c := m.peers[r.Incarnation]; c != nil {
		return c, nil
	}
	if m.stopped {
		return nil, errStopped()
	}
	p, err := m.opt.Dialer.Dial(r)
	if err != nil {
		return nil, err
	}
	c := &contact{Peer: p}
	m.peers[r.Incarnation] = c
	return c, nil
}

// Stats are figures for metrics.
type Stats struct {
	// Renewals succeeded, Failed did not.
	Renewals, Failed uint64
	// Joined counts incarnations; Fenced those that peers ended, Silent the times that this
	// PDP ceased to answer by itself.
	Joined, Fenced, Silent uint64
	// Fences are peers that this PDP fenced; Lists the reads of the list.
	Fences, Lists uint64
	// Live and Departed are what the last list had, this PDP included.
	Live, Departed int
	// Left is how long this PDP may answer without another renewal, in seconds.
	Left float64
}

// Stats gives the figures.
func (m *Member) Stats() Stats {
	left := m.left().Seconds()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Left = left
	return s
}

// Stop ends the Member: it keeps the registration no more. The feed was closed before. clean
// says that no lease of this PDP is out any more, so that nobody has to wait for it;
// otherwise the registration becomes a departed one. It tries until ctx ends; if the store
// cannot be reached, peers will fence it.
func (m *Member) Stop(ctx context.Context, clean bool) error {
	m.mu.Lock()
	m.stopped, m.cause = true, stopped
	m.until.Store(0)
	m.mu.Unlock()
	m.stop()
	m.calls.end()
	m.runs.Wait()
	m.mu.Lock()
	id, joined := m.reg.Incarnation, m.joined
	clean = clean || m.reg.Version == 1 // it never answered (M9)
	m.joined, m.serving = false, false
	for _, c := range m.peers {
		c.close()
	}
	clear(m.peers)
	m.drop()
	strays := m.strays
	m.strays = nil
	m.mu.Unlock()
	for _, id := range strays {
		m.opt.Registry.Leave(ctx, id) // or nobody waits for it, as it never renews
	}
	if !joined {
		return nil
	}
	for {
		err := m.withdraw(ctx, id, clean)
		if err == nil || ctx.Err() != nil || !pause(ctx, retryPause) {
			return err
		}
	}
}

// withdraw takes the registration away, or makes it a departed one.
func (m *Member) withdraw(ctx context.Context, id state.Incarnation, clean bool) error {
	if clean {
		return m.opt.Registry.Leave(ctx, id)
	}
	list, err := m.opt.Registry.List(ctx)
	if err != nil {
		return err
	}
	for _, r := range list.Live {
		if r.Incarnation == id {
			return m.opt.Registry.Fence(ctx, r)
		}
	}
	return nil
}

// old gives the list that was read last, for a planted bug.
func (l *lister) old(ctx context.Context) (state.Registrations, error) {
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if last == nil {
		return l.get(ctx)
	}
	return last.list, last.err
}
