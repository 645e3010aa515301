package pep

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// fakePDP is a PDP over a real lease.Grantor and a tiny world: jobs that live or not, and
// projects that are open or not. Its clock is that of the bubble.
type fakePDP struct {
	mu      sync.Mutex
	grantor *lease.Grantor
	start   time.Time
	draw    *rand.Rand
	term    time.Duration
	epoch   uint64
	id      byte
	rev     authz.Revision
	dead    map[authz.JobID]bool
	closed  map[authz.ProjectID]bool
	streams map[lease.Generation]*fakeStream
	life    time.Duration // of tokens

	down     bool                // nothing gets through, and what stands is cut
	waits    bool                // after a restart, for leases it may have forgotten (R1)
	deaf     bool                // renewals are not looked at
	fenced   bool                // nothing may be answered or granted (R8)
	slow     time.Duration       // of each answer, after it was judged
	before   time.Duration       // of each answer, before it is judged
	judged   func(authz.Request) // called between judging and interest
	checks   int
	batches  int
	accesses map[Access]int64
	dropped  int64
	canary   chan CanaryQuestion
	answers  chan CanaryAnswer
	stuck    bool // reports are not taken
	careless bool // Introspect does not look at what it is asked to be judged at
	released int
	acked    []authz.Revision
	hellos   []lease.Hello
	forgot   []authz.Key
	last     Asked
}

func newFake(term time.Duration, seed uint64) *fakePDP {
	p := &fakePDP{
		start: time.Now(), draw: rand.New(rand.NewPCG(1, seed)), term: term, epoch: 1, rev: 10,
		dead: map[authz.JobID]bool{}, closed: map[authz.ProjectID]bool{}, accesses: map[Access]int64{},
		canary: make(chan CanaryQuestion, 16), answers: make(chan CanaryAnswer, 16), life: time.Hour,
	}
	p.boot()
	return p
}

// boot starts an incarnation.
func (p *fakePDP) boot() {
	for _, s := range p.streams {
		s.cut()
	}
	p.streams = map[lease.Generation]*fakeStream{}
	cfg := lease.GrantorConfig{Term: p.term, Head: p.mark(), Rules: 7, Draw: p.draw.Uint64}
	if p.grantor != nil && p.waits {
		cfg.Quiet = p.now().Add(lease.GrantorTerm(p.term))
	}
	p.grantor = lease.NewGrantor(cfg)
}

func (p *fakePDP) mark() lease.Mark {
	m := lease.Mark{Epoch: p.epoch, Revision: p.rev}
	m.ID[0], m.Chain[0], m.Chain[1] = p.id, byte(p.rev), p.id
	return m
}

func (p *fakePDP) now() lease.Instant { return lease.Instant(time.Since(p.start)) }

// commit makes a change and gives its revision.
func (p *fakePDP) commit(change func(), keys ...authz.Key) authz.Revision {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.rev++
	p.grantor.Commit(p.now(), p.mark(), keys)
	p.pump()
	return p.rev
}

func (p *fakePDP) pump() {
	for _, id := range p.grantor.Ready() {
		ms, open := p.grantor.Take(id)
		if s := p.streams[id]; s != nil {
			for _, m := range ms {
				s.push(m)
			}
			if !open {
				s.cut()
			}
		}
	}
}

// revoke kills a job and waits for the receipt.
func (p *fakePDP) revoke(t testing.TB, job authz.JobID) lease.Receipt {
	rev := p.commit(func() { p.dead[job] = true }, authz.JobKey(job))
	return p.receipt(t, rev)
}

func (p *fakePDP) receipt(t testing.TB, rev authz.Revision) lease.Receipt {
	for range 100_000 {
		if r, ok := p.settled(rev); ok {
			return r
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no receipt")
	return lease.Receipt{}
}

func (p *fakePDP) settled(rev authz.Revision) (lease.Receipt, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.grantor.Tick(p.now())
	p.pump()
	r := p.grantor.Receipt(p.now(), rev)
	return r, r.Effective
}

// judge answers a question: job "j7" of project 100 and user 7 has the token "j7".
func (p *fakePDP) judge(r authz.Request) authz.Decision {
	d := authz.Decision{Revision: p.rev, Target: r.Target.ID}
	if r.Target.ID == 0 {
		d.Target = authz.ProjectID(len(r.Target.Path))
	}
	if r.Token == authz.Nobody { // what is not closed is public
		d.Keys, d.ValidFor, d.Reason = []authz.Key{authz.TheInstance, authz.ProjectKey(d.Target), authz.GroupKey(3)}, authz.VisitorTerm, authz.TokenMissing
		if !p.closed[d.Target] {
			d.Allow, d.Reason = true, authz.AllowedOpen
		}
		return d
	}
	job, ok := jobOf(r.Token)
	if !ok {
		d.Reason, d.Target = authz.TokenUnknown, 0
		return d
	}
	d.Job, d.Source, d.User = job, 100, 7
	d.Keys = []authz.Key{authz.TheInstance, authz.JobKey(job), authz.ProjectKey(100), authz.UserKey(7), authz.GroupKey(3)}
	if p.dead[job] {
		d.Reason = authz.JobNotRunning
		return d
	}
	d.ValidFor = p.life
	d.Keys = append(d.Keys, authz.ProjectKey(d.Target))
	if r.Target.Path != "" {
		d.Keys = authz.AppendPathKeys(d.Keys, r.Target.Path)
	}
	d.Role, d.RoleScope = authz.RoleDeveloper, authz.InGroup(3)
	switch {
	case r.Surface == authz.SurfaceGraphQL:
		d.Reason = authz.SurfaceClosed
	case p.closed[d.Target]:
		d.Reason = authz.InboundNotListed
	default:
		d.Allow, d.Reason, d.Entry = true, authz.AllowedListed, authz.InProject(100)
	}
	return d
}

func digestOf(job string) authz.Digest { return sha256.Sum256([]byte(job)) }

// jobOf knows the jobs j0 to j99999.
var jobOf = func() func(authz.Digest) (authz.JobID, bool) {
	known := sync.OnceValue(func() map[authz.Digest]authz.JobID {
		m := make(map[authz.Digest]authz.JobID, 1000)
		for i := range 1000 {
			j := fmt.Sprintf("j%d", i)
			m[digestOf(j)] = authz.JobID(j)
		}
		return m
	})
	return func(d authz.Digest) (authz.JobID, bool) { j, ok := known()[d]; return j, ok }
}()

// answer is the order that R5 asks for.
func (p *fakePDP) answer(ctx context.Context, r authz.Request, a Asked) (authz.Decision, error) {
	p.mu.Lock()
	before, slow := p.before, p.slow
	p.mu.Unlock()
	if err := wait(ctx, before); err != nil {
		return authz.Decision{}, err
	}
	p.mu.Lock()
	p.last = a
	if p.down {
		p.mu.Unlock()
		return authz.Decision{}, errors.New("no route to host")
	}
	if p.fenced {
		p.mu.Unlock()
		return authz.Decision{}, errFenced()
	}
	if p.behind(a) {
		p.mu.Unlock()
		return authz.Decision{}, authz.Errorf(authz.KindUnavailable, CodeBehind, "behind")
	}
	var d authz.Decision
	for range 3 {
		d = p.judge(r)
		if f := p.judged; f != nil {
			p.mu.Unlock()
			f(r)
			p.mu.Lock()
		}
		n, v := p.grantor.Interest(p.now(), a.Generation, "me", d.Revision, d.Keys)
		if v == lease.JudgeAgain {
			continue
		}
		d.Number = n
		break
	}
	p.mu.Unlock()
	return d, wait(ctx, slow)
}

func errFenced() error { return authz.Errorf(authz.KindUnavailable, codeFenced, "fenced") }

// behind is R14.
func (p *fakePDP) behind(a Asked) bool {
	return a.Epoch > p.epoch || a.Epoch == p.epoch && a.Applied > p.rev
}

func wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fakeNet is a Transport to fakes by name.
type fakeNet struct {
	pdps  map[string]*fakePDP
	names []string
}

func (n *fakeNet) Endpoints(context.Context) ([]string, error) { return n.names, nil }
func (n *fakeNet) Close() error                                { return nil }
func (n *fakeNet) Open(endpoint string) (PDP, error) {
	if p := n.pdps[endpoint]; p != nil {
		return &fakeConn{p}, nil
	}
	return nil, errors.New("no such host")
}

type fakeConn struct{ p *fakePDP }

func (c *fakeConn) Close() error { return nil }

func (c *fakeConn) Watch(ctx context.Context) (WatchStream, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.p.down {
		return nil, errors.New("connection refused")
	}
	ctx, cancel := context.WithCancel(ctx)
	return &fakeStream{p: c.p, ctx: ctx, cancel: cancel, more: make(chan struct{}, 1)}, nil
}

func (c *fakeConn) Check(ctx context.Context, q *Question) (authz.Decision, error) {
	c.p.mu.Lock()
	c.p.checks++
	c.p.mu.Unlock()
	return c.p.answer(ctx, q.Request, q.Asked)
}

func (c *fakeConn) BatchCheck(ctx context.Context, q *BatchQuestion) ([]authz.Decision, error) {
	c.p.mu.Lock()
	c.p.batches++
	c.p.mu.Unlock()
	var out []authz.Decision
	for _, r := range q.Requests {
		d, err := c.p.answer(ctx, r, q.Asked)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func (c *fakeConn) Introspect(_ context.Context, q *IntrospectQuestion) (Introspection, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.p.last = q.Asked; !c.p.careless && c.p.behind(q.Asked) {
		return Introspection{}, authz.Errorf(authz.KindUnavailable, CodeBehind, "behind")
	}
	d := c.p.judge(authz.Request{Token: q.Token, Target: authz.Target{ID: 1}})
	return Introspection{Live: d.Allow, Reason: d.Reason, Revision: d.Revision}, nil
}

// fakeStream carries messages in order, however many.
type fakeStream struct {
	p      *fakePDP
	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	queue  []lease.Message
	isCut  bool
	more   chan struct{}
	gen    lease.Generation
}

func (s *fakeStream) poke() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *fakeStream) push(m lease.Message) {
	s.mu.Lock()
	s.queue = append(s.queue, m)
	s.mu.Unlock()
	s.poke()
}

func (s *fakeStream) cut() {
	s.mu.Lock()
	s.isCut = true
	s.mu.Unlock()
	s.poke()
}

func (s *fakeStream) Hello(_, _ string, h lease.Hello) error {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fenced {
		return errFenced()
	}
	p.hellos = append(p.hellos, h)
	if is := lease.Judge(h.Seen, p.mark()); is == lease.HistoryBehind || is == lease.HistoryBeside {
		// The holder has to find it by itself, too.
		s.push(lease.Message{Kind: lease.Welcome, Generation: 99, Head: p.mark(), Term: p.term})
		return nil
	}
	s.gen = p.grantor.Hello(p.now(), "me", h)
	p.streams[s.gen] = s
	p.pump()
	return nil
}

func (s *fakeStream) Send(m lease.Message, _ Figures) error {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || s.ctx.Err() != nil {
		return io.ErrClosedPipe
	}
	switch m.Kind {
	case lease.Renew:
		if !p.deaf && !p.fenced {
			p.grantor.Renew(p.now(), s.gen, "me", m.Number)
		}
	case lease.Ack:
		p.acked = append(p.acked, m.Revision)
		p.grantor.Ack(s.gen, "me", m.Revision)
	case lease.Forget:
		p.forgot = append(p.forgot, m.Keys...)
		p.grantor.Forget(s.gen, "me", m.Keys, m.Number)
	case lease.Release:
		p.released++
		p.grantor.Release(m.Generation, "me")
	}
	p.pump()
	return nil
}

func (s *fakeStream) CloseSend() error {
	s.cut()
	return nil
}

func (s *fakeStream) Recv() (WatchMessage, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 && s.ctx.Err() == nil {
			m := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return WatchMessage{Message: m, Prefixes: []string{"jobt-"}}, nil
		}
		cut := s.isCut
		s.mu.Unlock()
		if cut {
			s.broken()
			return WatchMessage{}, io.EOF
		}
		select {
		case <-s.more:
		case <-s.ctx.Done():
			s.broken()
			return WatchMessage{}, s.ctx.Err()
		}
	}
}

func (s *fakeStream) broken() {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.streams[s.gen] == s {
		s.p.grantor.Broken(s.gen)
		delete(s.p.streams, s.gen)
	}
}

// fall makes the PDP unreachable; rise starts another incarnation of it.
func (p *fakePDP) fall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for _, s := range p.streams {
		s.cut()
	}
}

func (p *fakePDP) rise() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
	p.boot()
}

func (c *fakeConn) Report(ctx context.Context, h ReportHello) (ReportStream, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.p.down {
		return nil, errors.New("connection refused")
	}
	return &fakeReport{c.p, ctx}, nil
}

type fakeReport struct {
	p   *fakePDP
	ctx context.Context
}

func (r *fakeReport) Accesses(list []Access, dropped int64) error {
	r.p.mu.Lock()
	stuck := r.p.stuck
	r.p.mu.Unlock()
	if stuck {
		<-r.ctx.Done()
		return r.ctx.Err()
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.p.dropped += dropped
	for _, a := range list {
		n := a.Count
		a.Count, a.LastAge = 0, 0
		r.p.accesses[a] += n
	}
	return nil
}

func (r *fakeReport) Answer(a CanaryAnswer) error { r.p.answers <- a; return nil }

func (r *fakeReport) Recv() (CanaryQuestion, error) {
	select {
	case q := <-r.p.canary:
		return q, nil
	case <-r.ctx.Done():
		return CanaryQuestion{}, r.ctx.Err()
	}
}

// rig is a Decider over fakes in a bubble.
type rig struct {
	*Decider
	pdps []*fakePDP
	net  *fakeNet
}

const testTerm = 5 * time.Second

func newRig(t testing.TB, pdps int, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{net: &fakeNet{pdps: map[string]*fakePDP{}}}
	for i := range pdps {
		name := string(rune('a' + i))
		p := newFake(testTerm, uint64(i))
		r.pdps, r.net.names = append(r.pdps, p), append(r.net.names, name)
		r.net.pdps[name] = p
	}
	start := time.Now()
	cfg := Config{
		Transport: r.net, Name: "test", Seed: 1, MaxEntries: 1000, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Clock: clock.Func(func() time.Duration { return time.Since(start) }),
	}
	for _, f := range change {
		f(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Decider = d
	return r
}

func (r *rig) close(t testing.TB) {
	t.Helper()
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func (r *rig) ready(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

func ask(job string, target authz.ProjectID) authz.Request {
	return authz.Request{Token: digestOf(job), Target: authz.Target{ID: target}, Permission: "read_packages", Surface: authz.SurfaceREST}
}

// check asks and wants an answer.
func (r *rig) check(t testing.TB, req authz.Request) authz.Decision {
	t.Helper()
	d, err := r.Check(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// want asks and wants that answer.
func (r *rig) want(t testing.TB, req authz.Request, reason authz.Reason, cached bool) {
	t.Helper()
	if d := r.check(t, req); d.Reason != reason || d.Cached != cached {
		t.Fatalf("%v cached %v, want %v cached %v (%+v)", d.Reason, d.Cached, reason, cached, r.Counters())
	}
}

func containsAll(keys, want []authz.Key) bool {
	for _, k := range want {
		if !slices.Contains(keys, k) {
			return false
		}
	}
	return true
}
