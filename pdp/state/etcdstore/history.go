package etcdstore

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// history is how many changes are kept.
func (s *Store) history() authz.Revision { return authz.Revision(s.opts.History) }

// First gives the oldest change that History can give: one more than the head's when there is none.
func (s *Store) First() authz.Revision {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.spans) == 0 {
		return s.seen.mark.Revision + 1
	}
	return s.spans[0].before + 1
}

// History implements [state.Store]. It reads the log in etcd, as far as the sink has come.
func (s *Store) History(ctx context.Context, after authz.Revision, fn func(state.Change) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.mu.RLock()
	spans, seen := s.spans, s.seen
	s.mu.RUnlock()
	switch {
	case after > seen.mark.Revision:
		return state.ErrHistoryAhead(after, seen.mark.Revision)
	case after == seen.mark.Revision:
		return nil
	}
	i := find(spans, after)
	if i < 0 {
		return goneAfter(after, spans)
	}
	next := spans[i].txn
	from, end := s.between(logFrom(next), logDir)
	var given error // by fn
	err := s.scan(ctx, from, end, 0, false, func(name string, kv *mvccpb.KeyValue) error {
		sp, err := parseLogName(name)
		if err != nil {
			return s.errDamaged(err)
		}
		if sp.txn > seen.txn {
			return errEnd
		}
		if sp.txn != next {
			return goneAfter(after, []span{sp})
		}
		next++
		e, err := s.readEntry(ctx, kv, 0)
		if errors.Is(err, errStageGone) {
			return goneAfter(after, []span{{sp.txn + 1, sp.before + 1}})
		}
		if err != nil {
			return err
		}
		given = each(ctx, e, after, fn)
		return given
	})
	if given != nil {
		return given
	}
	return s.readError(ctx, err)
}

// errEnd ends a scan.
var errEnd = errors.New("enough")

func each(ctx context.Context, e *entry, after authz.Revision, fn func(state.Change) error) error {
	for _, c := range e.changes {
		if c.Revision <= after {
			continue
		}
		if ctx.Err() != nil {
			return state.ErrCanceled(ctx)
		}
		c.Puts = nil
		if err := fn(c); err != nil {
			return err
		}
	}
	return nil
}

func goneAfter(after authz.Revision, spans []span) error {
	first := after + 2
	if len(spans) > 0 {
		first = spans[0].before + 1
	}
	return state.ErrHistoryGone(after, first)
}

// readError gives the error of a call that only reads.
func (s *Store) readError(ctx context.Context, err error) error {
	var known *authz.Error
	switch {
	case err == nil, errors.Is(err, errEnd):
		return nil
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return state.ErrCanceled(ctx)
	case locked(err):
		return s.errLocked(err)
	}
	return s.errUnreachable(err)
}
