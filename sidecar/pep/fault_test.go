package pep

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// TestFaults plants bugs and wants each to show: without it the story ends well.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault Fault
		// story reports whether something went wrong.
		story func(t *testing.T, r *rig) bool
	}{
		{"the lease is not looked at (P2)", Fault{Lease: lease.FaultNoLease}, storyOutage},
		{"a surface is left out of the key", Fault{KeyWithoutSurface: true}, func(t *testing.T, r *rig) bool {
			q := ask("j1", 5)
			r.check(t, q)
			q.Surface = authz.SurfaceGraphQL
			return r.check(t, q).Allow
		}},
		{"the token's end is not looked at (R12)", Fault{NoValidUntil: true}, func(t *testing.T, r *rig) bool {
			r.pdps[0].life = 3 * time.Second
			r.check(t, ask("j1", 5))
			for range 40 {
				time.Sleep(100 * time.Millisecond)
			}
			return r.check(t, ask("j1", 5)).Cached
		}},
		{"a key is missing", Fault{NoKeys: authz.KeyProject}, func(t *testing.T, r *rig) bool {
			r.check(t, ask("j1", 5))
			p := r.pdps[0]
			p.receipt(t, p.commit(func() { p.closed[5] = true }, authz.ProjectKey(5)))
			return r.check(t, ask("j1", 5)).Allow
		}},
		{"reports hold up answers (R19)", Fault{ReportBlocks: true}, func(t *testing.T, r *rig) bool {
			r.pdps[0].mu.Lock()
			r.pdps[0].stuck = true
			r.pdps[0].mu.Unlock()
			r.check(t, ask("j1", 5))
			r.check(t, ask("j1", 5))
			time.Sleep(DefaultReportEvery + 100*time.Millisecond)
			start := time.Now()
			r.check(t, ask("j1", 5))
			return time.Since(start) > 0
		}},
		{"the ack leaves before the removal (L11)", Fault{Lease: lease.FaultAckEarly}, storyRevoke},
		{"an answer is installed past a change (L12)", Fault{Lease: lease.FaultOpenFill}, storyFill},
		{"a check joins what was begun before a change (R4)", Fault{Lease: lease.FaultJoinAny}, storyJoin},
		{"answers of another generation are installed (L2)", Fault{Lease: lease.FaultOldGeneration}, storyRestart},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, planted := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, 1, func(cfg *Config) {
						if planted {
							cfg.Fault = c.fault
						}
					})
					defer r.close(t)
					r.ready(t)
					if wrong := c.story(t, r); wrong != planted {
						t.Errorf("planted %v, something went wrong %v", planted, wrong)
					}
				})
			}
		})
	}
}

func storyOutage(t *testing.T, r *rig) bool {
	r.check(t, ask("j1", 5))
	r.pdps[0].fall()
	time.Sleep(2 * testTerm)
	return r.check(t, ask("j1", 5)).Allow
}

func storyRevoke(t *testing.T, r *rig) bool {
	r.check(t, ask("j1", 5))
	r.pdps[0].revoke(t, "j1")
	return r.check(t, ask("j1", 5)).Allow
}

// storyFill revokes while an answer is on its way back.
func storyFill(t *testing.T, r *rig) bool {
	r.pdps[0].slow = 100 * time.Millisecond
	var wg sync.WaitGroup
	wg.Go(func() { r.check(t, ask("j1", 5)) })
	time.Sleep(50 * time.Millisecond)
	r.pdps[0].revoke(t, "j1")
	wg.Wait()
	return r.check(t, ask("j1", 5)).Allow
}

// storyJoin revokes while an answer is on its way back, and asks again before it is there.
func storyJoin(t *testing.T, r *rig) bool {
	r.pdps[0].slow = 100 * time.Millisecond
	var wg sync.WaitGroup
	wg.Go(func() { r.check(t, ask("j1", 5)) })
	time.Sleep(50 * time.Millisecond)
	r.pdps[0].revoke(t, "j1")
	d := r.check(t, ask("j1", 5))
	wg.Wait()
	return d.Allow
}

// storyRestart lets a PDP restart, and revoke, while an answer is on its way back: the
// new incarnation does not know that anybody is interested.
func storyRestart(t *testing.T, r *rig) bool {
	p := r.pdps[0]
	p.slow = 500 * time.Millisecond
	var wg sync.WaitGroup
	wg.Go(func() { r.check(t, ask("j1", 5)) })
	time.Sleep(50 * time.Millisecond)
	p.fall()
	p.rise()
	time.Sleep(250 * time.Millisecond)
	p.revoke(t, "j1")
	wg.Wait()
	return r.check(t, ask("j1", 5)).Allow
}
