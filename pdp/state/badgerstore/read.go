package badgerstore

import (
	"context"
	"fmt"
	"sort"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// History implements [state.Store].
func (s *Store) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	r, err := s.read(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	switch newest := r.head.mark.Revision; {
	case after > newest:
		return state.ErrHistoryAhead(after, newest)
	case after == newest:
		return nil
	case after+1 < r.head.first:
		return state.ErrHistoryGone(after, r.head.first)
	}
	at := sort.Search(len(r.spans), func(i int) bool { return r.spans[i].first > after+1 }) - 1
	var pack []byte
	for _, span := range r.spans[at:] {
		if pack, err = r.pack(span, pack[:0]); err != nil {
			return errUnreadable("history", err)
		}
		var refused error
		_, err := unpack(pack, span.first, func(c state.Change, _ []uint32) error {
			if c.Revision <= after {
				return nil
			}
			if refused = fn(c); refused == nil && ctx.Err() != nil {
				refused = state.ErrCanceled(ctx)
			}
			return refused
		})
		if refused != nil {
			return refused
		}
		if err != nil {
			return errUnreadable("history", err)
		}
	}
	return nil
}

// pack joins the chunks of a pack in buf.
func (r *reader) pack(sp span, buf []byte) ([]byte, error) {
	for chunk := range sp.chunks {
		key := appendHistoryKey(nil, sp.first, chunk)
		item, err := r.txn.Get(key)
		if err != nil {
			return buf, err
		}
		err = item.Value(func(value []byte) error {
			part, err := unseal(key, value)
			buf = append(buf, part...)
			return err
		})
		if err != nil {
			return buf, fmt.Errorf("revision %d: %w", sp.first, err)
		}
	}
	return buf, nil
}

// errUnreadable says that something on the disk is damaged. The store goes on: what is kept
// for decisions is in memory.
func errUnreadable(what string, err error) error {
	return &authz.Error{
		Kind: authz.KindInternal, Code: "STORE_DAMAGED",
		Message: "reading " + what + " failed; stop the PDP and look with `pdp fsck`", Cause: err,
	}
}
