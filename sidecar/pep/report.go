package pep

import (
	"context"
	"errors"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// reportLoop keeps the lane of reports open to the PDP that is asked (R19). Nothing
// waits for it.
func (d *Decider) reportLoop() {
	const first, most = time.Second, 30 * time.Second
	if d.cfg.ReportEvery < 0 && !d.cfg.Canary {
		return
	}
	pause := first
	for {
		l := d.lend()
		if l == nil {
			return
		}
		began := d.clock.Now()
		err := d.report(l)
		d.mu.Lock()
		d.landed(l)
		again := d.target() != l
		d.mu.Unlock()
		if d.ctx.Err() != nil {
			return
		}
		if again || d.clock.Now()-began > most {
			pause = first
		}
		d.log.Debug("the lane of reports ended", "endpoint", l.endpoint, "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-d.ctx.Done():
			return
		}
		pause = min(2*pause, most)
	}
}

// lend waits for a PDP and keeps it from being closed; nil at the end.
func (d *Decider) lend() *link {
	for {
		d.mu.Lock()
		l, changed := d.target(), d.changed
		if l != nil && !d.closed {
			l.calls++
			d.mu.Unlock()
			return l
		}
		d.mu.Unlock()
		select {
		case <-changed:
		case <-d.ctx.Done():
			return nil
		}
		if d.ctx.Err() != nil {
			return nil
		}
	}
}

// report speaks on one lane until it ends, or the link does.
func (d *Decider) report(l *link) error {
	const canaries = 8 // questions at a time; more are not answered
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	timer := time.AfterFunc(d.cfg.CallTimeout, cancel)
	stream, err := l.pdp.Report(ctx, ReportHello{Name: d.cfg.Name, Canary: d.cfg.Canary})
	timer.Stop()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	answers := make(chan CanaryAnswer, canaries)
	places := make(chan struct{}, canaries)
	d.done.Go(func() {
		for {
			q, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case places <- struct{}{}:
				d.done.Go(func() {
					answers <- d.canary(ctx, q) // has room for every place
					<-places
				})
			default:
			}
		}
	})
	every := d.cfg.ReportEvery
	if every < 0 {
		every = time.Hour
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var done chan struct{}
		select {
		case err := <-ended:
			return err
		case <-l.ended:
			return errors.New("the PDP was lost")
		case a := <-answers:
			if err := stream.Answer(a); err != nil {
				return err
			}
			continue
		case done = <-d.uses.now:
		case <-tick.C:
		}
		err := d.tell(stream, cancel)
		if done != nil {
			close(done)
		}
		if err != nil {
			return err
		}
	}
}

// tell sends a batch, if there is anything to tell. A PDP that does not take it loses
// the lane.
func (d *Decider) tell(stream ReportStream, cancel context.CancelFunc) error {
	if d.cfg.ReportEvery < 0 {
		return nil
	}
	if gate := d.uses.gate; gate != nil {
		gate <- struct{}{}
		defer func() { <-gate }()
	}
	list, dropped := d.uses.take(d.now())
	if len(list) == 0 && dropped == 0 {
		return nil
	}
	timer := time.AfterFunc(d.cfg.CallTimeout, cancel)
	defer timer.Stop()
	err := stream.Accesses(list, dropped)
	d.uses.settle(list, dropped, err)
	return err
}

// canary answers one question of the PDP as it would a service's.
func (d *Decider) canary(ctx context.Context, q CanaryQuestion) CanaryAnswer {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallTimeout)
	defer cancel()
	out, err := d.Check(ctx, q.Request)
	if err != nil {
		return CanaryAnswer{ID: q.ID, Reason: authz.ReasonNone}
	}
	return CanaryAnswer{ID: q.ID, Allow: out.Allow, Cached: out.Cached, Reason: out.Reason}
}
