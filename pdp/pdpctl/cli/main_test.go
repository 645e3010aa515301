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
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan int, 1)
	var log bytes.Buffer
	go func() {
		args := []string{"--data-dir", filepath.Join(dir, "data"), "--grpc-addr", addr, "--admin-addr", "127.0.0.1:0", "--min-free-disk", "16MiB", "--ballast", "16MiB", "--shutdown-delay", "0s"}
		done <- daemon.Main(ctx, append(args, more...), nil, in, &log)
		in.Close()
	}()
	ready := make(chan bool, 1)
	go func() {
		text := make([]byte, 4096)
		seen := ""
		for {
			n, err := out.Read(text)
			seen += string(text[:n])
			if strings.Contains(seen, "token issue") && len(ready) == 0 {
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
	return addr
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
