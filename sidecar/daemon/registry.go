package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/sidecar/registry"
)

// checkRegistry judges the settings of the registry's door and reads its key. take reads an address of this program's.
func (p *plan) checkRegistry(f *settings.Findings, take func(setting, text string) serving.Address) {
	if p.RegistryAddr == "off" {
		for setting, value := range map[string]string{
			"registry-to": p.RegistryTo, "registry-ca-file": p.RegistryCAFile, "registry-url": p.RegistryURL, "registry-key-file": p.RegistryKeyFile, "registry-cert-file": p.RegistryCertFile,
		} {
			f.Need(value == "", setting, "is set, but there is no registry while registry-addr is off: set registry-addr, or take it away")
		}
		return
	}
	a := take("registry-addr", p.RegistryAddr)
	p.registry = &a
	if p.RegistryTo == "" {
		f.Need(false, "registry-addr", "is set and needs registry-to, the registry that requests are passed on to")
	} else {
		p.registryTLS = checkBehind(f, a, "registry-to", p.RegistryTo, "registry-ca-file", p.RegistryCAFile)
	}
	f.Failed("registry-service", registry.CheckName(p.RegistryService))
	f.Failed("registry-issuer", registry.CheckName(p.RegistryIssuer))
	if p.RegistryURL != "" {
		f.Failed("registry-url", registry.CheckURL(p.RegistryURL))
	} else {
		f.Need(a.Network == "tcp" && a.Local(), "registry-addr", "is set and needs registry-url, where clients find the registry: https://registry.example")
	}
	f.Need(p.RegistryTokenTTL >= registry.MinTTL && p.RegistryTokenTTL <= registry.MaxTTL, "registry-token-ttl", "%s is not between %s and %s",
		settings.Brief(p.RegistryTokenTTL), settings.Brief(registry.MinTTL), settings.Brief(registry.MaxTTL))
	if p.RegistryKeyFile == "" || p.RegistryCertFile == "" {
		f.Need(false, "registry-key-file", `registry tokens need both registry-key-file and registry-cert-file; "sidecar registry-keys DIR" makes them`)
		return
	}
	var err error
	p.registryKeys, err = identity.LoadSigner(p.RegistryCertFile, p.RegistryKeyFile)
	f.Failed("files of the registry", err)
}

// registryDoor makes the door of the registry.
func (d *daemon) registryDoor() (http.Handler, error) {
	to, err := d.behind("registry-to", d.RegistryTo, "registry-ca-file", d.registryTLS)
	if err != nil {
		return nil, err
	}
	at := d.RegistryURL
	if at == "" {
		at = d.registry.url()
	}
	h, err := registry.New(registry.Options{
		Asker: d.decider, Service: d.RegistryService, Issuer: d.RegistryIssuer, URL: at, Keys: d.registryKeys, TTL: d.RegistryTokenTTL, Registry: to,
		Tell: d.TellReason, Logger: d.log, Meters: d.telemetry.Meters,
	})
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	d.stops.Background(func(ctx context.Context) {
		d.registryKeys.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "key files of the registry"))
	})
	d.stops.Background(h.Run)
	return h, nil
}

// registryKeys is the verb that makes keys.
type registryKeys struct {
	Dir  string        `arg:"" placeholder:"DIR" help:"Directory of the files; it is made if it is not there."`
	Life time.Duration `default:"8760h" placeholder:"DURATION" help:"How long the certificate of the key is good."`
}

// make makes them, and says what they are for.
func (k *registryKeys) make() (string, error) {
	if k.Life < time.Hour {
		return "", settings.Refuse(errors.New("life: a certificate must be good for an hour at least"))
	}
	if err := registry.MakeKeys(k.Dir, k.Life); err != nil {
		return "", err
	}
	at := func(name string) string { return filepath.Join(k.Dir, name) }
	return fmt.Sprintf(`%s  for the registry, as rootcertbundle
%s  makes the others; nobody but this command needs it
%s     for registry-cert-file
%s     for registry-key-file
Run this again before %s: the key changes, the CA does not, and neither sidecar nor registry has to be started again.
`, at(registry.CAFile), at(registry.CAKeyFile), at(registry.CertFile), at(registry.KeyFile), time.Now().Add(k.Life).UTC().Format(time.DateOnly)), nil
}
