package clock

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// change makes the last reading look as if the machine had been elsewhere then.
func (c *Boot) change(f func(*reading)) {
	for {
		last := c.last.Load()
		r := *last
		f(&r)
		if c.last.CompareAndSwap(last, &r) { // nothing newer is lost
			return
		}
	}
}

// R11: a wall clock that jumps an hour either way moves nothing.
func TestIgnoresWallJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		c := New()
		before := c.Now()
		c.change(func(r *reading) { r.wall -= jump })
		if d := c.Now() - before; d < 0 || d > time.Minute {
			t.Errorf("a wall jump of %s moved the clock by %s", jump, d)
		}
		if d := c.last.Load().wall - New().last.Load().wall; d < -time.Minute || d > time.Minute {
			t.Errorf("the clocks were not read again: the wall is %s off", d)
		}
	}
}

// R11: a sleep is counted from the first call on, since the wall clock shows it, and
// when the wall clock is set back to hide it, as soon as the reading is old.
func TestCountsSleep(t *testing.T) {
	const slept = time.Hour
	c := New()
	before := c.Now()
	c.change(func(r *reading) { r.boot -= slept; r.wall -= slept })
	if d := c.Now() - before; d < 0 || d > time.Minute {
		t.Errorf("after a sleep the clock is %s off", d)
	}

	c = New()
	before = c.Now()
	c.change(func(r *reading) { r.boot -= slept; r.mono -= maxFast })
	if d := c.Now() - before; d < 0 || d > time.Minute {
		t.Errorf("after a hidden sleep the clock is %s off", d)
	}
}

// TestFollowsBootTime compares with the clock itself, across several readings, and wants
// the difference not to grow.
func TestFollowsBootTime(t *testing.T) {
	c := New()
	for i := range 2000 {
		c.change(func(r *reading) { r.mono -= maxFast }) // read the clocks each time
		low := bootTime()
		now := c.Now()
		high := bootTime()
		// What is given out is never behind, and ahead by no more than the reading took that
		// took longest; a loaded machine can make that long.
		if now < low-time.Microsecond || now > high+50*time.Millisecond {
			t.Fatalf("call %d: %s is not between %s and %s", i, now, low, high)
		}
	}
}

func TestNeverGoesBack(t *testing.T) {
	c := New()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var newest time.Duration // that any call has returned
	for range 4 {
		wg.Go(func() {
			for i := range 50_000 {
				mu.Lock()
				least := newest
				mu.Unlock()
				now := c.Now()
				if now < least {
					t.Errorf("gives %d after %d", now, least)
					return
				}
				mu.Lock()
				newest = max(newest, now)
				if i%100 == 0 {
					c.change(func(r *reading) { r.mono -= maxFast })
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var s Source = Func(func() time.Duration { return time.Since(start) })
		time.Sleep(time.Hour)
		if now := s.Now(); now != time.Hour {
			t.Error(now)
		}
	})
}

func TestNowDoesNotAllocate(t *testing.T) {
	var s Source = New()
	if n := testing.AllocsPerRun(1000, func() { s.Now() }); n >= 1 { // it may read the clocks now and then
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNow(b *testing.B) {
	var s Source = New()
	b.ReportAllocs()
	for b.Loop() {
		s.Now()
	}
}

// BenchmarkRead is the slow way.
func BenchmarkRead(b *testing.B) {
	c := New()
	b.ReportAllocs()
	for b.Loop() {
		c.read(0)
	}
}

// BenchmarkTimeNow is the floor.
func BenchmarkTimeNow(b *testing.B) {
	for b.Loop() {
		time.Now()
	}
}
