package model

import (
	"slices"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Time goes in ticks, for all clocks at once. A holder's clock runs as slowly as it may
// (1-ρ) and the grantor's as fast (1+ρ): whatever two clocks do in between, the holder
// believes for less and the grantor waits for more. With a term of two ticks a holder
// stops at the second tick after it asked, and the grantor at the third after it was
// asked, which is the margin.
const (
	term        = 200 * time.Millisecond
	holderTick  = 99 * time.Millisecond
	grantorTick = 101 * time.Millisecond
)

const maxHolders = 2

// Config says how large a world is. Numbers are how often a thing may happen in it.
type Config struct {
	Name    string
	Holders int
	// Questions are what may be asked, by the keys that the answers rest on. Commits are
	// the keys that each revision changes.
	Questions, Commits [][]authz.Key
	// Asks counts questions that go to the PDP, of all holders. Hellos counts those of one
	// holder after the first, which has been answered when the world begins.
	Asks, Hellos, Renews, Breaks, Restarts, Evicts, Leaves, Beats int
	// Remembers: a PDP that was started again knows what has changed.
	Remembers bool
	// Ahead: the view is at a revision before it is dispatched.
	Ahead bool
	// Loose: what a holder sends may overtake what it has sent before on the same stream, as
	// in the shell of package pep, which keeps the newest ack, renewal and notices to be
	// sent next.
	Loose bool
	// Queue bounds the queue of a generation, and lets the writer be slow; zero does not.
	Queue int
	// Lean explores a part of the world that stands for all of it: see lean.
	Lean bool
	// Grantor and Holder plant bugs.
	Grantor, Holder lease.Fault
}

func (c *Config) planted() bool { return c.Grantor != 0 || c.Holder != 0 }

// mask is a set of revisions, which count from 1.
type mask uint8

func (m mask) has(rev authz.Revision) bool { return m&(1<<(rev-1)) != 0 }

// world is one state. What it points to is shared with other worlds until own… has made
// a copy.
type world struct {
	cfg *Config
	g   *lease.Grantor
	hs  [maxHolders]*holder
	// tick is the time. view is what the PDP judges by, which is committed.
	tick int
	view authz.Revision
	// effective are the revisions whose receipts somebody may have got. told is how many
	// each concerned, by revision, from 1.
	effective mask
	told      [9]int
	// What may happen still.
	asks, renews, breaks, restarts, evicts, leaves, beats int8
	// ownsG and ownsH say what this world has a copy of already, while it is being made.
	ownsG bool
	ownsH [maxHolders]bool
	wrong string
}

type holder struct {
	h       *lease.Holder
	entries []entry
	streams []stream
	flights []flight
	hellos  int8
	// carrying: the newest hello has offered what is in the cache.
	carrying bool
	// lapsed: the lease of the era over has run out, with nothing carried over. It must not
	// come back.
	lapsed bool
	over   lease.Era
	// out: it will not have anything that may be wrong any more, and does nothing.
	out bool
	// sweep is what a planted bug has acked and not removed yet.
	sweep []authz.Key
}

// entry is an answer in the cache.
type entry struct {
	question int
	rev      authz.Revision
	era      lease.Era
}

// stream is a Watch stream. Messages are read one by one, in order.
type stream struct {
	number   int // of the holder's streams, and its generation's name
	gen      lease.Generation
	hello    *lease.Hello // until the grantor has read it
	up, down []lease.Message
	broken   bool
	closed   bool // by the grantor: what is in down still arrives
	// to is the replica that it goes to, and life the process, in worlds of several.
	to, life int8
}

// flight is a question on its way.
type flight struct {
	lease.Flight
	question int
	// to and life are as of a stream. tested: the replica has seen that it may answer.
	to, life int8
	tested   bool
	// low is the revision that it was judged at or, until then, what the PDP's view was at
	// when it began: it is not judged before.
	low      authz.Revision
	answered bool
	number   uint64
	// joined are the receipts after low that were effective before one of the checks began
	// that may have joined it. Those of its own check are not after low.
	joined mask
}

func (w *world) holderNow() lease.Instant {
	return lease.Instant(time.Minute).Add(time.Duration(w.tick) * holderTick)
}

func (w *world) grantorNow() lease.Instant {
	return lease.Instant(time.Hour).Add(time.Duration(w.tick) * grantorTick)
}

func (w *world) ownG() *lease.Grantor {
	if !w.ownsG {
		w.g, w.ownsG = w.g.Clone(), true
	}
	return w.g
}

func (w *world) ownH(i int) *holder {
	if !w.ownsH[i] {
		w.hs[i], w.ownsH[i] = w.hs[i].clone(), true
	}
	return w.hs[i]
}

func (h *holder) clone() *holder {
	c := *h
	c.h = c.h.Clone()
	c.entries, c.streams, c.flights = slices.Clone(c.entries), slices.Clone(c.streams), slices.Clone(c.flights)
	for j := range c.streams {
		c.streams[j].up, c.streams[j].down = slices.Clip(c.streams[j].up), slices.Clip(c.streams[j].down)
	}
	return &c
}

// owner is the caller that a holder's certificate names.
func owner(i int) string { return string(rune('a' + i)) }

// generation is the name of a holder's stream, which the grantor is made to draw.
func generation(holder, number int) lease.Generation {
	return lease.Generation(holder<<8 | number)
}

// drawn is what the grantor draws next; worlds are explored by one goroutine.
type drawn struct{ next lease.Generation }

func (w *world) grantorConfig(d *drawn) lease.GrantorConfig {
	return lease.GrantorConfig{
		Term: term, Head: w.mark(w.view), MaxQueue: w.cfg.Queue, Fault: w.cfg.Grantor,
		Draw: func() uint64 { return uint64(d.next) },
	}
}

func (w *world) mark(rev authz.Revision) lease.Mark {
	return lease.Mark{Epoch: 1, Revision: rev}
}

// begin is the first state: every holder has just got its first lease and knows nothing.
func begin(cfg *Config, d *drawn) *world {
	w := &world{
		cfg: cfg, asks: int8(cfg.Asks), renews: int8(cfg.Renews), breaks: int8(cfg.Breaks), restarts: int8(cfg.Restarts),
		evicts: int8(cfg.Evicts), leaves: int8(cfg.Leaves), beats: int8(cfg.Beats),
	}
	w.g = lease.NewGrantor(w.grantorConfig(d))
	w.ownsG = true
	for i := range cfg.Holders {
		w.hs[i] = &holder{h: lease.NewHolder(lease.HolderConfig{Fault: cfg.Holder}), hellos: int8(cfg.Hellos) + 1}
		w.ownsH[i] = true
	}
	for i := range cfg.Holders {
		w.hello(i, false)
		w.read(d, i, 0, 0)
		w.pumpAll()
		for len(w.hs[i].streams[0].down) > 0 {
			w.deliver(i, 0)
		}
	}
	w.ownsG, w.ownsH = false, [maxHolders]bool{}
	return w
}

// touches reports whether revision rev changed something that a question rests on.
func (c *Config) touches(rev authz.Revision, question int) bool {
	for _, k := range c.Commits[rev-1] {
		if slices.Contains(c.Questions[question], k) {
			return true
		}
	}
	return false
}

// outdated gives a revision of the set that changed what an answer judged at rev rests
// on, after rev.
func (c *Config) outdated(set mask, question int, rev authz.Revision) (authz.Revision, bool) {
	for n := rev + 1; int(n) <= len(c.Commits); n++ {
		if set.has(n) && c.touches(n, question) {
			return n, true
		}
	}
	return 0, false
}
