// Command sidecar answers questions about job tokens beside a service, from a cache that is never wrong about a revocation. Without arguments
// it runs in development mode on 127.0.0.1 and asks the policy decision point that "pdp" without arguments is; sidecar --help lists its
// settings and verbs. Everything it does is in package daemon.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/jobward/jobward/sidecar/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal stops in order. From then on signals do what they do by themselves, so that a second one ends the process at once: a
	// lease that was not given back runs out.
	context.AfterFunc(ctx, stop)
	os.Exit(daemon.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
