package lease

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// stage is what the transcripts and most tests play on: one PDP and its sidecars, each
// with the simplest cache there is, and streams that move only when they are told to.
// The PDP and the sidecars have clocks that differ by much and run alike.
type stage struct {
	now      time.Duration
	cfg      GrantorConfig
	g        *Grantor
	epoch    byte
	history  []Change
	kills    map[authz.Revision]bool
	drawn    uint64
	sidecars map[string]*sidecar
	streams  map[Generation]*stream
	checks   map[string]*check
	names    map[authz.Key]string
	out      strings.Builder
}

type sidecar struct {
	name    string
	h       *Holder
	entries map[string]entry
	newest  *stream
	prior   *stream
}

// entry is a cached answer.
type entry struct {
	era   Era
	rev   authz.Revision
	keys  []authz.Key
	allow bool
}

// stream is a Watch stream: a generation's messages, either way.
type stream struct {
	of       *sidecar
	gen      Generation // once the PDP has read the hello
	hello    *Hello
	up, down []Message
	broken   bool
}

// check is one question on its way.
type check struct {
	of       *sidecar
	question string
	flight   Flight
	rev      authz.Revision
	number   uint64
	verdict  Verdict
	judged   bool
}

func newStage(cfg GrantorConfig) *stage {
	s := &stage{
		epoch: 1, kills: map[authz.Revision]bool{}, sidecars: map[string]*sidecar{},
		streams: map[Generation]*stream{}, checks: map[string]*check{}, names: map[authz.Key]string{},
	}
	s.start(cfg)
	return s
}

// start makes the PDP, anew with what its store has.
func (s *stage) start(cfg GrantorConfig) {
	cfg.Head = s.mark()
	cfg.Draw = func() uint64 { s.drawn++; return s.drawn }
	s.cfg, s.g = cfg, NewGrantor(cfg)
}

func (s *stage) sidecar(name string, cfg HolderConfig) *sidecar {
	c := &sidecar{name: name, h: NewHolder(cfg), entries: map[string]entry{}}
	s.sidecars[name] = c
	return c
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(&s.out, "  "+format+"\n", args...) }

// pdp and side are the two clocks.
func (s *stage) pdp() Instant  { return Instant(time.Hour).Add(s.now) }
func (s *stage) side() Instant { return Instant(time.Minute).Add(s.now) }

func (s *stage) head() authz.Revision { return authz.Revision(len(s.history)) }

func (s *stage) mark() Mark {
	return Mark{Epoch: uint64(s.epoch), ID: [16]byte{s.epoch}, Revision: s.head(), Chain: [16]byte{s.epoch, byte(s.head())}}
}

// keys gives what a question rests on: "j1" on its job, "j1 in 7" on project 7 too, "in 7"
// on that alone.
func (s *stage) keys(question string) (keys []authz.Key) {
	job, project, _ := strings.Cut(" "+question, " in ")
	job = strings.TrimSpace(job)
	if job != "" {
		k := authz.JobKey(authz.JobID(job))
		s.names[k] = "job " + job
		keys = append(keys, k)
	}
	if project != "" {
		id, err := strconv.ParseInt(project, 10, 64)
		if err != nil {
			panic(err)
		}
		k := authz.ProjectKey(authz.ProjectID(id))
		s.names[k] = "project " + project
		keys = append(keys, k)
	}
	return keys
}

func (s *stage) named(keys []authz.Key) string {
	var names []string
	for _, k := range keys {
		name, ok := s.names[k]
		if !ok {
			name = k.String()
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// allowed is the naive evaluator: allowed until a kill of something it rests on.
func (s *stage) allowed(question string, rev authz.Revision) bool {
	keys := s.keys(question)
	for _, c := range s.history[:rev] {
		if s.kills[c.Revision] && meet(c.Keys, keys) {
			return false
		}
	}
	return true
}

// commit makes a change to what a question rests on, and dispatches it.
func (s *stage) commit(what string, kill bool) authz.Revision {
	keys := s.keys(what)
	rev := s.head() + 1
	s.history = append(s.history, Change{rev, keys})
	s.kills[rev] = kill
	n := s.g.Commit(s.pdp(), s.mark(), keys)
	s.say("revision %d changes %s; it concerns %d", rev, s.named(keys), n)
	s.pump()
	return rev
}

// pump takes what the Grantor has for its streams.
func (s *stage) pump() {
	for _, id := range s.g.Ready() {
		ms, open := s.g.Take(id)
		st := s.streams[id]
		if st == nil {
			continue
		}
		for _, m := range ms {
			s.say("PDP → %s: %s", st.of.name, s.text(m))
		}
		if !st.broken {
			st.down = append(st.down, ms...)
		}
		if !open && !st.broken {
			s.say("PDP closes the stream of generation %d", id)
			s.cut(st)
		}
	}
}

// hello sends a hello on a new stream.
func (s *stage) hello(c *sidecar, carry bool) *stream {
	var keys []authz.Key
	if carry {
		for _, q := range sortedKeys(c.entries) {
			keys = append(keys, c.entries[q].keys...)
		}
	}
	h := c.h.Hello(s.side(), keys)
	c.prior, c.newest = c.newest, &stream{of: c, hello: &h}
	what := ""
	if h.Vouch {
		what = fmt.Sprintf(", has answers that rest on %s, true at revision %d", s.named(h.Keys), h.Applied)
	}
	s.say("%s → PDP: hello%s", c.name, what)
	return c.newest
}

// read lets the PDP read everything that a stream has brought it.
func (s *stage) read(st *stream) {
	if st.broken {
		return
	}
	if st.hello != nil {
		if is := Judge(st.hello.Seen, s.g.Head()); is != HistoryGood && is != HistoryNew {
			s.say("PDP refuses the hello: its history is %v", is)
			s.cut(st)
			return
		}
		st.gen = s.g.Hello(s.pdp(), st.of.name, *st.hello)
		s.streams[st.gen], st.hello = st, nil
		s.pump()
	}
	ms := st.up
	st.up = nil
	for _, m := range ms {
		s.take(st, m)
		s.pump()
	}
}

func (s *stage) take(st *stream, m Message) {
	owner := st.of.name
	switch m.Kind {
	case Renew:
		s.g.Renew(s.pdp(), st.gen, owner, m.Number)
	case Ack:
		s.g.Ack(st.gen, owner, m.Revision)
	case Forget:
		s.g.Forget(st.gen, owner, m.Keys, m.Number)
	case Release:
		s.g.Release(m.Generation, owner)
	}
}

// deliver lets a sidecar read n messages of a stream, all with a negative n.
func (s *stage) deliver(st *stream, n int) {
	for ; n != 0 && len(st.down) > 0 && !st.broken; n-- {
		m := st.down[0]
		st.down = st.down[1:]
		c := st.of
		e, err := c.h.Handle(s.side(), m)
		if err != nil {
			s.say("%s closes the stream: %v", c.name, err)
			s.cut(st)
			return
		}
		s.do(c, e)
	}
}

// do does what a holder asks for.
func (s *stage) do(c *sidecar, e Effects) {
	if e.Opened {
		s.say("%s: generation %d is in force", c.name, c.h.Generation())
	}
	if e.Moving {
		s.say("%s: looks for another PDP", c.name)
	}
	if e.Clear && len(c.entries) > 0 {
		s.say("%s drops everything", c.name)
		clear(c.entries)
	}
	for _, q := range sortedKeys(c.entries) {
		if meet(c.entries[q].keys, e.Drop) {
			s.say("%s drops %q", c.name, q)
			delete(c.entries, q)
		}
	}
	for _, m := range e.Send {
		s.send(c, m)
	}
}

func (s *stage) send(c *sidecar, m Message) {
	st := c.newest
	if old := s.streams[m.Generation]; old != nil && m.Kind != Release {
		st = old
	}
	if st == nil || st.broken {
		return
	}
	s.say("%s → PDP: %s", c.name, s.text(m))
	st.up = append(st.up, m)
}

// cut breaks a stream: what is under way is lost, both ends see it.
func (s *stage) cut(st *stream) {
	st.broken, st.up, st.down = true, nil, nil
	if st.gen != 0 {
		s.g.Broken(st.gen)
	}
	if c := st.of; c.newest == st && c.h.joining != nil {
		c.h.Abandon()
	}
}

// run reads and delivers until nothing moves.
func (s *stage) run() {
	for moved := true; moved; {
		moved = false
		for _, name := range sortedKeys(s.sidecars) {
			c := s.sidecars[name]
			sts := []*stream{c.newest}
			for _, id := range s.g.Generations() {
				if st := s.streams[id]; st != nil && st.of == c && st != c.newest {
					sts = append(sts, st)
				}
			}
			for _, st := range sts {
				if st != nil && !st.broken && (st.hello != nil || len(st.up)+len(st.down) > 0) {
					moved = true
					s.read(st)
					s.deliver(st, -1)
				}
			}
		}
	}
}

// join connects a sidecar and runs.
func (s *stage) join(name string) *sidecar {
	c := s.sidecars[name]
	if c == nil {
		c = s.sidecar(name, HolderConfig{})
	}
	s.hello(c, true)
	s.run()
	return c
}

// hit looks into the cache.
func (s *stage) hit(c *sidecar, question string) (entry, bool) {
	e, ok := c.entries[question]
	return e, ok && c.h.Lease().Valid(s.side(), e.era)
}

func (s *stage) begin(c *sidecar, question string) *check {
	return &check{of: c, question: question, flight: c.h.Begin(s.side())}
}

func (s *stage) judge(k *check) { k.judged, k.rev = true, s.head() }

func (s *stage) record(k *check) {
	k.number, k.verdict = s.g.Interest(s.pdp(), k.flight.Generation, k.of.name, k.rev, s.keys(k.question))
}

func (s *stage) land(k *check) (install, stale bool) {
	c := k.of
	keys := s.keys(k.question)
	install, stale = c.h.Land(k.flight, k.rev, keys, k.number)
	if install {
		c.entries[k.question] = entry{c.h.Lease().Era, k.rev, keys, s.allowed(k.question, k.rev)}
	}
	return install, stale
}

// ask is the whole way of a question, without a pause.
func (s *stage) ask(c *sidecar, question string) bool {
	k := s.begin(c, question)
	s.judge(k)
	s.record(k)
	install, _ := s.land(k)
	return install
}

// wait lets time pass for everybody.
func (s *stage) wait(d time.Duration) {
	s.now += d
	for _, id := range s.g.Tick(s.pdp()) {
		if st := s.streams[id]; st != nil {
			s.say("PDP: the lease of generation %d of %s is over", id, st.of.name)
		}
	}
	s.pump()
}

func (s *stage) text(m Message) string {
	switch m.Kind {
	case Welcome:
		kept := "start empty"
		if m.Vouched {
			kept = "answers may be kept"
		}
		return fmt.Sprintf("welcome to generation %d at revision %d, %s", m.Generation, m.Head.Revision, kept)
	case Grant:
		what := fmt.Sprintf("renewal %d", m.Number)
		if m.Number == 0 {
			what = "the hello"
		}
		return fmt.Sprintf("lease of %v for %s, up to date with revision %d", m.Term, what, m.Revision)
	case Invalidation:
		return fmt.Sprintf("revision %d changed %s", m.Revision, s.named(m.Keys))
	case Heartbeat:
		return fmt.Sprintf("heartbeat, up to date with revision %d", m.Revision)
	case Renew:
		return fmt.Sprintf("renewal %d", m.Number)
	case Ack:
		return fmt.Sprintf("ack of revision %d", m.Revision)
	case Forget:
		return fmt.Sprintf("nothing rests on %s any more, up to answer %d", s.named(m.Keys), m.Number)
	case Release:
		return fmt.Sprintf("release of generation %d", m.Generation)
	}
	return m.Kind.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
