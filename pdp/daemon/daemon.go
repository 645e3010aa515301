package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/server"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/etcdstore"
)

// Options are what Run works with.
type Options struct {
	Config Config
	// Shown are the settings as they are logged; may be empty.
	Shown []settings.Shown
	// Stdout takes what is said to the person who started the program, Stderr the log.
	Stdout, Stderr io.Writer
	// fault is for tests: it breaks the store's writes.
	fault badgerstore.Fault
	// Change, if set, changes what the feed is made of, for tests.
	Change func(*feed.Options)
	// ChangeReplica, if set, changes what a replica is made of, for tests.
	ChangeReplica func(*replica.Options)
	// Ready, if set, is called when calls are taken and everything has been said.
	Ready func(Addresses)
}

// Addresses are where a PDP listens.
type Addresses struct {
	// GRPC is in the order of the setting.
	GRPC []net.Addr
	// Admin is nil when it is off.
	Admin net.Addr
	// REST is nil when it is off.
	REST net.Addr
}

// Run is a policy decision point from start to stop. It returns nil after ctx has ended and everything was stopped in order. An error says
// why it could not start, or why it had to stop.
func Run(ctx context.Context, opt Options) error {
	p, err := opt.Config.check()
	if err != nil {
		return settings.Refuse(err)
	}
	d := &daemon{plan: p, out: opt.Stdout, ready: opt.Ready, fault: opt.fault, change: opt.Change, changeReplica: opt.ChangeReplica, failed: make(chan error, 1)}
	if err := d.start(ctx, opt); err != nil {
		if ctx.Err() != nil {
			err = nil // told to stop while it was starting
		}
		return errors.Join(err, d.stops.Stop())
	}
	select {
	case <-ctx.Done():
		d.log.Info("stopping")
		d.drain()
		err := d.stops.Stop()
		select {
		case <-d.store.Failed(): // while calls were finishing
			err = errors.Join(d.storeFailed(), err)
		default:
		}
		d.log.Info("stopped")
		return err
	case err := <-d.failed:
		if errors.As(err, &historyError{}) {
			// Nobody is answered any more from a history that was replaced (R13). The sidecar whose proof it was is being told so, and
			// has a moment to hear it.
			d.rest.Close()
			d.services.Cease(authz.Errorf(authz.KindUnavailable, wire.CodeDraining, "this policy decision point is stopping: its history is not the newest"))
			d.log.Error(err.Error())
			time.Sleep(farewell)
			go d.grpc.Stop() // it waits for handlers, and nobody waits for it
		}
		return errors.Join(err, d.stops.Stop())
	case <-d.store.Failed():
		// Nothing more is answered or written, and nothing is closed in order (P4).
		go d.grpc.Stop() // it waits for handlers, and nobody waits for it
		d.rest.Close()
		err := d.storeFailed()
		d.log.Error(err.Error())
		return err
	}
}

// farewell is how long the last words to a sidecar may take.
const farewell = 200 * time.Millisecond

// storeFailed ends the process: whether the last write is durable can only be told by opening the store again.
func (d *daemon) storeFailed() error {
	if d.shared != nil {
		return errors.New("the store in etcd cannot be trusted any more, so the process stops at once: " +
			"find out what happened to the cluster (see the log), then start again, which looks at everything")
	}
	return errors.New("the store cannot tell any more what is durable, so the process stops at once: " +
		"find out why writing to the data directory failed (see the log), then start again, which looks at everything")
}

// historyError ends the process because a sidecar has seen what this store does not hold.
type historyError struct{ cause error }

// Error says what to do.
func (e historyError) Error() string {
	return "a sidecar has proof of a history that this store does not hold, so the store was replaced by an older or another one, and what it allows may have been " +
		"revoked since: nothing is answered any more. Put the newer data directory back in place. The proof: " + e.cause.Error()
}

// Unwrap gives the proof.
func (e historyError) Unwrap() error { return e.cause }

// daemon is a PDP that is starting, running or stopping. Its fields are set by start and not changed afterwards.
type daemon struct {
	*plan
	out   io.Writer
	ready func(Addresses)
	fault badgerstore.Fault
	// change and changeReplica are those of Options.
	change        func(*feed.Options)
	changeReplica func(*replica.Options)
	log           *slog.Logger

	telemetry *telemetry.Telemetry
	phase     serving.Phase
	admin     *serving.Admin
	store     state.Store
	shared    *etcdstore.Store // the same; nil for the embedded one
	seen      *seen            // nil for the embedded store
	member    *replica.Member  // nil for the embedded store
	// now is the clock of leases and of the registration, with several PDPs.
	now func() lease.Instant
	// settled says that the feed ended with no lease out.
	settled   bool
	answers   readiness
	engine    *engine.Engine
	listeners []net.Listener
	rest      *serving.Web // nil: off
	services  *server.Server
	health    *serving.Health
	grpc      *grpc.Server

	failed chan error // one error that ends the process
	stops  serving.Stops
}

// start brings everything up in order. What was started before an error is for stops.
func (d *daemon) start(ctx context.Context, opt Options) error {
	d.phase.Set("starting")
	if err := d.startTelemetry(ctx, opt); err != nil {
		return err
	}
	heap.Tune(&d.stops)
	if err := d.startAdmin(ctx); err != nil {
		return err
	}
	began := time.Now()
	fresh, err := d.startStore(ctx)
	if err != nil {
		return err
	}
	if d.shared == nil {
		err = d.startAlone(ctx, fresh)
	} else {
		err = d.startReplica(ctx, fresh)
	}
	if err != nil {
		return err
	}
	if err := d.serve(); err != nil {
		return err
	}
	d.answers.begin(&d.phase, d.health)
	if err := d.announce(fresh, time.Since(began)); err != nil {
		return err
	}
	if d.ready != nil {
		d.ready(d.addresses())
	}
	return nil
}
