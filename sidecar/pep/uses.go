package pep

import (
	"context"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// uses counts what was answered from the cache. A hit adds one to its entry and no
// more; the first one since the last count also puts the entry on a list, where it is
// found even after it has left the table.
type uses struct {
	shards [16]useShard
	most   int           // entries on one list
	gate   chan struct{} // of a planted bug: whoever reports or counts takes the one place; else nil

	mu      sync.Mutex
	waiting map[use]tally
	hits    uint64 // all that were counted
	dropped uint64 // all that no report tells of
	told    uint64
	unsaid  int64 // of dropped, what no report has said
	now     chan chan struct{}
}

type useShard struct {
	mu   sync.Mutex
	list []*entry
	lost uint64 // hits of entries that found no room
	_    [64]byte
}

// use is a kind of answer, as reports tell them apart.
type use struct {
	source, target authz.ProjectID
	permission     string
	reason         authz.Reason
}

type tally struct {
	count int64
	last  uint32 // as entry.last
}

func (u *uses) init(t *table, blocks bool) {
	u.most = 2*t.maxEntries/len(u.shards) + 64
	if blocks {
		u.gate = make(chan struct{}, 1)
	}
	u.waiting = map[use]tally{}
	u.now = make(chan chan struct{})
}

// first puts an entry on the list.
func (u *uses) first(h uint64, e *entry) {
	if u.gate != nil {
		u.gate <- struct{}{}
		defer func() { <-u.gate }()
	}
	s := &u.shards[h>>60]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < u.most {
		s.list = append(s.list, e)
		return
	}
	s.lost += uint64(e.hits.Swap(0))
}

// count goes through the lists.
func (u *uses) count() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		list, lost := s.list, s.lost
		s.list, s.lost = make([]*entry, 0, min(len(list), 64)), 0
		s.mu.Unlock()
		u.hits += lost
		u.drop(int64(lost))
		for _, e := range list {
			n := int64(e.hits.Swap(0))
			u.hits += uint64(n)
			if e.subject.digest != authz.Nobody { // an anonymous visitor has authenticated to nobody
				u.add(e, n)
			}
		}
	}
}

func (u *uses) drop(n int64) {
	u.dropped += uint64(n)
	u.unsaid += n
}

func (u *uses) add(e *entry, n int64) {
	var d authz.Decision
	e.decision(&d, 0)
	k := use{d.Source, d.Target, e.ground.permission, d.Reason}
	t, ok := u.waiting[k]
	if !ok && len(u.waiting) >= MaxAccesses {
		u.drop(n)
		return
	}
	u.waiting[k] = tally{t.count + n, max(t.last, e.last.Load())}
}

// totals gives what was counted since the start.
func (u *uses) totals() (hits, told, dropped uint64) {
	u.count()
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hits, u.told, u.dropped
}

// take gives a batch. It is put back when it could not be sent.
func (u *uses) take(now lease.Instant) (list []Access, dropped int64) {
	u.count()
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, t := range u.waiting {
		last := lease.Instant(t.last>>1) << tickBits
		list = append(list, Access{
			Source: k.source, Target: k.target, Permission: authz.Permission(k.permission), Reason: k.reason,
			Count: t.count, LastAge: max(now.Sub(last), 0),
		})
	}
	clear(u.waiting)
	dropped, u.unsaid = u.unsaid, 0
	return list, dropped
}

// settle notes what became of a batch.
func (u *uses) settle(list []Access, dropped int64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		for _, a := range list {
			u.told += uint64(a.Count)
		}
		return
	}
	u.unsaid += dropped
	for _, a := range list {
		u.drop(a.Count)
	}
}

// flushNow asks for a report and waits until it was sent, or for the end of ctx.
func (u *uses) flushNow(ctx context.Context) {
	done := make(chan struct{})
	select {
	case u.now <- done:
		select {
		case <-done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond): // there is no lane, or it is stuck
	}
}
