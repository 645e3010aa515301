package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"

	"google.golang.org/grpc"

	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/sidecar/grpccheck"
	"github.com/jobward/jobward/sidecar/pep"
)

// Options are what Run works with.
type Options struct {
	Config Config
	// Shown are the settings as they are logged; may be empty.
	Shown []settings.Shown
	// Stdout takes what is said to the person who started the program, Stderr the log.
	Stdout, Stderr io.Writer
	// Change, if set, changes what the cache is made of, for tests.
	Change func(*pep.Config)
	// Ready, if set, is called when calls are taken and everything has been said. There may be no lease yet.
	Ready func(Addresses)
}

// Addresses are where a sidecar listens.
type Addresses struct {
	// GRPC is in the order of the setting.
	GRPC []net.Addr
	// Health, HTTP, Proxy and Registry are nil when they are off.
	Health, HTTP, Proxy, Registry net.Addr
}

// Run is a sidecar from start to stop. It returns nil after ctx has ended and everything was stopped in order. An error says why it could not
// start, or why it had to stop.
func Run(ctx context.Context, opt Options) error {
	p, err := opt.Config.check()
	if err != nil {
		return settings.Refuse(err)
	}
	d := &daemon{plan: p, out: opt.Stdout, ready: opt.Ready, failed: make(chan error, 1)}
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
		d.log.Info("stopped")
		return err
	case err := <-d.failed:
		return errors.Join(err, d.stops.Stop())
	}
}

// daemon is a sidecar that is starting, running or stopping. Its fields are set by start and not changed afterwards.
type daemon struct {
	*plan
	out   io.Writer
	ready func(Addresses)
	log   *slog.Logger

	telemetry *telemetry.Telemetry
	phase     serving.Phase
	admin     *serving.Admin
	decider   *pep.Decider
	listeners []net.Listener
	// The HTTP doors: all of them, and each; nil when it is off.
	webs                  []*web
	http, proxy, registry *web
	services              *grpccheck.Server
	health                *serving.Health
	grpc                  *grpc.Server
	unwatch               func() // ends what startWatching began

	failed chan error // one error that ends the process
	stops  serving.Stops
}

// start brings everything up in order. What was started before an error is for stops.
func (d *daemon) start(ctx context.Context, opt Options) error {
	d.phase.Set("starting")
	if err := d.startTelemetry(ctx, opt); err != nil {
		return err
	}
	d.limitMemory()
	if err := d.startHealth(ctx); err != nil {
		return err
	}
	if err := d.startDecider(opt.Change); err != nil {
		return err
	}
	if err := d.listenWebs(ctx); err != nil {
		return err
	}
	if err := d.startGRPC(ctx); err != nil {
		return err
	}
	if err := d.serveWebs(); err != nil {
		return err
	}
	d.startWatching()
	if err := d.announce(ctx); err != nil {
		return err
	}
	if d.ready != nil {
		d.ready(d.addresses())
	}
	return nil
}
