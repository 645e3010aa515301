package gate

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

// TestPeer wants that only who connects from a trusted address is trusted.
func TestPeer(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	for from, want := range map[string]bool{
		"127.0.0.1:1": true, "[::ffff:127.0.0.1]:1": true, "[fe80::1%eth0]:1": true, "128.0.0.1:1": false, "[::1]:1": false, "": false, "@": false, "127.0.0.1": false,
	} {
		r := &http.Request{RemoteAddr: from}
		if a, socket := Peer(r); Among(trusted, a) != want || socket {
			t.Errorf("%s is %v, socket %t", from, a, socket)
		}
		r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.UnixAddr{}))
		if a, socket := Peer(r); a.IsValid() || !socket {
			t.Errorf("%s over a socket is %v, socket %t", from, a, socket)
		}
	}
}
