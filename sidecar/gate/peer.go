package gate

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
)

// Peer gives the address at the other end of r's connection, IPv4 as such and without a zone. It is not valid where it cannot be known, and over a
// Unix socket, which has none.
func Peer(r *http.Request) (a netip.Addr, socket bool) {
	if _, socket = r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); socket {
		return a, true
	}
	p, _ := netip.ParseAddrPort(r.RemoteAddr)
	return p.Addr().Unmap().WithZone(""), false
}

// Among reports whether an address is in one of the prefixes.
func Among(trusted []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}
