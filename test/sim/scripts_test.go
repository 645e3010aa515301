package sim

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// Scripts, for bugs that need a special situation. Each is harmless without its bug.

// calm is a plan in which nothing happens by chance.
func calm(p *plan) {
	p.peps, p.services, p.term, p.sync, p.callTimeout = 3, 2, time.Second, 2*time.Millisecond, 2*time.Second+13*time.Microsecond
	p.slow, p.verySlow, p.preempt, p.behind, p.drift, p.newRules = 0, 0, 0, 0, 0, false
	p.maxInterest, p.maxQueue, p.maxRecent, p.maxEntries, p.window = 0, 0, 0, 0, 16
}

// stage is where a script plays: one of the sidecars, with a lease.
type stage struct {
	*sim
	ctx    context.Context
	sc     *sidecar
	ask1   *service
	ask2   *service
	c      *client
	tokens map[string]*tokenInfo
}

func (s *sim) stage(ctx context.Context) *stage {
	g := &stage{sim: s, ctx: ctx, sc: s.sidecars[0], ask1: s.services[0], ask2: s.services[1], c: s.client("script"), tokens: map[string]*tokenInfo{}}
	g.wait(500 * time.Millisecond)
	return g
}

func (g *stage) wait(d time.Duration) { g.sleep(g.ctx, g.c.lane, d) }

// issue issues a token for a job in project 1 of user 1.
func (g *stage) issue(job authz.JobID) *tokenInfo {
	out, err := g.running().e.Issue(g.ctx, engine.Actor{Name: "script"}, engine.IssueRequest{Job: job, Project: 1, User: 1})
	if err != nil {
		g.fail("script", nil, "%v", err)
		return &tokenInfo{}
	}
	t := &tokenInfo{digest: out.Token.Digest(), job: job, source: 1, user: 1, issued: out.Revision}
	g.oracle.issued(t)
	return t
}

// revoke ends a job and waits for the receipt.
func (g *stage) revoke(t *tokenInfo) {
	at := g.running()
	out, err := at.e.Revoke(g.ctx, engine.Actor{Name: "script"}, engine.RevokeRequest{Jobs: []authz.JobID{t.job}})
	if err != nil {
		g.fail("script", nil, "%v", err)
		return
	}
	g.await(g.ctx, at, out.Awaits(), func(now time.Duration) { earliest(g.oracle.deadJobs, t.job, now) })
	g.wait(time.Millisecond)
}

func (g *stage) ask(v *service, t *tokenInfo, n int) string {
	h := g.sc.running()
	d, err := v.ask(g.ctx, h, question(t, n))
	return fmt.Sprint(d.Reason, err)
}

// list edits the inbound list of the project that question 0 is about.
func (g *stage) list(add bool, other authz.Scope) {
	at := g.running()
	id := question(&tokenInfo{source: 1, user: 1}, 0).Target.ID
	var done engine.Done
	var err error
	if edit := (engine.AllowlistEdit{Project: id}); add {
		_, done, err = at.e.AddEntry(g.ctx, admin(), engine.EntryEdit{AllowlistEdit: edit, Other: other, Default: true})
	} else {
		done, err = at.e.RemoveEntry(g.ctx, admin(), engine.EntryRemoval{AllowlistEdit: edit, Other: other})
	}
	if err != nil {
		g.fail("script", nil, "%v", err)
		return
	}
	go g.await(g.ctx, at, done.Awaits(), nil)
}

// ackOfOlder: an ack of one change arrives when an answer judged at that change rests on
// the same key already; then the key changes again.
func ackOfOlder(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	t := g.issue("job")
	g.ask(g.ask1, t, 0)
	g.sc.watchUp.shut(s.now() + 300*time.Millisecond)
	g.list(true, authz.InProject(5))
	g.wait(100 * time.Millisecond)
	g.ask(g.ask1, t, 0) // judged at the change; its ack is still under way
	g.wait(400 * time.Millisecond)
	g.list(false, authz.InGroup(1)) // what lets the job in
	g.wait(200 * time.Millisecond)
	g.ask(g.ask1, t, 0)
	g.wait(time.Second)
	g.ask(g.ask1, t, 0)
}

// evictedUnderWay: the last entry that rests on a key is evicted while another answer that
// rests on it is under way, and later ones have arrived.
func evictedUnderWay(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	t, u := g.issue("job"), g.issue("other")
	g.ask(g.ask1, t, 0)
	g.ask1.way.shut(s.now() + 1500*time.Millisecond)
	go g.ask(g.ask1, t, 1)
	g.wait(100 * time.Millisecond)
	for n := range 5 { // all places are taken by answers about another job
		g.ask(g.ask2, u, n)
		g.wait(20 * time.Millisecond)
		g.ask(g.ask2, u, n)
		g.wait(20 * time.Millisecond)
	}
	g.wait(1800 * time.Millisecond)
	g.revoke(t)
	g.ask(g.ask2, t, 1)
}

// lateRenewal: renewals arrive after the lease has ended for the PDP.
func lateRenewal(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	t := g.issue("job")
	g.ask(g.ask1, t, 0)
	term := s.plan.term
	g.sc.dialing.shut(s.now() + 5*term)
	g.sc.watchUp.shut(s.now() + lease.GrantorTerm(term) + term/3)
	g.wait(lease.GrantorTerm(term) + term/3 + 40*time.Millisecond)
	g.revoke(t)
	for range 20 {
		g.ask(g.ask1, t, 0)
		g.wait(20 * time.Millisecond)
	}
}

// setBack: the store is set back under a PDP that looks at no marks, so that sidecars have
// to see it themselves.
func setBack(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	t := g.issue("job")
	for n := range 12 {
		g.issue(authz.JobID(fmt.Sprint("more", n)))
	}
	g.ask(g.ask1, t, 0)
	g.wait(4 * time.Second) // until a mark was given
	s.crashPDP(s.running(), false)
	truth := s.disk.backup()
	to := truth.mark.Revision - 10
	s.oracle.fork(true, to)
	s.disk.rollback(to)
	g.wait(100 * time.Millisecond)
	s.restart()
	for range 40 {
		g.wait(100 * time.Millisecond)
		g.ask(g.ask1, t, 1)
	}
}

// lapseUndone: a heartbeat term runs out, somebody is told, and the PDP dies before that is
// committed. The job gets a new term (R12), and what was told must not be believed any more.
func lapseUndone(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	out, err := s.running().e.Issue(ctx, engine.Actor{Name: "script"}, engine.IssueRequest{Job: "job", Project: 1, User: 1, Runner: "r", Term: 1200 * time.Millisecond})
	if err != nil {
		s.fail("script", nil, "%v", err)
		return
	}
	t := &tokenInfo{digest: out.Token.Digest(), job: "job", source: 1, user: 1, issued: out.Revision}
	s.oracle.issued(t)
	began := s.now()
	for s.now() < began+3*time.Second {
		d := g.ask(g.ask1, t, 2)
		if strings.HasPrefix(d, "heartbeat_lapsed") {
			break
		}
		g.wait(10 * time.Millisecond)
	}
	s.note("script", "", "dies now", "")
	s.crashPDP(s.running(), false)
	g.wait(50 * time.Millisecond)
	s.restart()
	for range 12 {
		g.wait(50 * time.Millisecond)
		g.ask(g.ask1, t, 2)
	}
}

// tokenEnds: a token's time is over while an answer about it is cached.
func tokenEnds(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	out, err := s.running().e.Issue(ctx, engine.Actor{Name: "script"}, engine.IssueRequest{Job: "job", Project: 1, User: 1, Timeout: 1500 * time.Millisecond})
	if err != nil {
		s.fail("script", nil, "%v", err)
		return
	}
	t := &tokenInfo{digest: out.Token.Digest(), job: "job", source: 1, user: 1, issued: out.Revision}
	s.oracle.issued(t)
	for range 100 {
		g.ask(g.ask1, t, 0)
		g.wait(50 * time.Millisecond)
	}
}

// enforced: the instance puts an allowlist in force that its project has switched off.
func enforced(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	at, off, on := s.running(), false, true
	id := question(&tokenInfo{source: 1, user: 1}, 0).Target.ID
	if _, _, err := at.e.UpdateAllowlist(ctx, admin(), engine.AllowlistSettings{AllowlistEdit: engine.AllowlistEdit{Project: id}, InboundOn: &off}); err != nil {
		s.fail("script", nil, "%v", err)
	}
	g.list(false, authz.InGroup(1))
	t := g.issue("job")
	g.ask(g.ask1, t, 0)
	_, done, err := at.e.UpdateInstance(ctx, admin(), engine.InstanceEdit{EnforceInbound: &on})
	if err != nil {
		s.fail("script", nil, "%v", err)
	}
	s.await(ctx, at, done.Awaits(), nil)
	g.wait(time.Millisecond)
	g.ask(g.ask1, t, 0)
}

// betweenWelcomeAndGrant: a stream breaks, and of the next one the sidecar has the welcome
// and not yet the lease, when a job ends.
func betweenWelcomeAndGrant(ctx context.Context, s *sim) {
	g := s.stage(ctx)
	t := g.issue("job")
	g.ask(g.ask1, t, 0)
	g.sc.welcomed = func() { g.sc.watchDown.shut(s.now() + 700*time.Millisecond) }
	g.sc.mu.Lock()
	c := g.sc.conns[len(g.sc.conns)-1]
	g.sc.mu.Unlock()
	c.broken(time.Millisecond)
	g.wait(200 * time.Millisecond)
	g.revoke(t)
	g.ask(g.ask1, t, 0)
}
