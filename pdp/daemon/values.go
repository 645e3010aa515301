package daemon

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. Its text is a whole number and one of B, KiB, MiB, GiB, TiB: 32MiB.
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler. Units of a thousand are refused, because half of those who write 10MB mean 10MiB.
func (s *Size) UnmarshalText(text []byte) error {
	number, shift := string(text), 0
	for i, unit := range sizeUnits() {
		if rest, ok := strings.CutSuffix(number, unit); ok {
			number, shift = rest, 10*(4-i)
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return fmt.Errorf("%q is no size: write a whole number with one of B, KiB, MiB, GiB, TiB, such as 32MiB", text)
	}
	*s = Size(n << shift)
	return nil
}

// String gives the shortest exact text.
func (s Size) String() string {
	units := sizeUnits()
	for i, unit := range units[:4] {
		if one := Size(1) << (10 * (4 - i)); s >= one && s%one == 0 {
			return strconv.FormatInt(int64(s/one), 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

func sizeUnits() []string { return []string{"TiB", "GiB", "MiB", "KiB", "B"} }

// FileMode is the permission bits of a file; its text is octal: 0660.
type FileMode fs.FileMode

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *FileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is no file mode: write three or four octal digits, such as 0660", text)
	}
	*m = FileMode(n)
	return nil
}

// String gives four octal digits.
func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// maxSocketPath is what the kernel takes, less the final zero.
const maxSocketPath = 107

// address is one place to listen at.
type address struct {
	network string // "tcp" or "unix"
	host    string // host:port, or the path
}

// parseAddress reads the text of an address setting.
func parseAddress(text string) (address, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		switch {
		case path == "" || strings.HasPrefix(path, "@"):
			return address{}, fmt.Errorf("%q names no file: write unix:PATH", text)
		case len(path) > maxSocketPath:
			return address{}, fmt.Errorf("%q: a Unix socket's path has at most %d bytes and this has %d; choose a shorter directory", text, maxSocketPath, len(path))
		}
		return address{"unix", path}, nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return address{}, fmt.Errorf("%q is no address: write host:port, such as 127.0.0.1:7420, or unix:PATH", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return address{}, fmt.Errorf("%q has no port between 0 and 65535: %q", text, port)
	} else if strconv.FormatUint(n, 10) != port {
		return address{}, fmt.Errorf("%q: write the port without leading zeros", text)
	}
	return address{"tcp", text}, nil
}

// local reports whether only this machine can reach the address. A name other than localhost is not looked up: it counts as
// reachable, and after listening the real address is judged once more.
func (a address) local() bool {
	if a.network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(a.host)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// String gives the text that the settings have.
func (a address) String() string {
	if a.network == "unix" {
		return "unix:" + a.host
	}
	return a.host
}

// port gives the port of a TCP address.
func (a address) port() string {
	_, port, _ := net.SplitHostPort(a.host)
	return port
}

// brief is time.Duration.String without the zeros at its end: 168h, not 168h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
