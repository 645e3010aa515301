package serving

import (
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/internal/telemetry"
)

// telemetryFlush is how long the last of the telemetry may take to go out.
const telemetryFlush = 3 * time.Second

// Said is how a daemon logs, and what it logs first.
type Said struct {
	// Service is the name in traces and metrics.
	Service string
	To      io.Writer
	// Format and Level are the settings of these names.
	Format string
	Level  slog.Level
	// Shown are the settings in force, of which those that somebody set are logged.
	Shown []settings.Shown
}

// Begin makes the logger, says what is started with which settings, and makes what is
// measured with. stops sends the last of it out.
func Begin(ctx context.Context, stops *Stops, s Said) (*slog.Logger, *telemetry.Telemetry, error) {
	log, err := telemetry.NewLogger(s.To, s.Format, s.Level)
	if err != nil {
		return nil, nil, err
	}
	log.Info("starting", "version", telemetry.Version())
	for _, set := range s.Shown {
		if set.From != "" {
			log.Info("setting", "name", set.Name, "value", set.Value, "from", set.From)
		}
	}
	t, err := telemetry.Start(ctx, telemetry.Options{Service: s.Service, Version: telemetry.Version(), Log: log})
	if err != nil {
		return log, nil, settings.Refuse(err)
	}
	stops.Add(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), telemetryFlush)
		defer cancel()
		if err := t.Shutdown(ctx); err != nil {
			log.Warn("the last of the telemetry was not exported", "error", err)
		}
		return nil
	})
	return log, t, nil
}

// AdminAt serves h at an address, over TLS if files is not nil, which are read again when
// they change. stops ends it.
func AdminAt(
	ctx context.Context, stops *Stops, at Address, mode fs.FileMode, files *identity.ServerTLS, h http.Handler, log *slog.Logger,
) (*Admin, error) {
	l, err := Listen(ctx, at, mode)
	if err != nil {
		return nil, err
	}
	var config *tls.Config
	if files != nil {
		config = files.Config()
		stops.Background(func(ctx context.Context) {
			files.Run(ctx, ReloadEvery, Reloaded(log, "TLS files of the address for health"))
		})
	}
	a := StartAdmin(l, config, h, log)
	stops.Add(a.Close)
	return a, nil
}
