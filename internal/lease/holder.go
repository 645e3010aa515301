package lease

import (
	"fmt"
	"slices"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// HolderConfig is what a Holder is made of.
type HolderConfig struct {
	// Seen is the highest mark kept from earlier runs.
	Seen Mark
	// MaxFences bounds the changes kept to judge answers under way by; zero takes 4096.
	MaxFences int
	// Fault plants a bug, for tests.
	Fault Fault
}

// Era counts the times a holder has started empty. Entries carry the era that they were
// installed in and are void in any other.
type Era uint32

// Holder is the sidecar's side. It is not safe for concurrent use: its shell holds one
// lock around every call and around what the [Effects] of the call ask for, except that
// hits look at a copy of [Holder.Lease] (see package pep).
type Holder struct {
	cfg  HolderConfig
	seen Mark // the highest mark seen; Epoch and ID are those of the history held to

	cur     held
	joining *held
	era     Era
	applied authz.Revision

	// serial counts what was applied: invalidations, drops, new eras. fences are the
	// newest of these; those up to fenced are forgotten.
	serial, fenced uint64
	fences         []fence
	number         uint64 // the highest answer number seen in the generation in force
}

// held is a generation as its holder sees it.
type held struct {
	id    Generation
	ends  Instant
	asked []asked // what may be granted yet, oldest first
	next  uint64  // number of the next renewal
	// sealed: a later hello was sent, nothing is installed any more.
	sealed bool
	rules  uint64
	// offered: its hello had keys to vouch for. vouched: the grantor did.
	offered, vouched bool
}

// asked is a renewal that was sent at a time; number 0 is the hello.
type asked struct {
	number uint64
	at     Instant
}

type fence struct {
	serial   uint64
	revision authz.Revision // zero for a drop: whatever the answer was judged at
	keys     []authz.Key
}

// NewHolder makes a Holder without a lease.
func NewHolder(cfg HolderConfig) *Holder {
	if cfg.MaxFences == 0 {
		cfg.MaxFences = 4096
	}
	return &Holder{cfg: cfg, seen: cfg.Seen, applied: cfg.Seen.Revision}
}

// Lease is what a hit has to look at: an entry of Era may be used before Ends. The zero
// Lease lets nothing be used.
type Lease struct {
	Era  Era
	Ends Instant
}

// Valid reports whether an entry of the era may be used now (L1).
func (l Lease) Valid(now Instant, era Era) bool { return era == l.Era && now < l.Ends }

// Lease gives the lease in force, lapsed or not.
func (h *Holder) Lease() Lease {
	if h.cfg.Fault == FaultNoLease && h.cur.id != 0 {
		return Lease{Era: h.era, Ends: 1<<63 - 1}
	}
	return Lease{Era: h.era, Ends: h.cur.ends}
}

// Hello makes the hello of a new generation, to be sent at once on a new stream. keys
// are what the entries rest on that the shell has, for carrying them over; they are
// only sent while there is something to carry. From here on nothing is installed in
// the generation in force (L2).
func (h *Holder) Hello(now Instant, keys []authz.Key) Hello {
	out := Hello{Seen: h.seen}
	if h.cur.id != 0 && h.cur.ends > now && len(keys) > 0 {
		out.Vouch, out.Applied, out.Rules, out.Keys = true, h.applied, h.cur.rules, keys
	}
	h.cur.sealed = true
	h.joining = &held{asked: []asked{{0, now}}, next: 1, offered: out.Vouch}
	return out
}

// Effects are what a call asks of the shell, in this order: remove the entries that
// rest on Drop, or all entries with Clear; then send Send, each on the stream of its
// generation. Only a Release may go by any stream: it goes on the newest, for a PDP that
// has lost the old one, and on that of its generation if it still stands, which may be of
// another PDP. Whoever does not know the generation ignores it.
type Effects struct {
	Clear bool
	Drop  []authz.Key
	Send  []Message
	// Moving: open a stream to another PDP if there is one.
	Moving bool
	// Opened: a generation came into force with this message.
	Opened bool
}

// Handle takes a message of a grantor, from the stream of the newest hello or, with
// its generation, from the one in force. An error means that the stream it came by must
// be closed; when it is the newest, another hello follows, perhaps elsewhere.
func (h *Holder) Handle(now Instant, m Message) (Effects, error) {
	if m.Kind == Welcome {
		return h.welcome(m)
	}
	t := h.of(m.Generation)
	if t == nil {
		return Effects{}, nil // of a generation given up
	}
	switch m.Kind {
	case Grant:
		return h.grant(now, t, m)
	case Invalidation:
		return h.invalidate(t, m), nil
	case Heartbeat:
		h.advance(t, m.Revision)
	case Moving:
		return Effects{Moving: true}, nil
	default:
		return Effects{}, fmt.Errorf("lease: a grantor does not send %v", m.Kind)
	}
	return Effects{}, nil
}

func (h *Holder) of(id Generation) *held {
	switch {
	case id == 0:
		return nil
	case h.joining != nil && h.joining.id == id:
		return h.joining
	case h.cur.id == id:
		return &h.cur
	}
	return nil
}

// HistoryError says that a PDP must not be believed (L15).
type HistoryError struct {
	History    History
	Seen, Head Mark
	// Applied is the revision applied, in the epoch of Seen; it may be past it.
	Applied authz.Revision
}

// Error says it with both marks.
func (e *HistoryError) Error() string {
	return fmt.Sprintf("the PDP's history is %v: it is at %v, and this holder has seen %v and applied revision %d", e.History, e.Head, e.Seen, e.Applied)
}

// welcome takes the answer to the newest hello.
func (h *Holder) welcome(m Message) (Effects, error) {
	j := h.joining
	if j == nil || j.id != 0 || m.Generation == 0 {
		return Effects{}, fmt.Errorf("lease: a welcome that nobody asked for")
	}
	same := h.seen.SameHistory(m.Head)
	is := Judge(h.seen, m.Head)
	if same && m.Head.Revision < h.applied {
		is = HistoryBehind
	}
	if is != HistoryGood && is != HistoryNew && h.cfg.Fault != FaultNoMark {
		return Effects{}, &HistoryError{is, h.seen, m.Head, h.applied}
	}
	j.id, j.rules = m.Generation, m.Rules
	j.vouched = m.Vouched && j.offered && same || h.cfg.Fault == FaultKeepAll
	h.seen = better(h.seen, m.Head)
	if !same {
		// From here on revisions are of the new history. What is held from the old one goes
		// at once, and does not wait for the first lease: its grantor may still speak, and the
		// two must not be mixed up.
		e := h.void()
		h.applied = 0
		return e, nil
	}
	if h.cfg.Fault == FaultReleaseEarly && h.cur.id != 0 {
		return Effects{Send: []Message{{Kind: Release, Generation: h.cur.id}}}, nil
	}
	return Effects{}, nil
}

// better gives the higher mark.
func better(a, b Mark) Mark {
	if b.Epoch > a.Epoch || b.Epoch == a.Epoch && b.Revision >= a.Revision {
		return b
	}
	return a
}

// grant takes a lease. The first one brings its generation into force (L14).
func (h *Holder) grant(now Instant, t *held, m Message) (Effects, error) {
	i := slices.IndexFunc(t.asked, func(a asked) bool { return a.number == m.Number })
	if i < 0 {
		return Effects{}, fmt.Errorf("lease: a grant for renewal %d, which was not asked for", m.Number)
	}
	sent := t.asked[i].at
	t.asked = slices.Delete(t.asked, 0, i+1)
	if h.cfg.Fault == FaultFromReceipt {
		sent = now
	}
	ends := sent.Add(HolderTerm(min(m.Term, MaxTerm))) // nobody waits longer for it (R1)
	if t == h.joining {
		if now >= ends {
			return Effects{}, fmt.Errorf("lease: the first lease was over before it arrived")
		}
		t.ends = ends
		return h.switchOver(m), nil
	}
	if now >= t.ends && h.cfg.Fault != FaultLateGrant {
		return Effects{}, fmt.Errorf("lease: a grant arrived %v after the lapse, which is final", now.Sub(t.ends))
	}
	t.ends = max(t.ends, ends)
	h.advance(t, m.Revision)
	return Effects{}, nil
}

// switchOver brings the generation that was joining into force and gives the one
// before it up.
func (h *Holder) switchOver(m Message) Effects {
	e := Effects{Opened: true}
	old, j := h.cur, h.joining
	h.cur, h.joining = *j, nil
	h.number = 0
	if !j.vouched {
		h.era++
		e.Clear = true
	}
	h.fence(fence{}) // whatever is under way was asked in another generation
	h.advance(&h.cur, m.Revision)
	if old.id != 0 {
		e.Send = append(e.Send, Message{Kind: Release, Generation: old.id})
	}
	return e
}

func (h *Holder) invalidate(t *held, m Message) Effects {
	h.fence(fence{revision: m.Revision, keys: m.Keys})
	h.advance(t, m.Revision)
	return Effects{Drop: m.Keys, Send: []Message{{Kind: Ack, Generation: m.Generation, Revision: m.Revision}}}
}

// advance notes that everything up to rev which concerns generation t was applied.
func (h *Holder) advance(t *held, rev authz.Revision) {
	if t != &h.cur {
		return // what it says of the time before it came into force, its first grant says
	}
	h.applied = max(h.applied, rev)
}

func (h *Holder) fence(f fence) {
	h.serial++
	f.serial = h.serial
	if len(f.keys) == 0 {
		// Everything under way is barred.
		h.fences, h.fenced = h.fences[:0], h.serial
		return
	}
	if len(h.fences) == h.cfg.MaxFences {
		h.fenced = h.fences[0].serial
		h.fences = append(h.fences[:0], h.fences[1:]...)
	}
	h.fences = append(h.fences, f)
}

// Checkpoint notes a mark that the grantor of the generation in force has sealed, and
// gives the highest mark seen, to be kept on disk.
func (h *Holder) Checkpoint(m Mark) Mark {
	if m.SameHistory(h.seen) && (m.Revision != h.seen.Revision || m.Chain == h.seen.Chain) {
		h.seen = better(h.seen, m)
	}
	return h.seen
}

// Renew asks for a lease, to be sent at once. ok is false without a generation in
// force, or when its lease is over: then only a hello helps (L4).
func (h *Holder) Renew(now Instant) (m Message, ok bool) {
	if h.cur.id == 0 || now >= h.cur.ends && h.cfg.Fault != FaultLateGrant {
		return Message{}, false
	}
	n := h.cur.next
	h.cur.next++
	h.cur.asked = append(h.cur.asked, asked{n, now})
	return Message{Kind: Renew, Generation: h.cur.id, Number: n}, true
}

// Abandon says that the newest hello came to nothing. What it would have carried over
// stays where it is.
func (h *Holder) Abandon() {
	h.joining = nil
	h.cur.sealed = false
}

// Leave gives the lease up, for a clean stop: entries are void from here on, and the
// release is to be sent. ok is false when there is nothing to give up.
func (h *Holder) Leave() (e Effects, ok bool) {
	h.joining = nil
	e = h.void()
	return e, e.Clear
}

// void gives the generation in force up, if there is one, and all entries.
func (h *Holder) void() Effects {
	if h.cur.id == 0 {
		return Effects{}
	}
	e := Effects{Clear: true, Send: []Message{{Kind: Release, Generation: h.cur.id}}}
	h.cur = held{}
	h.era++
	h.fence(fence{})
	return e
}

// Forget says that the shell has removed the last entries that rest on keys; they are
// void for answers under way, too. The message may be lost.
func (h *Holder) Forget(keys []authz.Key) Message {
	if h.cfg.Fault != FaultForgetFree {
		h.fence(fence{keys: keys})
	}
	return Message{Kind: Forget, Generation: h.cur.id, Keys: keys, Number: h.number}
}

// Flight is one question on its way to the PDP.
type Flight struct {
	// Generation is named in the question; zero when the answer cannot be kept.
	Generation Generation
	// Applied is the revision that the question must be judged at or after (L13).
	Applied authz.Revision
	// Epoch and ID are the history that the question must be judged in; zero before any
	// was seen.
	Epoch  uint64
	ID     [16]byte
	serial uint64
}

// Begin starts a flight.
func (h *Holder) Begin(now Instant) Flight {
	f := Flight{Applied: h.applied, Epoch: h.seen.Epoch, ID: h.seen.ID, serial: h.serial}
	if h.cur.id != 0 && !h.cur.sealed && now < h.cur.ends {
		f.Generation = h.cur.id
	}
	return f
}

// MayJoin reports whether a check that starts now may share the answer of a flight
// (L12). It may use it only if it then turns out that it was installed.
func (h *Holder) MayJoin(now Instant, f Flight) bool {
	if h.cfg.Fault == FaultJoinAny {
		return true
	}
	return f.Generation != 0 && f.Generation == h.cur.id && !h.cur.sealed && now < h.cur.ends && f.serial == h.serial
}

// Land takes an answer: its revision, what it rests on, and its number, which is zero
// when the PDP says that it cannot be kept. stale means that it must not even be given
// (L13). When install is true the shell has to put it in, in this era, before it calls
// anything else (L12).
func (h *Holder) Land(f Flight, rev authz.Revision, keys []authz.Key, number uint64) (install, stale bool) {
	if rev < f.Applied && h.cfg.Fault != FaultNoApplied {
		return false, true
	}
	if number == 0 || f.Generation == 0 {
		return false, false
	}
	if f.Generation != h.cur.id && h.cfg.Fault != FaultOldGeneration {
		return false, false
	}
	h.number = max(h.number, number)
	if h.cur.sealed && h.cfg.Fault != FaultOldGeneration {
		return false, false
	}
	if h.cfg.Fault == FaultOpenFill || f.Generation != h.cur.id {
		return true, false
	}
	return rev >= h.barrier(f, keys), false
}

// barrier gives the revision that an answer to f has to be judged at or after to be
// installed, as far as what was applied since it began can tell.
func (h *Holder) barrier(f Flight, keys []authz.Key) (least authz.Revision) {
	const never = ^authz.Revision(0)
	if f.serial < h.fenced && len(keys) > 0 {
		return never
	}
	for i := len(h.fences) - 1; i >= 0 && h.fences[i].serial > f.serial; i-- {
		fe := &h.fences[i]
		switch {
		case fe.revision != 0 && fe.revision <= least || !meet(fe.keys, keys):
		case fe.revision == 0:
			return never
		default:
			least = fe.revision
		}
	}
	return least
}

func meet(a, b []authz.Key) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// Generation gives the generation in force, zero for none.
func (h *Holder) Generation() Generation { return h.cur.id }

// Applied gives the revision that the entries are true at.
func (h *Holder) Applied() authz.Revision { return h.applied }

// Seen gives the highest mark seen.
func (h *Holder) Seen() Mark { return h.seen }

// Remaining tells how long the lease still runs; zero when it is over.
func (h *Holder) Remaining(now Instant) time.Duration { return max(h.cur.ends.Sub(now), 0) }
