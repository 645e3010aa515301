package lease

import (
	"errors"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// started is a stage with one sidecar that has a lease and an answer to each question.
func started(t *testing.T, fault Fault, questions ...string) (*stage, *sidecar) {
	t.Helper()
	s := newStage(GrantorConfig{Fault: fault})
	c := s.sidecar("a", HolderConfig{Fault: fault})
	s.join("a")
	for _, q := range questions {
		if !s.ask(c, q) {
			t.Fatalf("the answer to %q is not kept", q)
		}
	}
	return s, c
}

// hits wants a cached answer to be there or not.
func (s *stage) hits(t *testing.T, c *sidecar, question string, want bool) {
	t.Helper()
	if _, ok := s.hit(c, question); ok != want {
		t.Errorf("%s: a hit for %q: %v, want %v", c.name, question, ok, want)
	}
}

// effective wants a receipt to be so or not.
func (s *stage) effective(t *testing.T, rev authz.Revision, want bool) {
	t.Helper()
	if r := s.g.Receipt(s.pdp(), rev); r.Effective != want {
		t.Errorf("receipt %d: %+v, want effective %v", rev, r, want)
	}
}

// TestL1EntryUnderLease: an entry is used in its era and before the lease ends, on the
// clock at the moment of answering.
func TestL1EntryUnderLease(t *testing.T) {
	s, c := started(t, NoFault, "j")
	old := c.entries["j"]
	s.now = HolderTerm(DefaultTerm) - 1
	s.hits(t, c, "j", true)
	s.now++
	s.hits(t, c, "j", false)
	s.hello(c, true)
	s.run() // of another era
	if len(c.entries) != 0 {
		t.Errorf("entries of a lapsed lease were kept: %v", c.entries)
	}
	c.entries["j"] = old // a shell that forgets to clear
	s.hits(t, c, "j", false)
	if c.h.Leave(); c.h.Lease().Valid(s.side(), old.era+1) {
		t.Error("a lease that was left is valid")
	}
	if (Lease{}).Valid(0, 0) {
		t.Error("the zero Lease lets an entry be used")
	}

	s, c = started(t, FaultNoLease, "j")
	s.now = time.Hour
	s.hits(t, c, "j", true) // the planted bug
}

// TestL2InstallOnlyInItsGeneration: not in the next one, and not after the hello of the
// next one, which does not know of it.
func TestL2InstallOnlyInItsGeneration(t *testing.T) {
	for _, fault := range []Fault{NoFault, FaultOldGeneration} {
		s, c := started(t, fault, "other")
		sealed, later := s.begin(c, "j"), s.begin(c, "k")
		for _, k := range []*check{sealed, later} {
			s.judge(k)
			s.record(k)
		}
		s.hello(c, true)
		if c.h.Begin(s.side()).Generation != 0 || c.h.MayJoin(s.side(), sealed.flight) {
			t.Error("a flight that begins after the hello is for the generation before")
		}
		if got, _ := s.land(sealed); got != (fault != NoFault) {
			t.Errorf("fault %d: installed after the hello: %v", fault, got)
		}
		s.run()
		if got, _ := s.land(later); got != (fault != NoFault) {
			t.Errorf("fault %d: installed in the next generation: %v", fault, got)
		}
	}
}

// TestL2Abandon: a hello that came to nothing lets things go on, and one that was
// answered after all does not come into force.
func TestL2Abandon(t *testing.T) {
	s, c := started(t, NoFault, "j")
	was := c.h.Generation()
	st := s.hello(c, true)
	s.read(st)
	lost := st.down
	s.cut(st) // abandons
	for _, m := range lost {
		if e, err := c.h.Handle(s.side(), m); e.Opened || err == nil && m.Kind == Welcome {
			t.Errorf("%v of an abandoned hello: %+v, %v", m.Kind, e, err)
		}
	}
	if !s.ask(c, "k") || c.h.Generation() != was {
		t.Error("the generation in force does not go on")
	}
	s.hits(t, c, "j", true)
}

// TestL4HolderFirst: with rates that differ by ρ as badly as they may, and messages as
// slow as they like, the holder's lease is over before the grantor counts it as over.
func TestL4HolderFirst(t *testing.T) {
	for _, term := range []time.Duration{10 * time.Millisecond, time.Second, DefaultTerm, MaxTerm} {
		// Real time: the holder's clock runs at 1-ρ, the grantor's at 1+ρ.
		holder := time.Duration(float64(HolderTerm(term)) / (1 - 0.01))
		grantor := time.Duration(float64(GrantorTerm(term)) / (1 + 0.01))
		if grantor < holder+Margin*9/10 {
			t.Errorf("term %v: the holder stops after %v, the grantor counts %v", term, holder, grantor)
		}
	}
	s, c := started(t, NoFault, "j")
	s.now = time.Second
	m, _ := c.h.Renew(s.side())
	s.now = 2 * time.Second // slow
	s.take(c.newest, m)
	s.pump()
	s.now = 3 * time.Second // slow again
	s.deliver(c.newest, -1)
	if got, want := c.h.Lease().Ends, Instant(time.Minute).Add(time.Second+HolderTerm(DefaultTerm)); got != want {
		t.Errorf("the holder counts until %v, want from when it asked: %v", got, want)
	}
	info, _ := s.g.Info(1)
	if want := Instant(time.Hour).Add(2*time.Second + GrantorTerm(DefaultTerm)); info.Ends != want {
		t.Errorf("the grantor counts until %v, want from when it was asked: %v", info.Ends, want)
	}
}

// TestL4TermIsBounded: nobody waits longer than MaxTerm for a lease, so nobody may
// believe one for longer.
func TestL4TermIsBounded(t *testing.T) {
	s := newStage(GrantorConfig{Term: time.Hour})
	c := s.join("a")
	if got := c.h.Remaining(s.side()); got != HolderTerm(MaxTerm) {
		t.Errorf("a lease of an hour runs for %v", got)
	}
	m, _ := c.h.Renew(s.side())
	if _, err := c.h.Handle(s.side(), Message{Kind: Grant, Generation: 1, Number: m.Number, Term: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if got := c.h.Remaining(s.side()); got != HolderTerm(MaxTerm) {
		t.Errorf("a lease of a day is believed for %v", got)
	}
}

// TestL4LapseIsFinal: on both sides.
func TestL4LapseIsFinal(t *testing.T) {
	s, c := started(t, NoFault, "j")
	early, _ := c.h.Renew(s.side())
	s.take(c.newest, early)
	s.pump()
	s.now = HolderTerm(DefaultTerm)
	if _, ok := c.h.Renew(s.side()); ok {
		t.Error("a lapsed lease asks for renewal")
	}
	grant := c.newest.down[len(c.newest.down)-1]
	if _, err := c.h.Handle(s.side(), grant); err == nil || grant.Kind != Grant {
		t.Errorf("%v after the lapse is taken", grant.Kind)
	}
	s.hits(t, c, "j", false)

	s, _ = started(t, NoFault)
	s.now = GrantorTerm(DefaultTerm)
	s.g.Renew(s.pdp(), 1, "a", 1) // before the Tick
	if ms, _ := s.g.Take(1); len(ms) != 0 {
		t.Errorf("a lapsed generation is granted %v", ms)
	}
	if got := s.g.Tick(s.pdp()); len(got) != 1 {
		t.Errorf("lapsed: %v", got)
	}
	s.g.Renew(s.pdp(), 1, "a", 2)
	if s.g.Live() != 0 {
		t.Error("a lapsed generation lives")
	}
}

// TestL11AckAfterRemoval: one call asks for both, and says in which order.
func TestL11AckAfterRemoval(t *testing.T) {
	s, c := started(t, NoFault, "j", "k")
	s.commit("j", true)
	e, err := c.h.Handle(s.side(), c.newest.down[0])
	if err != nil || len(e.Drop) != 1 || len(e.Send) != 1 || e.Send[0].Kind != Ack || e.Send[0].Revision != 1 {
		t.Errorf("an invalidation asks for %+v, %v", e, err)
	}
	if e.Clear {
		t.Error("it drops everything")
	}
	// The same for a release: everything is removed before it is sent.
	if e, ok := c.h.Leave(); !ok || !e.Clear || len(e.Send) != 1 || e.Send[0].Kind != Release {
		t.Errorf("leaving asks for %+v", e)
	}
	if _, ok := c.h.Leave(); ok {
		t.Error("a lease can be left twice")
	}
}

// TestL11Leave: a hello under way is given up as well.
func TestL11Leave(t *testing.T) {
	s, c := started(t, NoFault)
	st := s.hello(c, true)
	s.read(st)
	e, _ := c.h.Leave()
	s.do(c, e)
	for _, m := range st.down {
		if e, _ := c.h.Handle(s.side(), m); e.Opened {
			t.Error("a generation came into force after leaving")
		}
	}
}

// TestL12Fences: what was applied while an answer was under way keeps it out, unless it
// was judged at that change or later.
func TestL12Fences(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(*stage, *sidecar)
		rev  authz.Revision
		want bool
	}{
		{"nothing", func(*stage, *sidecar) {}, 1, true},
		{"its key", func(s *stage, c *sidecar) { s.commit("j", true); s.run() }, 1, false},
		{"its key, judged at it", func(s *stage, c *sidecar) { s.commit("j", true); s.run() }, 2, true},
		{"its key, judged later", func(s *stage, c *sidecar) { s.commit("j", true); s.run() }, 3, true},
		{"another key", func(s *stage, c *sidecar) { s.commit("other", true); s.run() }, 1, true},
		{"its key dropped", func(s *stage, c *sidecar) { c.h.Forget(s.keys("j")) }, 9, false},
		{"another key dropped", func(s *stage, c *sidecar) { c.h.Forget(s.keys("other")) }, 1, true},
		{"more than is remembered", func(s *stage, c *sidecar) {
			for range 3 {
				c.h.Forget(s.keys("other"))
			}
		}, 9, false},
		{"left", func(s *stage, c *sidecar) { c.h.Leave() }, 9, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := newStage(GrantorConfig{})
			s.commit("first", true)
			c := s.sidecar("a", HolderConfig{MaxFences: 2})
			s.join("a")
			s.ask(c, "j")
			s.ask(c, "other")
			f := c.h.Begin(s.side())
			x.do(s, c)
			if got, stale := c.h.Land(f, x.rev, s.keys("j"), 9); got != x.want || stale {
				t.Errorf("installed %v (stale %v), want %v", got, stale, x.want)
			}
		})
	}
}

// TestL12Join: only in the same generation, under a lease, with nothing applied since.
func TestL12Join(t *testing.T) {
	s, c := started(t, NoFault, "j", "k")
	f := c.h.Begin(s.side())
	if !c.h.MayJoin(s.side(), f) {
		t.Error("nothing happened and it can't be joined")
	}
	s.commit("k", true)
	s.run()
	if c.h.MayJoin(s.side(), f) {
		t.Error("joined over an invalidation")
	}
	f = c.h.Begin(s.side())
	c.h.Forget(s.keys("k"))
	if c.h.MayJoin(s.side(), f) {
		t.Error("joined over a drop")
	}
	f = c.h.Begin(s.side())
	s.now = HolderTerm(DefaultTerm)
	if c.h.MayJoin(s.side(), f) {
		t.Error("joined after the lapse")
	}
	if f = c.h.Begin(s.side()); f.Generation != 0 || c.h.MayJoin(s.side(), f) {
		t.Error("a flight without a lease is shared")
	}
}

// TestL13NeverBack: applied goes up only, and what was judged below it is refused. A
// single PDP never answers like that, as it judges at or after what it has told: only a
// second one can, that lags. So it is shown here and not in test/model.
func TestL13NeverBack(t *testing.T) {
	for _, fault := range []Fault{NoFault, FaultNoApplied} {
		s, c := started(t, fault)
		s.commit("j", true)
		s.g.Heartbeats()
		s.pump()
		s.run()
		if c.h.Applied() != 1 {
			t.Fatalf("applied %d", c.h.Applied())
		}
		if _, err := c.h.Handle(s.side(), Message{Kind: Heartbeat, Generation: 1, Revision: 0}); err != nil || c.h.Applied() != 1 {
			t.Errorf("applied %d after an old heartbeat, %v", c.h.Applied(), err)
		}
		k := s.begin(c, "j")
		k.rev = 0 // a replica that lags
		if _, stale := s.land(k); stale != (fault == NoFault) {
			t.Errorf("fault %d: an answer from before what was applied is stale: %v", fault, stale)
		}
	}
}

// TestL15Marks: what each side makes of the other's history.
func TestL15Marks(t *testing.T) {
	at := func(epoch uint64, id, rev, chain byte) Mark {
		return Mark{Epoch: epoch, ID: [16]byte{id}, Revision: authz.Revision(rev), Chain: [16]byte{chain}}
	}
	seen := at(2, 1, 5, 7)
	for _, x := range []struct {
		head Mark
		want History
	}{
		{at(2, 1, 5, 7), HistoryGood}, {at(2, 1, 6, 9), HistoryGood}, {at(3, 9, 0, 0), HistoryNew},
		{at(1, 1, 9, 7), HistoryBehind}, {at(2, 1, 4, 7), HistoryBehind}, {at(2, 2, 6, 7), HistoryBeside}, {at(2, 1, 5, 8), HistoryBeside},
	} {
		if got := Judge(seen, x.head); got != x.want {
			t.Errorf("seen %v, head %v: %v, want %v", seen, x.head, got, x.want)
		}
		if Judge(Mark{}, x.head) != HistoryGood {
			t.Error("who has seen nothing objects")
		}
		for _, fault := range []Fault{NoFault, FaultNoMark} {
			h := NewHolder(HolderConfig{Seen: seen, Fault: fault})
			h.Hello(0, nil)
			_, err := h.Handle(0, Message{Kind: Welcome, Generation: 1, Head: x.head})
			var he *HistoryError
			refused := errors.As(err, &he)
			if want := x.want != HistoryGood && x.want != HistoryNew && fault == NoFault; refused != want {
				t.Errorf("fault %d, head %v: %v, want refusal %v", fault, x.head, err, want)
			}
			if refused && (he.History != x.want || err.Error() == "") {
				t.Errorf("%v", err)
			}
			if now := h.Seen(); now.Epoch < seen.Epoch || now.Epoch == seen.Epoch && now.Revision < seen.Revision {
				t.Errorf("the mark went down to %v", now)
			}
		}
	}
	// What was applied counts too, although no mark of it was seen.
	s, c := started(t, NoFault)
	s.commit("j", true)
	s.g.Heartbeats()
	s.pump()
	s.run()
	c.h.Hello(s.side(), nil)
	if _, err := c.h.Handle(s.side(), Message{Kind: Welcome, Generation: 9, Head: Mark{Epoch: 1, ID: [16]byte{1}}}); err == nil {
		t.Error("a PDP that is behind what was applied is believed")
	}
}

// TestL15Checkpoint: marks of the same history move what is kept on disk, up only.
func TestL15Checkpoint(t *testing.T) {
	_, c := started(t, NoFault)
	up := Mark{Epoch: 1, ID: [16]byte{1}, Revision: 7, Chain: [16]byte{3}}
	if got := c.h.Checkpoint(up); got.Revision != 7 {
		t.Errorf("kept %v", got)
	}
	for name, m := range map[string]Mark{
		"lower":         {Epoch: 1, ID: [16]byte{1}, Revision: 6},
		"other history": {Epoch: 1, ID: [16]byte{2}, Revision: 9},
		"other epoch":   {Epoch: 2, ID: [16]byte{1}, Revision: 9},
		"other chain":   {Epoch: 1, ID: [16]byte{1}, Revision: 7, Chain: [16]byte{4}},
	} {
		if got := c.h.Checkpoint(m); got.Revision != 7 || got.Chain != up.Chain || got.ID != up.ID {
			t.Errorf("%s: kept %v", name, got)
		}
	}
}

// TestL15NewEpoch: what is held from a history goes when its successor is seen, and the
// numbers of the two are never mixed, whatever the old grantor still says. Found in
// review: applied was set back at once while the old generation stayed in force, whose
// next heartbeat then set it to a number of the old history; after a broken stream the
// next hello vouched with it for entries that the new history had never contained.
func TestL15NewEpoch(t *testing.T) {
	s, c := started(t, NoFault, "j")
	for range 5 {
		s.commit("k", false)
	}
	old := c.newest
	hello := c.h.Hello(s.side(), s.keys("j"))
	if !hello.Vouch {
		t.Fatal("nothing to vouch for")
	}
	next := Mark{Epoch: 2, ID: [16]byte{2}, Revision: 2}
	e, err := c.h.Handle(s.side(), Message{Kind: Welcome, Generation: 77, Head: next, Vouched: true})
	if err != nil || !e.Clear {
		t.Fatalf("the new epoch asks for %+v, %v", e, err)
	}
	s.do(c, e)
	s.g.Heartbeats()
	s.pump()
	s.deliver(old, -1)
	if c.h.Applied() != 0 {
		t.Errorf("applied %d in the new epoch", c.h.Applied())
	}
	c.h.Abandon()
	if again := c.h.Hello(s.side(), s.keys("j")); again.Vouch || again.Seen.Epoch != 2 {
		t.Errorf("vouches for entries of another epoch: %+v", again)
	}
	for _, m := range []Message{{Kind: Welcome, Generation: 78, Head: next}, {Kind: Grant, Generation: 78, Term: DefaultTerm, Revision: 2}} {
		if _, err := c.h.Handle(s.side(), m); err != nil {
			t.Fatal(err)
		}
	}
	if c.h.Applied() != 2 || c.h.Generation() != 78 {
		t.Errorf("applied %d in generation %v", c.h.Applied(), c.h.Generation())
	}
}

// TestHolderRefuses: what no grantor says closes the stream and changes nothing.
func TestHolderRefuses(t *testing.T) {
	s, c := started(t, NoFault, "j")
	was := c.h.Lease()
	for name, m := range map[string]Message{
		"a welcome that nobody asked for": {Kind: Welcome, Generation: 9, Head: s.mark()},
		"a grant that nobody asked for":   {Kind: Grant, Generation: 1, Number: 9, Term: MaxTerm},
		"a second grant for the hello":    {Kind: Grant, Generation: 1, Term: MaxTerm},
		"a renewal":                       {Kind: Renew, Generation: 1},
		"an unknown kind":                 {Kind: 99, Generation: 1},
		"a welcome to generation zero":    {Kind: Welcome, Head: s.mark()},
	} {
		if name == "a welcome to generation zero" {
			c.h.Hello(s.side(), nil)
		}
		if e, err := c.h.Handle(s.side(), m); err == nil || e.Clear || e.Opened || len(e.Send) > 0 {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		c.h.Abandon()
	}
	for _, m := range []Message{{Kind: Grant, Generation: 8, Term: MaxTerm}, {Kind: Invalidation, Generation: 8}, {Kind: Heartbeat, Revision: 9}} {
		if e, err := c.h.Handle(s.side(), m); err != nil || len(e.Send) > 0 {
			t.Errorf("%v of another generation: %+v, %v", m.Kind, e, err)
		}
	}
	if c.h.Lease() != was || c.h.Applied() != 0 {
		t.Errorf("lease %v, was %v; applied %d", c.h.Lease(), was, c.h.Applied())
	}
	// A first lease that was over before it arrived.
	st := s.hello(c, true)
	s.read(st)
	s.now = HolderTerm(DefaultTerm)
	s.deliver(st, -1)
	if c.h.Generation() != 1 || !st.broken {
		t.Error("a lease that was over came into force")
	}
}

// TestNamesAreReadable: people read them in logs and in test failures.
func TestNamesAreReadable(t *testing.T) {
	for k := Welcome; k <= Release; k++ {
		if k.String() == "none" || k.String()[0] == 'k' {
			t.Errorf("kind %d is called %q", k, k)
		}
	}
	if Kind(77).String() != "kind(77)" || History(9).String() != "history(9)" || Generation(255).String() != "00000000000000ff" {
		t.Error(Kind(77), History(9), Generation(255))
	}
	for h := HistoryGood; h <= HistoryBeside; h++ {
		if h.String() == "" {
			t.Error(uint8(h))
		}
	}
}

// TestL6NumbersStartAnew: the highest number seen is of one generation; taken over to
// the next it would make a notice erase the interest of answers under way.
func TestL6NumbersStartAnew(t *testing.T) {
	s, c := started(t, NoFault, "j", "k", "l")
	s.join("a")
	slow := s.begin(c, "j")
	s.judge(slow)
	s.record(slow)
	s.ask(c, "m")
	if m := c.h.Forget(s.keys("j")); m.Number != 2 || m.Generation != 2 {
		t.Errorf("the notice says %+v", m)
	}
}

// TestL13JoiningDoesNotAdvance: what a generation says before it is in force does not
// count as applied: it need not have told of what the entries in use rest on.
func TestL13JoiningDoesNotAdvance(t *testing.T) {
	s, c := started(t, NoFault, "j")
	c.h.Hello(s.side(), nil)
	for _, m := range []Message{
		{Kind: Welcome, Generation: 9, Head: Mark{Epoch: 1, ID: [16]byte{1}, Revision: 5}},
		{Kind: Heartbeat, Generation: 9, Revision: 5},
		{Kind: Invalidation, Generation: 9, Revision: 5, Keys: s.keys("k")},
	} {
		if _, err := c.h.Handle(s.side(), m); err != nil {
			t.Fatal(err)
		}
		if c.h.Applied() != 0 {
			t.Errorf("after %v, applied is %d", m.Kind, c.h.Applied())
		}
	}
	c.h.Abandon()
	if h := c.h.Hello(s.side(), s.keys("j")); h.Applied != 0 {
		t.Errorf("vouches for its entries up to revision %d", h.Applied)
	}
}
