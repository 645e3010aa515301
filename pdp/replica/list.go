package replica

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// lister reads the list for many at a time: who comes while a read is under way shares the
// next one, never that one, which may be older than the caller's change (M5).
type lister struct {
	read func() (state.Registrations, error)

	mu   sync.Mutex
	busy bool
	next *listing
	last *listing // for a planted bug
}

// listing is one read.
type listing struct {
	done chan struct{}
	list state.Registrations
	err  error
}

// get reads the list after the call began.
func (l *lister) get(ctx context.Context) (state.Registrations, error) {
	l.mu.Lock()
	if l.next == nil {
		l.next = &listing{done: make(chan struct{})}
	}
	mine := l.next
	if !l.busy {
		l.busy = true
		go l.run()
	}
	l.mu.Unlock()
	select {
	case <-mine.done:
		return mine.list, mine.err
	case <-ctx.Done():
		return state.Registrations{}, context.Cause(ctx)
	}
}

func (l *lister) run() {
	for {
		l.mu.Lock()
		this := l.next
		if l.next = nil; this == nil {
			l.busy = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		this.list, this.err = l.read()
		l.mu.Lock()
		l.last = this
		l.mu.Unlock()
		close(this.done)
	}
}

// readList reads the list once, and notes when what is in it was first seen: after the
// answer was there, which is the later moment.
func (m *Member) readList() (state.Registrations, error) {
	ctx, cancel := context.WithTimeout(m.ctx, m.opt.Fence/3)
	defer cancel()
	list, err := m.opt.Registry.List(ctx)
	if err != nil {
		return list, err
	}
	now := m.opt.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Lists++
	m.stats.Live, m.stats.Departed = len(list.Live), len(list.Departed)
	sights := make(map[state.Incarnation]sight, len(list.Live))
	for _, r := range list.Live {
		if r.Incarnation == m.reg.Incarnation {
			continue
		}
		s, ok := m.sights[r.Incarnation]
		if !ok || s.version != r.Version {
			s = sight{r.Version, now}
		}
		sights[r.Incarnation] = s
	}
	m.sights = sights
	gone := make(map[state.Incarnation]lease.Instant, len(list.Departed))
	for _, d := range list.Departed {
		since, ok := m.gone[d.Incarnation]
		if !ok {
			since = now
		}
		gone[d.Incarnation] = since
	}
	m.gone = gone
	for id := range m.fencing {
		if _, live := sights[id]; !live {
			delete(m.fencing, id)
		}
	}
	for id, c := range m.peers {
		if _, live := sights[id]; !live {
			delete(m.peers, id)
			c.close()
		}
	}
	return list, nil
}

// heard is from when on this PDP can speak of the silence of others, if it can: it renews, and
// has since then without falling silent itself. Otherwise whoever is back first, after the
// store was gone or could not be written, would fence all others before they can renew (M10).
// Called with the lock.
func (m *Member) heard(now lease.Instant) (since lease.Instant, ok bool) {
	return m.well, m.joined && now.Sub(m.put.sent) < m.opt.Fence
}

// over is when nothing of a departed incarnation can be believed any more (M7).
func over(since lease.Instant, d state.Departed) lease.Instant {
	return since.Add(lease.GrantorTerm(d.Fence) - lease.Margin).Add(lease.GrantorTerm(d.Term))
}

// loadTime is how long a PDP may take to load its view. Nobody waits for one that does; it
// only stands in the list.
const loadTime = 30 * time.Minute

// patience is for how long a registration that is not renewed is left alone.
func (m *Member) patience(r state.Registration) time.Duration {
	if r.Version == 1 {
		return loadTime
	}
	return r.Fence + m.opt.Fence
}

// houseLoop does what receipts should not have to wait for.
func (m *Member) houseLoop() {
	for pause(m.ctx, m.opt.Fence/3) {
		m.keepHouse()
	}
}

// keepHouse fences registrations that nobody renews and forgets what was waited out. Who
// cannot renew himself says nothing about others.
func (m *Member) keepHouse() {
	list, err := m.lists.get(m.ctx)
	if err != nil {
		return
	}
	now := m.opt.Now()
	var dead []state.Registration
	var past []state.Departed
	m.mu.Lock()
	heard, well := m.heard(now)
	for _, r := range list.Live {
		if s, other := m.sights[r.Incarnation]; well && other && s.version == r.Version && now.Sub(max(s.since, heard)) > m.patience(r) {
			dead = append(dead, r)
		}
	}
	for _, d := range list.Departed {
		if since, known := m.gone[d.Incarnation]; known && now >= over(since, d) {
			past = append(past, d)
		}
	}
	strays := m.strays
	m.strays = nil
	m.mu.Unlock()
	for _, r := range dead {
		m.fence(r)
	}
	for _, d := range past {
		if m.try(func(ctx context.Context) error { return m.opt.Registry.Forget(ctx, d.Incarnation) }) == nil {
			m.log.Info("the leases of a departed PDP are over", "replica", d.Name, "incarnation", short(d.Incarnation))
		}
	}
	for _, id := range strays {
		if m.try(func(ctx context.Context) error { return m.opt.Registry.Leave(ctx, id) }) != nil {
			m.mu.Lock()
			m.strays = append(m.strays, id)
			m.mu.Unlock()
		}
	}
}

// try writes to the registry once.
func (m *Member) try(write func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(m.ctx, m.opt.Fence/3)
	defer cancel()
	return write(ctx)
}

// fence takes a registration for gone, unless it was renewed meanwhile. Of many receipts
// that want it one does it.
func (m *Member) fence(r state.Registration) {
	m.mu.Lock()
	busy := m.fencing[r.Incarnation]
	m.fencing[r.Incarnation] = true
	m.mu.Unlock()
	if busy {
		return
	}
	err := m.try(func(ctx context.Context) error { return m.opt.Registry.Fence(ctx, r) })
	m.mu.Lock()
	if err == nil {
		m.stats.Fences++
	} else {
		delete(m.fencing, r.Incarnation)
	}
	m.mu.Unlock()
	switch {
	case err == nil:
		m.log.Warn("a PDP that says nothing was fenced; the leases that it may have granted are waited for", "replica", r.Name, "incarnation", short(r.Incarnation))
	case codeOf(err) != state.CodeNotTheSame && m.ctx.Err() == nil:
		m.log.Warn("a PDP that says nothing could not be fenced", "replica", r.Name, "error", err)
	}
}

// Registrations reads the list, and gives the name of this PDP's own incarnation.
func (m *Member) Registrations(ctx context.Context) (list state.Registrations, self state.Incarnation, err error) {
	list, err = m.lists.get(ctx)
	return list, m.Incarnation(), err
}

func codeOf(err error) string {
	var e *authz.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
