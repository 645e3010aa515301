package daemon

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/sidecar/proxy"
)

// checkBehind judges the address of a service behind a door, at, and reads the CA file that its certificate is verified against. to and ca are the names
// of the settings. The files are nil without a CA file: then an https service is verified against the system's certificates.
func checkBehind(f *settings.Findings, at serving.Address, to, address, ca, caFile string) (files *identity.ClientTLS) {
	u, _, err := proxy.Target(address)
	if f.Failed(to, err) {
		return nil
	}
	f.Need(address != at.String() && u.Host != at.Host, to, "%s is where this door listens itself", at)
	if caFile == "" {
		return nil
	}
	if u.Scheme != "https" {
		f.Need(false, ca, "is set, but %s is not https and shows no certificate: make it https, or take %s away", to, ca)
		return nil
	}
	files, err = identity.LoadClientTLS(identity.ClientFiles{CA: caFile, ServerName: u.Hostname()})
	f.Failed(ca, err)
	return files
}

// behind makes the way to a service. to and ca are the names of the settings; files may be nil.
func (d *daemon) behind(to, address, ca string, files *identity.ClientTLS) (*proxy.Upstream, error) {
	opt := proxy.Options{To: address, Trusted: d.trusted, Logger: d.log}
	if files != nil {
		opt.TLS = files.Config("http/1.1")
		opt.TLS.MinVersion = tls.VersionTLS12 // the service is not ours
		d.stops.Background(func(ctx context.Context) {
			files.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, ca))
		})
	}
	u, err := proxy.NewUpstream(opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", to, err)
	}
	d.stops.Add(func() error { u.Close(); return nil })
	return u, nil
}
