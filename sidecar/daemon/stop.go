package daemon

import (
	"time"

	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
)

// drain takes the sidecar out of service: whoever asks is told that it is not ready, then, when others had time to notice, new calls are sent away
// and those under way finish. What has not finished after the grace is cut off. The lease is given back after that, so every answer
// given until then was true.
func (d *daemon) drain() {
	d.unwatch() // it would say something else
	d.phase.Set("stopping")
	d.health.Shutdown()
	if !d.development && d.ShutdownDelay > 0 {
		d.log.Info("not ready any more; serving on for a while", "delay", settings.Brief(d.ShutdownDelay))
		time.Sleep(d.ShutdownDelay)
	}
	webs := make(chan struct{})
	go func() { defer close(webs); d.drainWebs() }() // beside the calls: all have one grace
	d.services.Drain()                               // streams that callers hold open: they would not end by themselves
	d.health.Drain()
	d.cutOff()
	<-webs
}

// cutOff ends the gRPC server, and waits for what its streams have left. A second time it does nothing.
func (d *daemon) cutOff() {
	serving.CutOff(d.grpc, d.ShutdownGrace, d.log)
	d.services.Wait()
}
