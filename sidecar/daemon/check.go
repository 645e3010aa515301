package daemon

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

// Bounds of settings; [Config] gives them in words.
const (
	maxName        = 128
	minEntries     = 1_000
	maxEntries     = 10_000_000
	minCache       = 1 << 20
	maxCache       = 16 << 30
	minMemory      = 16 << 20
	minMessageSize = 64 << 10
	maxMessageSize = 64 << 20
	minTimeout     = 10 * time.Millisecond
	maxTimeout     = time.Minute
	maxShutdown    = 10 * time.Minute
)

// plan is what the settings come to once everything that they name outside the state directory has been read.
type plan struct {
	Config
	development bool
	name        string
	listen      []serving.Address
	health      *serving.Address // nil: off
	pdps        []serving.Address
	link        bool                // the PDP is called over TLS
	tls         *identity.ServerTLS // nil without TLS
	healthTLS   *identity.ServerTLS // nil unless the health address needs it
	callers     *identity.Callers   // nil without TLS

	http, proxy  *serving.Address // nil: off
	registry     *serving.Address // nil: off
	registryKeys *identity.Signer // nil without a registry
	// The CA files of what is behind the doors; nil: the system's certificates, or no TLS.
	proxyTLS, registryTLS *identity.ClientTLS
	webTLS                *identity.ServerTLS // nil unless an HTTP door needs it
	trusted               []netip.Prefix
	routes                *route.Table
	withoutToken          gate.WithoutToken
	owners                *gate.Owners // nil: nobody knows
}

// check judges every setting and reads every file that the settings name, and does not touch the state directory. It reports all that is
// wrong.
func (c *Config) check() (*plan, error) {
	p := &plan{Config: *c}
	f := &settings.Findings{}
	p.checkNumbers(f)
	p.checkName(f)
	p.checkAddresses(f)
	p.development = !p.linkTLS() && !p.doorsTLS() && !p.TrustSocketMode
	if p.Development != nil {
		p.development = *p.Development
	}
	p.checkLink(f)
	p.checkDoors(f)
	p.checkWebTLS(f)
	p.readDoors(f)
	p.readLink(f)
	p.readRoutes(f)
	return p, f.Err()
}

// linkTLS and doorsTLS tell whether anything of TLS is configured towards the PDP, and towards the services.
func (p *plan) linkTLS() bool {
	return p.PDPCAFile+p.PDPCertFile+p.PDPKeyFile+p.PDPBearerKeyFile+p.PDPServerName != ""
}
func (p *plan) doorsTLS() bool { return p.ListenCertFile+p.ListenKeyFile != "" }

func (p *plan) checkNumbers(f *settings.Findings) {
	f.Need(p.StateDir != "", "state-dir", "must name a directory")
	f.Need(p.PDPTimeout >= minTimeout && p.PDPTimeout <= maxTimeout, "pdp-timeout", "%s is not between 10ms and 1m", settings.Brief(p.PDPTimeout))
	f.Need(p.ListenMode >= 0o600, "listen-mode", "%s keeps the sidecar's own user out; 0600 to 0777", p.ListenMode)
	f.Need(p.MaxEntries >= minEntries && p.MaxEntries <= maxEntries, "max-entries", "%d is not between %d and %d", p.MaxEntries, minEntries, maxEntries)
	f.Need(p.MaxCacheSize >= minCache && p.MaxCacheSize <= maxCache, "max-cache-size", "%s is not between %s and %s", p.MaxCacheSize, settings.Size(minCache), settings.Size(maxCache))
	f.Need(p.MemoryLimit == 0 || p.MemoryLimit >= minMemory, "memory-limit", "%s is less than an empty sidecar takes; at least %s, or 0 for none", p.MemoryLimit, settings.Size(minMemory))
	f.Need(p.MaxMessageSize >= minMessageSize && p.MaxMessageSize <= maxMessageSize, "max-message-size",
		"%s is not between %s and %s", p.MaxMessageSize, settings.Size(minMessageSize), settings.Size(maxMessageSize))
	f.Need(p.MaxStreams > 0, "max-streams", "must be above zero")
	f.Need(p.MaxConnectionAge == 0 || p.MaxConnectionAge >= time.Minute, "max-connection-age",
		"%s is less than 1m: callers would do little but connect; 0 lets connections live", settings.Brief(p.MaxConnectionAge))
	f.Need(p.ShutdownDelay >= 0 && p.ShutdownDelay <= maxShutdown, "shutdown-delay", "%s is not between 0s and %s", settings.Brief(p.ShutdownDelay), settings.Brief(maxShutdown))
	f.Need(p.ShutdownGrace > 0 && p.ShutdownGrace <= maxShutdown, "shutdown-grace", "%s is not above zero and at most %s", settings.Brief(p.ShutdownGrace), settings.Brief(maxShutdown))
}

// checkName takes the host's name where none is set.
func (p *plan) checkName(f *settings.Findings) {
	p.name = p.Name
	if p.name == "" {
		if host, err := os.Hostname(); err == nil && validName(host) {
			p.name = host
		} else {
			p.name = "sidecar"
		}
	}
	f.Need(validName(p.name), "name", "must have 1 to %d printable ASCII characters without spaces", maxName)
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (p *plan) checkAddresses(f *settings.Findings) {
	f.Need(len(p.Listen) > 0, "listen", "must name at least one address")
	f.Need(len(p.PDPAddr) > 0, "pdp-addr", "must name at least one address")
	var mine, theirs serving.Addresses
	take := func(all *serving.Addresses, setting, text string) serving.Address {
		a, err := all.Parse(text)
		f.Failed(setting, err)
		return a
	}
	for _, text := range p.Listen {
		p.listen = append(p.listen, take(&mine, "listen", text))
	}
	if p.HealthAddr != "off" {
		a := take(&mine, "health-addr", p.HealthAddr)
		p.health = &a
	}
	web := func(setting, text string) serving.Address { return take(&mine, setting, text) }
	p.checkWebs(f, web)
	p.checkRegistry(f, web)
	for _, text := range p.PDPAddr {
		a := take(&theirs, "pdp-addr", text)
		if a.Network == "tcp" {
			host, port, _ := net.SplitHostPort(a.Host)
			f.Need(host != "" && port != "0", "pdp-addr", "%q is no place to call: write host:port, such as 127.0.0.1:7420, or unix:PATH", text)
			for _, own := range p.listen {
				f.Need(own != a, "pdp-addr", "%s is where this sidecar listens itself", a)
			}
		}
		p.pdps = append(p.pdps, a)
	}
}

// checkLink keeps the rule of the way to the PDP: over TLS and as somebody, except in development mode on addresses that only this machine
// reaches.
func (p *plan) checkLink(f *settings.Findings) {
	f.Need((p.PDPCertFile == "") == (p.PDPKeyFile == ""), "pdp-cert-file", "a client certificate needs both pdp-cert-file and pdp-key-file")
	f.Need(p.PDPCertFile == "" || p.PDPBearerKeyFile == "", "pdp-bearer-key-file", "is set beside pdp-cert-file: the PDP takes one of the two, so take one of them away")
	if p.link = p.linkTLS() || !p.development; p.link {
		f.Need(p.PDPCertFile != "" || p.PDPBearerKeyFile != "", "pdp-cert-file",
			"the PDP asks who calls: set pdp-cert-file and pdp-key-file, or pdp-bearer-key-file")
		return
	}
	for _, a := range p.pdps {
		f.Need(a.Local(), "pdp-addr", "%s is another machine, which is called over TLS only: set pdp-ca-file, and pdp-cert-file with pdp-key-file or pdp-bearer-key-file", a)
	}
}

// checkDoors keeps the one rule of the doors: no TLS, no start, except in development mode on addresses that only this machine reaches, and
// on Unix sockets whose mode the operator trusts.
func (p *plan) checkDoors(f *settings.Findings) {
	if p.doorsTLS() {
		f.Need(!p.development, "development", "development mode serves without TLS, but listen-cert-file or listen-key-file is set: take one of them away")
		f.Need(p.ListenCertFile != "", "listen-cert-file", "listen-key-file is set and needs a certificate beside it")
		f.Need(p.ListenKeyFile != "", "listen-key-file", "listen-cert-file is set and needs its private key beside it")
		f.Need(p.ListenCallersFile != "", "listen-callers-file", "with TLS, a callers file has to say who may call: rows for certificates, or bearer keys made by \"pdp keys new\"")
		return
	}
	for name, value := range map[string]string{"listen-client-ca-file": p.ListenClientCAFile, "listen-callers-file": p.ListenCallersFile} {
		f.Need(value == "", name, "is set, but without TLS nobody is asked who they are: set listen-cert-file and listen-key-file, or take it away")
	}
	if p.health != nil {
		f.Need(p.health.Local(), "health-addr", "%s can be reached from other machines, and without TLS only loopback addresses and Unix sockets are served", p.health)
	}
	if p.development {
		f.Need(!p.TrustSocketMode, "trust-socket-mode", "is set, but in development mode nobody is asked who they are: take one of the two away")
		for _, a := range p.listen {
			f.Need(a.Local(), "listen", "%s can be reached from other machines, and without TLS only loopback addresses and Unix sockets are served: "+
				"set listen-cert-file, listen-key-file and listen-callers-file, or listen on 127.0.0.1", a)
		}
		return
	}
	for _, a := range p.listen {
		f.Need(a.Network == "unix", "listen", "%s has no TLS, without which there is no start: set listen-cert-file, listen-key-file and listen-callers-file; "+
			"or listen on a Unix socket with trust-socket-mode; or set development, to try things", a)
		f.Need(a.Network != "unix" || p.TrustSocketMode, "listen", "%s has no TLS, without which there is no start: set trust-socket-mode if whoever may open the file may ask; "+
			"or set listen-cert-file, listen-key-file and listen-callers-file; or set development, to try things", a)
	}
}

// readDoors reads the files of the doors. Those that changed between "config check" and the start are judged again by the start, which does this
// too.
func (p *plan) readDoors(f *settings.Findings) {
	var err error
	if p.ListenCallersFile != "" && p.ListenCertFile != "" {
		p.callers, err = identity.LoadCallers(p.ListenCallersFile)
		f.Failed("listen-callers-file", err)
	}
	if p.ListenCertFile == "" || p.ListenKeyFile == "" {
		return
	}
	files := identity.ServerFiles{Cert: p.ListenCertFile, Key: p.ListenKeyFile, ClientCA: p.ListenClientCAFile}
	p.tls, err = identity.LoadServerTLS(files, "h2")
	if f.Failed("files of the doors", err) {
		return
	}
	files.ClientCA = "" // who calls over HTTP shows no certificate
	if p.health != nil && !p.health.Local() {
		p.healthTLS, err = identity.LoadServerTLS(files, "h2", "http/1.1")
		f.Failed("files of the doors", err)
	}
	if far := func(a *serving.Address) bool { return a != nil && !a.Local() }; far(p.http) || far(p.proxy) || far(p.registry) {
		p.webTLS, err = identity.LoadServerTLS(files, "h2", "http/1.1")
		f.Failed("files of the doors", err)
	}
}

// readLink reads the files that lead to the PDP, so that what is wrong with them is known before anything is done.
func (p *plan) readLink(f *settings.Findings) {
	if p.PDPBearerKeyFile != "" {
		f.Failed("pdp-bearer-key-file", checkKeyFile(p.PDPBearerKeyFile))
	}
	if !p.link || (p.PDPCertFile == "") != (p.PDPKeyFile == "") {
		return
	}
	_, err := identity.LoadClientTLS(identity.ClientFiles{CA: p.PDPCAFile, Cert: p.PDPCertFile, Key: p.PDPKeyFile, ServerName: cmp.Or(p.PDPServerName, "localhost")})
	f.Failed("files of the PDP", err)
}

// checkKeyFile refuses what is no bearer key, or is everybody's to read. Its errors do not hold the key.
func checkKeyFile(path string) error {
	data, err := settings.ReadSmall(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o026 != 0 {
		return fmt.Errorf("%s has mode %04o, so others can read or change it; run chmod 600 (or 640) on it", path, info.Mode().Perm())
	}
	if _, err := identity.HashKey(strings.TrimSpace(string(data))); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
