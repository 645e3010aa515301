package hot

import (
	"sync"
	"time"

	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// maxFlooders bounds how many callers are counted at a time. Past it the counts start
// again, in favour of the callers.
const maxFlooders = 10_000

// Flood counts the unknown tokens that callers show, and bounds how fast a caller can
// guess. It is touched only when a token is unknown. Safe for concurrent use.
type Flood struct {
	limit int // for each caller and second; less than zero for none

	mu      sync.Mutex
	total   uint64
	callers map[string]*second // by name
}

// second is a second in which a caller has shown unknown tokens.
type second struct {
	began time.Time
	count int
}

// NewFlood lets each caller show limit unknown tokens in a second; less than zero sets
// no limit.
func NewFlood(limit int) *Flood { return &Flood{limit: limit, callers: map[string]*second{}} }

// Take counts one unknown token and says whether the caller may be told so.
func (f *Flood) Take(caller string, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if f.limit < 0 {
		return nil
	}
	c := f.callers[caller]
	switch {
	case c == nil:
		if len(f.callers) >= maxFlooders {
			clear(f.callers)
		}
		c = &second{began: now}
		f.callers[caller] = c
	case now.Sub(c.began) >= time.Second:
		*c = second{began: now}
	}
	if c.count++; c.count <= f.limit {
		return nil
	}
	e := authz.Errorf(authz.KindExhausted, wire.CodeTooManyUnknown,
		"%s has shown more than %d unknown tokens in a second, so this one was not decided: wait, and look for where they come from", caller, f.limit)
	e.RetryAfter = max(c.began.Add(time.Second).Sub(now), time.Millisecond)
	return e
}

// Shown tells how many unknown tokens there were.
func (f *Flood) Shown() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}
