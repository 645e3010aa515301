package pep

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/jobward/jobward/pdp/authz"
)

// A caller that has seen a revision or an epoch is not told whose token it is from before
// that, whether the PDP minds or not.
func TestIntrospectAtLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.ready(t)
		p := r.pdps[0]
		rev := p.commit(func() {}) // this Decider has not heard of it
		for _, c := range []struct {
			least    Least
			careless bool
			behind   bool
			asked    Asked
		}{
			{Least{}, false, false, Asked{Applied: rev - 1, Epoch: 1}},
			{Least{Revision: rev}, false, false, Asked{Applied: rev, Epoch: 1}},
			{Least{Epoch: 1, EpochRevision: rev}, false, false, Asked{Applied: rev, Epoch: 1}},
			{Least{Revision: rev + 1}, false, true, Asked{Applied: rev + 1, Epoch: 1}},
			{Least{Revision: rev + 1}, true, true, Asked{Applied: rev + 1, Epoch: 1}},
			{Least{Epoch: 1, EpochRevision: rev + 1}, false, true, Asked{Applied: rev + 1, Epoch: 1}},
			{Least{Epoch: 1, EpochRevision: rev + 1}, true, true, Asked{Applied: rev + 1, Epoch: 1}},
			{Least{Epoch: 2}, false, true, Asked{Epoch: 2}},
			{Least{Epoch: 2, EpochRevision: 3}, false, true, Asked{Applied: 3, Epoch: 2}},
		} {
			p.mu.Lock()
			p.careless = c.careless
			p.mu.Unlock()
			out, err := r.IntrospectAtLeast(context.Background(), digestOf("j1"), c.least)
			var e *authz.Error
			switch {
			case !c.behind && (err != nil || !out.Live || out.Revision != rev):
				t.Errorf("%+v: %+v, %v", c, out, err)
			case c.behind && (!errors.As(err, &e) || e.Kind != authz.KindUnavailable || e.Code != CodeBehind):
				t.Errorf("%+v: %+v, %v", c, out, err)
			}
			p.mu.Lock()
			if c.asked.Generation = p.last.Generation; p.last != c.asked {
				t.Errorf("%+v: the PDP was asked for %+v", c, p.last)
			}
			p.mu.Unlock()
		}
	})
}
