package serving

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxSocketPath is what the kernel takes, less the final zero.
const maxSocketPath = 107

// Address is one place to listen at.
type Address struct {
	Network string // "tcp" or "unix"
	Host    string // host:port, or the path
}

// ParseAddress reads the text of an address setting.
func ParseAddress(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		switch {
		case path == "" || strings.HasPrefix(path, "@"):
			return Address{}, fmt.Errorf("%q names no file: write unix:PATH", text)
		case len(path) > maxSocketPath:
			return Address{}, fmt.Errorf("%q: a Unix socket's path has at most %d bytes and this has %d; choose a shorter directory", text, maxSocketPath, len(path))
		}
		return Address{"unix", path}, nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, fmt.Errorf("%q is no address: write host:port, such as 127.0.0.1:7420, or unix:PATH", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return Address{}, fmt.Errorf("%q has no port between 0 and 65535: %q", text, port)
	} else if strconv.FormatUint(n, 10) != port {
		return Address{}, fmt.Errorf("%q: write the port without leading zeros", text)
	}
	return Address{"tcp", text}, nil
}

// Local reports whether only this machine can reach the address. A name other than localhost is not looked up: it counts as
// reachable, and after listening the real address is judged once more.
func (a Address) Local() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(a.Host)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// String gives the text that the settings have.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix:" + a.Host
	}
	return a.Host
}

// port gives the port of a TCP address.
func (a Address) port() string {
	_, port, _ := net.SplitHostPort(a.Host)
	return port
}

// Taken is the address with the port that was really taken.
func (a Address) Taken(real net.Addr) Address {
	if a.Network == "tcp" {
		a.Host = real.String()
	}
	return a
}

// Addresses are those of one program's settings. The zero value has none.
type Addresses struct{ seen map[Address]bool }

// Parse reads one more address and refuses one that is there already. Port 0, which takes a free port, may be there several times.
func (s *Addresses) Parse(text string) (Address, error) {
	a, err := ParseAddress(text)
	if err != nil {
		return a, err
	}
	if s.seen[a] && (a.Network != "tcp" || a.port() != "0") {
		return a, fmt.Errorf("%s is there twice", a)
	}
	if s.seen == nil {
		s.seen = map[Address]bool{}
	}
	s.seen[a] = true
	return a, nil
}
