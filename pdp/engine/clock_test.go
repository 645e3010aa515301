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

// R11, R12: a store that has no stamp leaves the wall clock, and what passes from then
// on is what package clock counts.
func TestClockBeginsAtWall(t *testing.T) {
	for _, atLeast := range []authz.Stamp{0, authz.StampOf(time.Now().Add(-time.Hour))} {
		c := NewClock(atLeast)
		if d := c.Now().Sub(authz.StampOf(time.Now())); d < -time.Minute || d > time.Minute {
			t.Errorf("begins %s off the wall clock", d)
		}
	}
}
