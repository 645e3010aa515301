package engine

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobward/jobward/pdp/authz"
)

// Clock gives the PDP's time (PROTOCOL R12).
type Clock interface {
	// Now never goes back, whatever happens to the wall clock. Safe for concurrent use.
	Now() authz.Stamp
}

// bootClock starts at the wall clock, or at the last committed stamp if that is
// later, and is advanced by CLOCK_BOOTTIME, which counts while the machine sleeps
// and which nobody can set.
//
// Reading that clock is a system call of about half a microsecond, so it is read at
// most every maxFast; in between the monotonic clock is used, which stands still in
// a sleep. A sleep shows as a difference between the wall clock's and the monotonic
// clock's advance, and then the system call is made (R11). What this misses is a
// sleep that somebody hides by setting the wall clock back by the same amount to
// within the tolerance.
type bootClock struct {
	last atomic.Pointer[instant]
}

type instant struct {
	at    time.Time // for its monotonic part
	wall  int64
	boot  int64
	stamp authz.Stamp
}

const (
	maxFast   = 250 * time.Millisecond
	tolerance = 10 * time.Millisecond
)

// NewClock gives the machine's clock, not before the stamp given.
func NewClock(atLeast authz.Stamp) Clock {
	c := &bootClock{}
	now := time.Now()
	c.last.Store(&instant{at: now, wall: now.UnixNano(), boot: bootTime(), stamp: max(authz.StampOf(now), atLeast+1)})
	return c
}

func (c *bootClock) Now() authz.Stamp {
	last := c.last.Load()
	now := time.Now()
	mono := now.Sub(last.at)
	wall := time.Duration(now.UnixNano() - last.wall)
	if diff := wall - mono; mono < maxFast && diff < tolerance && diff > -tolerance {
		return last.stamp.Add(max(mono, 0))
	}
	boot := bootTime()
	next := &instant{at: now, wall: now.UnixNano(), boot: boot, stamp: last.stamp.Add(time.Duration(boot - last.boot))}
	// The two clocks are not read at one instant, so the way by boot time can come out
	// some nanoseconds behind what the fast way has given out already.
	next.stamp = max(next.stamp, last.stamp.Add(max(mono, 0)))
	// Another reader may have been first; its reading is as good and not earlier than
	// the one we started from.
	c.last.CompareAndSwap(last, next)
	return next.stamp
}

func bootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("engine: this system has no CLOCK_BOOTTIME: " + err.Error())
	}
	return ts.Nano()
}
