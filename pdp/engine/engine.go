package engine

import (
	"context"
	"hash/fnv"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state"
)

// Options are what an Engine is made of.
type Options struct {
	Store state.Store
	// Clock gives the PDP's time, which what is committed from now on sets forward. It must
	// not begin before the store's last stamp; nil takes one that does not.
	Clock Clock
	// Tokens makes token texts.
	Tokens *token.Format
	// MaxTimeout is the longest life of a token; DefaultTimeout that of one whose
	// Issue does not say. Zero takes 7 days and 1 hour.
	MaxTimeout, DefaultTimeout time.Duration
	// Retention is how long ended jobs, replaced digests and request ids are kept. It
	// is at least twice MaxTimeout, so that nothing they forbid can still arrive (R7).
	Retention time.Duration
	// AuditRetention is how long audit events are kept; zero takes 90 days.
	AuditRetention time.Duration
	// AuditSample keeps one of so many allows in the audit log; zero keeps none.
	AuditSample int
	// Feed are the options of the feed that the engine makes; nil functions take the
	// engine's clock and logger.
	Feed feed.Options
	// Heard tells whether other PDPs were there to hear runners until now, while this one
	// was not: then a start gives no heartbeat a new term (R12). nil asks the registrations
	// of a [state.Shared] store, which takes up to a fence window (R8); this PDP's own must
	// say that nothing is applied as long as New runs.
	Heard func(context.Context) (bool, error)
	// Replica makes this PDP one of several on a [state.Shared] store; nil is one alone. It
	// has joined. New attaches the feed to it, and grants leases by its clock and of its
	// term.
	Replica *replica.Member
	Logger  *slog.Logger
}

// Actor is who calls a verb.
type Actor struct {
	// Name is the authenticated caller.
	Name string
	// User is the one acted for, zero for the caller itself.
	User authz.UserID
	// Admin is set by the door for callers of the admin role: what needs a user's right
	// they may also do as themselves.
	Admin bool
}

// Engine carries out the verbs on one store. It is safe for concurrent use.
type Engine struct {
	opt   Options
	store state.Store
	// shared says that other PDPs may have the store open, too.
	shared bool
	view   *state.View
	feed   *feed.Feed
	clock  *risingClock
	log    *slog.Logger
	audit  *audit.Recorder
	walks  sync.Pool // of *policy.Walk
	// leaseNow is the clock of leases, and of how long a replica may answer.
	leaseNow func() lease.Instant

	lapsed lapsedJobs

	// directory keeps the writers of the directory in this process from each other's way; see
	// directory.go.
	directory sync.Mutex
	halfway   halfway // guarded by directory

	stop context.CancelFunc
	done sync.WaitGroup
}

// New loads the store into a view and starts what has to go on by itself: noticing
// lapsed heartbeats, removing what is past its retention, writing the audit log, and
// the leases of its feed. Close stops that; the store stays the caller's.
func New(ctx context.Context, opt Options) (*Engine, error) {
	if opt.MaxTimeout == 0 {
		opt.MaxTimeout = 7 * 24 * time.Hour
	}
	if opt.DefaultTimeout == 0 {
		opt.DefaultTimeout = min(time.Hour, opt.MaxTimeout)
	}
	if opt.AuditRetention == 0 {
		opt.AuditRetention = 90 * 24 * time.Hour
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	opt.Retention = max(opt.Retention, 2*opt.MaxTimeout)
	follow := opt.Clock == nil
	if follow {
		opt.Clock = NewClock(0)
	}
	e := &Engine{opt: opt, store: opt.Store, view: state.NewView(), log: opt.Logger}
	_, e.shared = opt.Store.(state.Shared)
	e.clock = &risingClock{Clock: opt.Clock, log: opt.Logger, follow: follow || e.shared}
	e.walks.New = func() any { return new(policy.Walk) }
	if opt.Feed.Now == nil {
		// Leases are counted on a clock that nothing sets forward: a PDP whose time rises with
		// another's stamps must not believe that a lease of its own is over (R11).
		opt.Feed.Now = func() lease.Instant { return lease.Instant(opt.Clock.Now()) }
	}
	if opt.Replica != nil {
		if !e.shared {
			return nil, authz.Errorf(authz.KindInvalid, CodeNotShared, "this store cannot be one of several: give the engine no Replica")
		}
		// One clock for both: until when this PDP may answer is an instant on the Member's. And
		// no lease is longer than what the others wait for.
		opt.Feed.Shared, opt.Feed.Serving, opt.Feed.Now, opt.Feed.Term = true, opt.Replica.Serving, opt.Replica.Now, opt.Replica.Term()
	}
	e.leaseNow = opt.Feed.Now
	if opt.Feed.Logger == nil {
		opt.Feed.Logger = opt.Logger
	}
	if opt.Feed.Rules == 0 {
		opt.Feed.Rules = rulesVersion()
	}
	e.feed = feed.New(e.view, opt.Feed)
	if err := opt.Store.Attach(ctx, applied{e.feed, e}); err != nil {
		return nil, err
	}
	if err := e.restartHeartbeats(ctx); err != nil {
		return nil, err
	}
	if err := e.feed.Start(ctx, opt.Store); err != nil {
		return nil, err
	}
	e.rememberLapsed()
	if opt.Replica != nil {
		opt.Replica.Attach(e.feed)
	}
	e.audit = audit.NewRecorder(opt.AuditSample, e.storeEvents)
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	e.done.Go(func() { e.sweepLoop(bg) })
	e.done.Go(func() {
		e.audit.Run(bg, auditInterval, func(err error) { e.log.Error("decisions could not be written to the audit log", "error", err) })
	})
	return e, nil
}

// rulesVersion names the rules that this program judges by: another build may have
// others, so its answers are not carried over.
func rulesVersion() uint64 {
	h := fnv.New64a()
	if info, ok := debug.ReadBuildInfo(); ok {
		io.WriteString(h, info.String())
	}
	return h.Sum64()
}

// auditInterval is how long decisions wait to be written together.
const auditInterval = 2 * time.Second

// Close stops the engine's own work and writes what the audit log still holds. It does
// not wait for leases to end: whoever wants that calls [feed.Feed.Close] before.
func (e *Engine) Close() {
	e.stop()
	e.done.Wait()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.feed.Close(now); err != nil {
		e.log.Warn("that no lease is out could not be recorded; the next start waits for the longest one", "error", err)
	}
}

// Feed gives what drives the leases of sidecars.
func (e *Engine) Feed() *feed.Feed { return e.feed }

// View gives the engine's view, for reads and metrics.
func (e *Engine) View() *state.View { return e.view }

// Now gives the PDP's time.
func (e *Engine) Now() authz.Stamp { return e.clock.Now() }

// AuditLost tells how many decisions the audit log could not keep.
func (e *Engine) AuditLost() uint64 { return e.audit.Lost() }

// event makes the audit entry of a change.
func (e *Engine) event(verb string, by Actor, ev audit.Event) state.Event {
	ev.Time, ev.Actor, ev.OnBehalf, ev.Verb = e.clock.Now(), by.Name, by.User, verb
	return state.Event{Stamp: ev.Time, Data: ev.Encode()}
}

func (e *Engine) storeEvents(ctx context.Context, events []audit.Event) error {
	for len(events) > 0 {
		n := min(len(events), 1000)
		b := state.Batch{Actor: "jobward", Verb: "audit", Stamp: e.clock.Now()}
		for _, ev := range events[:n] {
			b.Events = append(b.Events, state.Event{Stamp: ev.Time, Data: ev.Encode()})
		}
		if _, err := e.store.Commit(ctx, b); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}
