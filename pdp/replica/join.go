package replica

import (
	"context"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// draft is an incarnation that was sent to the registry and of which nothing is known yet.
type draft struct {
	reg   state.Registration
	drawn lease.Instant
	open  bool
}

// join registers a new incarnation. One whose answer was lost is sent again under the same
// name, for as long as nobody can have fenced it: it may stand, and then everybody would
// wait for it until it is taken for dead. It is told from one that was fenced as that cannot
// be renewed (M3).
func (m *Member) join(ctx context.Context) error {
	again := m.draft.open && m.opt.Now().Sub(m.draft.drawn) < m.opt.Fence/2
	if !again {
		m.mu.Lock()
		m.drop()
		m.mu.Unlock()
		m.draft = draft{open: true, drawn: m.opt.Now(), reg: m.fresh()}
	}
	reg := m.draft.reg
	ctx, cancel := context.WithTimeout(ctx, m.opt.Fence/3)
	defer cancel()
	sent := m.opt.Now()
	head, err := m.opt.Registry.Join(ctx, reg)
	if codeOf(err) == state.CodeRegistered && (again || m.opt.Fault == FaultResumes) {
		sent = m.opt.Now()
		head, err = m.opt.Registry.Renew(ctx, reg) // as it stands
	}
	if err != nil {
		if code := codeOf(err); code == state.CodeRegistered || code == state.CodeFenced {
			m.draft.open = false // the name is used up
		}
		return err
	}
	m.draft.open = false
	m.mu.Lock()
	m.reg, m.joined = reg, true
	m.stats.Joined++
	m.mu.Unlock()
	m.log.Info("registered", "replica", m.opt.Name, "incarnation", short(reg.Incarnation), "address", m.opt.Address, "head", head)
	if reg.Version > 1 {
		m.extend(reg.Incarnation, sent, head)
	}
	return nil
}

// fresh is a registration of a new incarnation: of one whose view is there, or has to be
// loaded (M9).
func (m *Member) fresh() state.Registration {
	reg := state.Registration{
		Incarnation: m.opt.Draw(), Name: m.opt.Name, Address: m.opt.Address, Term: m.opt.Term, Fence: m.opt.Fence, Version: 1,
	}
	if m.loaded() {
		reg.Version, reg.Settled, reg.Applied = 2, m.local.Settled(), m.local.Applied()
	}
	return reg
}

// loaded reports whether the view is there.
func (m *Member) loaded() bool {
	select {
	case <-m.attached:
		return true
	default:
		return false
	}
}

// drop gives a draft up. Housekeeping takes it away, should it stand: nothing was ever
// granted under it. Called with the lock.
func (m *Member) drop() {
	if m.draft.open {
		m.strays = append(m.strays, m.draft.reg.Incarnation)
	}
	m.draft.open = false
}

// cause is why a PDP does not serve.
type cause uint8

const (
	notJoined cause = iota // it has not served yet
	silent                 // it could not renew, or did not catch up
	fenced
	stopped
)

// why says so in words. Called with the lock.
func (m *Member) why(now lease.Instant) error {
	c, since := m.cause, m.ceased
	if m.serving && c == silent { // nobody has looked since it ended
		since = lease.Instant(m.until.Load())
	}
	current := m.joined && now < m.put.sent.Add(lease.HolderTerm(m.opt.Fence))
	at := time.Now().Add(-max(now.Sub(since), 0)).UTC().Format(time.RFC3339) // for people
	switch {
	case c == stopped:
		return errStopped()
	case c == fenced && !current:
		return authz.Errorf(authz.KindUnavailable, state.CodeFenced,
			"the other policy decision points have taken this one for gone, as nothing was heard of it, and it has not answered since %s; it may not until it has joined again: ask another", at)
	case current:
		return authz.Errorf(authz.KindUnavailable, state.CodeFenced,
			"the view of this policy decision point has not reached revision %d, which the store has, and so it has not answered since %s: ask another, and look whether changes still come in from the store", m.put.head, at)
	case c == notJoined:
		return authz.Errorf(authz.KindUnavailable, state.CodeFenced,
			"this policy decision point has tried since %s to register with the store, and may not answer before it is registered and its view is loaded: ask another, and look whether the store can be reached and written", at)
	}
	return authz.Errorf(authz.KindUnavailable, state.CodeFenced,
		"this policy decision point could not renew its registration with the store, and has not answered since %s: ask another, and look whether the store can be reached and written", at)
}

func errStopped() error {
	return authz.Errorf(authz.KindUnavailable, state.CodeFenced, "this policy decision point is stopping, and answers nothing any more: ask another")
}
