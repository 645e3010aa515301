package daemon

import (
	"context"
	"strings"
	"sync"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// lookEvery is how often the state of the lease is looked at to be told. No answer hangs on it: answers look at the lease themselves.
const lookEvery = 100 * time.Millisecond

// remindEvery is how often the log says that there is still no lease.
const remindEvery = time.Minute

// startWatching tells health and log whether there is a lease, until unwatch.
func (d *daemon) startWatching() {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	d.unwatch = func() { cancel(); done.Wait() }
	d.stops.Add(func() error { d.unwatch(); return nil })
	w := &watcher{d: d}
	w.look(time.Now())
	done.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				w.look(now)
			}
		}
	})
}

// watcher is what was told last. It belongs to one goroutine at a time.
type watcher struct {
	d     *daemon
	told  bool // anything at all
	ready bool
	since time.Time // of ready
	said  time.Time // when the log last said that there is no lease
}

func (w *watcher) look(now time.Time) {
	d := w.d
	ready := d.decider.Ready()
	switch {
	case !w.told || ready != w.ready:
		w.turn(ready, now)
	case !ready && now.Sub(w.said) >= remindEvery:
		w.said = now
		d.log.Warn("still no lease", "waiting_for", d.waitingFor(), "since", now.Sub(w.since).Round(time.Second).String())
	case !ready:
		d.phase.Set(d.waitingFor()) // the reason may have changed
	}
}

// turn tells of a change.
func (w *watcher) turn(ready bool, now time.Time) {
	d := w.d
	first := !w.told
	before := now.Sub(w.since)
	w.told, w.ready, w.since, w.said = true, ready, now, now
	if !ready {
		d.phase.Set(d.waitingFor())
		d.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
		for name := range d.grpc.GetServiceInfo() {
			d.health.SetServingStatus(name, healthpb.HealthCheckResponse_NOT_SERVING)
		}
		if first {
			d.log.Info("alive and not ready", "waiting_for", d.waitingFor())
		} else {
			d.log.Warn("not ready: the lease is over, and nothing is answered from the cache", "waiting_for", d.waitingFor())
		}
		return
	}
	d.phase.Set("")
	d.health.Serve(d.grpc)
	s := d.decider.Status()
	args := []any{"pdp", s.Endpoint, "term", s.Term.String(), "applied", s.Applied}
	if !first {
		args = append(args, "after", before.Round(time.Millisecond).String())
	}
	d.log.Info("ready: there is a lease", args...)
}

// waitingFor says in a phrase why there is no lease.
func (d *daemon) waitingFor() string {
	var at []string
	for _, a := range d.pdps {
		at = append(at, a.String())
	}
	s := d.decider.Status()
	switch {
	case s.Refused != nil:
		return "a policy decision point whose history can be believed: " + s.Refused.Error()
	case s.Connected:
		return "a lease from the policy decision point at " + s.Endpoint
	}
	return "a policy decision point at " + strings.Join(at, " or ")
}
