package daemon

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/serving"
)

// authenticator tells who calls, and judges once more, on the addresses that were really taken, whether development mode is in place.
func (d *daemon) authenticator(addrs []net.Addr) (identity.Authenticator, error) {
	if d.development {
		return identity.NewDevelopment(addrs...)
	}
	if d.callers != nil {
		d.stops.Background(func(ctx context.Context) {
			d.callers.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "callers file"))
		})
	}
	if d.TrustSocketMode {
		return socketCallers{d.callers}, nil
	}
	return d.callers, nil
}

// socketCallers takes who comes without TLS, which can only be over a Unix socket, for a service that the file's mode has let in. Who shows
// a key is who the key says, where there are keys.
type socketCallers struct{ callers *identity.Callers }

// Authenticate implements identity.Authenticator.
func (s socketCallers) Authenticate(state *tls.ConnectionState, authorization []string) (identity.Principal, error) {
	if s.callers != nil && (state != nil || len(authorization) > 0) {
		return s.callers.Authenticate(state, authorization)
	}
	return identity.Principal{Name: "local:socket", Roles: identity.Roles(identity.Service)}, nil
}

// credentials gives how connections are made safe; nil where none is.
func (d *daemon) credentials() credentials.TransportCredentials {
	switch {
	case d.tls == nil:
		return nil // development, or nothing but sockets that are trusted
	case d.TrustSocketMode:
		return plainSockets{credentials.NewTLS(d.tls.Config())}
	}
	return credentials.NewTLS(d.tls.Config())
}

// plainSockets makes no TLS on Unix sockets.
type plainSockets struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (p plainSockets) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.LocalAddr().Network() == "unix" {
		return insecure.NewCredentials().ServerHandshake(c)
	}
	return p.TransportCredentials.ServerHandshake(c)
}

// Clone implements credentials.TransportCredentials.
func (p plainSockets) Clone() credentials.TransportCredentials {
	return plainSockets{p.TransportCredentials.Clone()}
}
