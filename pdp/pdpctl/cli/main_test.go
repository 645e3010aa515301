package cli

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/daemon"
)

// newPDP runs the real PDP with the sample world on a Unix socket and gives its address. It is stopped with the test.
func newPDP(t *testing.T, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	addr := "unix:" + filepath.Join(dir, "s")
	runPDP(t, append([]string{"--data-dir", filepath.Join(dir, "data"), "--grpc-addr", addr, "--min-free-disk", "16MiB", "--ballast", "16MiB"}, more...)...)
	return addr
}

// newShared is newPDP for one of several on a store in etcd.
func newShared(t *testing.T, store, name string) string {
	t.Helper()
	dir := t.TempDir()
	addr := "unix:" + filepath.Join(dir, "s")
	runPDP(t, "--store", store, "--replica-name", name, "--data-dir", filepath.Join(dir, "data"), "--grpc-addr", addr+",127.0.0.1:0", "--replica-fence", "1s",
		"--lease-term", "1s", "--shutdown-grace", "3s")
	return addr
}

// runPDP runs a PDP until the test ends.
func runPDP(t *testing.T, args ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan int, 1)
	var log bytes.Buffer
	go func() {
		done <- daemon.Main(ctx, append([]string{"--admin-addr", "127.0.0.1:0", "--shutdown-delay", "0s"}, args...), nil, in, &log)
		in.Close()
	}()
	ready := make(chan bool, 1)
	go func() {
		text := make([]byte, 4096)
		seen := ""
		for {
			n, err := out.Read(text)
			seen += string(text[:n])
			if strings.Contains(seen, "Ctrl-C stops it") && len(ready) == 0 {
				ready <- true
			}
			if err != nil {
				close(ready)
				return
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != 0 {
			t.Errorf("the PDP ended with code %d: %s", code, &log)
		}
	})
	if !<-ready {
		t.Fatalf("the PDP did not start: %s", &log)
	}
}

// ctl runs one command line against addr, which may be empty.
func ctl(t *testing.T, addr string, args ...string) (code int, out, errout string) {
	t.Helper()
	return ctlWith(t, addr, "", args...)
}

// ctlWith is ctl with standard input.
func ctlWith(t *testing.T, addr, input string, args ...string) (code int, out, errout string) {
	t.Helper()
	if addr != "" {
		args = append([]string{"--address", addr}, args...)
	}
	var stdout, stderr bytes.Buffer
	code = Main(context.Background(), args, strings.NewReader(input), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}
