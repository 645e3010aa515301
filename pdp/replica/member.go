package replica

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// DefaultFence is F of R8 where [Options] does not say.
const DefaultFence = 5 * time.Second

// Options are what a Member is made of.
type Options struct {
	Registry state.Registry
	// Local may be set later, with [Member.Attach]: a replica registers before its view is
	// loaded.
	Local  Local
	Dialer Dialer
	// Name and Address are those of the registration; Term is the longest lease granted.
	Name, Address string
	Term, Fence   time.Duration
	// Now is a clock that counts while the machine sleeps (R11), the same as the feed's.
	Now func() lease.Instant
	// Draw gives incarnations; nil takes random ones.
	Draw func() state.Incarnation
	// OnChange, where set, is told when this PDP begins or ceases to serve; why is nil when
	// it begins. It is called from a goroutine of the Member, one call at a time.
	OnChange func(why error)
	Logger   *slog.Logger
	// Fault plants a bug, for tests.
	Fault Fault
}

// Member is one PDP of several. It is safe for concurrent use.
type Member struct {
	opt Options
	log *slog.Logger

	// until is when this PDP may not answer any more, as an Instant. It is what the hot path
	// looks at.
	until atomic.Int64

	attached chan struct{} // closed by Attach
	local    Local         // set by Attach
	served   chan struct{} // closed when it may serve for the first time
	calls    caller        // of OnChange

	ctx  context.Context // ends with Stop
	stop context.CancelFunc
	runs sync.WaitGroup

	lists lister
	draft draft // of Join, and then of the goroutine that renews

	// What follows is guarded by mu. Under it neither Local nor the Registry is called.
	mu      sync.Mutex
	reg     state.Registration // as it was last sent
	joined  bool               // reg stands, as far as is known
	stopped bool               // Stop was called: it never serves again
	serving bool               // as OnChange was told
	cause   cause              // why it does not serve, while it does not
	ceased  lease.Instant      // since when
	put     put                // the last that succeeded
	well    lease.Instant      // since when none came too late
	strays  []state.Incarnation
	peers   map[state.Incarnation]*contact
	sights  map[state.Incarnation]sight         // of live registrations of others
	gone    map[state.Incarnation]lease.Instant // when departed ones were first seen
	fencing map[state.Incarnation]bool          // being fenced, or fenced and not yet seen to be gone
	stats   Stats
}

// put is a renewal, or a join: when it was sent and which head it read.
type put struct {
	sent lease.Instant
	head authz.Revision
}

// sight is a registration as it was first seen with this version.
type sight struct {
	version uint64
	since   lease.Instant
}

// New makes a Member that has not joined.
func New(opt Options) *Member {
	if opt.Now == nil || opt.Registry == nil || opt.Dialer == nil {
		panic("replica: Options.Now, Registry and Dialer must be set")
	}
	if opt.Fence == 0 {
		opt.Fence = DefaultFence
	}
	if opt.Term == 0 {
		opt.Term = lease.DefaultTerm
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Draw == nil {
		opt.Draw = func() (id state.Incarnation) {
			rand.Read(id[:])
			return id
		}
	}
	m := &Member{
		opt: opt, log: opt.Logger, attached: make(chan struct{}), served: make(chan struct{}), ceased: opt.Now(),
		peers: map[state.Incarnation]*contact{}, sights: map[state.Incarnation]sight{}, gone: map[state.Incarnation]lease.Instant{},
		fencing: map[state.Incarnation]bool{},
	}
	m.lists.read = m.readList
	m.ctx, m.stop = context.WithCancel(context.Background())
	if opt.Local != nil {
		m.Attach(opt.Local)
	}
	return m
}

// Attach gives the Member its own PDP. Before that nothing may be answered. It is called
// once, and not when Options.Local was set.
func (m *Member) Attach(l Local) {
	m.local = l
	close(m.attached)
}

// Serving reports whether this PDP may answer a check, grant a lease or renew one at now,
// which is read from Options.Now in the very call that answers (M1). It takes no lock.
func (m *Member) Serving(now lease.Instant) bool { return int64(now) < m.until.Load() }

// Now reads the clock that Serving goes by.
func (m *Member) Now() lease.Instant { return m.opt.Now() }

// Term is the longest lease that the registration tells the others to wait for.
func (m *Member) Term() time.Duration { return m.opt.Term }

// Why tells why this PDP does not serve at now, since when, and what to do: KindUnavailable
// (FENCED). It is nil when it does.
func (m *Member) Why(now lease.Instant) error {
	if m.Serving(now) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.why(now)
}

// Incarnation gives the name of this life of the PDP; it changes when it was fenced.
func (m *Member) Incarnation() state.Incarnation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reg.Incarnation
}

// Ready waits until this PDP may serve for the first time, or until ctx ends.
func (m *Member) Ready(ctx context.Context) error {
	select {
	case <-m.served:
		if m.ctx.Err() != nil {
			return errStopped()
		}
		return nil
	case <-m.ctx.Done():
		return errStopped()
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), m.Why(m.opt.Now()))
	}
}

// retryPause is the time between two tries of what the store refused or did not answer.
const retryPause = 50 * time.Millisecond

// Join registers this PDP, before its view is loaded (M4). It tries until ctx ends, and
// keeps the registration from then on until Stop.
func (m *Member) Join(ctx context.Context) error {
	for told := (time.Time{}); ; {
		err := m.join(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			m.log.Warn("this PDP cannot register; trying again", "error", err)
		}
		if !pause(ctx, retryPause) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
	m.calls.begin(&m.runs, m.opt.OnChange)
	m.runs.Go(m.renewLoop)
	m.runs.Go(m.houseLoop)
	m.runs.Go(m.lookLoop)
	return nil
}

// short is an incarnation for people.
func short(id state.Incarnation) string { return hexOf(id[:4]) }

// pause waits; it is false when ctx has ended.
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
