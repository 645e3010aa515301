package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// ErrCut is the cause of everything that ends because what was allowed is not allowed any more.
var ErrCut = errors.New("cut off: the job may not do this any more")

// DefaultEvery is how often a [Watch] asks while nothing flows.
const DefaultEvery = time.Second

// Watch keeps one request under the question that allowed it. It is safe for concurrent use.
type Watch struct {
	ask    func(context.Context) bool
	every  time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   atomic.Bool // it was cut; never taken back

	mu     sync.Mutex // held while it cuts, so that nothing of a request is touched once Close has returned
	onCut  func()
	timer  *time.Timer
	closed bool
}

// NewWatch begins to watch. ask tells whether the request may go on; it is asked by several goroutines at once, and its context ends with the watch.
// With a nil ask nothing is asked and everything may. onCut, which may be nil, is called at most once, and not after Close. every is the time
// between two questions while nothing flows; zero takes DefaultEvery. End it with Close.
func NewWatch(ctx context.Context, every time.Duration, ask func(context.Context) bool, onCut func()) *Watch {
	w := &Watch{ask: ask, every: every, onCut: onCut}
	if w.every <= 0 {
		w.every = DefaultEvery
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	if ask != nil {
		w.mu.Lock() // the timer may be quicker than this function
		w.timer = time.AfterFunc(w.every, w.tick)
		w.mu.Unlock()
	}
	return w
}

// Context ends with the watch, and with the cause ErrCut when it cuts.
func (w *Watch) Context() context.Context { return w.ctx }

// Cut reports whether it has cut.
func (w *Watch) Cut() bool { return w.over.Load() }

// Close ends the watch. A second time it does nothing.
func (w *Watch) Close() {
	w.mu.Lock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.cancel(context.Canceled)
}

// Allowed asks whether the request may go on, and cuts if not.
func (w *Watch) Allowed() bool {
	if w.over.Load() {
		return false
	}
	if w.ask == nil || w.ask(w.ctx) {
		return !w.over.Load() // somebody else may have heard a no meanwhile
	}
	w.cut()
	return false
}

func (w *Watch) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.ctx.Err() != nil || w.over.Swap(true) {
		return // the client has gone, which is why nothing was answered
	}
	w.cancel(ErrCut)
	if w.onCut != nil {
		w.onCut()
	}
}

// unlessCut does f, which must not wait for anything, unless the watch has cut; a cut comes before or after all of f.
func (w *Watch) unlessCut(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over.Load() {
		return false
	}
	f()
	return true
}

func (w *Watch) tick() {
	if !w.Allowed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.timer.Reset(w.every)
	}
}

// Reader gives what body has for as long as it is allowed: each chunk, and the end, is given only after one more question. Reads fail with ErrCut from
// the cut on. A Read that waits is not woken: close body, or its connection, in onCut.
func (w *Watch) Reader(body io.ReadCloser) io.ReadCloser {
	if w.ask == nil {
		return body
	}
	return &watched{body, w}
}

type watched struct {
	io.ReadCloser
	watch *Watch
}

// Read implements io.Reader.
func (r *watched) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if (n > 0 || err == nil || err == io.EOF) && !r.watch.Allowed() || r.watch.Cut() {
		clear(p[:n])
		return 0, ErrCut
	}
	return n, err
}
