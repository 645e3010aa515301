// Command pdp is Jobward's policy decision point: it issues, judges and revokes job tokens. Without arguments it runs in development mode on
// 127.0.0.1; pdp --help lists its settings and verbs. Everything it does is in package daemon.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/jobward/jobward/pdp/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal stops in order. From then on signals do what they do by themselves, so that a second one ends the process at
	// once, which loses nothing that was acknowledged.
	context.AfterFunc(ctx, stop)
	os.Exit(daemon.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
