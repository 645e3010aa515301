// Command pdpctl is for operators and runners: it issues, checks and revokes job tokens, edits allowlists and the directory, explains
// decisions, reads the audit log, and runs scenario files. Everything it does is in package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/jobward/jobward/pdp/pdpctl/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
