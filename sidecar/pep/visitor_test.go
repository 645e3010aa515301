package pep

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

func visitor(target authz.ProjectID) authz.Request {
	return authz.Request{Token: authz.Nobody, Target: authz.Target{ID: target}, Permission: "read_packages", Surface: authz.SurfaceREST}
}

// An anonymous visitor's answers are kept like any other's, for as long as the lease lives
// and what they rest on stays, and no job's end concerns them. They are hits, and nothing
// that reports tell of: nobody showed who they are.
func TestVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		p := r.pdps[0]
		open, shut := visitor(5), visitor(6)
		p.commit(func() { p.closed[6] = true }, authz.ProjectKey(6))
		r.want(t, open, authz.AllowedOpen, false)
		r.want(t, shut, authz.TokenMissing, false)
		r.want(t, ask("j1", 5), authz.AllowedListed, false)
		p.revoke(t, "j1")
		time.Sleep(12 * time.Hour)
		r.want(t, open, authz.AllowedOpen, true)
		r.want(t, shut, authz.TokenMissing, true)
		if d := r.check(t, open); d.Job != "" || d.Source != 0 || d.User != 0 || d.Target != 5 || d.ValidFor <= 0 {
			t.Errorf("%+v", d)
		}
		p.receipt(t, p.commit(func() { p.closed[5], p.closed[6] = true, false }, authz.ProjectKey(5), authz.ProjectKey(6)))
		r.want(t, open, authz.TokenMissing, false)
		r.want(t, shut, authz.AllowedOpen, false)
		r.want(t, shut, authz.AllowedOpen, true)
		p.receipt(t, p.commit(func() {}, authz.TheInstance))
		r.want(t, shut, authz.AllowedOpen, false)
		r.want(t, shut, authz.AllowedOpen, true)
		r.close(t)
		if len(p.accesses) != 0 || p.dropped != 0 {
			t.Errorf("told of %v, %d dropped", p.accesses, p.dropped)
		}
		if c := r.Counters(); c.Hits != 5 || c.Reported != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// The entry of a visitor ends with the term that its answer bears, and is asked for again.
func TestVisitorTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.want(t, visitor(5), authz.AllowedOpen, false)
		time.Sleep(authz.VisitorTerm)
		r.want(t, visitor(5), authz.AllowedOpen, false)
		r.want(t, visitor(5), authz.AllowedOpen, true)
	})
}
