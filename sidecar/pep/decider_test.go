package pep

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/pdp/authz"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHitAndRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.ready(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		r.want(t, q, authz.AllowedListed, true)
		if rec := r.pdps[0].revoke(t, "j1"); rec.Acked != 1 || rec.Lapsed != 0 {
			t.Errorf("receipt %+v", rec)
		}
		r.want(t, q, authz.JobNotRunning, false)
		r.want(t, q, authz.JobNotRunning, true)
		if c := r.Counters(); c.Hits != 2 || c.MissAbsent != 1 || c.MissInvalidated != 1 || c.Acks != 1 || c.Voided != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// A cached answer says what the PDP said.
func TestCachedIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		for _, q := range []authz.Request{
			ask("j1", 5), ask("nobody", 5), visitor(5), {Token: digestOf("j2"), Target: authz.Target{Path: "a/b/c"}, Permission: "p"},
			{Token: digestOf("j2"), Target: authz.Target{ID: 3}, Permission: "p", Surface: authz.SurfaceGraphQL},
		} {
			fresh := r.check(t, q)
			time.Sleep(time.Second)
			cached := r.check(t, q)
			if !cached.Cached || cached.Keys != nil {
				t.Fatalf("%+v", cached)
			}
			if fresh.ValidFor != 0 && (cached.ValidFor >= fresh.ValidFor || cached.ValidFor < fresh.ValidFor*98/100) {
				t.Errorf("valid for %v, was %v", cached.ValidFor, fresh.ValidFor)
			}
			cached.Cached, cached.ValidFor, cached.Keys = false, fresh.ValidFor, fresh.Keys
			if fresh.Number = 0; !same(fresh, cached) {
				t.Errorf("cached\n%+v, fresh\n%+v", cached, fresh)
			}
		}
	})
}

func TestOutageAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		p := r.pdps[0]
		p.fall()
		time.Sleep(time.Second)
		r.want(t, q, authz.AllowedListed, true) // the lease runs on
		if _, err := r.Check(context.Background(), ask("j2", 5)); authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("a miss without a PDP: %v", err)
		}
		time.Sleep(testTerm)
		r.want(t, q, authz.LeaseLapsed, false)
		if r.Ready() || r.Counters().Lapses != 1 {
			t.Errorf("ready without a lease, or no lapse: %+v", r.Counters())
		}
		p.rise()
		time.Sleep(6 * time.Second)
		r.want(t, q, authz.AllowedListed, false) // the old entry is void
		r.want(t, q, authz.AllowedListed, true)
	})
}

// A stream that breaks is opened again before the lease ends, and the entries are kept.
func TestBrokenStreamCarriesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		q, other := ask("j1", 5), ask("j2", 5)
		r.want(t, q, authz.AllowedListed, false)
		r.want(t, other, authz.AllowedListed, false)
		p := r.pdps[0]
		p.mu.Lock()
		for _, s := range p.streams {
			s.cut()
		}
		p.mu.Unlock()
		p.commit(func() { p.dead["j2"] = true }, authz.JobKey("j2")) // while there is no stream
		time.Sleep(500 * time.Millisecond)
		r.want(t, q, authz.AllowedListed, true)
		r.want(t, other, authz.JobNotRunning, false)
		time.Sleep(2 * testTerm)
		r.want(t, q, authz.AllowedListed, true)
		if c := r.Counters(); c.Leases != 2 || c.Carried != 1 || c.Lapses != 0 {
			t.Errorf("%+v", c)
		}
		if p.released != 1 {
			t.Errorf("%d releases", p.released)
		}
	})
}

// R14: another PDP takes over within the term; one that is behind is not believed (P6).
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3)
		defer r.close(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		at := int(r.Status().Endpoint[0] - 'a')
		// The next one is behind, and the one after it is not.
		for i, p := range r.pdps {
			if i != at {
				p.mu.Lock()
				p.rev = 20
				if i == (at+1)%3 {
					p.rev = 3
				}
				p.boot()
				p.mu.Unlock()
			}
		}
		r.pdps[at].fall()
		time.Sleep(time.Second)
		if s := r.Status(); !s.Live || s.Endpoint != string(rune('a'+(at+2)%3)) {
			t.Errorf("%+v", s)
		}
		if c := r.Counters(); c.HistoryRefused != 1 || c.Lapses != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// A PDP that does not answer any more is left before the lease ends.
func TestDeafPDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		defer r.close(t)
		r.ready(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		at := int(r.Status().Endpoint[0] - 'a')
		r.pdps[at].mu.Lock()
		r.pdps[at].deaf = true
		r.pdps[at].mu.Unlock()
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			r.want(t, q, authz.AllowedListed, true)
		}
		if s := r.Status(); s.Endpoint != string(rune('a'+1-at)) {
			t.Errorf("%+v", s)
		}
	})
}

func TestMoving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		defer r.close(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		at := int(r.Status().Endpoint[0] - 'a')
		p := r.pdps[at]
		p.mu.Lock()
		p.grantor.Moving()
		p.pump()
		p.mu.Unlock()
		time.Sleep(300 * time.Millisecond)
		if s := r.Status(); s.Endpoint != string(rune('a'+1-at)) || !s.Live {
			t.Errorf("%+v", s)
		}
		r.want(t, q, authz.AllowedListed, true) // carried over
	})
}

// R4: questions that are asked together go once, and not past a change.
func TestSingleflight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.ready(t)
		p := r.pdps[0]
		p.slow = 100 * time.Millisecond
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if d := r.check(t, ask("j1", 5)); !d.Allow {
					t.Errorf("%+v", d)
				}
			})
		}
		wg.Wait()
		if p.checks != 1 || r.Counters().Joined != 49 {
			t.Errorf("%d checks, %+v", p.checks, r.Counters())
		}

		// A flight under way when a change is applied is not joined after it.
		wg.Go(func() { r.check(t, ask("j2", 5)) })
		time.Sleep(50 * time.Millisecond)
		r.check(t, ask("j1", 5))
		p.revoke(t, "j1")
		p.revoke(t, "j2")
		if d := r.check(t, ask("j2", 5)); d.Allow {
			t.Errorf("stale: %+v", d)
		}
		wg.Wait()
		if d := r.check(t, ask("j2", 5)); d.Allow {
			t.Errorf("stale: %+v", d)
		}
	})
}

// The caller that began a flight may go; the others get the answer.
func TestFlightOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.ready(t)
		p := r.pdps[0]
		p.slow = 100 * time.Millisecond
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			if _, err := r.Check(ctx, ask("j1", 5)); authz.KindOf(err) != authz.KindCanceled {
				t.Errorf("%v", err)
			}
		})
		time.Sleep(5 * time.Millisecond)
		r.want(t, ask("j1", 5), authz.AllowedListed, true)
		wg.Wait()
		if p.checks != 1 {
			t.Errorf("%d checks", p.checks)
		}
	})
}

// R12: an entry ends with its token, counted from when the question was sent.
func TestValidUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.ready(t)
		p := r.pdps[0]
		p.life, p.slow = 10*time.Second, time.Second
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		time.Sleep(8 * time.Second) // nine since it was sent
		r.want(t, q, authz.AllowedListed, true)
		time.Sleep(time.Second)
		r.want(t, q, authz.AllowedListed, false)
		if c := r.Counters(); c.MissExpired+c.Expirations != 1 {
			t.Errorf("%+v", c)
		}
	})
}

func TestCheckMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.ready(t)
		p := r.pdps[0]
		var reqs []authz.Request
		for i := range 30 {
			reqs = append(reqs, ask("j1", authz.ProjectID(1+i)), ask("j2", authz.ProjectID(1+i)))
		}
		reqs = append(reqs, ask("j1", 1))
		r.check(t, reqs[2])
		for _, cached := range []bool{false, true} {
			out, err := r.CheckMany(context.Background(), reqs)
			if err != nil {
				t.Fatal(err)
			}
			for i, d := range out {
				if !d.Allow || d.Target != reqs[i].Target.ID || cached && !d.Cached {
					t.Errorf("%d: %+v", i, d)
				}
			}
		}
		if p.checks != 1 || p.batches != 2 {
			t.Errorf("%d checks, %d batches", p.checks, p.batches)
		}
	})
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, func(c *Config) { c.Canary = true })
		p := r.pdps[0]
		for range 10 {
			r.check(t, ask("j1", 5))
			r.check(t, ask("j2", 5))
			r.check(t, ask("j1", 6))
		}
		r.pdps[0].revoke(t, "j1") // what is gone is counted all the same
		time.Sleep(3 * time.Second)
		p.canary <- CanaryQuestion{ID: 4, Request: ask("j2", 5)}
		if a := <-p.answers; a != (CanaryAnswer{ID: 4, Allow: true, Cached: true, Reason: authz.AllowedListed}) {
			t.Errorf("%+v", a)
		}
		r.check(t, ask("j2", 5))
		r.close(t)
		a := Access{Source: 100, Target: 5, Permission: "read_packages", Reason: authz.AllowedListed}
		b := a
		b.Target = 6
		if p.accesses[a] != 20 || p.accesses[b] != 9 || p.dropped != 0 {
			t.Errorf("%v", p.accesses)
		}
		if c := r.Counters(); c.Hits != 29 || c.Reported != 29 {
			t.Errorf("%+v", c)
		}
		if p.released != 1 {
			t.Errorf("%d releases", p.released)
		}
	})
}

// R19: a PDP that takes no reports holds up nothing.
func TestReportsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.pdps[0].stuck = true
		r.check(t, ask("j1", 5))
		for range 10 {
			time.Sleep(time.Second)
			start := time.Now()
			r.want(t, ask("j1", 5), authz.AllowedListed, true)
			if time.Since(start) != 0 {
				t.Errorf("a hit took %v", time.Since(start))
			}
		}
	})
}

// Keys that nothing rests on are given back (R5, R18).
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, func(c *Config) { c.MaxEntries = 100 })
		defer r.close(t)
		for i := range 200 {
			r.check(t, ask("j1", authz.ProjectID(1000+i)))
		}
		time.Sleep(3 * time.Second)
		c := r.Counters()
		p := r.pdps[0]
		p.mu.Lock()
		defer p.mu.Unlock()
		info, _ := p.grantor.Info(r.Status().Generation)
		if c.Entries != 100 || c.Evictions != 100 || int64(info.Keys) != c.Keys || len(p.forgot) != 100 {
			t.Errorf("%+v, %+v, %d forgotten", c, info, len(p.forgot))
		}
	})
}

func same(a, b authz.Decision) bool {
	if len(a.Keys) != len(b.Keys) || len(a.Missing) != len(b.Missing) {
		return false
	}
	a.Keys, b.Keys, a.Missing, b.Missing = nil, nil, nil, nil
	return a.Allow == b.Allow && a.Reason == b.Reason && a.Revision == b.Revision && a.ValidFor == b.ValidFor && a.Job == b.Job && a.Source == b.Source &&
		a.User == b.User && a.Target == b.Target && a.Entry == b.Entry && a.Role == b.Role && a.RoleScope == b.RoleScope && a.Need == b.Need &&
		a.Feature == b.Feature && a.Number == b.Number && a.Cached == b.Cached
}

// Before the first lease a question waits a little, and is then an error at once.
func TestNeverLeased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, func(c *Config) { c.Transport.(*fakeNet).pdps["a"].down = true })
		defer r.close(t)
		for _, want := range []time.Duration{DefaultWait, 0} {
			start := time.Now()
			if d, err := r.Check(context.Background(), ask("j1", 5)); authz.KindOf(err) != authz.KindUnavailable {
				t.Errorf("%+v %v", d, err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("it took %v", took)
			}
		}
		p := r.pdps[0]
		p.rise()
		time.Sleep(6 * time.Second)
		r.want(t, ask("j1", 5), authz.AllowedListed, false)
	})
}

// A restored PDP has a later epoch: nothing from before it is believed, from the welcome on.
func TestLaterEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		defer r.close(t)
		r.ready(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		at := int(r.Status().Endpoint[0] - 'a')
		p, other := r.pdps[at], r.pdps[1-at]
		other.mu.Lock()
		other.epoch, other.rev, other.id = 2, 3, 9
		other.boot()
		other.mu.Unlock()
		p.mu.Lock()
		p.grantor.Moving()
		p.pump()
		p.mu.Unlock()
		time.Sleep(time.Second)
		r.want(t, q, authz.AllowedListed, false)
		if d := r.check(t, q); !d.Cached || d.Revision != 3 {
			t.Errorf("%+v", d)
		}
		if s := r.Status(); s.Seen.Epoch != 2 || s.Applied != 3 || s.Head != 3 || p.released != 1 {
			t.Errorf("%+v, %d releases", s, p.released)
		}
	})
}

// A caller that has seen a revision is not answered from before it.
func TestCheckAtLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		defer r.close(t)
		r.ready(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		p := r.pdps[0]
		rev := p.commit(func() {}) // concerns nobody, and is told with the next heartbeat
		var out authz.Decision
		if least := (Least{Revision: rev}); r.Look(&q, &least, &out) {
			t.Errorf("%+v", out)
		}
		for _, least := range []Least{{Revision: rev}, {Epoch: 1, EpochRevision: rev}} {
			out, err := r.CheckAtLeast(context.Background(), q, least)
			if err != nil || out.Cached || out.Revision != rev {
				t.Errorf("%+v, %v", out, err)
			}
		}
		p.mu.Lock()
		p.grantor.Heartbeats()
		p.pump()
		p.mu.Unlock()
		synctest.Wait()
		if least := (Least{Revision: rev}); !r.Look(&q, &least, &out) || !out.Cached {
			t.Errorf("%+v", out)
		}
		if _, err := r.CheckAtLeast(context.Background(), q, Least{Epoch: 2}); authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("%v", err)
		}
		if s := r.Status(); s.Applied != rev || s.Head != rev {
			t.Errorf("%+v", s)
		}
	})
}

// After a pause of this process the lease is over although the stream stands: the PDP is
// asked, and nothing is cached until there is another lease (P2, L4).
func TestLapseWithStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pause time.Duration // that the clock has counted and the timers have not
		start := time.Now()
		r := newRig(t, 1, func(c *Config) {
			c.Clock = clock.Func(func() time.Duration { return time.Since(start) + pause })
		})
		defer r.close(t)
		r.ready(t)
		q := ask("j1", 5)
		r.want(t, q, authz.AllowedListed, false)
		synctest.Wait()
		pause = 10 * testTerm
		r.want(t, q, authz.AllowedListed, false)
		time.Sleep(time.Second)
		r.want(t, q, authz.AllowedListed, false)
		r.want(t, q, authz.AllowedListed, true)
		if c := r.Counters(); c.Lapses != 1 || c.Leases != 2 || c.Carried != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// ErrorUnavailable gives errors where DenyLapsed denies.
func TestErrorUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, func(c *Config) { c.Unavailable = ErrorUnavailable })
		defer r.close(t)
		r.check(t, ask("j1", 5))
		r.pdps[0].fall()
		time.Sleep(2 * testTerm)
		if out, err := r.Check(context.Background(), ask("j1", 5)); authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("%+v, %v", out, err)
		}
		if out, err := r.CheckMany(context.Background(), []authz.Request{ask("j1", 5)}); authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("%+v, %v", out, err)
		}
		if _, err := r.Introspect(context.Background(), digestOf("j1")); authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("%v", err)
		}
	})
}
