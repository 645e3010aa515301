package engine

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/pdp/authz"
)

// Clock gives the PDP's time (PROTOCOL R12).
type Clock interface {
	// Now never goes back, whatever happens to the wall clock. Safe for concurrent use.
	Now() authz.Stamp
}

// bootClock starts at the wall clock, or at the last committed stamp if that is
// later, and is advanced by the time that passes, asleep or awake (R11).
type bootClock struct {
	boot  *clock.Boot
	began authz.Stamp // what it would have been at boot's origin
}

// NewClock gives the machine's clock, not before the stamp given.
func NewClock(atLeast authz.Stamp) Clock {
	boot := clock.New()
	return &bootClock{boot, max(authz.StampOf(time.Now()), atLeast+1).Add(-boot.Now())}
}

func (c *bootClock) Now() authz.Stamp { return c.began.Add(c.boot.Now()) }

// risingClock is a Clock that is set forward to every stamp that this PDP hears of: its time
// is never behind what it or another PDP on its store has committed (R12).
type risingClock struct {
	Clock
	ahead atomic.Int64 // of Clock, in nanoseconds; only ever more
	log   *slog.Logger
	// follow says that Clock may not know what the store's last stamp was.
	follow bool
}

// Now gives the time.
func (c *risingClock) Now() authz.Stamp { return c.Clock.Now() + authz.Stamp(c.ahead.Load()) }

// maxSkew is by how much another PDP's clock can be ahead before somebody is told.
const maxSkew = 5 * time.Second

// begin makes Now give at least the last stamp that a store had when it was loaded: the
// machine may have been set back since.
func (c *risingClock) begin(last authz.Stamp) {
	if !c.follow {
		return // without reading Clock: this is inside the store, and a Clock may take a moment
	}
	if more := int64(last - c.Clock.Now()); more > 0 {
		c.ahead.Store(more)
	}
}

// raise makes Now give at least a stamp from another PDP.
func (c *risingClock) raise(to authz.Stamp) {
	for {
		ahead := c.ahead.Load()
		more := int64(to-c.Clock.Now()) - ahead
		if more <= 0 {
			return
		}
		if !c.ahead.CompareAndSwap(ahead, ahead+more) {
			continue
		}
		if d := time.Duration(more); d > maxSkew {
			c.log.Warn("another policy decision point committed with a clock that is ahead of this one, whose time follows: tokens and heartbeats "+
				"granted by this one's clock end earlier by as much; let NTP set the clocks of all", "ahead", d.String())
		}
		return
	}
}
