package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// announce says that the PDP is ready: to machines in the log, and in development mode to whoever started it, with the next commands to try.
func (d *daemon) announce(fresh bool, took time.Duration) error {
	at := d.addresses()
	var calls []string
	for i, a := range d.plan.grpc {
		calls = append(calls, a.Taken(at.GRPC[i]).String())
	}
	admin := "off"
	if d.admin != nil {
		admin = d.plan.admin.Taken(at.Admin).String()
	}
	rest := "off"
	if d.rest != nil {
		rest = d.plan.rest.Taken(at.REST).String()
	}
	dir, err := filepath.Abs(d.DataDir)
	if err != nil {
		return err
	}
	d.log.Info("ready", "grpc", calls, "admin", admin, "rest", rest, "store", d.Store, "dir", dir, "development", d.development, "took", took.Round(time.Millisecond).String())
	if !d.development {
		return nil
	}
	state := "kept from earlier"
	if fresh {
		state = "new"
	}
	sample := fresh && d.SampleWorld
	if sample {
		state = "new, with the sample world"
	}
	web := "off"
	if d.plan.admin != nil && d.plan.admin.Network == "tcp" {
		web = "http://" + admin + "/readyz and /metrics"
	} else if d.plan.admin != nil {
		web = admin
	}
	if d.rest != nil {
		web += "\n  REST    " + rest
		if d.plan.rest.Network == "tcp" {
			web = strings.TrimSuffix(web, rest) + "http://" + rest + "/api/v4"
		}
	}
	data := dir
	if d.shared != nil {
		data = d.Store
	}
	// Nothing hangs on its being read.
	fmt.Fprintf(d.out, `
Jobward's policy decision point is ready, in DEVELOPMENT MODE: whoever can connect may do everything.

  calls   %s
  health  %s
  data    %s (%s)
%s
Ctrl-C stops it.
`, strings.Join(calls, ", "), web, data, state, nextCommands(calls[0], sample))
	return nil
}

// nextCommands says what to try in another terminal. The commands work on the sample world.
func nextCommands(addr string, sample bool) string {
	ctl := "pdpctl"
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") { // go run
		ctl = "go run ./pdp/pdpctl"
	}
	if addr != defaultGRPCAddr {
		ctl += " --address " + addr
	}
	if !sample {
		return fmt.Sprintf("\nTry, in another terminal:\n\n  %s health\n", ctl)
	}
	return fmt.Sprintf(`
Try, in another terminal:

  %[1]s token issue --job 1 --project acme/web/shop --user dana
  %[1]s check --job 1 --target acme/platform/api --permission read_packages
`, ctl)
}
