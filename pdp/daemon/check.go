package daemon

import (
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// Bounds of settings; [Config] gives them in words.
const (
	minFreeDisk    = 16 << 20
	minHistory     = 10_000
	minMemtable    = 32 << 20
	maxMemtable    = 1 << 30
	minMessageSize = 64 << 10
	maxMessageSize = 64 << 20
	minTimeout     = time.Minute
	maxTimeout     = 31 * 24 * time.Hour // what an Issue can ask for
	minAudit       = time.Hour
	maxShutdown    = 10 * time.Minute
	minTerm        = time.Second
	minInterest    = 1000
	minQueue       = 16
	minCanary      = time.Second
	maxCanary      = time.Hour
)

// plan is what the settings come to once everything that they name outside the data directory has been read.
type plan struct {
	Config
	development bool
	grpc        []serving.Address
	admin       *serving.Address // nil: off
	rest        *serving.Address // nil: off
	tokens      *token.Format
	tls         *identity.ServerTLS // nil in development mode
	adminTLS    *identity.ServerTLS // nil unless the admin address needs it
	restTLS     *identity.ServerTLS // nil in development mode, and when the REST API is off
	callers     *identity.Callers   // nil in development mode
	catalogue   []byte              // nil: the store keeps what it has
	etcd        *cluster            // nil: the embedded store
	replica     *replicaPlan        // nil without etcd
}

// check judges every setting and reads every file that the settings name, and does not touch the data directory. It reports all that is
// wrong.
func (c *Config) check() (*plan, error) {
	p := &plan{Config: *c}
	f := &settings.Findings{}
	p.checkNumbers(f)
	p.checkAddresses(f)
	p.checkDoors(f)
	p.checkFiles(f)
	p.checkStore(f)
	p.checkPeers(f)
	return p, f.Err()
}

func (p *plan) checkNumbers(f *settings.Findings) {
	f.Need(p.DataDir != "", "data-dir", "must name a directory")
	f.Need(p.MinFreeDisk >= minFreeDisk, "min-free-disk", "%s is too little to finish what is under way; at least %s", p.MinFreeDisk, settings.Size(minFreeDisk))
	f.Need(p.Ballast >= minFreeDisk, "ballast", "%s is too little to revoke anything with; at least %s", p.Ballast, settings.Size(minFreeDisk))
	f.Need(p.History >= minHistory, "history", "%d revisions are too few for those who follow the changes; at least %d", p.History, minHistory)
	f.Need(p.MemtableSize >= minMemtable && p.MemtableSize <= maxMemtable, "memtable-size",
		"%s is not between %s and %s", p.MemtableSize, settings.Size(minMemtable), settings.Size(maxMemtable))
	f.Need(p.MaxTimeout >= minTimeout && p.MaxTimeout <= maxTimeout, "max-timeout", "%s is not between 1m and 31 days (744h)", settings.Brief(p.MaxTimeout))
	f.Need(p.DefaultTimeout > 0 && p.DefaultTimeout <= p.MaxTimeout, "default-timeout",
		"%s is not above zero and at most max-timeout, which is %s", settings.Brief(p.DefaultTimeout), settings.Brief(p.MaxTimeout))
	f.Need(p.Retention == 0 || p.Retention >= 2*p.MaxTimeout, "retention",
		"%s is less than twice max-timeout (%s): a delayed issue could revive a forgotten job; 0 takes the least", settings.Brief(p.Retention), settings.Brief(2*p.MaxTimeout))
	f.Need(p.AuditRetention >= minAudit, "audit-retention", "%s is less than 1h", settings.Brief(p.AuditRetention))
	f.Need(p.AuditSample >= 0, "audit-sample", "%d is negative; 0 keeps no allowed decisions", p.AuditSample)
	f.Need(p.MaxMessageSize >= minMessageSize && p.MaxMessageSize <= maxMessageSize, "max-message-size",
		"%s is not between %s and %s", p.MaxMessageSize, settings.Size(minMessageSize), settings.Size(maxMessageSize))
	f.Need(p.MaxUnknownTokens > 0, "max-unknown-tokens", "%d is not above zero", p.MaxUnknownTokens)
	f.Need(p.MaxStreams > 0, "max-streams", "must be above zero")
	f.Need(p.MaxConnectionAge == 0 || p.MaxConnectionAge >= time.Minute, "max-connection-age",
		"%s is less than 1m: callers would do little but connect; 0 lets connections live", settings.Brief(p.MaxConnectionAge))
	f.Need(p.ShutdownDelay >= 0 && p.ShutdownDelay <= maxShutdown, "shutdown-delay", "%s is not between 0s and %s", settings.Brief(p.ShutdownDelay), settings.Brief(maxShutdown))
	f.Need(p.ShutdownGrace > 0 && p.ShutdownGrace <= maxShutdown, "shutdown-grace", "%s is not above zero and at most %s", settings.Brief(p.ShutdownGrace), settings.Brief(maxShutdown))
	f.Need(p.LeaseTerm >= minTerm && p.LeaseTerm <= lease.MaxTerm, "lease-term", "%s is not between %s and %s",
		settings.Brief(p.LeaseTerm), settings.Brief(minTerm), settings.Brief(lease.MaxTerm))
	f.Need(p.MaxInterest >= minInterest, "max-interest", "%d is less than what one busy sidecar rests on; at least %d", p.MaxInterest, minInterest)
	f.Need(p.LeaseQueue >= minQueue, "lease-queue", "%d is so little that healthy sidecars would be cut off; at least %d", p.LeaseQueue, minQueue)
	f.Need(p.MaxSidecars > 0, "max-sidecars", "%d is not above zero", p.MaxSidecars)
	f.Need(p.CanaryProject >= 0 && p.CanaryProject <= authz.MaxID, "canary-project", "%d is no project id", p.CanaryProject)
	f.Need(p.CanaryUser >= 0 && p.CanaryUser <= authz.MaxID, "canary-user", "%d is no user id", p.CanaryUser)
	f.Need((p.CanaryProject == 0) == (p.CanaryUser == 0), "canary-project", "the canary needs a project and a user: set canary-project and canary-user, or neither")
	f.Need(p.CanaryEvery >= minCanary && p.CanaryEvery <= maxCanary, "canary-every", "%s is not between %s and %s",
		settings.Brief(p.CanaryEvery), settings.Brief(minCanary), settings.Brief(maxCanary))
	f.Need(p.SocketMode >= 0o600, "socket-mode", "%s keeps the PDP's own user out; 0600 to 0777", p.SocketMode)
	var err error
	p.tokens, err = token.NewFormat(p.TokenPrefix, p.OlderTokenPrefixes...)
	f.Failed("token-prefix", err)
}

func (p *plan) checkAddresses(f *settings.Findings) {
	f.Need(len(p.GRPCAddr) > 0, "grpc-addr", "must name at least one address")
	var all serving.Addresses
	take := func(setting, text string) serving.Address {
		a, err := all.Parse(text)
		f.Failed(setting, err)
		return a
	}
	for _, text := range p.GRPCAddr {
		p.grpc = append(p.grpc, take("grpc-addr", text))
	}
	if p.AdminAddr != "off" {
		a := take("admin-addr", p.AdminAddr)
		p.admin = &a
	}
	if p.RESTAddr != "off" {
		a := take("rest-addr", p.RESTAddr)
		p.rest = &a
	}
	f.Failed("external-url", checkExternalURL(p.ExternalURL))
}

// checkDoors keeps the one rule of the doors: no TLS, no start, except in development mode on addresses that only this machine reaches.
func (p *plan) checkDoors(f *settings.Findings) {
	withTLS := p.TLSCertFile != "" || p.TLSKeyFile != ""
	p.development = !withTLS
	if p.Development != nil {
		p.development = *p.Development
	}
	f.Need(!p.development || !withTLS, "development", "development mode serves without TLS, but tls-cert-file or tls-key-file is set: take one of them away")
	f.Need(p.development || withTLS, "development", "it is off, and without TLS there is no start: set tls-cert-file, tls-key-file and callers-file")
	if withTLS {
		f.Need(p.TLSCertFile != "", "tls-cert-file", "tls-key-file is set and needs a certificate beside it")
		f.Need(p.TLSKeyFile != "", "tls-key-file", "tls-cert-file is set and needs its private key beside it")
		f.Need(p.CallersFile != "", "callers-file", "with TLS, a callers file has to say who may call: rows for certificates, or bearer keys made by \"pdp keys new\"")
		f.Need(!p.TLSRequireClientCert || p.TLSClientCAFile != "", "tls-require-client-cert", "needs tls-client-ca-file to verify them with")
		return
	}
	for name, value := range map[string]string{"tls-client-ca-file": p.TLSClientCAFile, "callers-file": p.CallersFile} {
		f.Need(value == "", name, "is set, but without TLS nobody is asked who they are: set tls-cert-file and tls-key-file, or take it away")
	}
	f.Need(!p.TLSRequireClientCert, "tls-require-client-cert", "is set, but there is no TLS: set tls-cert-file and tls-key-file, or take it away")
	for _, a := range p.grpc {
		f.Need(a.Local(), "grpc-addr", "%s can be reached from other machines, and without TLS only loopback addresses and Unix sockets are served: "+
			"set tls-cert-file, tls-key-file and callers-file, or listen on 127.0.0.1", a)
	}
	if p.rest != nil {
		f.Need(p.rest.Local(), "rest-addr", "%s can be reached from other machines, and without TLS only loopback addresses and Unix sockets are served: "+
			"set tls-cert-file, tls-key-file and callers-file, or listen on 127.0.0.1", p.rest)
	}
	if p.admin != nil {
		f.Need(p.admin.Local(), "admin-addr", "%s can be reached from other machines, and without TLS only loopback addresses and Unix sockets are served", p.admin)
	}
}

// checkFiles reads the files. Those that changed between "config check" and the start are judged again by the start, which does this too.
func (p *plan) checkFiles(f *settings.Findings) {
	var err error
	if p.CatalogueFile != "" {
		p.catalogue, err = settings.ReadSmall(p.CatalogueFile)
		if !f.Failed("catalogue-file", err) {
			_, err = policy.Extend(p.catalogue)
			f.Failed("catalogue-file", err)
		}
	}
	if p.CallersFile != "" && p.TLSCertFile != "" {
		p.callers, err = identity.LoadCallers(p.CallersFile)
		f.Failed("callers-file", err)
	}
	if p.TLSCertFile == "" || p.TLSKeyFile == "" {
		return
	}
	files := identity.ServerFiles{Cert: p.TLSCertFile, Key: p.TLSKeyFile, ClientCA: p.TLSClientCAFile, RequireClientCert: p.TLSRequireClientCert}
	p.tls, err = identity.LoadServerTLS(files, "h2")
	if f.Failed("tls files", err) {
		return
	}
	if p.rest != nil {
		p.restTLS, err = identity.LoadServerTLS(files, "h2", "http/1.1")
		f.Failed("tls files", err)
	}
	if p.admin == nil || p.admin.Local() {
		return
	}
	p.adminTLS, err = identity.LoadServerTLS(identity.ServerFiles{Cert: files.Cert, Key: files.Key}, "h2", "http/1.1")
	f.Failed("tls files", err)
}
