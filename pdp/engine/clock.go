package engine

import (
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
