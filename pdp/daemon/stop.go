package daemon

import (
	"context"
	"time"

	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/internal/settings"
)

// drain takes the PDP out of service: whoever asks is told that it is not ready, then, when load balancers had time to notice, new calls
// are sent away and those under way finish. What has not finished after the grace is cut off.
//
// Sidecars are told to move. Their streams stand until every lease was given up or has run out, so that revocations under way still get their receipts;
// when all have, the next start knows that nobody believes anything any more (PROTOCOL R1).
func (d *daemon) drain() {
	d.answers.stop()
	if !d.development && d.ShutdownDelay > 0 {
		d.log.Info("not ready any more; serving on for a while", "delay", settings.Brief(d.ShutdownDelay))
		time.Sleep(d.ShutdownDelay)
	}
	d.services.Drain() // streams that callers hold open: they would not end by themselves
	d.health.Drain()
	began := time.Now()
	requests := make(chan struct{})
	go func() {
		defer close(requests)
		d.rest.Shutdown(d.ShutdownGrace, d.log)
	}()
	// Until its sidecars have gone elsewhere this PDP answers them. Not all of the grace, so
	// that the streams that stand until then end by themselves.
	d.endLeases(d.ShutdownGrace * 9 / 10)
	serving.CutOff(d.grpc, max(d.ShutdownGrace-time.Since(began), 0), d.log)
	<-requests
}

// endLeases grants no more leases and waits for the ends of those that are out.
func (d *daemon) endLeases(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := d.engine.Feed().Close(ctx)
	d.settled = err == nil && d.engine.Feed().Stats().Generations == 0
	if err != nil {
		d.log.Warn("that all leases have ended could not be recorded: the next start waits for the longest one", "error", err)
	}
}

// stopServing is for a stop without a drain.
func (d *daemon) stopServing() {
	d.services.Drain()
	d.health.Drain()
	d.endLeases(0)
	d.cutOff()
}

// cutOff ends the gRPC server. A second time it does nothing.
func (d *daemon) cutOff() { serving.CutOff(d.grpc, d.ShutdownGrace, d.log) }
