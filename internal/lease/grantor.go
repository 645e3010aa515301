package lease

import (
	"cmp"
	"slices"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// Bounds of [GrantorConfig] where it says nothing.
const (
	DefaultMaxInterest = 500_000
	DefaultMaxQueue    = 4096
	DefaultMaxRecent   = 65_536
)

// GrantorConfig is what a Grantor is made of.
type GrantorConfig struct {
	// Term is granted; zero takes DefaultTerm, more than MaxTerm is MaxTerm.
	Term time.Duration
	// Head is the mark of the history at the start; Rules names the rules that are judged
	// by. Changes after Head.Revision are told by [Grantor.Commit].
	Head  Mark
	Rules uint64
	// Quiet is until when leases of earlier incarnations may run (R1); zero for none.
	Quiet Instant
	// MaxInterest bounds the keys kept of one generation; past it they collapse into
	// buckets. MaxQueue bounds its messages that were not taken and its changes that were
	// not acked. MaxRecent bounds the keys of recent changes kept to judge late answers
	// and carried entries by. Zero takes the defaults.
	MaxInterest, MaxQueue, MaxRecent int
	// Recent are the changes that had keys after revision RecentFrom and up to Head, oldest
	// first, as far as they are known from the store: they let a holder carry its entries
	// over a restart (L14). With RecentFrom zero and no Recent nothing is known.
	Recent     []Change
	RecentFrom authz.Revision
	// OnReceipt, where set, is told the revision of a receipt whenever it changes, from
	// inside the call that changes it. It must not call the Grantor, but for Receipt.
	OnReceipt func(authz.Revision)
	// Draw gives random numbers for generations. It must not repeat itself within the
	// term of a lease, nor between incarnations.
	Draw func() uint64
	// Fault plants a bug, for tests; see [Fault].
	Fault Fault
}

// Grantor is the PDP's side. It is not safe for concurrent use. The same calls with the
// same arguments give the same messages in the same order: nothing that leaves it
// depends on the order of a map, so that a simulation runs again from its seed.
type Grantor struct {
	cfg     GrantorConfig
	head    Mark // Revision is the newest dispatched
	tenures map[Generation]*tenure
	// order has the same tenures, by when they were opened.
	order      []*tenure
	opened     uint64
	interests  interests
	recent     recent
	receipts   receipts
	ready      []Generation
	dispatches uint64
}

// tenure is one generation as the grantor sees it.
type tenure struct {
	id     Generation
	owner  string
	opened uint64 // counts the hellos
	// ends is the end of the longest grant enqueued; in force until then (L3).
	ends Instant
	// cut says that it can't be renewed any more: its stream broke, its queue ran over.
	cut     bool
	answers uint64
	rests   map[authz.Key]rest
	buckets bool // rests holds buckets
	outbox  []Message
	listed  bool // in Grantor.ready
	told    authz.Revision
	owed    []owed
	// waits are the receipts of changes that it was not told of, because it was cut: all
	// end when it ends, as it can't be renewed.
	waits []*receipt
	// queued is the newest invalidation enqueued, sent the newest taken: only up to there
	// an ack is believed.
	queued, sent authz.Revision
	// met and metAt collect the keys of one dispatch.
	met   []authz.Key
	metAt uint64
}

// owed is a change that a generation was told of and has not acked.
type owed struct {
	revision authz.Revision
	keys     []authz.Key
	since    Instant
	// until is the end of the longest grant enqueued before (L8).
	until   Instant
	counted bool // as lapsed, on the receipt
	receipt *receipt
}

// NewGrantor makes a Grantor that knows of no leases.
func NewGrantor(cfg GrantorConfig) *Grantor {
	if cfg.Term == 0 {
		cfg.Term = DefaultTerm
	}
	cfg.Term = min(cfg.Term, MaxTerm)
	if cfg.MaxInterest == 0 {
		cfg.MaxInterest = DefaultMaxInterest
	}
	if cfg.MaxQueue == 0 {
		cfg.MaxQueue = DefaultMaxQueue
	}
	if cfg.MaxRecent == 0 {
		cfg.MaxRecent = DefaultMaxRecent
	}
	g := &Grantor{
		cfg: cfg, head: cfg.Head, tenures: map[Generation]*tenure{},
		interests: interests{of: map[authz.Key]tenants{}}, recent: recent{from: cfg.Head.Revision, max: cfg.MaxRecent},
		receipts: receipts{of: map[authz.Revision]*receipt{}},
	}
	if cfg.RecentFrom != 0 || len(cfg.Recent) > 0 {
		g.recent.from = cfg.RecentFrom
	}
	for _, c := range cfg.Recent {
		g.recent.add(c.Revision, c.Keys)
	}
	g.cfg.Recent = nil
	return g
}

// Hello opens a generation for owner, who must be the authenticated caller, and
// enqueues Welcome, what the carried entries must be told (L14), and the first Grant.
// The caller has compared the marks (L15) and made sure that a restart will know of the
// term (R1).
func (g *Grantor) Hello(now Instant, owner string, h Hello) Generation {
	id := Generation(g.cfg.Draw())
	for id == 0 || g.tenures[id] != nil {
		id = Generation(g.cfg.Draw())
	}
	g.opened++
	t := &tenure{id: id, owner: owner, opened: g.opened, rests: map[authz.Key]rest{}}
	g.tenures[id] = t
	g.order = append(g.order, t)
	var changed []authz.Key
	vouched := h.Vouch && h.Rules == g.cfg.Rules && h.Seen.SameHistory(g.head) && h.Applied <= g.head.Revision &&
		h.Applied >= g.recent.from && len(h.Keys) <= g.cfg.MaxInterest
	if vouched {
		for _, k := range h.Keys {
			g.rest(t, k, rest{judged: h.Applied})
		}
		changed = g.recent.meet(t, h.Applied)
	}
	if vouched && g.cfg.Fault == FaultResumeLate {
		changed = g.recent.meet(t, h.Applied+1)
	}
	g.send(t, Message{Kind: Welcome, Vouched: vouched, Head: g.head, Rules: g.cfg.Rules, Term: g.cfg.Term, Revision: g.head.Revision})
	if len(changed) > 0 {
		// Nobody waits for it: the entries were not believed under this generation yet, and
		// under the one before it the grantor of that one waits.
		t.owed = append(t.owed, owed{revision: g.head.Revision, keys: changed, since: now, until: now, counted: true})
		g.send(t, Message{Kind: Invalidation, Revision: g.head.Revision, Keys: changed})
	}
	g.grant(now, t, 0)
	return id
}

// Renew asks for a lease. It is granted unless the generation has lapsed, was cut, or
// owes an ack for longer than a term (L4, L10).
func (g *Grantor) Renew(now Instant, id Generation, owner string, number uint64) {
	t := g.tenure(id, owner)
	switch {
	case t == nil || t.cut:
	case now >= t.ends && g.cfg.Fault != FaultLateRenewal:
	case len(t.owed) > 0 && now.Sub(t.owed[0].since) > g.cfg.Term && g.cfg.Fault != FaultWaitGrows:
	default:
		g.grant(now, t, number)
	}
}

func (g *Grantor) grant(now Instant, t *tenure, number uint64) {
	if g.send(t, Message{Kind: Grant, Number: number, Term: g.cfg.Term, Revision: g.head.Revision}) {
		t.ends = max(t.ends, now.Add(GrantorTerm(g.cfg.Term)))
		t.told = g.head.Revision
	}
}

// Heartbeats enqueues the head for every connected generation that has not been told.
func (g *Grantor) Heartbeats() {
	for _, t := range slices.Clone(g.order) { // a planted bug may end one meanwhile
		if !t.cut && t.told < g.head.Revision && g.send(t, Message{Kind: Heartbeat, Revision: g.head.Revision}) {
			t.told = g.head.Revision
		}
	}
}

// Moving tells every connected generation that this PDP is about to stop.
func (g *Grantor) Moving() {
	for _, t := range slices.Clone(g.order) {
		if !t.cut {
			g.send(t, Message{Kind: Moving})
		}
	}
}

// send enqueues a message, or cuts the generation when its queue is full (R2: the
// lease runs on). The holder of a generation that was cut gets nothing any more.
func (g *Grantor) send(t *tenure, m Message) bool {
	if t.cut {
		return false
	}
	if len(t.outbox) >= g.cfg.MaxQueue {
		if g.cfg.Fault != FaultQueueSkips {
			g.cut(t)
		}
		return false
	}
	m.Generation = t.id
	if m.Kind == Invalidation {
		t.queued = m.Revision
	}
	t.outbox = append(t.outbox, m)
	g.list(t)
	return true
}

func (g *Grantor) cut(t *tenure) {
	t.cut, t.outbox = true, nil
	g.list(t)
	if g.cfg.Fault == FaultBrokenForgets {
		g.end(t, func(r *receipt) { r.acked++ })
	}
}

func (g *Grantor) list(t *tenure) {
	if !t.listed {
		t.listed = true
		g.ready = append(g.ready, t.id)
	}
}

// Ready gives the generations with something to take, or that were cut, since the last
// call.
func (g *Grantor) Ready() []Generation {
	ready := g.ready
	g.ready = nil
	for _, id := range ready {
		if t := g.tenures[id]; t != nil {
			t.listed = false
		}
	}
	return ready
}

// Take gives the messages for a generation, in order. open is false when its stream
// has to be closed: it was cut or has ended.
func (g *Grantor) Take(id Generation) (ms []Message, open bool) {
	t := g.tenures[id]
	if t == nil {
		return nil, false
	}
	ms, t.outbox = t.outbox, nil
	if len(ms) > 0 {
		t.sent = t.queued
	}
	return ms, !t.cut
}

// Broken says that the stream of a generation is gone. Its lease runs on (L3).
func (g *Grantor) Broken(id Generation) {
	if t := g.tenures[id]; t != nil && !t.cut {
		g.cut(t)
	}
}

// CutAll does so for every generation: none is renewed any more, and holders have to say
// hello anew (L3). It is what a PDP does that its peers may count as gone (PROTOCOL R8).
func (g *Grantor) CutAll() {
	for _, t := range slices.Clone(g.order) { // a planted bug may end one meanwhile
		if !t.cut {
			g.cut(t)
		}
	}
}

// Ack says that a holder has let go of what was invalidated up to rev. One that claims
// more than was ever taken for its stream is ignored: its holder cannot know.
func (g *Grantor) Ack(id Generation, owner string, rev authz.Revision) {
	t := g.tenure(id, owner)
	if t == nil || rev > t.sent {
		return
	}
	n := 0
	for ; n < len(t.owed) && t.owed[n].revision <= rev; n++ {
		o := &t.owed[n]
		for _, k := range o.keys {
			if r, ok := t.rests[k]; ok && (r.judged < o.revision || g.cfg.Fault == FaultAckErases) {
				g.drop(t, k)
			}
		}
		if !o.counted {
			o.receipt.settle(func(r *receipt) { r.acked++ })
		}
	}
	clear(t.owed[:n])
	t.owed = t.owed[n:]
}

// Forget takes keys out of the interest on which no answer rests any more, except
// those that an answer later than number rests on (L6).
func (g *Grantor) Forget(id Generation, owner string, keys []authz.Key, number uint64) {
	t := g.tenure(id, owner)
	if t == nil || t.buckets {
		return
	}
	for _, k := range keys {
		if r, ok := t.rests[k]; ok && r.number <= number {
			g.drop(t, k)
		}
	}
}

// Release ends a generation: its holder has no entries any more. It may come by any
// stream of the same owner.
func (g *Grantor) Release(id Generation, owner string) {
	if t := g.tenure(id, owner); t != nil {
		g.end(t, func(r *receipt) { r.acked++ })
	}
}

// Verdict is what [Grantor.Interest] says of an answer.
type Verdict uint8

// The verdicts.
const (
	// Uncacheable: the answer may be given, and must not be kept.
	Uncacheable Verdict = iota
	// Cacheable: it may be kept in the generation, under its number.
	Cacheable
	// JudgeAgain: what it rests on has changed since; judge again, at most a few times.
	JudgeAgain
)

// Interest records that a holder is about to get an answer that rests on keys and was
// judged at rev, and says whether it may be kept (L5). Keys are copied.
func (g *Grantor) Interest(now Instant, id Generation, owner string, rev authz.Revision, keys []authz.Key) (number uint64, v Verdict) {
	t := g.tenure(id, owner)
	if t == nil || t.cut || now >= t.ends {
		return 0, Uncacheable
	}
	if g.cfg.Fault != FaultInterestLate && g.recent.meets(rev, keys) {
		return 0, JudgeAgain
	}
	t.answers++
	for _, k := range keys {
		g.rest(t, k, rest{rev, t.answers})
	}
	return t.answers, Cacheable
}

func (g *Grantor) rest(t *tenure, k authz.Key, r rest) {
	if t.buckets {
		k = bucketOf(k)
	}
	old, ok := t.rests[k]
	t.rests[k] = rest{max(old.judged, r.judged), max(old.number, r.number)}
	if ok {
		return
	}
	g.interests.add(k, t)
	if !t.buckets && len(t.rests) > g.cfg.MaxInterest {
		g.collapse(t)
	}
}

// collapse turns the interest of a generation into buckets (R18).
func (g *Grantor) collapse(t *tenure) {
	all := t.rests
	for k := range all {
		g.interests.remove(k, t)
	}
	t.buckets, t.rests = true, make(map[authz.Key]rest, Buckets)
	for k, r := range all {
		g.rest(t, k, r)
	}
}

func (g *Grantor) drop(t *tenure, k authz.Key) {
	delete(t.rests, k)
	g.interests.remove(k, t)
}

// Commit dispatches a committed change: revisions one by one, each with the keys that
// it changed, which may be none. It gives how many generations were told or are waited
// for.
func (g *Grantor) Commit(now Instant, head Mark, keys []authz.Key) int {
	g.head = head
	g.recent.add(head.Revision, keys)
	g.dispatches++
	var told []*tenure
	for _, k := range keys {
		meet := func(t *tenure) {
			if t.metAt != g.dispatches {
				t.metAt, t.met = g.dispatches, nil
				told = append(told, t)
			}
			t.met = append(t.met, k)
		}
		g.interests.each(k, meet)
		if b := bucketOf(k); b != k {
			g.interests.each(b, meet)
		}
	}
	if len(told) == 0 {
		return 0
	}
	slices.SortFunc(told, func(a, b *tenure) int { return cmp.Compare(a.opened, b.opened) })
	r := &receipt{revision: head.Revision, pending: len(told), changed: g.cfg.OnReceipt}
	g.receipts.add(r)
	for _, t := range told {
		g.tell(now, t, r)
	}
	return len(told)
}

func (g *Grantor) tell(now Instant, t *tenure, r *receipt) {
	if len(t.owed) >= g.cfg.MaxQueue && !t.cut {
		g.cut(t)
	}
	switch {
	case g.send(t, Message{Kind: Invalidation, Revision: r.revision, Keys: t.met}):
		t.told = r.revision
		t.owed = append(t.owed, owed{revision: r.revision, keys: t.met, since: now, until: t.ends, receipt: r})
	case g.cfg.Fault == FaultQueueSkips || g.tenures[t.id] == nil: // planted bugs
		r.settle(func(r *receipt) { r.acked++ })
	default:
		t.waits = append(t.waits, r)
	}
}

// Tick ends what has lapsed by now and gives those generations.
func (g *Grantor) Tick(now Instant) (lapsed []Generation) {
	var over []*tenure
	for _, t := range g.order {
		if now >= t.ends {
			over = append(over, t)
			continue
		}
		for i := range t.owed {
			o := &t.owed[i]
			if now < o.until || g.cfg.Fault == FaultWaitGrows {
				break
			}
			if !o.counted {
				o.counted = true
				o.receipt.settle(func(r *receipt) { r.lapsed++ })
			}
		}
	}
	for _, t := range over {
		lapsed = append(lapsed, t.id)
		g.end(t, func(r *receipt) { r.lapsed++ })
		if g.cfg.Fault == FaultLateRenewal { // remembered, to be renewed
			g.tenures[t.id] = t
			g.order = append(g.order, t)
		}
	}
	return lapsed
}

// end takes a generation away. how counts it on the receipts that wait for it.
func (g *Grantor) end(t *tenure, how func(*receipt)) {
	for i := range t.owed {
		if o := &t.owed[i]; !o.counted {
			o.receipt.settle(how)
		}
	}
	for _, r := range t.waits {
		r.settle(how)
	}
	for k := range t.rests {
		g.interests.remove(k, t)
	}
	t.rests, t.owed, t.waits, t.outbox = map[authz.Key]rest{}, nil, nil, nil
	delete(g.tenures, t.id)
	g.order = slices.DeleteFunc(g.order, func(o *tenure) bool { return o == t })
	g.list(t)
}

// tenure finds a generation of this caller.
func (g *Grantor) tenure(id Generation, owner string) *tenure {
	t := g.tenures[id]
	if t == nil || t.owner != owner {
		return nil
	}
	return t
}

// Head gives the newest revision dispatched, as a mark.
func (g *Grantor) Head() Mark { return g.head }

// Live tells how many generations there are.
func (g *Grantor) Live() int { return len(g.tenures) }

// Info is what there is to tell of one generation.
type Info struct {
	Generation Generation
	Owner      string
	// Ends is the end of its lease on the grantor's clock. Cut: it is not renewed any more.
	Ends Instant
	Cut  bool
	// Keys is how many keys, or buckets, it is interested in.
	Keys    int
	Buckets bool
	// Owed is how many changes it has not acked, Queue how many messages were not taken.
	Owed, Queue int
	// Told is the newest revision that it was told of.
	Told authz.Revision
}

// Info tells of one generation.
func (g *Grantor) Info(id Generation) (Info, bool) {
	t := g.tenures[id]
	if t == nil {
		return Info{}, false
	}
	return Info{
		Generation: id, Owner: t.owner, Ends: t.ends, Cut: t.cut, Keys: len(t.rests), Buckets: t.buckets,
		Owed: len(t.owed) + len(t.waits), Queue: len(t.outbox), Told: t.told,
	}, true
}

// Generations lists the generations that have not ended, in the order of their hellos.
func (g *Grantor) Generations() []Generation {
	ids := make([]Generation, 0, len(g.order))
	for _, t := range g.order {
		ids = append(ids, t.id)
	}
	return ids
}
