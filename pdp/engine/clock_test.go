package engine

import (
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// R12: the PDP's time starts no earlier than the last committed stamp and does not
// go back.
func TestClockNeverGoesBack(t *testing.T) {
	ahead := authz.StampOf(time.Now().Add(time.Hour))
	c := NewClock(ahead)
	last := c.Now()
	if last <= ahead {
		t.Fatalf("starts at %d, the store has %d", last, ahead)
	}
	for range 100_000 {
		now := c.Now()
		if now < last {
			t.Fatalf("went back from %d to %d", last, now)
		}
		last = now
	}
}

// R11, R12: a wall clock that jumps an hour either way moves nothing.
func TestClockIgnoresWallJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		c := NewClock(0).(*bootClock)
		before := c.Now()
		// The last reading is made to look as if the wall had been elsewhere: then the
		// differences of wall and monotonic time disagree by the jump.
		r := *c.last.Load()
		r.wall -= int64(jump)
		c.last.Store(&r)
		after := c.Now()
		if d := after.Sub(before); d < 0 || d > time.Minute {
			t.Errorf("a wall jump of %s moved the clock by %s", jump, d)
		}
	}
}
