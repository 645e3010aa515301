package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Events implements [state.Store]. Events of folded transactions are read from etcd, a second
// of them at a time; the newest are in memory.
func (s *Store) Events(ctx context.Context, from, to authz.Stamp, cursor string, fn func(state.Event, string) error) error {
	end := state.EventID{Stamp: to}
	if cursor != "" {
		at, err := state.ParseCursor(cursor)
		if err != nil {
			return err
		}
		if to == 0 || at.Before(end) {
			end = at
		}
	}
	if err := s.usable(ctx); err != nil {
		return err
	}
	// In this order: what is folded after the list was made is not left out of both.
	s.mu.RLock()
	tail, seen := s.tail, s.seen
	s.mu.RUnlock()
	resp, err := s.get(ctx, s.key(markerName))
	if err != nil {
		return s.readError(ctx, err)
	}
	marker, err := s.decodeMarker(resp.Kvs)
	if err != nil {
		return err
	}
	within := func(e event) bool {
		return e.Seq <= seen.seq && e.EventID.Stamp >= from && (end == state.EventID{} || e.EventID.Before(end))
	}
	var newer []event
	for _, e := range tail {
		for _, ev := range e.events {
			if ev.Seq > marker.seq && within(ev) {
				newer = append(newer, ev)
			}
		}
	}
	slices.SortFunc(newer, compareEvents)
	m := merge{ctx: ctx, newer: newer, fn: fn}
	err = s.folded(ctx, from, end, resp.Header.Revision, func(bucket string, list []event) error {
		list = slices.DeleteFunc(list, func(e event) bool { return e.Seq > marker.seq || !within(e) })
		return m.bucket(bucket, list)
	})
	if err == nil {
		err = m.bucket("", nil)
	}
	if m.given != nil {
		return m.given
	}
	return s.readError(ctx, err)
}

func compareEvents(a, b event) int {
	switch {
	case a.EventID.Before(b.EventID):
		return -1
	case a.EventID == b.EventID:
		return 0
	}
	return 1
}

// merge gives events newest first, those in memory among the others.
type merge struct {
	ctx   context.Context
	newer []event // oldest first
	fn    func(state.Event, string) error
	given error // what fn gave
}

// bucket gives the events of a bucket, and all newer ones.
func (m *merge) bucket(name string, list []event) error {
	n := len(m.newer)
	for n > 0 && eventFrom(m.newer[n-1].EventID.Stamp) >= name {
		n--
	}
	list = append(list, m.newer[n:]...)
	m.newer = m.newer[:n]
	slices.SortFunc(list, compareEvents)
	for _, e := range slices.Backward(list) {
		if m.ctx.Err() != nil {
			return state.ErrCanceled(m.ctx)
		}
		if m.given = m.fn(e.Event, e.Cursor()); m.given != nil {
			return m.given
		}
	}
	return nil
}

// folded calls fn for each second that has folded events in [from, end), newest first, as of
// one revision of etcd's.
func (s *Store) folded(ctx context.Context, from authz.Stamp, end state.EventID, rev int64, fn func(bucket string, list []event) error) error {
	first := s.key(eventFrom(max(from, 0)))
	last := clientv3.GetPrefixRangeEnd(s.key(eventDir))
	if (end != state.EventID{}) {
		last = clientv3.GetPrefixRangeEnd(s.key(eventFrom(end.Stamp)))
	}
	var bucket string
	var list []event
	for {
		resp, err := s.get(ctx, first, clientv3.WithRange(last), clientv3.WithRev(rev), clientv3.WithLimit(logPage),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			b, pack, err := s.decodePack(kv)
			if err != nil {
				return err
			}
			if b != bucket && bucket != "" {
				if err := fn(bucket, list); err != nil {
					return err
				}
				list = nil
			}
			bucket, list = b, append(list, pack...)
			last = string(kv.Key)
		}
		if !resp.More {
			break
		}
	}
	if bucket == "" {
		return nil
	}
	return fn(bucket, list)
}

// decodePack reads one key of events, and the bucket that it belongs to.
func (s *Store) decodePack(kv *mvccpb.KeyValue) (bucket string, list []event, err error) {
	name := s.name(kv.Key)
	b, err := unseal(name, kv.Value)
	if err == nil && len(name) < len(eventFrom(0)) {
		err = fmt.Errorf("%q is not the name of events", name)
	}
	if err != nil {
		return "", nil, s.errDamaged(err)
	}
	r := reader{b: b}
	for len(r.b) > 0 && r.err == nil {
		e := event{EventID: state.EventID{Stamp: r.stamp(), Seq: r.uint()}}
		e.Event = state.Event{Stamp: e.EventID.Stamp, Revision: authz.Revision(r.uint())}
		if data := r.text(); len(data) > 0 {
			e.Data = append([]byte(nil), data...)
		}
		list = append(list, e)
	}
	if r.err != nil {
		return "", nil, s.errDamaged(fmt.Errorf("%q: %w", name, r.err))
	}
	return name[:len(eventFrom(0))], list, nil
}

// PruneEvents implements [state.Store]. It folds first, so that all events are in keys of their
// own, and it owns the marker while it removes them.
func (s *Store) PruneEvents(ctx context.Context, before authz.Stamp, limit int) (int, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if s.stage.Load() != attached {
		return 0, state.ErrAttachOrder("nothing is attached")
	}
	if limit <= 0 || before <= 0 || s.opts.Look {
		return 0, nil
	}
	s.folding.Lock()
	defer s.folding.Unlock()
	total := 0
	for total < limit {
		m, err := s.foldLocked(ctx)
		if err == nil {
			var n int
			n, err = s.prune(ctx, m, before, limit-total)
			total += n
		}
		if errors.Is(err, errMarkerMoved) {
			if !s.again(ctx) {
				return total, state.ErrCanceled(ctx)
			}
			continue
		}
		return total, s.readError(ctx, err)
	}
	return total, nil
}

// prune removes events oldest first, second by second, and gives how many it has.
func (s *Store) prune(ctx context.Context, m head, before authz.Stamp, limit int) (removed int, err error) {
	w := &writer{s: s, m: m}
	from, _ := s.below(eventDir)
	end := clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.key(eventFrom(before))))
	var packs []pack
	var bucket string
	flush := func() error {
		n, err := s.pruneBucket(ctx, w, packs, before, limit-removed)
		removed += n
		packs = nil
		if err == nil && removed >= limit {
			err = errEnd
		}
		return err
	}
	err = s.scan(ctx, from, end, 0, false, func(name string, kv *mvccpb.KeyValue) error {
		b, list, err := s.decodePack(kv)
		if err == nil && b != bucket && bucket != "" {
			err = flush()
		}
		bucket, packs = b, append(packs, pack{name, list})
		return err
	})
	if err == nil {
		err = flush()
	}
	if errors.Is(err, errEnd) {
		err = nil
	}
	return removed, err
}

type pack struct {
	name   string
	events []event
}

// pruneBucket removes up to limit of the oldest events of one second. It counts what one
// transaction has removed when that is done, so an error loses count of nothing but its own.
func (s *Store) pruneBucket(ctx context.Context, w *writer, packs []pack, before authz.Stamp, limit int) (removed int, err error) {
	var all []event
	for _, p := range packs {
		all = append(all, p.events...)
	}
	slices.SortFunc(all, compareEvents)
	n := 0
	for n < len(all) && n < limit && all[n].EventID.Stamp < before {
		n++
	}
	if n == 0 {
		return 0, nil
	}
	first := state.EventID{Stamp: 1<<63 - 1} // the oldest that stays
	if n < len(all) {
		first = all[n].EventID
	}
	for _, p := range packs {
		kept := slices.DeleteFunc(slices.Clone(p.events), func(e event) bool { return e.EventID.Before(first) })
		gone := len(p.events) - len(kept)
		if gone == 0 {
			continue
		}
		op, size := clientv3.OpDelete(s.key(p.name)), 64
		if len(kept) > 0 {
			value := []byte{format}
			for _, e := range kept {
				value = appendEvent(value, e)
			}
			op, size = clientv3.OpPut(s.key(p.name), string(seal(p.name, value))), size+len(value)
		}
		if err := w.add(ctx, op, size); err != nil {
			return removed, err
		}
	}
	if err := w.flush(ctx); err != nil {
		return removed, err
	}
	return n, nil
}
