// Package clock tells how much time has passed, whatever happens to the wall clock,
// and counts the time in which the machine sleeps (PROTOCOL R11): that is the time
// in which leases and tokens end.
package clock

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Source is a clock. It is safe for concurrent use.
type Source interface {
	// Now gives the time since an origin that is the source's own and stays where it is:
	// readings of one source can be compared, those of two cannot. It never goes back: a
	// call that begins after another has returned gives no less. It counts while the
	// machine sleeps.
	Now() time.Duration
}

// Func makes a Source of a function that keeps its promises. It is what tests take that
// run on virtual time, for example of testing/synctest, which a [Boot] would not follow:
//
//	start := time.Now()
//	source := clock.Func(func() time.Duration { return time.Since(start) })
type Func func() time.Duration

// Now implements Source.
func (f Func) Now() time.Duration { return f() }

// Boot is the machine's CLOCK_BOOTTIME, which counts in a sleep and which nobody can
// set. [New] makes one.
//
// Reading that clock is a system call of about half a microsecond, so it is read at
// most every maxFast; in between the monotonic clock is used, which stands still in
// a sleep and otherwise goes at the same rate. A sleep shows as a difference between
// the wall clock's and the monotonic clock's advance, and then the system call is made
// (R11). What this misses is a sleep that somebody hides by setting the wall clock back
// by the same amount to within the tolerance, until maxFast has passed.
type Boot struct {
	start time.Time // the origin of mono in readings, for its monotonic part
	last  atomic.Pointer[reading]
}

// reading is what the clocks said at one moment. It is not changed.
type reading struct {
	mono time.Duration // by the monotonic clock, since start
	wall time.Duration // what the wall clock was ahead of mono
	boot time.Duration // what the boot clock is ahead of mono; never less than in the reading before
}

const (
	maxFast   = 250 * time.Millisecond
	tolerance = 10 * time.Millisecond
)

// New gives the machine's clock. It panics where there is no CLOCK_BOOTTIME, which is
// nowhere on Linux.
func New() *Boot {
	c := &Boot{start: time.Now()}
	c.last.Store(c.read(0))
	return c
}

// Now implements Source. As a rule it costs little more than time.Now.
func (c *Boot) Now() time.Duration {
	for {
		last := c.last.Load()
		now := time.Now()
		mono := now.Sub(c.start)
		wall := time.Duration(now.UnixNano()) - mono
		if diff := wall - last.wall; mono-last.mono < maxFast && diff < tolerance && diff > -tolerance {
			return mono + last.boot
		}
		// Only what was stored is given out, so that every later call counts from it or from
		// what came after. When another caller was first, its reading is as good.
		next := c.read(last.boot)
		if c.last.CompareAndSwap(last, next) {
			return next.mono + next.boot
		}
	}
}

// read reads all clocks. The two are not read at one instant: what passes in between
// makes boot too large by as much, so of a few tries the closest counts. It is at least
// what it was before, since what has been given out is not taken back.
func (c *Boot) read(before time.Duration) *reading {
	const near, tries = time.Microsecond, 4
	best := time.Duration(1<<63 - 1)
	r := &reading{}
	for range tries {
		now := time.Now()
		boot := bootTime()
		apart := time.Since(now)
		if apart >= best {
			continue
		}
		best = apart
		r.mono = now.Sub(c.start)
		r.wall = time.Duration(now.UnixNano()) - r.mono
		r.boot = max(boot-r.mono, before)
		if apart < near {
			break
		}
	}
	return r
}

func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock: this system has no CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
