package memstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Handle is the store of one PDP on a [Cluster]; it implements [state.Shared]. Its own commits
// are in its sink when Commit returns, with all before them; those of others come from a goroutine
// of its own, as by a watch, which Close ends. Hold, Deliver, Cut and LoseAnswer are for tests.
type Handle struct {
	cluster *Cluster
	turn    chan struct{} // full while somebody brings the sink forward
	wake    chan struct{} // has something when there may be something to deliver
	gone    chan struct{} // closed by Close
	failed  chan struct{}
	under   sync.WaitGroup // the watch, and commits under way

	// What follows is under the cluster's mu.
	attached, closed, held, lose bool
	sink                         state.Sink // set once it is loaded, or being loaded in its turn
	queue                        []delivery
	mark                         state.Mark // what the sink has
	stamp                        authz.Stamp
	cut                          chan struct{} // not nil while it is cut off; closed by Mend
}

var _ state.Shared = (*Handle)(nil)

// Hold stops the delivery of what others commit, as a watch that is stuck does. When it returns
// nothing is under way. Commits of the handle itself, empty ones too, still bring the sink to
// the head.
func (h *Handle) Hold() {
	h.turn <- struct{}{}
	h.set(func() { h.held = true })
	<-h.turn
}

// Release ends Hold. It does not wait for the deliveries.
func (h *Handle) Release() { h.set(func() { h.held = false }) }

// Deliver gives the sink up to n of the batches that are held back, oldest first, and says how
// many they were: none while the handle is cut off.
func (h *Handle) Deliver(n int) int {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	h.cluster.mu.Lock()
	n = min(n, len(h.queue))
	if h.cut != nil || h.closed {
		n = 0
	}
	var to uint64
	if n > 0 {
		to = h.queue[n-1].step
	}
	h.cluster.mu.Unlock()
	h.deliver(to)
	return n
}

// Cut cuts the handle off from the cluster: every call that needs the cluster waits for
// [Options].Timeout and fails with STORE_UNREACHABLE, and nothing is delivered. When it returns
// nothing is under way but what a Commit before it stored.
func (h *Handle) Cut() {
	h.turn <- struct{}{}
	h.set(func() {
		if h.cut == nil {
			h.cut = make(chan struct{})
		}
	})
	<-h.turn
}

// Mend ends Cut: calls that still wait go on.
func (h *Handle) Mend() {
	h.set(func() {
		if h.cut != nil {
			close(h.cut)
			h.cut = nil
		}
	})
}

// LoseAnswer makes the next write to the registry by this handle happen, and fail all the same
// with STORE_UNREACHABLE.
func (h *Handle) LoseAnswer() { h.set(func() { h.lose = true }) }

func (h *Handle) set(fn func()) {
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	fn()
	h.poke()
}

// poke wakes the goroutine that delivers.
func (h *Handle) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// enter waits until the cluster can be reached and gives its mu, or an error.
func (h *Handle) enter(ctx context.Context) error {
	var late <-chan time.Time
	for {
		h.cluster.mu.Lock()
		cut := h.cut
		switch {
		case h.closed:
			h.cluster.mu.Unlock()
			return state.ErrClosed()
		case ctx.Err() != nil:
			h.cluster.mu.Unlock()
			return state.ErrCanceled(ctx)
		case cut == nil:
			return nil
		}
		h.cluster.mu.Unlock()
		if late == nil {
			t := time.NewTimer(h.cluster.opts.Timeout)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-cut:
		case <-h.gone:
		case <-ctx.Done():
		case <-late:
			return errUnreachable("it was cut off; nothing was stored")
		}
	}
}

// Attach implements [state.Store].
func (h *Handle) Attach(ctx context.Context, sink state.Sink) error {
	c := h.cluster
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	if err := h.enter(ctx); err != nil {
		return err
	}
	if h.attached {
		c.mu.Unlock()
		return state.ErrAttachOrder("a sink is attached already")
	}
	h.attached, h.sink = true, sink
	h.mark, h.stamp = c.data.mark, c.data.stamp
	records := make([]held, 0, len(c.data.records))
	for _, r := range c.data.records {
		records = append(records, r)
	}
	mark, stamp := h.mark, h.stamp
	h.under.Go(h.deliverLoop)
	c.mu.Unlock()
	sink.Reset()
	for _, r := range records {
		sink.Load(r.rec, r.mod)
	}
	sink.Loaded(mark, stamp)
	return nil
}

// Commit implements [state.Store].
func (h *Handle) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	p, err := state.Prepare(b)
	if err != nil {
		return 0, err
	}
	c := h.cluster
	if err := h.enter(ctx); err != nil {
		return 0, err
	}
	if !h.attached {
		c.mu.Unlock()
		return 0, state.ErrAttachOrder("nothing is attached")
	}
	h.under.Add(1)
	defer h.under.Done()
	step, rev := c.step, c.data.mark.Revision
	if err = c.data.judge(b.Guards); err == nil {
		step, rev = c.commit(p)
	}
	c.mu.Unlock()
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, state.ErrCanceled(ctx)
	}
	h.deliver(step) // Also what a guard failed at.
	<-h.turn
	if err != nil {
		return 0, err
	}
	return rev, nil
}

// deliver brings the sink to a step of the cluster's. The caller has the turn.
func (h *Handle) deliver(to uint64) {
	c := h.cluster
	c.mu.Lock()
	n := 0
	for n < len(h.queue) && h.queue[n].step <= to {
		n++
	}
	steps := h.queue[:n:n]
	h.queue = h.queue[n:]
	c.mu.Unlock()
	if n == 0 {
		return
	}
	var changes []state.Change
	for _, d := range steps {
		if d.change != nil {
			changes = append(changes, *d.change)
		}
	}
	if len(changes) > 0 {
		h.sink.Apply(changes)
	}
	c.mu.Lock()
	h.mark, h.stamp = steps[n-1].mark, steps[n-1].stamp
	c.mu.Unlock()
}

// deliverLoop is the watch: it ends when the handle is closed.
func (h *Handle) deliverLoop() {
	c := h.cluster
	for {
		select {
		case <-h.wake:
		case <-h.gone:
			return
		}
		h.turn <- struct{}{}
		c.mu.Lock()
		stuck, to := h.held || h.cut != nil || h.closed, c.step
		c.mu.Unlock()
		if !stuck {
			h.deliver(to)
		}
		<-h.turn
	}
}

// Head implements [state.Store]: as of what the sink has, or, before Attach, of Open.
func (h *Handle) Head() (state.Mark, authz.Stamp) {
	h.cluster.mu.Lock()
	defer h.cluster.mu.Unlock()
	return h.mark, h.stamp
}

// History implements [state.Store], as far as the sink has come.
func (h *Handle) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	history, head := h.cluster.data.history, h.mark.Revision
	history = history[:max(0, len(history)-int(h.cluster.data.mark.Revision-head))]
	h.cluster.mu.Unlock()
	return walkHistory(ctx, history, after, head, fn)
}

// Events implements [state.Store].
func (h *Handle) Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	events := slices.Clone(h.cluster.data.events)
	h.cluster.mu.Unlock()
	return walkEvents(ctx, events, from, to, cursor, fn)
}

// PruneEvents implements [state.Store].
func (h *Handle) PruneEvents(ctx context.Context, before authz.Stamp, limit int) (int, error) {
	if err := h.enter(ctx); err != nil {
		return 0, err
	}
	defer h.cluster.mu.Unlock()
	return h.cluster.data.prune(before, limit), nil
}

// Failed implements [state.Store]. A handle does not fail.
func (h *Handle) Failed() <-chan struct{} { return h.failed }

// Close implements [state.Store]. The others go on. It waits for commits and deliveries under way.
func (h *Handle) Close() error {
	c := h.cluster
	c.mu.Lock()
	if !h.closed {
		h.closed = true
		delete(c.handles, h)
		close(h.gone)
	}
	c.mu.Unlock()
	h.under.Wait()
	return nil
}
