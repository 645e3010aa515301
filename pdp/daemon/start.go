package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/engine"
)

// startTelemetry makes the logger, and what is measured with.
func (d *daemon) startTelemetry(ctx context.Context, opt Options) (err error) {
	d.log, d.telemetry, err = serving.Begin(ctx, &d.stops, serving.Said{
		Service: "jobward-pdp", To: opt.Stderr, Format: d.LogFormat, Level: d.LogLevel, Shown: opt.Shown,
	})
	if err != nil {
		return err
	}
	if d.development {
		d.log.Warn("DEVELOPMENT MODE: there is no TLS and nobody is asked who they are; whoever can connect may do everything. " +
			"Not for tokens that open anything real. To end it set tls-cert-file, tls-key-file and callers-file")
	}
	return nil
}

// heap is the collector's of a PDP. One that holds little would collect many times a second
// under load; with this, an Issue costs a fifteenth less. A view of millions has no pointers
// to follow.
var heap = serving.Heap{Floor: 256 << 20, Percent: 100, Most: 500}

// startAdmin takes the admin address, so that machines can tell "alive and loading" from "dead".
func (d *daemon) startAdmin(ctx context.Context) error {
	if d.plan.admin == nil {
		return nil
	}
	var err error
	d.admin, err = serving.AdminAt(ctx, &d.stops, *d.plan.admin, fs.FileMode(d.SocketMode), d.adminTLS, serving.AdminHandler(&d.phase, d.telemetry.Scrape), d.log)
	if err != nil {
		return fmt.Errorf("admin-addr: %w", err)
	}
	return nil
}

// startAlone brings up the one PDP of an embedded store.
func (d *daemon) startAlone(ctx context.Context, fresh bool) error {
	if err := d.startEngine(ctx, engine.Options{}); err != nil {
		return err
	}
	if quiet := d.engine.Feed().Quiet(); quiet > 0 {
		d.log.Info("sidecars may hold leases from before this start; until they have ended no receipt is effective", "at_most", settings.Brief(quiet))
	}
	if err := d.fill(ctx, fresh); err != nil {
		return err
	}
	return d.listen(ctx)
}

// startEngine loads the store into memory. What opt has is kept, the rest comes from the settings.
func (d *daemon) startEngine(ctx context.Context, opt engine.Options) (err error) {
	d.phase.Set("loading the store into memory")
	began := time.Now()
	leases := &opt.Feed
	leases.Term, leases.MaxInterest, leases.MaxQueue, leases.MaxGenerations = d.LeaseTerm, d.MaxInterest, d.LeaseQueue, d.MaxSidecars
	leases.OnHistory = func(err error) { d.fail(historyError{err}) }
	if d.change != nil {
		d.change(leases)
	}
	opt.Store, opt.Tokens, opt.MaxTimeout, opt.DefaultTimeout, opt.Retention = d.store, d.tokens, d.MaxTimeout, d.DefaultTimeout, d.Retention
	opt.AuditRetention, opt.AuditSample, opt.Logger = d.AuditRetention, d.AuditSample, d.log
	if d.engine, err = engine.New(ctx, opt); err != nil {
		return fmt.Errorf("loading the store: %w", err)
	}
	d.stops.Add(func() error { d.engine.Close(); return nil })
	mark, _ := d.store.Head()
	d.log.Info("loaded the store", "mark", mark.String(), "took", time.Since(began).Round(time.Millisecond).String())
	d.startSeen()
	return d.measure()
}

// fill commits what the settings want to be in the store.
func (d *daemon) fill(ctx context.Context, fresh bool) error {
	if err := d.commitCatalogue(ctx); err != nil {
		return err
	}
	if !fresh || !d.development || !d.SampleWorld {
		return nil
	}
	d.phase.Set("loading the sample world")
	if err := loadSampleWorld(ctx, d.engine); err != nil {
		return err
	}
	d.log.Info("loaded the sample world into the new store")
	return nil
}

// commitCatalogue makes the catalogue file part of the history, because decisions are judged on history alone (PROTOCOL R15).
func (d *daemon) commitCatalogue(ctx context.Context) error {
	if d.catalogue == nil || string(d.catalogue) == string(d.engine.GetCatalogue(ctx).Document) {
		return nil
	}
	_, done, err := d.engine.UpdateCatalogue(ctx, engine.Actor{Name: "catalogue-file", Admin: true}, engine.CatalogueEdit{Document: d.catalogue})
	if err != nil {
		return fmt.Errorf("catalogue-file: %w", err)
	}
	d.log.Info("committed the permission catalogue", "file", d.CatalogueFile, "revision", done.Revision)
	return nil
}

// listen takes the addresses. They are served last, so that nothing is answered when one of them cannot be had.
func (d *daemon) listen(ctx context.Context) error {
	d.phase.Set("taking the addresses for calls")
	for _, a := range d.plan.grpc {
		l, err := serving.Listen(ctx, a, fs.FileMode(d.SocketMode))
		if err != nil {
			return fmt.Errorf("grpc-addr: %w", err)
		}
		d.listeners = append(d.listeners, l)
		d.stops.Add(func() error {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
	}
	return d.listenREST(ctx)
}

// serve answers on the addresses that were taken.
func (d *daemon) serve() error {
	auth, err := d.authenticator(d.addresses().GRPC)
	if err != nil {
		return err
	}
	if err := d.newServer(auth); err != nil {
		return err
	}
	d.stops.Add(func() error { d.stopServing(); return nil })
	d.stops.Background(d.services.RunCanary)
	for _, l := range d.listeners {
		go func() {
			if err := d.grpc.Serve(l); err != nil {
				d.fail(fmt.Errorf("the listener at %s ended: %w", l.Addr(), err))
			}
		}()
	}
	return d.serveREST(auth)
}

// authenticator tells who calls, and judges once more, on the addresses that were really taken, whether development mode is in place.
func (d *daemon) authenticator(addrs []net.Addr) (identity.Authenticator, error) {
	if d.development {
		return identity.NewDevelopment(addrs...)
	}
	d.stops.Background(func(ctx context.Context) {
		d.callers.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "callers file"))
	})
	return d.callers, nil
}

// transport is how connections are kept.
func (d *daemon) transport() []grpc.ServerOption {
	opts := serving.Transport{MaxStreams: d.MaxStreams, MaxConnectionAge: d.MaxConnectionAge, Grace: d.ShutdownGrace}.Options()
	if d.tls != nil {
		d.stops.Background(func(ctx context.Context) { d.tls.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "TLS files")) })
		opts = append(opts, grpc.Creds(credentials.NewTLS(d.tls.Config())))
	}
	return opts
}

// fail ends the process with an error; the first one counts.
func (d *daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

func (d *daemon) addresses() Addresses {
	var a Addresses
	for _, l := range d.listeners {
		a.GRPC = append(a.GRPC, l.Addr())
	}
	if d.admin != nil {
		a.Admin = d.admin.Addr()
	}
	if d.rest != nil {
		a.REST = d.rest.Addr()
	}
	return a
}
