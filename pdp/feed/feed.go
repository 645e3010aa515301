package feed

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Feed drives a Grantor with what a store commits. Its methods are safe for concurrent
// use, after [Feed.Start].
type Feed struct {
	opt   Options
	view  *state.View
	log   *slog.Logger
	store state.Store // set by Start

	// out makes sure that the store knows of leases before one is granted; see promise. It
	// is taken before mu.
	out sync.Mutex

	// mu guards everything below. Apply holds it from before the view has a change until
	// the change is dispatched: whoever has read something in the view and then asks the
	// Feed finds it dispatched, which R5 and R10 rest on.
	mu       sync.Mutex
	head     lease.Mark
	grantor  *lease.Grantor // nil before Start
	quiet    lease.Instant  // the Grantor's
	key      state.SealKey
	streams  map[lease.Generation]*Stream
	applying map[*applying]struct{}
	waits    map[waiting]*wait
	open     []authz.Revision // of receipts that somebody is waited for, ascending
	early    []lease.Change   // those applied before there was a Grantor, oldest first
	tails    map[*Tail]struct{}
	stats    Stats // only what counts up
	ticking
	phase phase

	kick  chan struct{} // asks the ticker to come sooner
	ended chan struct{} // closed when the last generation has ended after Close began
	done  chan struct{} // closed when the Feed has stopped
	ran   sync.WaitGroup
}

// phase is how far the way to the end has been gone.
type phase uint8

const (
	serving phase = iota
	moving        // opens no generation
	closing       // and renews no lease
	stopped       // and says nothing any more
)

// New makes a Feed around a view, to be attached to a store and then started.
func New(view *state.View, opt Options) *Feed {
	if opt.Now == nil {
		panic("feed: Options.Now must be set")
	}
	if opt.Term == 0 {
		opt.Term = lease.DefaultTerm
	}
	opt.Term = min(opt.Term, lease.MaxTerm)
	if opt.MaxGenerations == 0 {
		opt.MaxGenerations = DefaultMaxGenerations
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Draw == nil {
		opt.Draw = draw
	}
	return &Feed{
		opt: opt, view: view, log: opt.Logger,
		streams: map[lease.Generation]*Stream{}, applying: map[*applying]struct{}{}, waits: map[waiting]*wait{}, tails: map[*Tail]struct{}{},
		ticking: ticking{slow: true},
		kick:    make(chan struct{}, 1), ended: make(chan struct{}), done: make(chan struct{}),
	}
}

func draw() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// Reset implements [state.Sink].
func (f *Feed) Reset() { f.view.Reset() }

// Load implements [state.Sink].
func (f *Feed) Load(rec state.Record, mod authz.Revision) { f.view.Load(rec, mod) }

// Loaded implements [state.Sink].
func (f *Feed) Loaded(mark state.Mark, stamp authz.Stamp) {
	f.view.Loaded(mark, stamp)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = lease.Mark{Epoch: mark.Epoch.Counter, ID: mark.Epoch.ID, Revision: mark.Revision, Chain: mark.Chain}
	f.tellApplied()
}

// Apply implements [state.Sink]: the view has a change first, then those who rest on what
// it changed are told. Changes whose keys depend on what was before them go into the view
// one by one, the others together.
func (f *Feed) Apply(changes []state.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opt.Now()
	for len(changes) > 0 {
		n := 0
		for n < len(changes) && !looksBack(&changes[n]) {
			n++
		}
		if n > 0 {
			f.view.Apply(changes[:n])
			for i := range changes[:n] {
				f.dispatch(now, &changes[i], once(keysOf(&changes[i], nil)))
			}
			changes = changes[n:]
			continue
		}
		c := &changes[0]
		before, keys := pathsIn(f.view, c), keysBefore(f.view, c)
		f.view.Apply(changes[:1])
		keys = pathKeys(pathKeys(keysOf(c, keys), before), pathsIn(f.view, c))
		f.dispatch(now, c, once(keys))
		changes = changes[1:]
	}
	f.tellApplied()
	f.flush()
}

// dispatch hands a change to the Grantor. The view has it.
func (f *Feed) dispatch(now lease.Instant, c *state.Change, keys []authz.Key) {
	f.head.Revision, f.head.Chain = c.Revision, c.Chain
	if f.opt.LoseKeys != 0 {
		keys = f.lose(keys)
	}
	if f.grantor == nil {
		f.early = append(f.early, lease.Change{Revision: c.Revision, Keys: keys})
		return
	}
	told := f.grantor.Commit(now, f.head, keys)
	f.stats.Changes++
	if told > 0 {
		f.stats.Invalidations += uint64(told)
		if f.grantor.Receipt(now, c.Revision).Pending > 0 {
			f.open = append(f.open, c.Revision)
			f.hurry()
		}
	}
	if len(f.tails) > 0 {
		f.tell(Event{Revision: c.Revision, Stamp: c.Stamp, Actor: c.Actor, Verb: c.Verb, Keys: keys, Told: told})
	}
}

func (f *Feed) lose(keys []authz.Key) (kept []authz.Key) {
	for _, k := range keys {
		if k.Kind() != f.opt.LoseKeys {
			kept = append(kept, k)
		}
	}
	return kept
}

// flush wakes the streams that the Grantor has something for.
func (f *Feed) flush() {
	if f.grantor == nil {
		return
	}
	for _, gen := range f.grantor.Ready() {
		s := f.streams[gen]
		if s == nil {
			continue
		}
		info, live := f.grantor.Info(gen)
		switch {
		case !live:
			delete(f.streams, gen)
		case info.Cut && !s.gone:
			s.gone = true
			f.stats.Overflows++
		}
		s.wakeUp()
	}
	if f.phase >= closing && f.grantor.Live() == 0 {
		select {
		case <-f.ended:
		default:
			close(f.ended)
		}
	}
}

// Start begins to grant leases. store is the one that the Feed was attached to. Changes may
// be applied while Start runs, those of other PDPs.
func (f *Feed) Start(ctx context.Context, store state.Store) error {
	recent, from, to, err := f.recall(ctx, store)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store = store
	for _, c := range f.early {
		if c.Revision > to {
			recent = append(recent, c)
		}
	}
	f.early = nil
	rec, _ := f.view.Leases()
	now := f.opt.Now()
	if rec != nil {
		f.key = rec.SealKey
	}
	f.quiet = f.quietUntil(now, rec)
	f.calm = now >= f.quiet
	f.grantor = lease.NewGrantor(lease.GrantorConfig{
		Term: f.opt.Term, Head: f.head, Rules: f.opt.Rules, Quiet: f.quiet, Recent: recent, RecentFrom: from,
		MaxInterest: f.opt.MaxInterest, MaxQueue: f.opt.MaxQueue, MaxRecent: f.opt.MaxRecent, OnReceipt: f.changed, Draw: f.opt.Draw, Fault: f.opt.Fault,
	})
	f.ran.Go(f.run)
	return nil
}

// maxRecall is how many changes Start reads back.
const maxRecall = 4096

// recall reads from history which keys the newest changes had, so that a sidecar can carry
// its entries over a restart of the PDP (L14): all changes after from and up to to. It goes
// back to the last one whose keys cannot be told from its record keys. History may end
// before what was applied a moment ago, which is among the early ones then.
func (f *Feed) recall(ctx context.Context, store state.Store) (recent []lease.Change, from, to authz.Revision, err error) {
	head := f.Head().Revision
	from = head - min(head, maxRecall)
	to = from
	err = store.History(ctx, from, func(c state.Change) error {
		to = c.Revision
		keys, ok := keysFromHistory(&c)
		switch {
		case !ok:
			recent, from = nil, c.Revision
		case len(keys) > 0:
			recent = append(recent, lease.Change{Revision: c.Revision, Keys: keys})
		}
		return nil
	})
	if authz.KindOf(err) == authz.KindPrecondition {
		return nil, head, head, nil // the store began later than that, by a restore
	}
	return recent, from, to, err
}

// Interest is [lease.Grantor.Interest]: it records that owner is about to get an answer
// judged at rev that rests on keys, and says whether it may be kept in the generation.
func (f *Feed) Interest(gen lease.Generation, owner string, rev authz.Revision, keys []authz.Key) (number uint64, v lease.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opt.Now()
	if f.phase == stopped || !f.serves(now) {
		return 0, lease.Uncacheable
	}
	return f.grantor.Interest(now, gen, owner, rev, keys)
}
