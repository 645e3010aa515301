package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jobward/jobward/sidecar/forwardauth"
)

// announceWait is how long the announcement waits for a lease.
const announceWait = time.Second

// announce says that calls are taken: to machines in the log, and in development mode to whoever started it, with the next commands to try. For
// that it waits a moment for a lease.
func (d *daemon) announce(ctx context.Context) error {
	at := d.addresses()
	var calls, pdps []string
	for i, a := range d.listen {
		calls = append(calls, a.Taken(at.GRPC[i]).String())
	}
	for _, a := range d.pdps {
		pdps = append(pdps, a.String())
	}
	health := "off"
	if d.admin != nil {
		health = d.plan.health.Taken(at.Health).String()
	}
	dir, err := filepath.Abs(d.StateDir)
	if err != nil {
		return err
	}
	d.log.Info("taking calls", "listen", calls, "health", health, "http", d.http.taken(), "proxy", d.proxy.taken(), "registry", d.registry.taken(), "pdp", pdps, "dir", dir, "name", d.name, "development", d.development)
	if !d.development {
		return nil
	}
	web := "off"
	if d.plan.health != nil && d.plan.health.Network == "tcp" {
		web = "http://" + health + "/readyz and /metrics"
	} else if d.plan.health != nil {
		web = health
	}
	if d.http != nil {
		web += "\n  HTTP    " + d.http.url() + forwardauth.Path + " and " + forwardauth.NginxPath + ", for reverse proxies"
	}
	if d.proxy != nil {
		web += "\n  proxy   " + d.proxy.url() + " passes on to " + d.ProxyTo
	}
	if d.registry != nil {
		web += "\n  images  " + d.registry.url() + "/v2/ passes on to " + d.RegistryTo
	}
	wait, cancel := context.WithTimeout(ctx, announceWait)
	defer cancel()
	state := "there is a lease"
	if d.decider.WaitReady(wait) != nil {
		state = "not there yet; until it comes, nothing is decided"
	}
	// Nothing hangs on its being read.
	fmt.Fprintf(d.out, `
Jobward's sidecar takes calls, in DEVELOPMENT MODE: whoever can connect may ask about any token.

  calls   %s
  health  %s
  PDP     %s (%s)
  state   %s
%s
Ctrl-C stops it.
`, strings.Join(calls, ", "), web, strings.Join(pdps, ", "), state, dir, nextCommands(calls[0], pdps[0]))
	return nil
}

// defaultPDPAddr is where pdpctl looks by itself.
const defaultPDPAddr = "127.0.0.1:7420"

// nextCommands says what to try in another terminal. The commands work on the sample world of a PDP in development mode.
func nextCommands(here, pdp string) string {
	ctl := "pdpctl"
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") { // go run
		ctl = "go run ./pdp/pdpctl"
	}
	there := ""
	if pdp != defaultPDPAddr {
		there = " --address " + pdp
	}
	return fmt.Sprintf(`
Try, in another terminal (the second check is answered from the cache; the third, after the receipt, is denied):

  export JOBWARD_TOKEN=$(%[1]s%[3]s token issue -q --job 1 --project acme/web/shop --user dana)
  %[1]s --address %[2]s check --target acme/platform/api -p read_packages
  %[1]s --address %[2]s check --target acme/platform/api -p read_packages
  %[1]s%[3]s token revoke --job 1
  %[1]s --address %[2]s check --target acme/platform/api -p read_packages
`, ctl, here, there)
}
