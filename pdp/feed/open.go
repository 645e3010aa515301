package feed

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// About is what a sidecar calls itself, for people.
type About struct {
	Name, Version string
}

// Open opens a generation for owner, the authenticated caller, who has sent h. It fails
// with KindPrecondition (HISTORY_BEHIND, HISTORY_BESIDE) when the sidecar has seen what
// this PDP's history does not contain (L15).
func (f *Feed) Open(ctx context.Context, owner string, about About, h lease.Hello) (*Stream, error) {
	if !f.serves(f.opt.Now()) {
		return nil, errFenced()
	}
	if err := f.reach(ctx, &h); err != nil {
		return nil, err
	}
	if err := f.admit(ctx, owner, h.Seen); err != nil {
		return nil, err
	}
	if err := f.promise(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opt.Now()
	switch {
	case f.phase != serving:
		return nil, errMoving()
	case !f.serves(now):
		return nil, errFenced()
	case f.grantor.Live() >= f.opt.MaxGenerations:
		return nil, authz.Errorf(authz.KindExhausted, CodeTooManyGenerations,
			"%d generations of leases live here, which is all that may: wait until older ones have lapsed", f.grantor.Live())
	}
	s := &Stream{f: f, owner: owner, about: about, since: time.Now(), wake: make(chan struct{}, 1)}
	s.gen = f.grantor.Hello(now, owner, h)
	f.streams[s.gen] = s
	f.stats.Opened++
	f.flush()
	return s, nil
}

func errMoving() error {
	return authz.Errorf(authz.KindUnavailable, CodeMoving, "this policy decision point is about to stop and grants no more leases")
}

// quietUntil tells when the leases that earlier incarnations may have granted have ended
// (R1). A backup does not know what was granted after it was taken: an epoch that the
// record does not know asks for the longest term there is. With several PDPs registrations
// tell it.
func (f *Feed) quietUntil(now lease.Instant, rec *state.Leases) lease.Instant {
	switch {
	case f.opt.Shared:
		return 0
	case f.head.Epoch > epochOf(rec):
		return now.Add(lease.GrantorTerm(lease.MaxTerm))
	case rec != nil && rec.Out:
		return now.Add(lease.GrantorTerm(min(max(rec.Longest, 0), lease.MaxTerm)))
	}
	return 0
}

// epochOf gives the epoch that the record was written in. Without one no lease was ever
// granted in the first.
func epochOf(rec *state.Leases) uint64 {
	if rec == nil {
		return 1
	}
	return rec.Epoch
}

// promise makes sure that a start after this one will wait for the leases that are about
// to be granted (R1). It commits once in the life of a Feed.
//
// If we die before the commit nothing was granted; if after it, the next start waits for
// nobody.
func (f *Feed) promise(ctx context.Context) error {
	f.out.Lock()
	defer f.out.Unlock()
	for {
		err := f.promiseOnce(ctx)
		if f.opt.Shared && authz.KindOf(err) == authz.KindConflict {
			continue // another PDP was faster, and its record is here now
		}
		return err
	}
}

func (f *Feed) promiseOnce(ctx context.Context) error {
	rec, mod := f.view.Leases()
	next := f.leases(rec)
	next.Out, next.Longest = true, f.opt.Term
	if rec != nil && rec.Out {
		next.Longest = max(next.Longest, rec.Longest)
	}
	if f.Head().Epoch > epochOf(rec) {
		next.Longest = lease.MaxTerm
	}
	if rec == nil || *rec != *next {
		f.mu.Lock()
		late := f.phase != serving
		f.mu.Unlock()
		if late { // Close records that nothing is out
			return errMoving()
		}
		if err := f.record(ctx, mod, next); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = next.SealKey
	return nil
}

// leases gives the record to be written next, with the seal key that there is or a new
// one.
func (f *Feed) leases(rec *state.Leases) *state.Leases {
	next := new(state.Leases)
	if rec != nil {
		*next = *rec
	} else {
		rand.Read(next.SealKey[:])
	}
	next.Epoch = f.Head().Epoch
	return next
}

func (f *Feed) record(ctx context.Context, mod authz.Revision, next *state.Leases) error {
	_, err := f.store.Commit(ctx, state.Batch{
		Guards: []state.Guard{{Key: state.LeasesKey(), Revision: mod}}, Puts: []state.Record{next},
		Actor: "jobward", Verb: "leases", Urgent: true,
	})
	return err
}

// settleUp records that no lease is out any more, when that is so.
func (f *Feed) settleUp() error {
	f.out.Lock()
	defer f.out.Unlock()
	f.mu.Lock()
	out := f.grantor.Live() > 0 || f.opt.Now() < f.quiet
	f.mu.Unlock()
	if f.opt.Shared {
		return nil // others may have leases out
	}
	rec, mod := f.view.Leases()
	if out || rec == nil && f.Head().Epoch == 1 {
		return nil
	}
	next := f.leases(rec)
	next.Out, next.Longest = false, 0
	if rec != nil && *rec == *next {
		return nil
	}
	// The caller's time is over, and this must not wait for it; nor for ever.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return f.record(ctx, mod, next)
}
