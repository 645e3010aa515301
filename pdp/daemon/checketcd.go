package daemon

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
)

// Bounds of the settings of etcd.
const (
	minEtcdTimeout = 500 * time.Millisecond
	maxEtcdTimeout = 30 * time.Second
	etcdPort       = "2379"
)

// embedded is the value of the setting store for the embedded one.
const embedded = "badger"

// cluster is the etcd cluster that the settings name.
type cluster struct {
	endpoints []string // URLs
	hosts     []string // without ports, each once
	prefix    string
	local     bool // every member is on this machine
	username  string
	password  string
	tls       []*identity.ClientTLS // one for each host; none without TLS
}

// checkStore reads the setting store, and refuses settings that belong to the other kind.
func (p *plan) checkStore(f *settings.Findings) {
	if p.Store == embedded {
		p.refuseOthers(f, "store is "+embedded, "store", etcdOnly())
		return
	}
	p.refuseOthers(f, "etcd has no use for it", "store", badgerOnly())
	var err error
	if p.etcd, err = parseCluster(p.Store); f.Failed("store", err) {
		p.etcd = nil
		return
	}
	c := p.etcd
	f.Need(p.EtcdTimeout >= minEtcdTimeout && p.EtcdTimeout <= maxEtcdTimeout, "etcd-timeout", "%s is not between %s and %s",
		settings.Brief(p.EtcdTimeout), settings.Brief(minEtcdTimeout), settings.Brief(maxEtcdTimeout))
	withTLS := p.EtcdCAFile != "" || p.EtcdCertFile != ""
	f.Need(p.EtcdCertFile == "" || p.EtcdKeyFile != "", "etcd-key-file", "etcd-cert-file is set and needs its private key beside it")
	f.Need(p.EtcdKeyFile == "" || p.EtcdCertFile != "", "etcd-cert-file", "etcd-key-file is set and needs a certificate beside it")
	f.Need(!withTLS || !p.EtcdInsecure, "etcd-insecure", "it asks for no TLS, and etcd-ca-file or etcd-cert-file for TLS: take one of them away")
	f.Need(withTLS || c.local || p.EtcdInsecure, "store", "%s is called over the network, and without TLS whoever is on the way can change what is allowed: "+
		"set etcd-ca-file, or etcd-insecure where the network encrypts by itself", p.Store)
	f.Need((p.EtcdUsername == "") == (p.EtcdPasswordFile == ""), "etcd-username", "authentication by password needs a user and a password: set etcd-username and etcd-password-file, or neither")
	if p.EtcdPasswordFile != "" {
		c.username = p.EtcdUsername
		c.password, err = readPassword(p.EtcdPasswordFile)
		f.Failed("etcd-password-file", err)
	}
	if !withTLS || (p.EtcdCertFile == "") != (p.EtcdKeyFile == "") {
		return
	}
	for _, host := range c.hosts {
		files, err := identity.LoadClientTLS(identity.ClientFiles{CA: p.EtcdCAFile, Cert: p.EtcdCertFile, Key: p.EtcdKeyFile, ServerName: host})
		if f.Failed("files for etcd", err) {
			return
		}
		c.tls = append(c.tls, files)
	}
	for i, e := range c.endpoints {
		c.endpoints[i] = "https" + strings.TrimPrefix(e, "http")
	}
}

// etcdOnly and badgerOnly are the settings that mean something with one store only.
func etcdOnly() []string {
	return []string{"etcd-ca-file", "etcd-cert-file", "etcd-key-file", "etcd-username", "etcd-password-file", "etcd-insecure", "etcd-timeout",
		"replica-name", "peer-address", "peer-ca-file", "peer-cert-file", "peer-key-file", "replica-fence"}
}

func badgerOnly() []string { return []string{"min-free-disk", "ballast", "memtable-size"} }

// refuseOthers refuses settings that were given another value than their default and would be without effect: who set them expects one.
func (p *plan) refuseOthers(f *settings.Findings, why, instead string, names []string) {
	given, err := p.changed()
	if f.Failed(instead, err) {
		return
	}
	for _, name := range names {
		f.Need(!given[name], name, "is set, but %s: take it away, or set %s", why, instead)
	}
}

// changed tells which settings have another value than their default.
func (c *Config) changed() (map[string]bool, error) {
	base, err := Parse(nil, nil)
	if err != nil {
		return nil, err
	}
	given := map[string]bool{}
	for _, s := range []struct {
		name      string
		different bool
	}{
		{"etcd-ca-file", c.EtcdCAFile != base.EtcdCAFile}, {"etcd-cert-file", c.EtcdCertFile != base.EtcdCertFile}, {"etcd-key-file", c.EtcdKeyFile != base.EtcdKeyFile},
		{"etcd-username", c.EtcdUsername != base.EtcdUsername}, {"etcd-password-file", c.EtcdPasswordFile != base.EtcdPasswordFile},
		{"etcd-insecure", c.EtcdInsecure != base.EtcdInsecure}, {"etcd-timeout", c.EtcdTimeout != base.EtcdTimeout},
		{"replica-name", c.ReplicaName != base.ReplicaName}, {"peer-address", c.PeerAddress != base.PeerAddress}, {"peer-ca-file", c.PeerCAFile != base.PeerCAFile},
		{"peer-cert-file", c.PeerCertFile != base.PeerCertFile}, {"peer-key-file", c.PeerKeyFile != base.PeerKeyFile}, {"replica-fence", c.ReplicaFence != base.ReplicaFence},
		{"min-free-disk", c.MinFreeDisk != base.MinFreeDisk}, {"ballast", c.Ballast != base.Ballast}, {"memtable-size", c.MemtableSize != base.MemtableSize},
	} {
		given[s.name] = s.different
	}
	return given, nil
}

// parseCluster reads etcd://HOST:PORT,HOST:PORT/PREFIX.
func parseCluster(text string) (*cluster, error) {
	const form = "write badger, or etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX"
	rest, ok := strings.CutPrefix(text, "etcd://")
	if !ok {
		return nil, fmt.Errorf("%q is no store: %s (TLS is spoken when etcd-ca-file or etcd-cert-file is set)", text, form)
	}
	members, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	switch {
	case strings.Contains(members, "@"):
		return nil, errors.New("no user stands in the address: set etcd-username and etcd-password-file")
	case prefix == "":
		return nil, fmt.Errorf("%q names no prefix: add one that nothing else in the cluster uses, such as /jobward", text)
	case !regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`).MatchString(prefix) || len(prefix) > 128:
		return nil, fmt.Errorf("the prefix %q is no good: up to 128 letters, digits, dots, dashes, underscores and single slashes", prefix)
	}
	c := &cluster{prefix: "/" + prefix + "/", local: true}
	var all serving.Addresses
	for member := range strings.SplitSeq(members, ",") {
		if member == "" || !strings.Contains(strings.TrimLeft(member, "["), ":") || strings.HasSuffix(member, "]") {
			member += ":" + etcdPort
		}
		a, err := all.Parse(member)
		if err != nil {
			return nil, fmt.Errorf("%w; %s", err, form)
		}
		host, port, _ := net.SplitHostPort(a.Host)
		if a.Network != "tcp" || host == "" || port == "0" {
			return nil, fmt.Errorf("%q is no member of etcd: %s", member, form)
		}
		c.endpoints = append(c.endpoints, "http://"+a.Host)
		c.local = c.local && a.Local()
		if !slices.Contains(c.hosts, host) {
			c.hosts = append(c.hosts, host)
		}
	}
	return c, nil
}

// readPassword reads a password, which is one line. Errors do not hold it.
func readPassword(path string) (string, error) {
	data, err := settings.ReadSmall(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o026 != 0 {
		return "", fmt.Errorf("%s has mode %04o, so others can read or change it; run chmod 600 (or 640) on it", path, info.Mode().Perm())
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" || strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("%s holds no password: one line and nothing else", path)
	}
	return text, nil
}

// config is how etcd is called, nil without TLS. gRPC takes the name to ask for from the address of each member, but crypto/tls forgets it when it is an
// IP address: so the certificate has to be for one of the members, whichever. One that is not good is told to the log, once, since etcd's client keeps the
// reason to itself.
func (c *cluster) config(log *slog.Logger) *tls.Config {
	if len(c.tls) == 0 {
		return nil
	}
	var told atomic.Pointer[string]
	config := c.tls[0].Config()
	config.ServerName = ""
	config.VerifyConnection = func(state tls.ConnectionState) error {
		var first error
		for _, files := range c.tls {
			err := files.Config().VerifyConnection(state)
			if err == nil {
				return nil
			}
			first = cmp.Or(first, err)
		}
		text := first.Error()
		if was := told.Swap(&text); was == nil || *was != text {
			log.Error("an etcd member is not taken for one", "members", c.hosts, "error", first)
		}
		return first
	}
	return config
}
