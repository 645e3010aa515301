package pep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

func (r *rig) at(t testing.TB) (mine, other *fakePDP) {
	t.Helper()
	if r.Status().Endpoint == "a" {
		return r.pdps[0], r.pdps[1]
	}
	return r.pdps[1], r.pdps[0]
}

// A PDP that may not answer (R8) is left for another at once: no question fails, and what
// is cached stays under the lease that there is, and under the next.
func TestFencedPDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		defer r.close(t)
		r.ready(t)
		cached := ask("j1", 5)
		r.want(t, cached, authz.AllowedListed, false)
		mine, other := r.at(t)
		mine.mu.Lock()
		mine.fenced = true
		mine.mu.Unlock()
		r.want(t, cached, authz.AllowedListed, true)
		r.want(t, ask("j2", 5), authz.AllowedListed, false) // asked of the other one in the end
		if now, _ := r.at(t); now != other {
			t.Error("it holds to the PDP that may not answer")
		}
		r.want(t, cached, authz.AllowedListed, true)
		r.want(t, ask("j2", 5), authz.AllowedListed, true)
		if d, err := r.CheckMany(context.Background(), []authz.Request{ask("j3", 6)}); err != nil || !d[0].Allow {
			t.Errorf("%v %v", d, err)
		}
	})
}

// When all may not answer, questions fail after Config.Wait and not before, and go on when
// one may again.
func TestAllFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		defer r.close(t)
		r.ready(t)
		fence := func(yes bool) {
			for _, p := range r.pdps {
				p.mu.Lock()
				p.fenced = yes
				p.mu.Unlock()
			}
		}
		fence(true)
		began := time.Now()
		if _, err := r.Check(context.Background(), ask("j1", 5)); authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("nobody may answer: %v", err)
		}
		if took := time.Since(began); took != DefaultWait {
			t.Errorf("it took %v, which is not Config.Wait", took)
		}
		fence(false)
		time.Sleep(DefaultMaxBackoff + time.Second)
		r.want(t, ask("j1", 5), authz.AllowedListed, false)
	})
}

// The sidecars of a PDP that is lost spread over all that are left.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 60
		rigs := []*rig{newRig(t, 4)}
		defer func() {
			for _, r := range rigs {
				r.close(t)
			}
		}()
		for i := range many - 1 {
			rigs = append(rigs, newRigOn(t, rigs[0], uint64(i+2)))
		}
		where := func() map[string]int {
			n := map[string]int{}
			for _, r := range rigs {
				r.ready(t)
				n[r.Status().Endpoint]++
			}
			return n
		}
		for name, n := range where() {
			if n < many/4/3 || n > many/4*3 {
				t.Errorf("at first %d of %d are at %s", n, many, name)
			}
		}
		rigs[0].pdps[0].fall()
		time.Sleep(time.Second)
		for name, n := range where() {
			if name == "a" || n < many/3/2 || n > many/3*2 {
				t.Errorf("then %d of %d are at %s", n, many, name)
			}
		}
	})
}

// newRigOn makes another Decider over the PDPs of r.
func newRigOn(t testing.TB, r *rig, seed uint64) *rig {
	t.Helper()
	cfg := r.cfg
	cfg.Seed = seed
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{Decider: d, pdps: r.pdps, net: r.net}
}
