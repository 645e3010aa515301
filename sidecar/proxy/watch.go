package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// errCut is the cause of everything that ends because what was allowed is not allowed any more.
var errCut = errors.New("cut off: the job may not do this any more")

// defaultEvery is how often a watch asks while nothing flows.
const defaultEvery = time.Second

// watch keeps one request under the question that allowed it. It is safe for concurrent use.
type watch struct {
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

// newWatch begins to watch. ask tells whether the request may go on; it is asked by several goroutines at once, and its context ends with the watch.
// With a nil ask nothing is asked and everything may. onCut, which may be nil, is called at most once, and not after Close. every is the time
// between two questions while nothing flows; zero takes defaultEvery. End it with Close.
func newWatch(ctx context.Context, every time.Duration, ask func(context.Context) bool, onCut func()) *watch {
	w := &watch{ask: ask, every: every, onCut: onCut}
	if w.every <= 0 {
		w.every = defaultEvery
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	if ask != nil {
		w.mu.Lock() // the timer may be quicker than this function
		w.timer = time.AfterFunc(w.every, w.tick)
		w.mu.Unlock()
	}
	return w
}

// Context ends with the watch, and with the cause errCut when it cuts.
func (w *watch) Context() context.Context { return w.ctx }

// Cut reports whether it has cut.
func (w *watch) Cut() bool { return w.over.Load() }

// Close ends the watch. A second time it does nothing.
func (w *watch) Close() {
	w.mu.Lock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.cancel(context.Canceled)
}

// Allowed asks whether the request may go on, and cuts if not.
func (w *watch) Allowed() bool {
	if w.over.Load() {
		return false
	}
	if w.ask == nil || w.ask(w.ctx) {
		return !w.over.Load() // somebody else may have heard a no meanwhile
	}
	w.cut()
	return false
}

func (w *watch) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.ctx.Err() != nil || w.over.Swap(true) {
		return // the client has gone, which is why nothing was answered
	}
	w.cancel(errCut)
	if w.onCut != nil {
		w.onCut()
	}
}

// unlessCut does f, which must not wait for anything, unless the watch has cut; a cut comes before or after all of f.
func (w *watch) unlessCut(f func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over.Load() {
		return false
	}
	f()
	return true
}

func (w *watch) tick() {
	if !w.Allowed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.timer.Reset(w.every)
	}
}

// Reader gives what body has for as long as it is allowed: each chunk, and the end, is given only after one more question. Reads fail with errCut from
// the cut on. A Read that waits is not woken: close body, or its connection, in onCut.
func (w *watch) Reader(body io.ReadCloser) io.ReadCloser {
	if w.ask == nil {
		return body
	}
	return &watched{body, w}
}

type watched struct {
	io.ReadCloser
	watch *watch
}

// Read implements io.Reader.
func (r *watched) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if (n > 0 || err == nil || err == io.EOF) && !r.watch.Allowed() || r.watch.Cut() {
		clear(p[:n])
		return 0, errCut
	}
	return n, err
}
