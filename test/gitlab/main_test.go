package gitlab

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/pdp/daemon"
	"github.com/jobward/jobward/test/capture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// pdp is a PDP in this process, stopped with the test.
type pdp struct {
	daemon.Addresses
	log capture.Output
	// stop ends it; a second time it does nothing.
	stop func()
}

func run(t *testing.T, args ...string) *pdp {
	t.Helper()
	config, err := daemon.Parse(append([]string{
		"--data-dir=" + t.TempDir(), "--grpc-addr=127.0.0.1:0", "--rest-addr=127.0.0.1:0", "--admin-addr=off", "--ballast=16MiB", "--min-free-disk=16MiB", "--shutdown-delay=0s",
	}, args...), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &pdp{}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan daemon.Addresses, 1), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Config: config, Stdout: &bytes.Buffer{}, Stderr: &p.log, Ready: func(a daemon.Addresses) { ready <- a }})
	}()
	select {
	case p.Addresses = <-ready:
	case err := <-ended:
		stop()
		t.Fatalf("%v\n%s", err, p.log.Tail())
	case <-time.After(patience):
		t.Fatalf("not ready:\n%s", p.log.Tail())
	}
	p.stop = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	return p
}
