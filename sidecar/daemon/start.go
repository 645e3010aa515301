package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/sidecar/grpccheck"
	"github.com/jobward/jobward/sidecar/pep"
)

// startTelemetry makes the logger, and what is measured with.
func (d *daemon) startTelemetry(ctx context.Context, opt Options) (err error) {
	d.log, d.telemetry, err = serving.Begin(ctx, &d.stops, serving.Said{
		Service: "jobward-sidecar", To: opt.Stderr, Format: d.LogFormat, Level: d.LogLevel, Shown: opt.Shown,
	})
	if err != nil {
		return err
	}
	if d.development {
		d.log.Warn("DEVELOPMENT MODE: there is no TLS and nobody is asked who they are; whoever can connect may ask about any token. " +
			"Not for tokens that open anything real. To end it configure the way to the PDP (pdp-ca-file and so on), and listen-cert-file or trust-socket-mode")
	}
	if d.TrustSocketMode {
		d.log.Info("Unix sockets have no TLS: whoever may open the file may ask", "mode", d.ListenMode.String())
	}
	return nil
}

// startHealth takes the address for health, so that machines can tell "alive and waiting" from "dead".
func (d *daemon) startHealth(ctx context.Context) error {
	if d.plan.health == nil {
		return nil
	}
	var err error
	d.admin, err = serving.AdminAt(ctx, &d.stops, *d.plan.health, fs.FileMode(d.ListenMode), d.healthTLS, serving.AdminHandler(&d.phase, d.telemetry.Scrape), d.log)
	if err != nil {
		return fmt.Errorf("health-addr: %w", err)
	}
	return nil
}

// startDecider opens the state directory and begins to look for a PDP.
func (d *daemon) startDecider(change func(*pep.Config)) error {
	dir, err := filepath.Abs(d.StateDir)
	if err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	cfg := pep.Config{
		Development: !d.link, KeyFile: d.PDPBearerKeyFile, Name: d.name, Version: telemetry.Version(), StateDir: dir,
		MaxEntries: d.MaxEntries, MaxBytes: int64(d.MaxCacheSize), CallTimeout: d.PDPTimeout, Canary: d.Canary, Logger: d.log,
	}
	for _, a := range d.pdps {
		cfg.Addresses = append(cfg.Addresses, a.String())
	}
	if d.link {
		cfg.TLS = pep.TLS{CA: d.PDPCAFile, Cert: d.PDPCertFile, Key: d.PDPKeyFile, ServerName: d.PDPServerName}
	}
	if d.WhenUnavailable == "error" {
		cfg.Unavailable = pep.ErrorUnavailable
	}
	if change != nil {
		change(&cfg)
	}
	if d.decider, err = pep.New(cfg); err != nil {
		return fmt.Errorf("state-dir %s: %w", dir, err)
	}
	d.stops.Add(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), d.ShutdownGrace)
		defer cancel()
		if err := d.decider.Close(ctx); err != nil {
			d.log.Warn("the lease could not be given back: it runs out", "error", err)
		}
		return nil
	})
	return d.measure()
}

// startGRPC takes the addresses first and serves last, so that nothing is answered when one of them cannot be had.
func (d *daemon) startGRPC(ctx context.Context) error {
	d.phase.Set("taking the addresses for calls")
	var addrs []net.Addr
	for _, a := range d.listen {
		l, err := serving.Listen(ctx, a, fs.FileMode(d.ListenMode))
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		d.listeners = append(d.listeners, l)
		d.stops.Add(func() error {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil
		})
		addrs = append(addrs, l.Addr())
	}
	auth, err := d.authenticator(addrs)
	if err != nil {
		return err
	}
	if err := d.newServer(auth); err != nil {
		return err
	}
	d.stops.Add(func() error { d.cutOff(); return nil })
	for _, l := range d.listeners {
		go func() {
			if err := d.grpc.Serve(l); err != nil {
				d.fail(fmt.Errorf("the listener at %s ended: %w", l.Addr(), err))
			}
		}()
	}
	return nil
}

// newServer makes the services, and a gRPC server that has them and health. Nothing is served yet.
func (d *daemon) newServer(callers identity.Authenticator) (err error) {
	opt := grpccheck.Options{
		Decider: grpccheck.Of(d.decider), Callers: callers, MaxMessage: int(d.MaxMessageSize), Reflection: d.Reflection, Logger: d.log,
		Meters: d.telemetry.Meters, Producers: d.telemetry.Producers, Propagator: d.telemetry.Propagator,
	}
	if d.telemetry.Tracing {
		opt.Tracers = d.telemetry.Tracers
	}
	if d.services, err = grpccheck.New(opt); err != nil {
		return err
	}
	opts := serving.Transport{MaxStreams: d.MaxStreams, MaxConnectionAge: d.MaxConnectionAge, Grace: d.ShutdownGrace}.Options()
	if creds := d.credentials(); creds != nil {
		opts = append(opts, grpc.Creds(creds))
		d.stops.Background(func(ctx context.Context) { d.tls.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "TLS files")) })
	}
	d.grpc = grpc.NewServer(append(opts, d.services.ServerOptions()...)...)
	d.services.Register(d.grpc)
	if d.ExtAuthz {
		if err := d.addExtAuthz(); err != nil {
			return err
		}
	}
	d.health = serving.NewHealth()
	healthpb.RegisterHealthServer(d.services.Registrar(d.grpc), d.health)
	return nil
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
		a.Health = d.admin.Addr()
	}
	if d.http != nil {
		a.HTTP = d.http.Addr()
	}
	if d.proxy != nil {
		a.Proxy = d.proxy.Addr()
	}
	if d.registry != nil {
		a.Registry = d.registry.Addr()
	}
	return a
}
