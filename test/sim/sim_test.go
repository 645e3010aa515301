package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/sidecar/pep"
)

// sim is one run.
type sim struct {
	t       *testing.T
	seed    uint64
	plan    plan
	bug     bug
	tracing bool
	grpc    bool
	began   time.Time
	lanes   int
	home    string
	dirs    int

	disk      *disk
	oracle    *oracle
	startLane *lane
	sidecars  []*sidecar
	services  []*service
	runners   []*runner
	ending    sync.WaitGroup
	over      atomic.Bool
	healed    atomic.Bool // no more troubles
	failed    chan struct{}

	mu           sync.Mutex
	pdp          *pdp
	unlit        bool
	incarnations int
	heardFrom    []authz.Stamp
	focused      *tokenInfo
	hotUntil     time.Duration
	trace        []event
	violations   []violation
}

// result is what a run gave.
type result struct {
	*sim
	virtual time.Duration
}

// options of a run. change has the last word on the plan.
type options struct {
	seed          uint64
	bug           bug
	tracing, grpc bool
	change        func(*plan)
	script        func(ctx context.Context, s *sim) // in place of clients and chaos
}

// simulate runs one seed in a bubble of virtual time.
func simulate(t *testing.T, o options) (out result) {
	cryptotest.SetGlobalRandom(t, o.seed)
	s := &sim{seed: o.seed, plan: newPlan(o.seed), bug: o.bug, tracing: o.tracing, grpc: o.grpc}
	if o.change != nil {
		o.change(&s.plan)
	}
	if s.plan.keepsMark {
		home, err := os.MkdirTemp(scratch(), "sim")
		if err != nil {
			t.Fatal(err)
		}
		s.home = home
		defer os.RemoveAll(home)
	}
	synctest.Test(t, func(t *testing.T) {
		s.t, s.began, s.failed = t, time.Now(), make(chan struct{})
		s.run(o.script)
		out.virtual = s.now()
	})
	out.sim = s
	return out
}

// scratch is where files go that need not outlive the machine.
func scratch() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func (s *sim) tempDir(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs++
	dir := fmt.Sprintf("%s/%s-%d", s.home, name, s.dirs)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		panic(err)
	}
	return dir
}

func (s *sim) run(script func(context.Context, *sim)) {
	s.disk = s.newDisk()
	s.oracle = newOracle(s)
	s.disk.watch = s.oracle.committed
	s.startLane = s.lane()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s.mustStart(ctx)
	if err := s.populate(ctx, s.running().e); err != nil {
		s.t.Fatal(err)
	}
	troubles := &chaos{client: s.client("chaos"), weights: s.plan.trouble}
	for i := range s.plan.peps {
		sc := s.newSidecar(i + 1)
		s.sidecars = append(s.sidecars, sc)
		for n := range s.plan.services {
			s.services = append(s.services, s.service(sc, n+1))
		}
	}
	for i := range 3 {
		s.runners = append(s.runners, &runner{
			client: s.client(fmt.Sprint("runner", i+1)), heart: s.client(fmt.Sprint("heart", i+1)), told: map[authz.JobID]bool{},
		})
	}
	editor, forge, judge := s.client("editor"), s.client("forge"), s.client("judge")
	for _, sc := range s.sidecars {
		s.sleep(ctx, sc.dial, time.Millisecond)
		sc.start()
	}
	if script != nil {
		script(ctx, s)
	} else {
		acting, halt := context.WithCancel(ctx)
		var actors sync.WaitGroup
		for _, r := range s.runners {
			actors.Go(func() { r.loop(acting, s.plan.acts, r.act) })
			actors.Go(func() { r.heart.loop(acting, 600*time.Millisecond, r.keepAlive) })
		}
		actors.Go(func() { editor.loop(acting, 2*s.plan.acts, editor.edit) })
		actors.Go(func() { forge.loop(acting, 2*s.plan.acts, forge.forge) })
		actors.Go(func() { troubles.run(acting) })
		asking, quiet := context.WithCancel(ctx)
		var askers sync.WaitGroup
		for _, v := range s.services {
			askers.Go(func() { v.loop(asking) })
		}
		select {
		case <-s.failed:
		case <-time.After(s.plan.length):
		}
		halt()
		actors.Wait()
		well := len(s.violations) == 0 && s.heal(ctx, judge)
		quiet()
		askers.Wait()
		if well {
			s.answersAgain(ctx, judge)
		}
	}
	s.close()
}

// mustStart starts a PDP or ends the test.
func (s *sim) mustStart(ctx context.Context) {
	if err := s.startPDP(ctx); err != nil {
		s.t.Fatalf("seed %d: the PDP does not start: %v", s.seed, err)
	}
}

// restart starts the PDP if there is none.
func (s *sim) restart() {
	if s.running() == nil {
		s.mustStart(context.Background())
	}
}

func (sc *sidecar) revive() {
	sc.mu.Lock()
	up := sc.proc != nil || sc.leaving
	sc.mu.Unlock()
	if !up {
		sc.start()
	}
}

// heal ends all troubles and wants every receipt effective within two terms.
func (s *sim) heal(ctx context.Context, c *client) (well bool) {
	s.note("chaos", "", "", "all is well from here on")
	s.healed.Store(true)
	s.restart()
	var wait time.Duration
	for _, sc := range s.sidecars {
		sc.mute.Store(false)
		for _, g := range []*gate{&sc.watchUp, &sc.watchDown, &sc.callUp, &sc.callDown} {
			g.open()
		}
		wait = max(wait, sc.stopped.wait(s.now()))
	}
	s.sleep(ctx, c.lane, wait+s.plan.term) // and those started again that were about to be
	for _, sc := range s.sidecars {
		if sc.running() == nil {
			s.sleep(ctx, sc.dial, 2*s.plan.term+3*time.Second)
			sc.revive()
		}
	}
	at := s.running()
	bound := max(2*s.plan.term+time.Second, at.e.Feed().Quiet()+time.Second)
	within, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	r := at.e.Await(within, engine.WaitEffective, engine.Awaits{Revision: at.e.View().Mark().Revision, All: true})
	if !r.Effective {
		s.fail("liveness", nil, "%v after the last trouble a receipt is not effective: %+v", bound, r)
	}
	return r.Effective
}

// answersAgain wants every sidecar to answer from its cache.
func (s *sim) answersAgain(ctx context.Context, c *client) {
	token := s.freshToken(ctx, c)
	if token == nil {
		return
	}
	for _, sc := range s.sidecars {
		s.recovered(ctx, c, sc, token)
	}
}

// freshToken issues one more token.
func (s *sim) freshToken(ctx context.Context, c *client) *tokenInfo {
	at := s.running()
	for p := authz.ProjectID(1); p <= 4; p++ {
		for u := authz.UserID(1); u <= numUsers; u++ {
			out, err := at.e.Issue(ctx, engine.Actor{Name: c.name}, engine.IssueRequest{Job: "last", Project: p, User: u})
			if err == nil {
				t := &tokenInfo{digest: out.Token.Digest(), job: "last", source: p, user: u, issued: out.Revision}
				s.oracle.issued(t)
				return t
			}
		}
	}
	return nil // everything is deleted or blocked
}

// recovered wants a sidecar to answer from its cache.
func (s *sim) recovered(ctx context.Context, c *client, sc *sidecar, t *tokenInfo) {
	v := s.services[0]
	for _, o := range s.services {
		if o.sc == sc {
			v = o
		}
	}
	var last error
	var d authz.Decision
	for range 40 {
		if !s.sleep(ctx, c.lane, 100*time.Millisecond) {
			return
		}
		h := sc.running()
		if h == nil {
			sc.revive()
			continue
		}
		if d, last = v.ask(ctx, h, question(t, 2)); last == nil && d.Cached {
			return
		}
	}
	s.fail("liveness", []string{sc.name}, "%s does not answer from its cache again: %v %v", sc.name, d.Reason, last)
}

// close ends everything.
func (s *sim) close() {
	s.over.Store(true)
	for _, sc := range s.sidecars {
		if h := sc.running(); h != nil {
			h.gone.Store(true)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.ending.Go(func() { h.d.Close(ctx) })
		}
	}
	if p := s.running(); p != nil {
		s.crashPDP(p, false)
	}
	s.ending.Wait()
	for _, sc := range s.sidecars {
		for _, w := range sc.wires {
			w.broken()
		}
		for _, c := range sc.conns {
			c.up.end()
			c.down.end()
		}
	}
	time.Sleep(time.Minute) // what is still on its way arrives nowhere
}

// focus makes a token the one that services ask about.
func (s *sim) focus(t *tokenInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.focused = t
}

// focusOn makes some token the one that services ask about.
func (s *sim) focusOn(r *rand.Rand) {
	s.oracle.mu.Lock()
	defer s.oracle.mu.Unlock()
	if n := len(s.oracle.tokens); n > 0 && r.IntN(2) == 0 {
		s.focus(s.oracle.tokens[max(0, n-1-r.IntN(6))])
	}
}

// hot reports whether an effective receipt has just been given: then services hurry to
// find out what it is worth.
func (s *sim) hot() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now() < s.hotUntil
}

func (s *sim) heat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hotUntil = s.now() + 60*time.Millisecond
}

// epoch is the one that the disk is in.
func (s *sim) epoch() uint64 {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.mark.Epoch.Counter
}

// starts gives the times at which PDPs began to hear runners.
func (s *sim) starts() []authz.Stamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heardFrom
}

func (o *oracle) isForked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.forked
}

// fork says that the PDP serves another history than the true one, or does so no more.
func (o *oracle) fork(on bool, at authz.Revision) {
	o.lock()
	defer o.mu.Unlock()
	o.forked, o.forkedAt = on, at
	for _, sc := range o.s.sidecars {
		seen := sc.kept.Swap(0) // of another epoch from here on
		if h := sc.running(); h != nil {
			seen = 0
			if m := h.d.Status().Seen; m.Epoch == o.s.epoch() {
				seen = uint64(m.Revision)
			}
		}
		if !on {
			seen = 0
		}
		sc.trulySeen.Store(seen)
	}
}

// wrong is an answer of somebody who is wrong: a replica that is behind what the sidecar
// has applied and says so, which every sidecar must see; or a planted bug.
func (s *sim) wrong(p *port, sc *sidecar, req authz.Request, asked pep.Asked) (authz.Decision, bool) {
	if s.bug.kind == bugUnknown && odds(p.rnd, 0.02) {
		return authz.Decision{Reason: authz.TokenUnknown, Revision: asked.Applied}, true
	}
	if s.healed.Load() || s.plan.behind == 0 || !odds(p.rnd, s.plan.behind) || asked.Applied < 30 || s.oracle.isForked() || asked.Epoch != s.epoch() {
		return authz.Decision{}, false
	}
	v := s.disk.viewAt(asked.Applied - 1 - authz.Revision(p.rnd.IntN(4)))
	d := authz.Decision{}
	s.oracle.mu.Lock()
	d = v.Decide(&s.oracle.walk, req, s.oracle.stamp())
	s.oracle.mu.Unlock()
	d.Keys = nil
	s.note("pdp", sc.name, "is behind", "%s: %v at %d", s.question(req), d.Reason, d.Revision)
	return d, true
}

// late is told of a receipt that was not effective in its caller's time. Its wait was fixed
// when the change was dispatched: the longest lease until then with its margins, or what a
// PDP that has started waits for anyway (L8, L9).
func (s *sim) late(at *pdp, a engine.Awaits, r engine.Receipt) {
	if at.e.Feed().Quiet() > 0 || len(a.Each) == 0 {
		return
	}
	const tick = 100 * time.Millisecond
	bound := lease.GrantorTerm(s.plan.term) + s.plan.term/50 + tick
	rev := slices.Max(a.Each) // whom it waits for
	if made, ok := s.oracle.made(rev); ok && s.now() > max(made, at.began)+bound {
		s.fail("L8", nil, "the change at %d was made at %.6f, and at %.6f somebody is still waited for: %+v", rev, made.Seconds(), s.now().Seconds(), r)
	}
}
