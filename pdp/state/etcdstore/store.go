package etcdstore

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Store implements [state.Store].
type Store struct {
	opts    Options
	log     *slog.Logger
	client  *clientv3.Client
	cluster uint64

	ctx    context.Context // ends with the store: of the watch and of folding
	cancel context.CancelFunc
	others sync.WaitGroup // the goroutines of ctx

	queue    chan *request
	entering atomic.Int64
	closed   chan struct{} // Closed by Close: no more batches.
	idle     chan struct{} // Closed when the committer has ended.
	failed   chan struct{}
	stage    atomic.Int32
	once     sync.Once
	low      []atomic.Bool // for each endpoint: its quota is nearly used up
	hurried  atomic.Int64  // when connections were last told to hurry

	// applying is held by whoever brings the sink forward: the committer with its own entries,
	// the watch with those of others. It guards what follows.
	applying sync.Mutex
	sink     state.Sink
	now      point
	headMod  int64 // etcd's revision of the head at now
	at       int64 // everything up to this revision of etcd's has been seen
	mods     map[state.Key]authz.Revision

	// mu guards what readers see. It is taken after applying.
	mu     sync.RWMutex
	seen   point
	spans  []span   // the entries in the log, oldest first; elements never change
	tail   []*entry // those that may not be folded yet
	heavy  int      // bytes of them
	broken error
	// endWatch ends the watch there is, for tests.
	endWatch context.CancelFunc

	foldNow chan struct{}
	folding sync.Mutex
	group   int        // requests in the last transaction; the committer's
	down    bool       // the last call to etcd failed; the committer's
	held    []*request // taken from the queue and not yet come to; the committer's

	stats Stats
}

// Stats counts what happened to a store since it was opened.
type Stats struct {
	// Transactions are those that moved the head by this store.
	Transactions atomic.Int64
	// Lost are transactions that came too late, as another had moved the head.
	Lost atomic.Int64
	// Unknown are answers that were lost; each was looked up.
	Unknown atomic.Int64
	// Gaps are times at which the watch left something out. There should be none.
	Gaps atomic.Int64
	// Watches are the times that a watch was begun.
	Watches atomic.Int64
	// Compacted are the times that what a watch wanted had been compacted.
	Compacted atomic.Int64
	// Reloads are the times that the log had too little, and all records were read again.
	Reloads atomic.Int64
	// Folds are the times that the log was folded by this store.
	Folds atomic.Int64
	// Size and Quota are those of the member whose database is nearest to its quota, in bytes,
	// as of the last look; zero when no member has told.
	Size, Quota atomic.Int64
}

// Stats gives the counts; they go on counting.
func (s *Store) Stats() *Stats { return &s.stats }

// The stages of a store.
const (
	opened = iota
	attaching
	attached
)

// Head implements [state.Store].
func (s *Store) Head() (state.Mark, authz.Stamp) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seen.mark, s.seen.stamp
}

// Failed implements [state.Store].
func (s *Store) Failed() <-chan struct{} { return s.failed }

// fail stops the store for good and gives the error that every call gets from now on.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
		s.log.Error("the store failed; this process has to stop", "error", err)
		close(s.failed)
	}
	return s.broken
}

// usable says why no call can be served.
func (s *Store) usable(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.broken != nil {
		return s.broken
	}
	select {
	case <-s.closed:
		return state.ErrClosed()
	default:
	}
	if ctx.Err() != nil {
		return state.ErrCanceled(ctx)
	}
	return nil
}

// closeTime is how long Close waits for the outcome of what was sent.
const closeTime = 10 * time.Second

// Close implements [state.Store]. When etcd does not answer, those who wait for the outcome of
// a batch are told that it is unknown.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closed)
		<-s.idle
		s.cancel()
		s.others.Wait()
		s.client.Close()
	})
	return nil
}

// try gives the context of one try of one call.
func (s *Store) try(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.Timeout)
}

// pause waits between two tries; it is false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// again waits before a call is tried again. The connections are told not to wait longer than
// that: by themselves they would come to two minutes in a long outage.
func (s *Store) again(ctx context.Context) bool {
	now := time.Now().UnixNano()
	if last := s.hurried.Load(); now-last > int64(time.Second) && s.hurried.CompareAndSwap(last, now) {
		s.client.ActiveConnection().ResetConnectBackoff()
	}
	return pause(ctx, retryPause)
}

// key gives the whole name of a key.
func (s *Store) key(name string) string { return s.opts.Prefix + name }

// name takes the prefix off a key.
func (s *Store) name(key []byte) string { return string(key[len(s.opts.Prefix):]) }

// below gives the range of everything that begins so.
func (s *Store) below(name string) (from string, end clientv3.OpOption) {
	from = s.key(name)
	return from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(from))
}

// between gives the range from a name to the end of a directory.
func (s *Store) between(from, dir string) (key string, end clientv3.OpOption) {
	return s.key(from), clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.key(dir)))
}
