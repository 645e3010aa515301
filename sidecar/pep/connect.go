package pep

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// search is what the goroutine that opens streams remembers.
type search struct {
	random  *rand.Rand
	began   bool                     // there was a round
	refused map[string]time.Duration // until when an endpoint is left alone, by the clock
	rounds  int                      // since the last stream that stood for a while
	opened  time.Duration            // when the last stream opened
	judged  bool                     // whether that one stood was looked at
	failing map[string]*failing      // by endpoint, "" when none is known; since the last lease
}

// failing is an endpoint that gives no lease. Attempts go on several times a second at
// first, and for as long as an outage lasts: the log has the first, and later ones when
// twice the time has passed, or a minute.
type failing struct {
	since, said time.Duration // by the clock: the first attempt, and the last that was logged
	attempts    int
}

// failed logs an attempt that gave no lease.
func (d *Decider) failed(s *search, level slog.Level, endpoint, msg string, err error) {
	const most = time.Minute
	now := d.clock.Now()
	f := s.failing[endpoint]
	if f == nil {
		f = &failing{since: now, said: now}
		s.failing[endpoint] = f
	}
	f.attempts++
	switch {
	case f.attempts == 1:
	case now-f.said >= min(max(f.said-f.since, time.Second), most):
		f.said = now
	default:
		level = slog.LevelDebug
	}
	d.log.Log(d.ctx, level, msg, "endpoint", endpoint, "error", err, "attempts", f.attempts, "for", (now - f.since).Round(time.Millisecond).String())
}

// connectLoop opens a stream whenever one is needed: at the start, when the current one
// broke, says that it moves, or is doubtful, and when the lease is over.
func (d *Decider) connectLoop(random *rand.Rand) {
	s := &search{random: random, refused: map[string]time.Duration{}, judged: true, failing: map[string]*failing{}}
	for d.ctx.Err() == nil {
		if !d.needed() {
			select {
			case <-d.kick:
			case <-d.ctx.Done():
			}
			continue
		}
		if s.began { // the first attempt of all does not wait
			if !d.pause(s) {
				return
			}
			if !d.needed() {
				continue
			}
		}
		d.round(s)
	}
}

// needed reports whether another stream should be opened.
func (d *Decider) needed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noteLapse()
	l := d.current
	if d.closed {
		return false
	}
	if l == nil || l.broken || l.moving || l.doubtful || l.unheard || l.fenced {
		return true
	}
	if d.holder.Remaining(d.now()) == 0 {
		l.cancel()
		return true
	}
	return false
}

// pause waits a random time that grows with each round that failed. A stream that stood
// for a while makes it short again.
func (d *Decider) pause(s *search) bool {
	const first, stood = 50 * time.Millisecond, 2 * time.Second
	if !s.judged {
		s.judged = true
		if d.clock.Now()-s.opened >= stood {
			s.rounds = 0
		}
	}
	most := min(first<<min(s.rounds, 16), d.cfg.MaxBackoff)
	t := time.NewTimer(time.Duration(s.random.Int64N(int64(most) + 1)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.ctx.Done():
		return false
	}
}

// round tries the endpoints one after the other until one has given a lease. Their order
// is a new one every time, so that the sidecars of a PDP that is lost spread over all that
// are left.
func (d *Decider) round(s *search) {
	s.began = true
	s.rounds++
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.CallTimeout)
	endpoints, err := d.transport.Endpoints(ctx)
	cancel()
	if err != nil || len(endpoints) == 0 {
		d.failed(s, slog.LevelWarn, "", "no PDP is known", err)
		return
	}
	d.mu.Lock()
	avoid := ""
	if d.current != nil {
		avoid = d.current.endpoint // what is there is going away, or was lost; it comes last
	}
	d.mu.Unlock()
	last := false
	for _, i := range s.random.Perm(len(endpoints)) {
		switch at := endpoints[i]; {
		case at == avoid:
			last = true
		case d.try(s, at):
			return
		}
	}
	if last {
		d.try(s, avoid)
	}
}

// try tries one endpoint, unless it was refused not long ago.
func (d *Decider) try(s *search, endpoint string) bool {
	if d.ctx.Err() != nil || d.clock.Now() < s.refused[endpoint] {
		return false
	}
	d.counts.connects.Add(1)
	err := d.connect(endpoint)
	if err == nil {
		s.opened, s.judged = d.clock.Now(), false
		clear(s.refused)
		clear(s.failing)
		return true
	}
	if d.ctx.Err() != nil {
		return false
	}
	d.counts.connectErrors.Add(1)
	if historyRefused(err) {
		d.counts.refusals.Add(1)
		s.refused[endpoint] = d.clock.Now() + min(DefaultRefusedAfter, 6*d.cfg.MaxBackoff)
		d.mu.Lock()
		d.refused = err
		d.mu.Unlock()
		d.failed(s, slog.LevelError, endpoint, "this PDP is not believed: its history is not the one seen before", err)
		return false
	}
	d.failed(s, slog.LevelWarn, endpoint, "no lease from this PDP", err)
	return false
}

// patience is how long one attempt may take. While a lease runs there should be time for
// another endpoint after it.
func (d *Decider) patience() time.Duration {
	const least = 250 * time.Millisecond
	d.mu.Lock()
	left := d.holder.Remaining(d.now())
	d.mu.Unlock()
	if left == 0 {
		return d.cfg.CallTimeout
	}
	return min(max(left/3, least), d.cfg.CallTimeout)
}

// connect opens a stream and waits until its generation is in force.
func (d *Decider) connect(endpoint string) error {
	pdp, err := d.transport.Open(endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(d.ctx)
	timer := time.AfterFunc(d.patience(), cancel)
	defer timer.Stop()
	stream, err := pdp.Watch(ctx)
	if err != nil {
		cancel()
		return errors.Join(err, pdp.Close())
	}
	l := &link{
		endpoint: endpoint, pdp: pdp, stream: stream, cancel: cancel,
		opened: make(chan struct{}), ended: make(chan struct{}), poked: make(chan struct{}, 1),
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		cancel()
		return errors.Join(context.Canceled, pdp.Close())
	}
	d.joining = l
	hello := d.holder.Hello(d.now(), d.table.all())
	d.done.Go(func() { d.receiveLoop(l) })
	d.mu.Unlock()
	if err := stream.Hello(d.cfg.Name, d.cfg.Version, hello); err != nil {
		cancel() // the stream's end says why
	} else {
		d.done.Go(func() { d.sendLoop(l) })
	}
	select {
	case <-l.opened:
		return nil
	case <-l.ended:
		return l.err
	}
}
