package serving

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSocketMode(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []fs.FileMode{0o600, 0o660, 0o666, 0o777} {
		path := filepath.Join(dir, fmt.Sprintf("%o", mode))
		l, err := Listen(t.Context(), Address{"unix", path}, mode)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
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
		t.Errorf("this kernel gives a bound socket the mode %v, not that of its descriptor: Listen relies on it", info.Mode())
	}
}

func TestSocketInTheWay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	at := Address{"unix", path}

	// Left behind by a killed process: nobody listens, the file is there.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := Listen(t.Context(), at, 0o600)
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	defer l.Close()

	if _, err := Listen(t.Context(), at, 0o600); err == nil || !strings.Contains(err.Error(), "somebody listens") {
		t.Errorf("a live socket: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the live socket is gone: %v", err)
	}
	c.Close()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{file, dir} {
		if _, err := Listen(t.Context(), Address{"unix", other}, 0o600); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("%s: %v", other, err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), Address{"unix", link}, 0o600); err == nil {
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
	if _, err := Listen(t.Context(), Address{"tcp", l.Addr().String()}, 0); err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	for text, local := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:0": true, "localhost:1": true, "unix:/s": true, "unix:rel": true, ":1": false, "0.0.0.0:1": false, "pdp.example:1": false,
	} {
		if a, err := ParseAddress(text); err != nil || a.String() != text || a.Local() != local {
			t.Errorf("%s: %v, %v, local is %t", text, a, err, a.Local())
		}
	}
	for _, text := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:08", "unix:", "unix:@abstract", "unix:/" + strings.Repeat("x", 107)} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q is %v", text, a)
		}
	}
	var all Addresses
	for _, c := range []struct {
		text string
		ok   bool
	}{{"127.0.0.1:1", true}, {"unix:/s", true}, {"127.0.0.1:1", false}, {"unix:/s", false}, {"127.0.0.1:0", true}, {"127.0.0.1:0", true}, {"x", false}} {
		if _, err := all.Parse(c.text); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}
