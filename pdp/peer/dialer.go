package peer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state"
)

// Options are what a [Dialer] is made of.
type Options struct {
	// TLS names the certificate that this PDP shows, which has the role peer at the others,
	// and those that theirs are verified against; the name is the host of the address. They
	// are read again when they change. nil is plaintext, to loopback addresses only.
	TLS *identity.ClientFiles
	// Epoch gives that of this PDP's history, which has to be the peer's.
	Epoch func() state.Epoch
	// Dial connects to an address in place of a net.Dialer, for tests.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Logger takes streams that break, at Debug: package replica tells what comes of it.
	Logger *slog.Logger
}

// Dialer implements [replica.Dialer].
type Dialer struct{ opt Options }

// reread is how often TLS files are looked at.
const reread = 10 * time.Second

// NewDialer makes a Dialer.
func NewDialer(opt Options) *Dialer {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	return &Dialer{opt}
}

// Dial implements [replica.Dialer]. It fails for an address that is none, or that is on
// another machine when there is no TLS.
func (d *Dialer) Dial(r state.Registration) (replica.Peer, error) {
	host, _, err := net.SplitHostPort(r.Address)
	if err != nil {
		return nil, fmt.Errorf("%q, where PDP %s says that it is, is no address: %w", r.Address, r.Name, err)
	}
	creds := insecure.NewCredentials()
	var files *identity.ClientTLS
	switch {
	case d.opt.TLS != nil:
		these := *d.opt.TLS
		these.ServerName = host
		if files, err = identity.LoadClientTLS(these); err != nil {
			return nil, fmt.Errorf("TLS to PDP %s: %w", r.Name, err)
		}
		creds = credentials.NewTLS(files.Config("h2"))
	case d.opt.Dial == nil && !local(host):
		return nil, authz.Errorf(authz.KindPrecondition, "NO_TLS", "%s can be reached from other machines: without TLS only PDPs on loopback addresses are called", r.Address)
	}
	const soon = 100 * time.Millisecond
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithIdleTimeout(0), grpc.WithUserAgent("jobward-pdp"),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: soon / 5, Multiplier: 1.5, MaxDelay: 5 * soon}, MinConnectTimeout: time.Second}),
		// A connection that has died without a word is given up, so that the next one works when
		// the network does again. It decides nothing.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}),
		grpc.WithStaticStreamWindowSize(256 << 10), grpc.WithStaticConnWindowSize(256 << 10),
	}
	if d.opt.Dial != nil {
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return d.opt.Dial(ctx, r.Address) }))
	}
	conn, err := grpc.NewClient("passthrough:///"+r.Address, opts...)
	if err != nil {
		return nil, err
	}
	p := &Peer{
		to: r, opt: d.opt, conn: conn, client: jobwardv1.NewPeerServiceClient(conn),
		asks: map[replica.Want]*ask{}, wake: make(chan struct{}, 1),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.runs.Go(p.run)
	if files != nil {
		p.runs.Go(func() {
			files.Run(p.ctx, reread, func(err error) {
				d.opt.Logger.Error("a TLS file for peers changed and cannot be used; the last good one stays in force", "error", err)
			})
		})
	}
	return p, nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
