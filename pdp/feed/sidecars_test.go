package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// sidecar is a cache around a lease.Holder, in as few lines as keep its rules, with pauses
// where real ones have a network.
type sidecar struct {
	w *town

	mu      sync.Mutex
	rnd     *rand.Rand
	holder  *lease.Holder
	entries map[authz.Digest]entry
}

type entry struct {
	era      lease.Era
	decision authz.Decision
}

// town is a feed with sidecars, and jobs that come and go.
type town struct {
	*bench
	now   func() lease.Instant
	dead  [2000]atomic.Bool // by job: a receipt for it was effective
	stale atomic.Int64
	hits  atomic.Int64
	asked atomic.Int64
	stop  chan struct{}
}

func jobName(n int) authz.JobID { return authz.JobID(fmt.Sprint("job", n)) }

func jobDigest(n int) authz.Digest { return authz.Digest{1, byte(n), byte(n >> 8)} }

// draw gives a random number below n.
func (c *sidecar) draw(n int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.Int64N(n)
}

// pause waits for up to most, or not at all.
func (c *sidecar) pause(most time.Duration) {
	if c.draw(2) == 0 {
		time.Sleep(time.Duration(c.draw(int64(most))))
	}
}

// run keeps a stream, with accidents, until the town stops.
func (c *sidecar) run() {
	var keys []authz.Key
	for {
		c.mu.Lock()
		keys = keys[:0]
		for _, e := range c.entries {
			keys = append(keys, e.decision.Keys...)
		}
		h := c.holder.Hello(c.w.now(), keys)
		c.mu.Unlock()
		s, err := c.w.feed.Open(context.Background(), "sidecar", About{}, h)
		if err != nil {
			c.w.Error(err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		if c.draw(2) == 0 { // the stream breaks
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(c.draw(int64(10*time.Second))))
		}
		var renewing sync.WaitGroup
		renewing.Go(func() { c.renew(ctx, s) })
		for err == nil {
			var ms []lease.Message
			if ms, err = s.Next(ctx); err != nil {
				break
			}
			for _, m := range ms {
				if err = c.handle(s, m); err != nil {
					break
				}
			}
		}
		cancel()
		renewing.Wait()
		s.Close()
		c.mu.Lock()
		c.holder.Abandon()
		c.mu.Unlock()
		select {
		case <-c.w.stop:
			return
		case <-time.After(time.Duration(c.draw(int64(3 * time.Second)))):
		}
	}
}

func (c *sidecar) renew(ctx context.Context, s *Stream) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(700 * time.Millisecond):
		}
		c.mu.Lock()
		m, ok := c.holder.Renew(c.w.now())
		c.mu.Unlock()
		if ok && m.Generation == s.Generation() {
			time.Sleep(10 * time.Millisecond)
			s.Renew(m.Number, Figures{})
		}
	}
}

func (c *sidecar) handle(s *Stream, m lease.Message) error {
	time.Sleep(time.Millisecond)
	c.mu.Lock()
	e, err := c.holder.Handle(c.w.now(), m)
	if e.Clear {
		clear(c.entries)
	}
	for d, en := range c.entries {
		if meet(en.decision.Keys, e.Drop) {
			delete(c.entries, d)
		}
	}
	c.mu.Unlock()
	if len(e.Send) > 0 && c.draw(300) == 0 {
		time.Sleep(4 * time.Second) // the entries are gone, the ack is late, and what comes after too
	}
	c.pause(10 * time.Millisecond)
	for _, out := range e.Send {
		switch out.Kind {
		case lease.Ack:
			s.Ack(out.Revision)
		case lease.Release:
			s.Release(out.Generation)
		}
	}
	return err
}

// check answers a question, from the cache if it can.
func (c *sidecar) check(walk *policy.Walk, q authz.Request) authz.Decision {
	c.mu.Lock()
	if e, ok := c.entries[q.Token]; ok && c.holder.Lease().Valid(c.w.now(), e.era) {
		c.mu.Unlock()
		c.w.hits.Add(1)
		return e.decision
	}
	f := c.holder.Begin(c.w.now())
	c.mu.Unlock()
	c.w.asked.Add(1)
	c.pause(2 * time.Millisecond)
	var d authz.Decision
	for range 3 {
		d = c.w.view.Decide(walk, q, noon)
		c.pause(5 * time.Millisecond) // between judging and recording (R5)
		var v lease.Verdict
		if d.Number, v = c.w.feed.Interest(f.Generation, "sidecar", d.Revision, d.Keys); v != lease.JudgeAgain {
			break
		}
	}
	d.Keys = append([]authz.Key(nil), d.Keys...)
	c.pause(3 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	install, stale := c.holder.Land(f, d.Revision, d.Keys, d.Number)
	if stale {
		return authz.Decision{}
	}
	if install {
		c.entries[q.Token] = entry{c.holder.Lease().Era, d}
	}
	return d
}

func job(n int, status authz.JobStatus, ref string) *state.Job {
	return &state.Job{
		ID: jobName(n), Digest: jobDigest(n), Project: 1, User: 1, Issued: 1, Expires: noon + 1<<50, Status: status, Ref: ref,
	}
}

func (w *town) commitJob(n int, status authz.JobStatus, ref string) authz.Revision {
	rev, err := w.store.Commit(context.Background(), state.Batch{Puts: []state.Record{job(n, status, ref)}})
	if err != nil {
		w.Fatal(err)
	}
	return rev
}

// live runs a town for a while of virtual time and gives how many checks were allowed
// that started after an effective receipt of their job's end.
func live(t *testing.T, seed uint64, opt Options) (w *town) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		opt.Now = func() lease.Instant { return lease.Instant(time.Since(start)) }
		opt.Term = 2 * time.Second
		w = &town{bench: newBench(t, opt), now: opt.Now, stop: make(chan struct{})}
		w.tail.Close()
		records := []state.Record{
			&state.Project{ID: 1, Namespace: "dev", Name: "app", PublicBuilds: true}, &state.User{ID: 1, Name: "dana"},
			&state.Members{User: 1, List: []state.Membership{{Scope: authz.InProject(1), Role: authz.RoleOwner}}},
		}
		for n := range w.dead {
			records = append(records, job(n, authz.JobRunning, ""))
		}
		if _, err := w.store.Commit(context.Background(), state.Batch{Puts: records}); err != nil {
			t.Fatal(err)
		}
		var streams, clients sync.WaitGroup
		var oldest atomic.Int64 // jobs below are dead or dying
		done := make(chan struct{})
		for n := range 3 {
			c := &sidecar{w: w, rnd: rand.New(rand.NewPCG(seed, uint64(n))), entries: map[authz.Digest]entry{}}
			c.holder = lease.NewHolder(lease.HolderConfig{})
			streams.Go(c.run)
			for range 2 {
				clients.Go(func() { c.client(&oldest, done) })
			}
		}
		rnd := rand.New(rand.NewPCG(seed, 99))
		for n := range w.dead {
			time.Sleep(time.Duration(rnd.Int64N(int64(20 * time.Millisecond))))
			oldest.Store(int64(n))
			if next := n + 1; next < len(w.dead) { // changes, and lives on a little
				w.commitJob(next, authz.JobRunning, "touched")
			}
			rev := w.commitJob(n, authz.JobCanceled, "")
			clients.Go(func() {
				if r, err := w.feed.Await(context.Background(), rev, nil); err != nil || !r.Effective {
					t.Errorf("%+v, %v", r, err)
				}
				w.dead[n].Store(true)
			})
		}
		time.Sleep(5 * time.Second)
		close(done)
		clients.Wait()
		close(w.stop)
		w.end()
		streams.Wait()
	})
	return w
}

// client asks about jobs that live, die, or are dead.
func (c *sidecar) client(oldest *atomic.Int64, done chan struct{}) {
	walk := new(policy.Walk)
	for {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(c.draw(int64(2 * time.Millisecond)))):
		}
		n := max(int(oldest.Load())-40+int(c.draw(60)), 0) % len(c.w.dead)
		dead := c.w.dead[n].Load() // before the check starts
		d := c.check(walk, authz.Request{Token: jobDigest(n), Permission: "read_releases", Target: authz.Target{ID: 1}})
		if d.Allow && dead {
			c.w.stale.Add(1)
		}
	}
}

// TestNoStaleAllow is P1 with sidecars whose streams break, which stop reading, ack late,
// lapse and carry entries over: no check that starts after the effective receipt of a
// job's end is allowed. Then each bug is planted that the feed could have.
func TestNoStaleAllow(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("begin at -seed %d (what the scheduler does is not in it)", s)
	for n := range uint64(fewer(3)) {
		w := live(t, s+n, Options{MaxQueue: 60})
		if w.stale.Load() > 0 {
			t.Errorf("%d of %d answers from caches were stale allows", w.stale.Load(), w.hits.Load())
		}
		st := w.feed.Stats()
		t.Logf("%d hits, %d asked; %+v", w.hits.Load(), w.asked.Load(), st)
		if w.hits.Load() < 1000 || st.Lapsed == 0 || st.Acked == 0 || st.Overflows == 0 {
			t.Errorf("this shows too little: %d hits, %+v", w.hits.Load(), st)
		}
	}
	for _, bug := range []struct {
		name string
		opt  Options
	}{
		{"interest late", Options{Fault: lease.FaultInterestLate}},
		{"broken forgets", Options{Fault: lease.FaultBrokenForgets}},
		{"queue skips", Options{Fault: lease.FaultQueueSkips, MaxQueue: 3}},
		{"ack erases", Options{Fault: lease.FaultAckErases}},
		{"no key of jobs", Options{LoseKeys: authz.KeyJob}},
	} {
		found := false
		for n := range uint64(40) {
			if w := live(t, s+n, bug.opt); w.stale.Load() > 0 {
				found = true
				t.Logf("%s: %d stale allows at seed %d", bug.name, w.stale.Load(), s+n)
				break
			}
		}
		if !found {
			t.Errorf("%s: nothing was seen", bug.name)
		}
	}
}
