package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSocketMode(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []FileMode{0o600, 0o660, 0o666, 0o777} {
		path := filepath.Join(dir, mode.String())
		l, err := listen(t.Context(), address{"unix", path}, mode)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := FileMode(info.Mode().Perm()); got != mode {
			t.Errorf("mode %v, want %v", got, mode)
		}
		l.Close()
		if _, err := os.Stat(path); err == nil {
			t.Error("the socket is still there after Close")
		}
	}
}

// TestSocketModeAtBind looks at the file between bind and chmod, by a mode that the umask leaves alone.
func TestSocketModeAtBind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Fchmod(fd, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&^0o600 != 0 {
		t.Errorf("this kernel gives a bound socket the mode %v, not that of its descriptor: listen relies on it", info.Mode())
	}
}

func TestSocketInTheWay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	at := address{"unix", path}

	// Left behind by a killed process: nobody listens, the file is there.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := listen(t.Context(), at, 0o600)
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	defer l.Close()

	if _, err := listen(t.Context(), at, 0o600); err == nil || !strings.Contains(err.Error(), "somebody listens") {
		t.Errorf("a live socket: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the live socket is gone: %v", err)
	}
	c.Close()

	file := writeFile(t, filepath.Join(dir, "file"), "precious", 0o600)
	for _, other := range []string{file, dir} {
		if _, err := listen(t.Context(), address{"unix", other}, 0o600); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("%s: %v", other, err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), address{"unix", link}, 0o600); err == nil {
		t.Error("a symbolic link was replaced")
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := listen(t.Context(), address{"tcp", l.Addr().String()}, 0); err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Error(err)
	}
}
