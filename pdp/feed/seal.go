package feed

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Marks (PROTOCOL R13). A sidecar keeps the highest mark that it was given and shows it
// in every hello. The seal tells a PDP that is shown a mark it does not know whether a
// sidecar is confused or its own store has lost history: only the latter is a reason to
// stop serving everybody.

// seal gives m its seal.
func seal(key state.SealKey, m lease.Mark) lease.Mark {
	m.Seal = sum(key, m)
	return m
}

// sealed reports whether m was sealed with key.
func sealed(key state.SealKey, m lease.Mark) bool {
	return key != state.SealKey{} && hmac.Equal(m.Seal, sum(key, m))
}

func sum(key state.SealKey, m lease.Mark) []byte {
	const words = "jobward mark 1\x00"
	b := make([]byte, 0, len(words)+8+16+8+16)
	b = append(b, words...)
	b = binary.BigEndian.AppendUint64(b, m.Epoch)
	b = append(b, m.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Revision))
	b = append(b, m.Chain[:]...)
	mac := hmac.New(sha256.New, key[:])
	mac.Write(b)
	return mac.Sum(nil)
}

// compare judges what a sidecar has seen against this history (L15).
func (f *Feed) compare(ctx context.Context, seen lease.Mark) (lease.History, error) {
	f.mu.Lock()
	head := f.head
	f.mu.Unlock()
	is := lease.Judge(seen, head)
	if is != lease.HistoryGood || seen.Epoch == 0 || seen.Revision == head.Revision {
		return is, nil
	}
	chain, known, err := f.chainAt(ctx, seen.Revision)
	if err != nil {
		return is, err
	}
	if known && chain != seen.Chain {
		return lease.HistoryBeside, nil
	}
	return is, nil
}

var errEnough = errors.New("enough")

// chainAt looks up the chain at a revision that is not ahead. What is so old that the
// store has no history of it any more is not known, and is believed by epoch and
// revision alone.
func (f *Feed) chainAt(ctx context.Context, rev authz.Revision) (chain [16]byte, known bool, err error) {
	if rev == 0 {
		return chain, true, nil
	}
	err = f.store.History(ctx, rev-1, func(c state.Change) error {
		chain = c.Chain
		return errEnough
	})
	switch {
	case errors.Is(err, errEnough):
		return chain, true, nil
	case authz.KindOf(err) == authz.KindPrecondition:
		return chain, false, nil
	}
	return chain, false, err
}

// admit refuses a sidecar that has seen another history or a later one.
func (f *Feed) admit(ctx context.Context, owner string, seen lease.Mark) error {
	is, err := f.compare(ctx, seen)
	if err != nil {
		return err
	}
	if is == lease.HistoryGood || is == lease.HistoryNew {
		return nil
	}
	f.mu.Lock()
	f.stats.Refused++
	head, key := f.head, f.key
	f.mu.Unlock()
	if rec, _ := f.view.Leases(); f.opt.Shared && rec != nil {
		key = rec.SealKey // another PDP may have made it, and this one has granted nothing yet
	}
	ours := sealed(key, seen)
	code := CodeHistoryBehind
	if is == lease.HistoryBeside {
		code = CodeHistoryBeside
	}
	refused := authz.Errorf(authz.KindPrecondition, code,
		"this policy decision point is at %v and %s has seen %v: its history is %v", head, owner, seen, is)
	f.log.Error("a sidecar has seen a history that is not this one", "caller", owner, "seen", seen.String(), "head", head.String(), "sealed", ours)
	if ours && f.opt.OnHistory != nil {
		f.opt.OnHistory(refused)
	}
	return refused
}
