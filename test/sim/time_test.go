package sim

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// Virtual time. A run repeats itself only if no two things that happen share an instant:
// inside one instant the order is the scheduler's. So everything that the simulation
// makes happen has a lane, and each lane has instants of its own: those that leave its own
// remainder when divided by grid. The timers of the code under test are whole
// milliseconds, which grid is prime to: they do not come to lie on another lane's instants.
const (
	grid  = 5_000_017 * time.Nanosecond
	apart = 31_013 * time.Nanosecond // between the remainders of two lanes
)

// lane is where one kind of event of one actor happens.
type lane struct {
	phase time.Duration
	mu    sync.Mutex
	last  time.Duration
}

// next gives an instant of the lane that is later than now by d or a little more, and
// later than all that it gave before.
func (l *lane) next(now, d time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := max(now+max(d, 1), l.last+1)
	n := (at - l.phase + grid - 1) / grid
	l.last = max(n, 0)*grid + l.phase
	return l.last
}

// lane makes a lane. Actors are made in one order, so each has the same lane in each run.
func (s *sim) lane() *lane {
	s.lanes++
	if time.Duration(s.lanes)*apart >= grid {
		panic("too many lanes")
	}
	return &lane{phase: time.Duration(s.lanes) * apart}
}

// now is the true time: the time that no process of the simulation knows.
func (s *sim) now() time.Duration { return time.Since(s.began) }

// sleep waits for an instant of the lane, at least d away. It is false when ctx ended.
func (s *sim) sleep(ctx context.Context, l *lane, d time.Duration) bool {
	return s.sleepUntil(ctx, l.next(s.now(), d))
}

func (s *sim) sleepUntil(ctx context.Context, at time.Duration) bool {
	t := time.NewTimer(at - s.now())
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// at calls fn at an instant of the lane, at least d away.
func (s *sim) at(l *lane, d time.Duration, fn func()) {
	now := s.now()
	time.AfterFunc(l.next(now, d)-now, fn)
}

// chance gives an actor random numbers of its own: what one draws does not depend on what
// others do.
func (s *sim) chance(who string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(who))
	return rand.New(&source{pcg: rand.NewPCG(s.seed, h.Sum64())})
}

// source is safe for goroutines that follow each other in virtual time.
type source struct {
	mu  sync.Mutex
	pcg *rand.PCG
}

// Uint64 implements [rand.Source].
func (s *source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pcg.Uint64()
}

func odds(r *rand.Rand, p float64) bool { return r.Float64() < p }

func between(r *rand.Rand, lo, hi time.Duration) time.Duration {
	return lo + time.Duration(r.Int64N(int64(hi-lo)+1))
}

func oneOf[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// meter is the clock of one process: it runs a little fast or slow, and it counts while
// the process, or its machine, stands still.
type meter struct {
	s      *sim
	origin time.Duration // true time
	rate   float64       // 0.01: one percent fast
	// held is what a process that is stopped last saw; see sidecar.pause.
	held  time.Duration
	stood bool
}

func (m *meter) now() time.Duration {
	if m.stood {
		return m.held
	}
	d := m.s.now() - m.origin
	return time.Hour + d + time.Duration(float64(d)*m.rate)
}
