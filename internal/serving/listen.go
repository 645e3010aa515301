package serving

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Listen opens one address. The file of a Unix socket has its mode from the first moment on.
func Listen(ctx context.Context, a Address, mode fs.FileMode) (net.Listener, error) {
	var lc net.ListenConfig
	if a.Network == "unix" {
		if err := clearSocket(ctx, a.Host); err != nil {
			return nil, err
		}
		// Linux gives the file the mode that the socket has when it is bound, less the umask; the chmod below gives back what that took.
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var failed error
			if err := c.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), uint32(mode)) }); err != nil {
				return err
			}
			return failed
		}
	}
	l, err := lc.Listen(ctx, a.Network, a.Host)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken: another program listens there (another instance?); stop it or choose another address", a)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w", a, err)
	}
	if a.Network == "unix" {
		if err := os.Chmod(a.Host, mode); err != nil {
			l.Close()
			return nil, fmt.Errorf("cannot give the socket its mode: %w", err)
		}
	}
	return l, nil
}

// clearSocket removes a socket that a killed process left behind. What somebody listens on stays, and so does any other kind of file.
// Two programs that start in the same instant at one path can both get past this: then the later one has the path.
func clearSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: remove it or choose another path", path)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("somebody listens on %s (another instance?): stop it or choose another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether somebody listens on %s: %w", path, err)
	}
	return os.Remove(path)
}
