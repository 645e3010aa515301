package feed

import (
	"context"
	"slices"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// waiting names what calls wait for: the end of a revision's receipt, or each step of it.
type waiting struct {
	revision authz.Revision
	steps    bool
}

// wait is what all calls that wait for one thing share. It is good for one time: whoever
// is woken looks again.
type wait struct {
	ch    chan struct{}
	calls int
}

// Await waits until the receipt of the change at rev is effective, telling progress (if
// not nil) each step, or until ctx ends: then it gives the receipt as it stands, and no
// error. The wait is never longer than the longest lease with its margins (L8, L9). For a
// revision that does not exist yet it fails with KindInvalid (REVISION_AHEAD).
//
// A revision that changed nothing that anybody rests on is effective at once, so Await is
// for those who know that rev made the change they mean; see AwaitAll.
func (f *Feed) Await(ctx context.Context, rev authz.Revision, progress func(lease.Receipt)) (lease.Receipt, error) {
	for {
		r, w, err := f.look(ctx, rev, progress != nil)
		if err != nil {
			return r, err
		}
		if progress != nil {
			progress(r)
		}
		if w == nil {
			return r, nil
		}
		select {
		case <-w.ch:
		case <-ctx.Done():
		}
		f.leave(waiting{rev, progress != nil}, w)
	}
}

// look gives the receipt and, unless it is effective or there is no more time, what to
// wait for.
func (f *Feed) look(ctx context.Context, rev authz.Revision, steps bool) (lease.Receipt, *wait, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rev > f.head.Revision {
		return lease.Receipt{}, nil, f.errAhead(rev)
	}
	r := f.grantor.Receipt(f.opt.Now(), rev)
	if r.Effective || f.phase == stopped || ctx.Err() != nil {
		return r, nil, nil
	}
	at := waiting{rev, steps}
	w := f.waits[at]
	if w == nil {
		w = &wait{ch: make(chan struct{})}
		f.waits[at] = w
	}
	w.calls++
	f.hurry()
	return r, w, nil
}

// exists fails for a revision of the future.
func (f *Feed) exists(rev authz.Revision) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rev > f.head.Revision {
		return f.errAhead(rev)
	}
	return nil
}

func (f *Feed) errAhead(rev authz.Revision) error {
	return authz.Errorf(authz.KindInvalid, CodeRevisionAhead, "revision %d is not there yet; the newest is %d", rev, f.head.Revision)
}

func (f *Feed) leave(at waiting, w *wait) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.calls--; w.calls == 0 && f.waits[at] == w {
		delete(f.waits, at)
	}
}

// AwaitAll is Await for everything up to rev: what a call has to wait for that found
// nothing to change, because somebody else's change may still be under way (R6), and what
// one has to wait for who does not know what rev is the revision of. The counts are those
// of all changes that it waited for.
func (f *Feed) AwaitAll(ctx context.Context, rev authz.Revision, progress func(lease.Receipt)) (lease.Receipt, error) {
	if err := f.exists(rev); err != nil {
		return lease.Receipt{}, err
	}
	var before lease.Receipt // of the changes waited for
	for {
		at, more := f.oldest(rev)
		sum := func(r lease.Receipt) lease.Receipt {
			r.Revision = rev
			r.Acked, r.Lapsed = r.Acked+before.Acked, r.Lapsed+before.Lapsed
			r.Effective = r.Effective && at == rev
			return r
		}
		var step func(lease.Receipt)
		if progress != nil {
			step = func(r lease.Receipt) {
				if s := sum(r); at == rev || s.Pending > 0 {
					progress(s)
				}
			}
		}
		r, err := f.Await(ctx, at, step)
		if err != nil {
			return r, err
		}
		s := sum(r)
		switch {
		case at == rev:
			return s, nil
		case !r.Effective && (ctx.Err() != nil || f.over()):
			s.Pending += more
			return s, nil
		}
		before.Acked, before.Lapsed = s.Acked, s.Lapsed
	}
}

// oldest gives the oldest revision up to rev that somebody is waited for, rev itself when
// there is none before, and how many there are between.
func (f *Feed) oldest(rev authz.Revision) (at authz.Revision, more int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, found := slices.BinarySearch(f.open, rev)
	if n == 0 {
		return rev, 0
	}
	if !found {
		n--
	}
	return f.open[0], n
}

func (f *Feed) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.phase == stopped
}

// Receipt gives the receipt of the change at rev as it stands. One of the future is not
// effective.
func (f *Feed) Receipt(rev authz.Revision) lease.Receipt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.grantor.Receipt(f.opt.Now(), rev)
}

// changed is called by the Grantor, under mu, when a receipt has changed.
func (f *Feed) changed(rev authz.Revision) {
	r := f.grantor.Receipt(f.opt.Now(), rev)
	f.wake(waiting{rev, true})
	if r.Pending > 0 {
		return
	}
	if i, ok := slices.BinarySearch(f.open, rev); ok {
		if i == 0 { // as a rule; it costs nothing
			f.open = f.open[1:]
		} else {
			f.open = slices.Delete(f.open, i, i+1)
		}
	}
	f.stats.Receipts++
	f.stats.Acked += uint64(r.Acked)
	f.stats.Lapsed += uint64(r.Lapsed)
	f.wake(waiting{rev, false})
}

func (f *Feed) wake(at waiting) {
	if w := f.waits[at]; w != nil {
		delete(f.waits, at)
		close(w.ch)
	}
}

func (f *Feed) wakeAll() {
	for at := range f.waits {
		f.wake(at)
	}
}
