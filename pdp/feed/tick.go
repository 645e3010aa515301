package feed

import (
	"context"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// How often the clock is looked at for what nobody else brings about: while somebody
// waits for a receipt, and otherwise.
const (
	fastPace = 20 * time.Millisecond
	slowPace = 250 * time.Millisecond
	// A sidecar that nothing is sent to hears how far the PDP is at most so often, and gets
	// a mark to keep at most so often.
	beatEvery = time.Second
	markEvery = 2 * time.Second
)

// ticking is what the ticker remembers, guarded by Feed.mu.
type ticking struct {
	slow       bool // the next tick is slowPace away
	beaten     authz.Revision
	beatAt     lease.Instant
	checkpoint lease.Mark
	markAt     lease.Instant
	calm       bool // leases of earlier incarnations have ended, and those who waited know
}

// hurry makes the next tick come soon.
func (f *Feed) hurry() {
	if !f.slow {
		return
	}
	f.slow = false
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// run is the one goroutine of a Feed. It reads the clock only inside tick: a timer says
// when to look, never what time it is (R11).
func (f *Feed) run() {
	t := time.NewTimer(slowPace)
	defer t.Stop()
	for {
		select {
		case <-f.done:
			return
		case <-f.kick:
			t.Reset(fastPace)
		case <-t.C:
			t.Reset(f.tick())
		}
	}
}

// tick does what is due and says when to come again.
func (f *Feed) tick() time.Duration {
	pace, lapsed := f.tickNow()
	for _, s := range lapsed {
		f.log.Info("a lease has lapsed", "caller", s.owner, "sidecar", s.about.Name, "generation", s.gen.String())
	}
	return pace
}

func (f *Feed) tickNow() (time.Duration, []*Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opt.Now()
	var lapsed []*Stream
	for _, gen := range f.grantor.Tick(now) {
		f.stats.Lapses++
		if s := f.streams[gen]; s != nil {
			lapsed = append(lapsed, s)
		}
	}
	if !f.calm && now >= f.quiet {
		f.calm = true
		f.wakeAll()
	}
	if f.head.Revision > f.beaten && now.Sub(f.beatAt) >= beatEvery {
		f.beaten, f.beatAt = f.head.Revision, now
		f.grantor.Heartbeats()
	}
	if f.head.Revision > f.checkpoint.Revision && now.Sub(f.markAt) >= markEvery && len(f.streams) > 0 {
		f.checkpoint, f.markAt = seal(f.key, f.head), now
		for _, s := range f.streams {
			s.wakeUp()
		}
	}
	f.flush()
	f.slow = len(f.open) == 0 && len(f.waits) == 0
	if f.slow {
		return slowPace, lapsed
	}
	return fastPace, lapsed
}

// Moving tells every sidecar that this PDP is about to stop. From here on no generation
// is opened; leases are renewed until Close.
func (f *Feed) Moving() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == serving {
		f.phase = moving
		if f.grantor != nil {
			f.grantor.Moving()
		}
		f.flush()
	}
}

// Close ends the Feed: it grants nothing any more, waits until every generation was
// released or has lapsed, or until ctx ends, and stops. When all leases have ended it
// records that, so that the next start need not wait for them (R1); an error says that
// this failed, which only costs the next start its wait. The store must still be open.
func (f *Feed) Close(ctx context.Context) error {
	f.Moving()
	f.mu.Lock()
	if f.phase >= closing {
		f.mu.Unlock()
		<-f.done
		return nil
	}
	f.phase = closing
	f.flush()
	started := f.grantor != nil
	f.mu.Unlock()
	if !started {
		close(f.done)
		return nil
	}
	select {
	case <-f.ended:
	case <-ctx.Done():
	}
	err := f.settleUp()
	f.mu.Lock()
	f.phase = stopped
	f.wakeAll()
	f.mu.Unlock()
	close(f.done)
	f.ran.Wait()
	return err
}
