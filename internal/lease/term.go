package lease

import "time"

// Instant is a time on the clock of one process, which counts while the machine
// sleeps (PROTOCOL R11). Instants of two processes are never compared.
type Instant int64

// Add gives the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub gives the time from o to i.
func (i Instant) Sub(o Instant) time.Duration { return time.Duration(i - o) }

// Terms. ρ is one percent: clocks of holder and grantor may run up to so much fast
// or slow. Margin covers the reading of clocks and what they are rounded to.
const (
	DefaultTerm = 5 * time.Second
	MaxTerm     = 60 * time.Second
	Margin      = 100 * time.Millisecond

	drift = 100 // one part in so many
)

// HolderTerm is how long the holder of a lease of term t believes it, counted from
// before it asked.
func HolderTerm(t time.Duration) time.Duration { return t - t/drift }

// GrantorTerm is how long the grantor of a lease of term t takes it to be believed,
// counted from after it was asked.
func GrantorTerm(t time.Duration) time.Duration { return t + t/drift + Margin }
