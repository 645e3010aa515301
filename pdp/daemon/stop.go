package daemon

import (
	"context"
	"time"
)

// drain takes the PDP out of service: whoever asks is told that it is not ready, then, when load balancers had time to notice, new calls
// are sent away and those under way finish. What has not finished after the grace is cut off.
func (d *daemon) drain() {
	d.phase.set("stopping")
	d.health.Shutdown()
	if !d.development && d.ShutdownDelay > 0 {
		d.log.Info("not ready any more; serving on for a while", "delay", brief(d.ShutdownDelay))
		time.Sleep(d.ShutdownDelay)
	}
	d.services.Drain() // streams that callers hold open: they would not end by themselves
	d.health.drain()
	d.cutOff()
}

// cutOff ends the gRPC server: gracefully within the grace, then at once. A second time it does nothing.
func (d *daemon) cutOff() {
	ctx, cancel := context.WithTimeout(context.Background(), d.ShutdownGrace)
	defer cancel()
	late := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == context.DeadlineExceeded {
			d.log.Warn("calls that had not finished were cut off", "grace", brief(d.ShutdownGrace))
			d.grpc.Stop()
		}
	})
	d.grpc.GracefulStop()
	late()
}
