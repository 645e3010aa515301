package memstore

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Registry implements [state.Shared]. It works before Attach, and ends with the handle.
func (h *Handle) Registry() state.Registry { return registry{h} }

// registry is the cluster's registry as one handle reaches it.
type registry struct{ h *Handle }

// write does one write under the cluster's mu, and loses the answer when a test said so.
func (r registry) write(ctx context.Context, do func(c *Cluster) error) error {
	if err := r.h.enter(ctx); err != nil {
		return err
	}
	defer r.h.cluster.mu.Unlock()
	err := do(r.h.cluster)
	if r.h.lose {
		r.h.lose = false
		return errUnreachable("the answer was lost")
	}
	return err
}

// Join implements [state.Registry].
func (r registry) Join(ctx context.Context, reg state.Registration) (head authz.Revision, err error) {
	err = r.write(ctx, func(c *Cluster) error {
		_, live := c.live[reg.Incarnation]
		_, departed := c.departed[reg.Incarnation]
		if live || departed {
			return state.ErrRegistered(reg.Incarnation)
		}
		c.live[reg.Incarnation], head = reg, c.data.mark.Revision
		return nil
	})
	return answered(head, err)
}

// Renew implements [state.Registry].
func (r registry) Renew(ctx context.Context, reg state.Registration) (head authz.Revision, err error) {
	err = r.write(ctx, func(c *Cluster) error {
		if _, live := c.live[reg.Incarnation]; !live {
			return state.ErrFenced(reg.Incarnation)
		}
		c.live[reg.Incarnation], head = reg, c.data.mark.Revision
		return nil
	})
	return answered(head, err)
}

// answered takes the head out of an answer that was lost.
func answered(head authz.Revision, err error) (authz.Revision, error) {
	if err != nil {
		return 0, err
	}
	return head, nil
}

// List implements [state.Registry].
func (r registry) List(ctx context.Context) (l state.Registrations, err error) {
	if err := r.h.enter(ctx); err != nil {
		return l, err
	}
	defer r.h.cluster.mu.Unlock()
	order := func(a, b state.Incarnation) int { return bytes.Compare(a[:], b[:]) }
	for _, id := range slices.SortedFunc(maps.Keys(r.h.cluster.live), order) {
		l.Live = append(l.Live, r.h.cluster.live[id])
	}
	for _, id := range slices.SortedFunc(maps.Keys(r.h.cluster.departed), order) {
		l.Departed = append(l.Departed, r.h.cluster.departed[id])
	}
	return l, nil
}

// Fence implements [state.Registry].
func (r registry) Fence(ctx context.Context, reg state.Registration) error {
	return r.write(ctx, func(c *Cluster) error {
		id := reg.Incarnation
		is, live := c.live[id]
		_, departed := c.departed[id]
		switch {
		case !live && departed:
			return nil
		case !live || is != reg:
			return state.ErrNotTheSame(id)
		}
		delete(c.live, id)
		c.departed[id] = state.Departed{Incarnation: id, Name: reg.Name, Term: reg.Term, Fence: reg.Fence}
		return nil
	})
}

// Leave implements [state.Registry].
func (r registry) Leave(ctx context.Context, id state.Incarnation) error {
	return r.write(ctx, func(c *Cluster) error { delete(c.live, id); return nil })
}

// Depart implements [state.Registry].
func (r registry) Depart(ctx context.Context, d state.Departed) error {
	return r.write(ctx, func(c *Cluster) error { c.departed[d.Incarnation] = d; return nil })
}

// Forget implements [state.Registry].
func (r registry) Forget(ctx context.Context, id state.Incarnation) error {
	return r.write(ctx, func(c *Cluster) error { delete(c.departed, id); return nil })
}
