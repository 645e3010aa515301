package daemon

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
)

// Bounds of the settings of replicas.
const (
	minFence = time.Second
	maxFence = 30 * time.Second
)

// replicaPlan is what the settings say of this PDP as one of several.
type replicaPlan struct {
	name string
	// host is that of peer-address; port is "0" for the one that the listener took.
	host, port string
	// files are those to call peers with; nil in development mode. Their server name is for the one that is called.
	files *identity.ClientFiles
}

// checkPeers judges how the others reach this PDP, and how it reaches them.
func (p *plan) checkPeers(f *settings.Findings) {
	if p.etcd == nil {
		return
	}
	r := &replicaPlan{name: p.ReplicaName}
	p.replica = r
	f.Need(p.ReplicaFence >= minFence && p.ReplicaFence <= maxFence, "replica-fence", "%s is not between %s and %s",
		settings.Brief(p.ReplicaFence), settings.Brief(minFence), settings.Brief(maxFence))
	if r.name == "" {
		host, err := os.Hostname()
		if f.Failed("replica-name", err) {
			return
		}
		r.name = host
	}
	f.Need(regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`).MatchString(r.name), "replica-name", "%q is no name of 1 to 253 letters, digits, dots, dashes and underscores", r.name)
	f.Failed("peer-address", r.checkAddress(p))
	if p.development {
		for name, value := range map[string]string{"peer-ca-file": p.PeerCAFile, "peer-cert-file": p.PeerCertFile, "peer-key-file": p.PeerKeyFile} {
			f.Need(value == "", name, "is set, but in development mode PDPs call each other without TLS: set tls-cert-file and tls-key-file, or take it away")
		}
		return
	}
	f.Need((p.PeerCertFile == "") == (p.PeerKeyFile == ""), "peer-cert-file", "a certificate and its private key go together: set peer-cert-file and peer-key-file, or neither")
	f.Need(p.TLSClientCAFile != "", "tls-client-ca-file", "the PDPs of one store know each other by client certificates: set it, so that those can be verified")
	if p.tls == nil || p.callers == nil || p.TLSClientCAFile == "" || (p.PeerCertFile == "") != (p.PeerKeyFile == "") {
		return // said elsewhere
	}
	r.files = &identity.ClientFiles{CA: cmp.Or(p.PeerCAFile, p.TLSClientCAFile), Cert: cmp.Or(p.PeerCertFile, p.TLSCertFile), Key: cmp.Or(p.PeerKeyFile, p.TLSKeyFile)}
	f.Failed("files for peers", r.checkFiles(p))
}

// checkAddress finds the address that the others call.
func (r *replicaPlan) checkAddress(p *plan) error {
	text := p.PeerAddress
	if text == "" {
		for _, a := range p.grpc {
			if a.Network == "tcp" {
				text = a.Host
				break
			}
		}
		if text == "" {
			return errors.New("the other PDPs cannot call a Unix socket: give grpc-addr a TCP address")
		}
	}
	a, err := serving.ParseAddress(text)
	if err != nil {
		return err
	}
	if a.Network != "tcp" {
		return fmt.Errorf("%s: the other PDPs cannot call a Unix socket: write host:port", text)
	}
	r.host, r.port, _ = net.SplitHostPort(a.Host)
	if n, err := strconv.Atoi(r.port); err != nil || n < 0 {
		return fmt.Errorf("%q has no port", text)
	}
	ip, err := netip.ParseAddr(r.host)
	switch {
	case r.host == "" || err == nil && ip.IsUnspecified():
		return fmt.Errorf("%s is where this PDP listens, and no address that the other PDPs can call: set peer-address to this machine's own, with port 0 for the port of grpc-addr", text)
	case a.Local() && !p.etcd.local:
		return fmt.Errorf("%s is called from this machine only, and etcd is on others, so other PDPs may be: set peer-address, and grpc-addr, to an address of this machine that they can call", text)
	}
	return nil
}

// checkFiles reads the files, and asks what the other PDPs will ask of the certificate. One that they would not take leads to
// PDPs that shut each other out at every revocation.
func (r *replicaPlan) checkFiles(p *plan) error {
	files := *r.files
	files.ServerName = r.host
	client, err := identity.LoadClientTLS(files)
	if err != nil {
		return err
	}
	cert, err := client.Config().GetClientCertificate(nil)
	if err != nil {
		return err
	}
	bundle, err := settings.ReadSmall(p.TLSClientCAFile)
	if err != nil {
		return err
	}
	chain := make([]*x509.Certificate, len(cert.Certificate))
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	opts.Roots.AppendCertsFromPEM(bundle)
	for i, der := range cert.Certificate {
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return err
		}
		if i > 0 {
			opts.Intermediates.AddCert(chain[i])
		}
	}
	chains, err := chain[0].Verify(opts)
	if err != nil {
		return fmt.Errorf("the other PDPs would not take the client certificate %s by what is in tls-client-ca-file: %w", files.Cert, err)
	}
	who, err := p.callers.Authenticate(&tls.ConnectionState{PeerCertificates: chain, VerifiedChains: chains}, nil)
	if err == nil && !who.Roles.Has(identity.Peer) {
		err = fmt.Errorf("%s has the roles %v in the callers file", who.Name, who.Roles)
	}
	if err != nil {
		return fmt.Errorf("the client certificate %s has not the role peer, so the other PDPs would not answer this one: give it to its SPIFFE id in the callers file: %w", files.Cert, err)
	}
	return nil
}

// address is the one that peers call, now that the listeners are there.
func (r *replicaPlan) address(listening []net.Addr) string {
	port := r.port
	for _, a := range listening {
		if tcp, ok := a.(*net.TCPAddr); ok && port == "0" {
			port = strconv.Itoa(tcp.Port)
		}
	}
	return net.JoinHostPort(r.host, port)
}
