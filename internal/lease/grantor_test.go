package lease

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// TestL3NothingElseEnds: a broken stream, a full queue and a second hello leave the
// interest and the wait as they are; a lapse and a release by name end both.
func TestL3NothingElseEnds(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(*stage, *sidecar)
		ends bool
	}{
		{"broken stream", func(s *stage, c *sidecar) { s.cut(c.newest) }, false},
		{"overflow", func(s *stage, c *sidecar) {
			for range DefaultMaxQueue + 1 {
				s.g.Moving()
			}
		}, false},
		{"second hello", func(s *stage, c *sidecar) { s.g.Hello(s.pdp(), "a", Hello{}) }, false},
		{"somebody else's release", func(s *stage, c *sidecar) { s.g.Release(1, "b") }, false},
		{"release of another", func(s *stage, c *sidecar) { s.g.Release(7, "a") }, false},
		{"release", func(s *stage, c *sidecar) { s.g.Release(1, "a") }, true},
		{"lapse", func(s *stage, c *sidecar) { s.wait(GrantorTerm(DefaultTerm)) }, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, c := started(t, NoFault, "j", "k")
			s.commit("k", true)
			x.do(s, c)
			s.effective(t, 1, x.ends)
			s.commit("j", true)
			s.effective(t, 2, x.ends)
			if !x.ends {
				s.wait(GrantorTerm(DefaultTerm))
			}
			s.effective(t, 1, true)
			s.effective(t, 2, true)
		})
	}
}

// TestL3CutIsNotRenewed: what was cut gets neither lease nor interest.
func TestL3CutIsNotRenewed(t *testing.T) {
	s, _ := started(t, NoFault, "j")
	before, _ := s.g.Info(1)
	s.g.Broken(1)
	s.now = time.Second
	s.g.Renew(s.pdp(), 1, "a", 1)
	if _, v := s.g.Interest(s.pdp(), 1, "a", 0, s.keys("k")); v != Uncacheable {
		t.Errorf("verdict %d for a generation that was cut", v)
	}
	if after, ok := s.g.Info(1); !ok || after.Ends != before.Ends || !after.Cut {
		t.Errorf("%+v, was %+v", after, before)
	}
	if ms, open := s.g.Take(1); open || len(ms) != 0 {
		t.Errorf("took %v, open %v", ms, open)
	}
}

// TestL5Verdicts: who may keep an answer.
func TestL5Verdicts(t *testing.T) {
	s, _ := started(t, NoFault)
	s.commit("j", true)
	s.commit("k", true)
	for _, x := range []struct {
		name  string
		gen   Generation
		owner string
		rev   authz.Revision
		what  string
		want  Verdict
	}{
		{"live", 1, "a", 2, "j", Cacheable},
		{"no generation", 0, "a", 2, "j", Uncacheable},
		{"unknown generation", 9, "a", 2, "j", Uncacheable},
		{"another caller", 1, "b", 2, "j", Uncacheable},
		{"changed since", 1, "a", 0, "j", JudgeAgain},
		{"judged at the change", 1, "a", 1, "j", Cacheable},
		{"another key changed since", 1, "a", 1, "j", Cacheable},
		{"one of two changed since", 1, "a", 1, "k in 7", JudgeAgain},
		{"judged ahead of the dispatch", 1, "a", 3, "j", Cacheable},
	} {
		if _, v := s.g.Interest(s.pdp(), x.gen, x.owner, x.rev, s.keys(x.what)); v != x.want {
			t.Errorf("%s: verdict %d, want %d", x.name, v, x.want)
		}
	}
	s.now = GrantorTerm(DefaultTerm)
	if _, v := s.g.Interest(s.pdp(), 1, "a", 2, s.keys("j")); v != Uncacheable {
		t.Errorf("verdict %d after the lapse", v)
	}
	// What is older than the changes remembered can't be told, so it is judged again.
	g := NewGrantor(GrantorConfig{Head: Mark{Epoch: 1, Revision: 10}, MaxRecent: 1, Draw: func() uint64 { return 1 }})
	g.Hello(0, "a", Hello{})
	if _, v := g.Interest(0, 1, "a", 9, s.keys("j")); v != JudgeAgain {
		t.Errorf("verdict %d for an answer from before the start", v)
	}
	g.Commit(0, Mark{Epoch: 1, Revision: 11}, s.keys("k"))
	g.Commit(0, Mark{Epoch: 1, Revision: 12}, s.keys("k"))
	if _, v := g.Interest(0, 1, "a", 10, s.keys("j")); v != JudgeAgain {
		t.Errorf("verdict %d for an answer from before what is remembered", v)
	}
	if _, v := g.Interest(0, 1, "a", 11, s.keys("j")); v != Cacheable {
		t.Errorf("verdict %d for an answer that can be told", v)
	}
}

// TestL6LeavingTheInterest: by ack, by notice, with the generation; and what keeps a key
// in.
func TestL6LeavingTheInterest(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(*stage, *sidecar)
		told int // by the next change of j
	}{
		{"nothing", func(s *stage, c *sidecar) {}, 1},
		{"ack", func(s *stage, c *sidecar) { s.commit("j", true); s.run() }, 0},
		{"told and not acked", func(s *stage, c *sidecar) { s.commit("j", true) }, 1},
		{"a younger answer before the ack", func(s *stage, c *sidecar) { s.commit("j", true); s.ask(c, "j"); s.run() }, 1},
		{"ack of another", func(s *stage, c *sidecar) { s.commit("k", true); s.run() }, 1},
		{"notice", func(s *stage, c *sidecar) { s.g.Forget(1, "a", s.keys("j"), 1) }, 0},
		{"notice of another caller", func(s *stage, c *sidecar) { s.g.Forget(1, "b", s.keys("j"), 1) }, 1},
		{"notice of another key", func(s *stage, c *sidecar) { s.g.Forget(1, "a", s.keys("k"), 1) }, 1},
		{"notice that is older than an answer", func(s *stage, c *sidecar) { s.ask(c, "j"); s.g.Forget(1, "a", s.keys("j"), 2) }, 1},
		{"notice twice", func(s *stage, c *sidecar) { s.g.Forget(1, "a", s.keys("j"), 1); s.g.Forget(1, "a", s.keys("j"), 1) }, 0},
		{"release", func(s *stage, c *sidecar) { s.g.Release(1, "a") }, 0},
		{"lapse", func(s *stage, c *sidecar) { s.wait(GrantorTerm(DefaultTerm)) }, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, c := started(t, NoFault, "j", "k")
			x.do(s, c)
			s.history = append(s.history, Change{s.head() + 1, s.keys("j")})
			if got := s.g.Commit(s.pdp(), s.mark(), s.keys("j")); got != x.told {
				t.Errorf("the next change concerns %d, want %d", got, x.told)
			}
		})
	}
}

// TestL7ExactlyTheInterested: nobody else is told, and each is told of its own keys.
func TestL7ExactlyTheInterested(t *testing.T) {
	s := newStage(GrantorConfig{})
	a, b := s.join("a"), s.join("b")
	s.join("c")
	s.ask(a, "j in 7")
	s.ask(b, "k in 7")
	s.ask(b, "j")
	keys := append(s.keys("j in 7"), s.keys("nobody")...)
	s.history = append(s.history, Change{1, keys})
	if got := s.g.Commit(s.pdp(), s.mark(), keys); got != 2 {
		t.Fatalf("concerns %d", got)
	}
	want := map[Generation]string{1: "job j, project 7", 2: "job j, project 7", 3: ""}
	for _, id := range s.g.Generations() {
		ms, _ := s.g.Take(id)
		got := ""
		for _, m := range ms {
			got += s.named(m.Keys)
		}
		if got != want[id] {
			t.Errorf("generation %d is told of %q, want %q", id, got, want[id])
		}
	}
}

// TestL7Buckets: a generation past its bound is told of everything in its buckets, and
// of the keys themselves; others are as before.
func TestL7Buckets(t *testing.T) {
	s := newStage(GrantorConfig{MaxInterest: 2})
	a, b := s.join("a"), s.join("b")
	s.ask(a, "j1")
	s.ask(b, "j1")
	s.ask(a, "j2")
	s.ask(a, "j3 in 7")
	if info, _ := s.g.Info(1); !info.Buckets || info.Keys != 4 {
		t.Errorf("%+v", info)
	}
	mine := s.keys("j1")[0]
	other := sharesBucket(t, mine)
	if got := s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 1}, []authz.Key{other}); got != 1 {
		t.Errorf("a key in the bucket of one concerns %d", got)
	}
	if ms, _ := s.g.Take(1); len(ms) != 1 || len(ms[0].Keys) != 1 || ms[0].Keys[0] != other {
		t.Errorf("told %v", ms)
	}
	s.g.Ack(1, "a", 1)
	s.g.Forget(1, "a", []authz.Key{mine}, 9)
	if got := s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 2}, []authz.Key{mine}); got != 2 {
		t.Errorf("after an ack and a notice the key itself concerns %d", got)
	}
	if got := s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 3}, s.keys("in 7")); got != 1 {
		t.Errorf("the project concerns %d", got)
	}
	if bucketOf(authz.TheInstance) != authz.TheInstance {
		t.Error("the instance is in a bucket")
	}
}

func sharesBucket(t *testing.T, k authz.Key) authz.Key {
	t.Helper()
	for i := range 100_000 {
		if o := authz.JobKey(authz.JobID(fmt.Sprint("other-", i))); o != k && bucketOf(o) == bucketOf(k) {
			return o
		}
	}
	t.Fatal("no other key in the bucket")
	return 0
}

// TestL8WaitIsFixed: the wait for a change ends with the longest grant enqueued before
// it, whatever is granted later.
func TestL8WaitIsFixed(t *testing.T) {
	s, _ := started(t, NoFault, "j")
	s.commit("j", true)
	for n := range uint64(5) {
		s.now = time.Duration(n+1) * time.Second
		s.g.Renew(s.pdp(), 1, "a", n+1)
		s.g.Tick(s.pdp())
		s.effective(t, 1, false)
	}
	s.now = GrantorTerm(DefaultTerm) - 1
	s.g.Tick(s.pdp())
	s.effective(t, 1, false)
	s.now++
	if over := s.g.Tick(s.pdp()); len(over) != 0 {
		t.Errorf("the generation is over, although renewed: %v", over)
	}
	s.effective(t, 1, true)
	if r := s.g.Receipt(s.pdp(), 1); r.Lapsed != 1 {
		t.Errorf("%+v", r)
	}
	// Whoever is counted once is not counted again.
	s.g.Take(1)
	s.g.Ack(1, "a", 1)
	s.g.Release(1, "a")
	if r := s.g.Receipt(s.pdp(), 1); r.Lapsed != 1 || r.Acked != 0 || r.Pending != 0 {
		t.Errorf("%+v", r)
	}
}

// TestL8Future: what was not dispatched is not effective.
func TestL8Future(t *testing.T) {
	s, _ := started(t, NoFault)
	s.effective(t, 0, true)
	s.effective(t, 1, false)
	s.commit("j", true)
	s.effective(t, 1, true)
}

// TestL9Quiet: no receipt before forgotten leases have run out.
func TestL9Quiet(t *testing.T) {
	for _, fault := range []Fault{NoFault, FaultNoQuiet} {
		s := newStage(GrantorConfig{Fault: fault, Quiet: Instant(time.Hour).Add(GrantorTerm(DefaultTerm))})
		s.commit("j", true)
		s.now = GrantorTerm(DefaultTerm) - 1
		s.effective(t, 1, fault != NoFault)
		s.effective(t, 0, fault != NoFault)
		s.now++
		s.effective(t, 1, true)
	}
}

// TestL10OwedAck: who owes an ack for longer than a term is not renewed.
func TestL10OwedAck(t *testing.T) {
	s, _ := started(t, NoFault, "j")
	s.now = time.Second
	s.commit("j", true)
	renewed := func() bool {
		before, _ := s.g.Info(1)
		s.g.Renew(s.pdp(), 1, "a", 1)
		after, _ := s.g.Info(1)
		return after.Ends > before.Ends
	}
	s.now = 3 * time.Second
	if !renewed() {
		t.Error("not renewed although the ack is not late")
	}
	s.now = time.Second + DefaultTerm
	if !renewed() {
		t.Error("not renewed at a term")
	}
	s.now++
	if renewed() {
		t.Error("renewed although it owes an ack for more than a term")
	}
	s.g.Take(1)
	s.g.Ack(1, "a", 1)
	if !renewed() {
		t.Error("not renewed after the ack")
	}
}

// TestL10OneSequence: what a generation is sent is in the order of what happened.
func TestL10OneSequence(t *testing.T) {
	s, _ := started(t, NoFault, "j", "k")
	s.g.Renew(s.pdp(), 1, "a", 1)
	s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 1}, s.keys("j"))
	s.g.Renew(s.pdp(), 1, "a", 2)
	s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 2}, nil)
	s.g.Heartbeats()
	s.g.Heartbeats() // nothing new
	s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 3}, s.keys("k"))
	s.g.Moving()
	ms, _ := s.g.Take(1)
	got := ""
	for _, m := range ms {
		got += fmt.Sprintf("%v %d, ", m.Kind, m.Revision)
	}
	if want := "grant 0, invalidation 1, grant 1, heartbeat 2, invalidation 3, moving 0, "; got != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
}

// TestL14Vouch: when a grantor vouches for carried entries, and what it sends before it
// grants.
func TestL14Vouch(t *testing.T) {
	s := newStage(GrantorConfig{})
	for _, what := range []string{"a", "b", "c", "a", "d"} {
		s.commit(what, false)
	}
	cfg := GrantorConfig{Head: s.mark(), Rules: 7, Recent: s.history[1:], RecentFrom: 1, MaxInterest: 10, Draw: func() uint64 { return 5 }}
	same := Mark{Epoch: 1, ID: [16]byte{1}}
	all := append(s.keys("a"), append(s.keys("b"), s.keys("d")...)...)
	many := make([]authz.Key, 11)
	for _, x := range []struct {
		name  string
		hello Hello
		want  string // the keys told, "-" for not vouched
	}{
		{"everything known", Hello{Seen: same, Vouch: true, Applied: 1, Rules: 7, Keys: all}, "job a, job b, job d"},
		{"nothing missed", Hello{Seen: same, Vouch: true, Applied: 5, Rules: 7, Keys: all}, ""},
		{"the newest missed", Hello{Seen: same, Vouch: true, Applied: 4, Rules: 7, Keys: all}, "job d"},
		{"others changed", Hello{Seen: same, Vouch: true, Applied: 4, Rules: 7, Keys: s.keys("a")}, ""},
		{"older than what is remembered", Hello{Seen: same, Vouch: true, Applied: 0, Rules: 7, Keys: all}, "-"},
		{"from the future", Hello{Seen: same, Vouch: true, Applied: 6, Rules: 7, Keys: all}, "-"},
		{"other rules", Hello{Seen: same, Vouch: true, Applied: 5, Rules: 8, Keys: all}, "-"},
		{"other history", Hello{Seen: Mark{Epoch: 1}, Vouch: true, Applied: 5, Rules: 7, Keys: all}, "-"},
		{"earlier epoch", Hello{Seen: Mark{ID: same.ID}, Vouch: true, Applied: 5, Rules: 7, Keys: all}, "-"},
		{"too many", Hello{Seen: same, Vouch: true, Applied: 5, Rules: 7, Keys: many}, "-"},
		{"not asked for", Hello{Seen: same, Applied: 5, Rules: 7, Keys: all}, "-"},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := NewGrantor(cfg)
			id := g.Hello(0, "a", x.hello)
			ms, _ := g.Take(id)
			var told []authz.Key
			for i, m := range ms {
				if m.Kind == Invalidation {
					told = append(told, m.Keys...)
				}
				if m.Kind == Grant && i != len(ms)-1 || m.Kind == Welcome && i != 0 {
					t.Errorf("%v at %d of %d", m.Kind, i, len(ms))
				}
			}
			got := s.named(told)
			if !ms[0].Vouched {
				got = "-"
			}
			if got != x.want {
				t.Errorf("told of %q, want %q", got, x.want)
			}
			info, _ := g.Info(id)
			if want := len(x.hello.Keys); x.want != "-" && info.Keys != want || x.want == "-" && info.Keys != 0 {
				t.Errorf("interest in %d keys", info.Keys)
			}
			// The keys told leave with the ack, as nothing rests on them any more.
			g.Ack(id, "a", 5)
			if info, _ := g.Info(id); x.want != "-" && info.Keys != len(x.hello.Keys)-len(told) {
				t.Errorf("interest in %d keys after the ack", info.Keys)
			}
		})
	}
}

// TestL14Holder: the holder keeps its entries only if it has offered them, the grantor
// vouches and the history is the same; and not before the first grant.
func TestL14Holder(t *testing.T) {
	for _, x := range []struct {
		name                 string
		fault                Fault
		offer, vouched, keep bool
	}{
		{"vouched", NoFault, true, true, true},
		{"not vouched", NoFault, true, false, false},
		{"not offered", NoFault, false, false, false},
		{"not offered, and vouched all the same", NoFault, false, true, false},
		{"planted", FaultKeepAll, true, false, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, c := started(t, x.fault, "j")
			var keys []authz.Key
			if x.offer {
				keys = s.keys("j")
			}
			if h := c.h.Hello(s.side(), keys); h.Vouch != x.offer || h.Vouch && !reflect.DeepEqual(h.Keys, keys) {
				t.Errorf("offers %+v", h)
			}
			e, err := c.h.Handle(s.side(), Message{Kind: Welcome, Generation: 9, Vouched: x.vouched, Head: s.mark()})
			if err != nil || e.Clear || e.Opened {
				t.Errorf("%+v, %v", e, err)
			}
			e, err = c.h.Handle(s.side(), Message{Kind: Grant, Generation: 9, Term: DefaultTerm})
			if err != nil || !e.Opened || e.Clear == x.keep {
				t.Errorf("%+v, %v", e, err)
			}
			if len(e.Send) != 1 || e.Send[0].Kind != Release || e.Send[0].Generation != 1 {
				t.Errorf("sends %v", e.Send)
			}
			if got := c.h.Lease().Valid(s.side(), c.entries["j"].era); got != x.keep {
				t.Errorf("entries are valid: %v", got)
			}
		})
	}
	s, c := started(t, NoFault, "j")
	s.now = HolderTerm(DefaultTerm)
	if h := c.h.Hello(s.side(), s.keys("j")); h.Vouch {
		t.Error("offers entries of a lease that is over")
	}
	if h := NewHolder(HolderConfig{}).Hello(0, s.keys("j")); h.Vouch {
		t.Error("offers entries without ever having had a lease")
	}
}

// TestReceiptsAreBounded: those that are complete are forgotten, the oldest first, and
// say the same afterwards; one that is waited for is kept.
func TestReceiptsAreBounded(t *testing.T) {
	s, c := started(t, NoFault, "j")
	s.ask(c, "k")
	other := s.join("b")
	s.commit("j", true) // stays pending: nothing is delivered
	for range keptReceipts + 10 {
		s.ask(other, "o")
		s.history = append(s.history, Change{s.head() + 1, s.keys("o")})
		s.g.Commit(s.pdp(), s.mark(), s.keys("o"))
		s.g.Take(2)
		s.g.Ack(2, "b", s.head())
	}
	s.effective(t, 1, false)
	s.g.Release(1, "a")
	s.effective(t, 1, true)
	s.ask(other, "o")
	s.commit("o", true)
	if got := len(s.g.receipts.of); got != keptReceipts || len(s.g.receipts.order) != keptReceipts {
		t.Errorf("%d receipts are kept", got)
	}
	s.effective(t, 1, true)
	s.effective(t, 2, true)
}

// TestOnReceipt: each step of a receipt is told from inside the call.
func TestOnReceipt(t *testing.T) {
	var told []authz.Revision
	s := newStage(GrantorConfig{OnReceipt: func(rev authz.Revision) { told = append(told, rev) }})
	a, b := s.join("a"), s.join("b")
	s.ask(a, "j")
	s.ask(b, "j")
	s.commit("j", true)
	if len(told) != 0 {
		t.Errorf("told of %v before anything was settled", told)
	}
	s.run()
	if !reflect.DeepEqual(told, []authz.Revision{1, 1}) {
		t.Errorf("told of %v", told)
	}
}

// TestL8AckOfTheFuture: an ack counts only for what was taken for the stream, whatever
// revision it names. Found in review: one that named the last revision there is settled
// changes that had not been sent.
func TestL8AckOfTheFuture(t *testing.T) {
	s, _ := started(t, NoFault, "j", "k")
	s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 1}, s.keys("j"))
	for _, rev := range []authz.Revision{1, 2, ^authz.Revision(0)} {
		s.g.Ack(1, "a", rev)
		s.effective(t, 1, false)
	}
	s.g.Take(1)
	s.g.Commit(s.pdp(), Mark{Epoch: 1, Revision: 2}, s.keys("k"))
	s.g.Ack(1, "a", 2)
	s.effective(t, 1, false)
	s.g.Ack(1, "a", 1)
	s.effective(t, 1, true)
	s.effective(t, 2, false)
}

// TestClone: a copy goes its own way.
func TestClone(t *testing.T) {
	s, c := started(t, NoFault, "j", "k")
	other := s.join("b")
	s.ask(other, "j")
	name := &Naming{Generation: func(g Generation) uint64 { return uint64(g) }, Term: DefaultTerm, Forgets: true, Renews: true}
	state := func(g *Grantor, h *Holder) string {
		f := h.Begin(s.side())
		return string(h.AppendFlight(h.AppendState(g.AppendState(nil, s.pdp(), name), s.side(), name), name, f, s.keys("j")))
	}
	s.commit("j", true)
	g, h := s.g.Clone(), c.h.Clone()
	was := state(s.g, c.h)
	if state(g, h) != was {
		t.Error("the copy is in another state")
	}
	// The original goes on.
	s.run()
	s.ask(c, "j")
	s.commit("j", true)
	s.hello(c, true)
	s.run()
	if state(g, h) != was || state(s.g, c.h) == was {
		t.Error("the copy has gone along")
	}
	checkGrantor(t, "the copy", g, s.pdp())
	checkGrantor(t, "the original", s.g, s.pdp())
	if r := g.Receipt(s.pdp(), 1); r.Pending != 2 {
		t.Errorf("the copy's receipt: %+v", r)
	}
	g.Release(1, "a")
	g.Release(2, "b")
	if r := g.Receipt(s.pdp(), 1); !r.Effective || r.Acked != 2 {
		t.Errorf("the copy's receipt: %+v", r)
	}
}
