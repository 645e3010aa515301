package sim

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// disk is a durable store that outlives the process which uses it: what was committed is
// there for the next one, what was on its way is lost. It keeps what every change took the
// place of, so that the world can be seen as it was at any revision. It stores no events.
type disk struct {
	s    *sim
	lane *lane

	mu      sync.Mutex
	records map[state.Key]held
	mark    state.Mark
	stamp   authz.Stamp
	history []change // all there ever was
	user    *handle
	watch   func(state.Change) // told of each durable change
	views   map[authz.Revision]*state.View
	viewed  []authz.Revision
	spare   *state.View
	// durable is what a crash leaves; it lags only with a planted bug.
	durable authz.Revision
}

type held struct {
	rec state.Record
	mod authz.Revision
}

type change struct {
	state.Change
	before map[state.Key]held // without a record: was not there
	stamp  authz.Stamp        // before
	chain  [16]byte           // before
}

func (s *sim) newDisk() *disk {
	d := &disk{s: s, lane: s.lane(), records: map[state.Key]held{}, views: map[authz.Revision]*state.View{}}
	d.mark.Epoch.Counter = 1
	d.mark.Epoch.ID[0] = byte(s.seed)
	return d
}

// open gives the store to a process, and takes it from the one before.
func (d *disk) open() *handle {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = &handle{d: d, failed: make(chan struct{})}
	return d.user
}

// crash is what the death of the process does to the store.
func (d *disk) crash() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = nil
	d.undo(d.durable)
}

// undo goes back to a revision. The caller holds mu.
func (d *disk) undo(to authz.Revision) {
	for d.mark.Revision > to {
		c := d.history[len(d.history)-1]
		d.history = d.history[:len(d.history)-1]
		undo(d.records, c)
		d.mark.Revision, d.mark.Chain, d.stamp = c.Revision-1, c.chain, c.stamp
		delete(d.views, c.Revision)
	}
	d.durable = min(d.durable, to)
}

func undo(records map[state.Key]held, c change) {
	for k, h := range c.before {
		if h.rec == nil {
			delete(records, k)
		} else {
			records[k] = h
		}
	}
}

// copied is a backup of the whole disk.
type copied struct {
	records map[state.Key]held
	mark    state.Mark
	stamp   authz.Stamp
	history []change
}

func (d *disk) backup() copied {
	d.mu.Lock()
	defer d.mu.Unlock()
	return copied{maps.Clone(d.records), d.mark, d.stamp, slices.Clone(d.history)}
}

// restore puts a backup in place of everything. raise is how `pdp restore` does it: under
// a new epoch.
func (d *disk) restore(c copied, raise bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = nil
	d.records, d.mark, d.stamp, d.history = maps.Clone(c.records), c.mark, c.stamp, slices.Clone(c.history)
	d.durable = d.mark.Revision
	d.views, d.viewed = map[authz.Revision]*state.View{}, nil
	if raise {
		d.mark.Epoch.Counter++
		d.mark.Epoch.ID[1]++
	}
}

// rollback sets the disk back without a word.
func (d *disk) rollback(to authz.Revision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.user = nil
	d.history = slices.Clone(d.history)
	d.views, d.viewed = map[authz.Revision]*state.View{}, nil
	d.undo(to)
}

// viewAt gives the world as it was. The caller must not call disk meanwhile, nor keep it.
func (d *disk) viewAt(rev authz.Revision) *state.View {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v := d.views[rev]; v != nil {
		return v
	}
	records := maps.Clone(d.records)
	chain, stamp := d.mark.Chain, d.stamp
	for i := len(d.history) - 1; i >= 0 && d.history[i].Revision > rev; i-- {
		undo(records, d.history[i])
		chain, stamp = d.history[i].chain, d.history[i].stamp
	}
	v := d.spare
	if d.spare = nil; v == nil {
		v = state.NewView()
	}
	v.Reset()
	for _, k := range slices.Sorted(maps.Keys(records)) {
		v.Load(records[k].rec, records[k].mod)
	}
	v.Loaded(state.Mark{Epoch: d.mark.Epoch, Revision: rev, Chain: chain}, stamp)
	const keep = 40
	d.views[rev] = v
	if d.viewed = append(d.viewed, rev); len(d.viewed) > keep {
		if old := d.views[d.viewed[0]]; old != nil {
			d.spare = old
		}
		delete(d.views, d.viewed[0])
		d.viewed = d.viewed[1:]
	}
	return v
}

// changeAt gives the change at a revision.
func (d *disk) changeAt(rev authz.Revision) (state.Change, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := int(rev) - 1
	if i < 0 || i >= len(d.history) {
		return state.Change{}, false
	}
	return d.history[i].Change, true
}

// handle is the store as one process has it. It implements [state.Store].
type handle struct {
	d      *disk
	sink   state.Sink
	failed chan struct{}
}

func (h *handle) usable(ctx context.Context) error {
	if h.d.user != h {
		return state.ErrClosed()
	}
	if ctx.Err() != nil {
		return state.ErrCanceled(ctx)
	}
	return nil
}

// Attach implements [state.Store].
func (h *handle) Attach(ctx context.Context, sink state.Sink) error {
	d := h.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := h.usable(ctx); err != nil {
		return err
	}
	if h.sink != nil {
		return state.ErrAttachOrder("a sink is attached already")
	}
	h.sink = sink
	sink.Reset()
	for _, k := range slices.Sorted(maps.Keys(d.records)) {
		sink.Load(d.records[k].rec, d.records[k].mod)
	}
	sink.Loaded(d.mark, d.stamp)
	return nil
}

// Commit implements [state.Store]. What it does is durable after a while, and all at once
// then: nobody has seen it before.
func (h *handle) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	b.Events = nil
	b.Puts = h.d.s.bug.puts(b)
	p, err := state.Prepare(b)
	if err != nil {
		return 0, err
	}
	d := h.d
	if d.s.bug.kind == bugTellsEarly {
		return h.early(ctx, p)
	}
	d.mu.Lock()
	err = h.usable(ctx)
	at := d.lane.next(d.s.now(), d.s.plan.sync)
	d.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if !underLock(b.Verb) {
		d.s.sleepUntil(context.Background(), at)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.user != h { // died meanwhile
		return 0, state.ErrClosed()
	}
	rev, err := h.commit(p)
	d.durable = d.mark.Revision
	return rev, err
}

// underLock tells of verbs that commit while they hold a mutex. Virtual time stands still
// while somebody waits for a mutex, so their commits take no time.
func underLock(verb string) bool {
	switch verb {
	case "leases", "apply_changes", "finish_project_deletion", "clean_up":
		return true
	}
	return false
}

// early is Commit with a bug: everybody hears of the change before it is durable.
func (h *handle) early(ctx context.Context, p *state.Prepared) (authz.Revision, error) {
	d := h.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := h.usable(ctx); err != nil {
		return 0, err
	}
	rev, err := h.commit(p)
	if err == nil {
		d.s.at(d.lane, 300*time.Millisecond, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.user == h {
				d.durable = max(d.durable, min(rev, d.mark.Revision))
			}
		})
	}
	return rev, err
}

func (h *handle) commit(p *state.Prepared) (authz.Revision, error) {
	d := h.d
	for _, g := range p.Guards {
		if found := d.records[g.Key].mod; found != g.Revision {
			return 0, state.ErrGuardFailed(g, found)
		}
	}
	if len(p.Keys) == 0 {
		d.stamp = max(d.stamp, p.Stamp)
		return d.mark.Revision, nil
	}
	c, sums := p.Change(d.mark.Revision+1, d.stamp)
	next := change{before: map[state.Key]held{}, stamp: d.stamp, chain: d.mark.Chain}
	for _, k := range c.Keys {
		next.before[k] = d.records[k]
	}
	d.mark.Revision, d.stamp = c.Revision, c.Stamp
	d.mark.Chain = state.ChainNext(d.mark.Chain, state.AppendChange(nil, &c, sums))
	c.Chain = d.mark.Chain
	for _, rec := range c.Puts {
		d.records[rec.Key()] = held{rec, c.Revision}
	}
	for _, key := range c.Deletes {
		delete(d.records, key)
	}
	next.Change = c
	d.history = append(d.history, next)
	if d.watch != nil {
		d.watch(c)
	}
	h.sink.Apply([]state.Change{c})
	return c.Revision, nil
}

// Head implements [state.Store].
func (h *handle) Head() (state.Mark, authz.Stamp) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return h.d.mark, h.d.stamp
}

// History implements [state.Store].
func (h *handle) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	d := h.d
	d.mu.Lock()
	err := h.usable(ctx)
	history, head := d.history, d.mark.Revision
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if after > head {
		return state.ErrHistoryAhead(after, head)
	}
	for _, c := range history[after:] {
		kept := c.Change
		kept.Puts = nil
		if err := fn(kept); err != nil {
			return err
		}
	}
	return nil
}

// Events implements [state.Store].
func (h *handle) Events(ctx context.Context, _, _ authz.Stamp, _ string, _ func(state.Event, string) error) error {
	return h.usable(ctx)
}

// PruneEvents implements [state.Store].
func (h *handle) PruneEvents(ctx context.Context, _ authz.Stamp, _ int) (int, error) {
	return 0, h.usable(ctx)
}

// Failed implements [state.Store].
func (h *handle) Failed() <-chan struct{} { return h.failed }

// Close implements [state.Store].
func (h *handle) Close() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.user == h {
		h.d.user = nil
	}
	return nil
}
