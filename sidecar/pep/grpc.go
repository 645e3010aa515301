package pep

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
)

// TLS names the PEM files of the connections to PDPs. They are looked at again once in
// a while, and what has changed counts for the next connection.
type TLS struct {
	// CA holds the certificates that the PDPs' are verified against; empty takes the
	// system's.
	CA string
	// Cert and Key are this service's own, or empty for one that comes with a bearer key.
	Cert, Key string
	// ServerName is what the PDPs' certificates are for; empty takes the host of the
	// address.
	ServerName string
}

// grpcTransport is the Transport that speaks gRPC.
type grpcTransport struct {
	cfg  *Config
	tls  map[string]*identity.ClientTLS // by server name
	stop context.CancelFunc
	done sync.WaitGroup
}

// reread is how often the TLS files are looked at.
const reread = 10 * time.Second

func newGRPC(c *Config) (*grpcTransport, error) {
	t := &grpcTransport{cfg: c, tls: map[string]*identity.ClientTLS{}}
	if c.Development && (c.TLS != TLS{} || c.KeyFile != "") {
		return nil, authz.Invalid("development", "goes without TLS and keys: leave them out, or it")
	}
	for _, a := range c.Addresses {
		host, err := hostOf(a)
		switch {
		case err != nil:
			return nil, err
		case c.Development && c.Dial == nil && !local(host):
			return nil, authz.Invalid("addresses", "%s can be reached from other machines: without TLS only loopback addresses and Unix sockets are dialled", a)
		case c.Development:
			continue
		}
		name := t.serverName(host)
		if t.tls[name] != nil {
			continue
		}
		if t.tls[name], err = identity.LoadClientTLS(identity.ClientFiles{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key, ServerName: name}); err != nil {
			return nil, fmt.Errorf("TLS to %s: %w", a, err)
		}
	}
	if _, err := t.key(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	for _, files := range t.tls {
		t.done.Go(func() {
			files.Run(ctx, reread, func(err error) {
				c.Logger.Error("a TLS file changed and cannot be used; the last good one stays in force", "error", err)
			})
		})
	}
	return t, nil
}

// Close implements Transport.
func (t *grpcTransport) Close() error {
	t.stop()
	t.done.Wait()
	return nil
}

func (t *grpcTransport) serverName(host string) string {
	return cmp.Or(t.cfg.TLS.ServerName, host, "localhost") // a Unix socket has no host
}

// hostOf gives the host of an address, "" for a Unix socket.
func hostOf(address string) (string, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok && path != "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return "", authz.Invalid("addresses", "%q is no address: write host:port, or unix:/path", address)
	}
	return host, nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || host == "localhost" || err == nil && ip.IsLoopback()
}

func dialNet(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return d.DialContext(ctx, "unix", path)
	}
	return d.DialContext(ctx, "tcp", address)
}

// nameSeparator stands in an endpoint between an IP address and the name that it was
// found by, which its certificate is for.
const nameSeparator = "#"

// Endpoints implements Transport: names are looked up here and not by gRPC, so that all
// lanes of one link lead to the same PDP.
func (t *grpcTransport) Endpoints(ctx context.Context) ([]string, error) {
	var out []string
	var errs []error
	for _, a := range t.cfg.Addresses {
		host, err := hostOf(a)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err == nil || host == "" || host == "localhost" || t.cfg.Dial != nil {
			out = append(out, a)
			continue
		}
		_, port, _ := net.SplitHostPort(a)
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		errs = append(errs, err)
		slices.Sort(ips)
		for _, ip := range ips {
			out = append(out, net.JoinHostPort(ip, port)+nameSeparator+host)
		}
	}
	if len(out) > 0 {
		return out, nil // what cannot be looked up now may be later
	}
	return nil, errors.Join(errs...)
}

// key reads the bearer key; nil without one.
func (t *grpcTransport) key() ([]byte, error) {
	if t.cfg.KeyFile == "" {
		return nil, nil
	}
	data, err := os.ReadFile(t.cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("the bearer key cannot be read: %w", err)
	}
	data = bytes.TrimSpace(data)
	if _, err := identity.HashKey(string(data)); err != nil {
		return nil, fmt.Errorf("%s: %w", t.cfg.KeyFile, err)
	}
	return data, nil
}

// Open implements Transport.
func (t *grpcTransport) Open(endpoint string) (PDP, error) {
	address, name, _ := strings.Cut(endpoint, nameSeparator)
	host, err := hostOf(address)
	if err != nil {
		return nil, err
	}
	const mostMessage = 64 << 20 // keys of a large cache, when many of them changed at once
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithIdleTimeout(0),
		// Each link has connections of its own, which end with it; when to try again is
		// decided above, where it can be seeded.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
			MinConnectTimeout: t.cfg.CallTimeout,
		}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if t.cfg.Dial != nil {
				return t.cfg.Dial(ctx, address)
			}
			return dialNet(ctx, address)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostMessage)),
		// Of a fixed size: to find one for itself gRPC pings the PDP for every message that comes.
		grpc.WithStaticStreamWindowSize(1 << 20), grpc.WithStaticConnWindowSize(4 << 20),
		grpc.WithUserAgent("jobward-pep/" + cmp.Or(t.cfg.Version, "unknown")),
	}
	if !t.cfg.Development {
		files := t.tls[t.serverName(cmp.Or(name, host))]
		opts[0] = grpc.WithTransportCredentials(credentials.NewTLS(files.Config("h2")))
		key, err := t.key()
		if err != nil {
			return nil, err
		}
		if key != nil {
			opts = append(opts, grpc.WithPerRPCCredentials(bearer(key)))
		}
	}
	p := &grpcPDP{}
	for i := range p.conns {
		if p.conns[i], err = grpc.NewClient("passthrough:///"+address, opts...); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	p.watch = jobwardv1.NewWatchServiceClient(p.conns[0])
	p.decisions = jobwardv1.NewDecisionServiceClient(p.conns[1])
	p.tokens = jobwardv1.NewTokenServiceClient(p.conns[1])
	p.reports = jobwardv1.NewWatchServiceClient(p.conns[2])
	return p, nil
}

// bearer sends a key with every call; gRPC refuses it on a connection without TLS.
type bearer []byte

// GetRequestMetadata is called by gRPC.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is called by gRPC.
func (bearer) RequireTransportSecurity() bool { return true }
