package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Attach implements [state.Store]. Every record and every entry that is read is checked. It
// waits for a cluster that cannot be reached until ctx ends; the sink is started over then.
//
// The snapshot is linearizable: the head is read by a transaction of linearizable reads that is
// sent after Attach was called, and all else as of the same revision of etcd's. So a replica
// that registers first loads its view at or after the head that Join gave (PROTOCOL R8).
func (s *Store) Attach(ctx context.Context, sink state.Sink) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if !s.stage.CompareAndSwap(opened, attaching) {
		return state.ErrAttachOrder("a sink is attached already")
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	for told := (time.Time{}); ; {
		sink.Reset()
		clear(s.mods)
		snap, err := s.snapshot(ctx, func(rec state.Record, mod authz.Revision) {
			s.mods[rec.Key()] = mod
			sink.Load(rec, mod)
		})
		if err == nil {
			err = s.follows(s.now, snap.head.point)
		}
		if err == nil {
			s.adopt(snap)
			sink.Loaded(s.now.mark, s.now.stamp)
			break
		}
		if known := s.known(err); known != nil {
			return known
		}
		if locked(err) {
			return s.errLocked(err)
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			s.log.Warn("reading the store failed; trying again", "endpoints", s.opts.Endpoints, "error", err)
		}
		if !s.again(ctx) {
			return s.errUnreachable(errors.Join(context.Cause(ctx), err))
		}
	}
	s.sink = sink
	s.stage.Store(attached)
	s.others.Go(s.watchLoop)
	if !s.opts.Look {
		s.others.Go(s.foldLoop)
	}
	s.others.Go(s.spaceLoop)
	return nil
}

// known gives those errors that say something about the store, or nil.
func (s *Store) known(err error) error {
	var known *authz.Error
	if errors.As(err, &known) && known.Kind == authz.KindPrecondition {
		return known
	}
	return nil
}

// snapshot is everything as of one revision of etcd's.
type snapshot struct {
	head  head
	at    int64
	tail  []*entry // after the marker
	spans []span
}

// held is what the entries after the marker make of one record; rec is nil for one that is gone.
type held struct {
	rec state.Record
	mod authz.Revision
}

// snapshot reads the records as they were folded, and what the log says after that, and calls
// load for each record once.
func (s *Store) snapshot(ctx context.Context, load func(state.Record, authz.Revision)) (*snapshot, error) {
	snap := new(snapshot)
	var err error
	if _, snap.head, snap.at, err = s.readLog(ctx, ^uint64(0), 1, 0); err != nil {
		return nil, err
	}
	resp, err := s.get(ctx, s.key(markerName), clientv3.WithRev(snap.at))
	if err != nil {
		return nil, err
	}
	marker, err := s.decodeMarker(resp.Kvs)
	if err != nil {
		return nil, err
	}
	if err := s.readTail(ctx, snap, marker.point); err != nil {
		return nil, err
	}
	newer := make(map[state.Key]held)
	for _, e := range snap.tail {
		for i := range e.changes {
			c := &e.changes[i]
			for _, rec := range c.Puts {
				newer[rec.Key()] = held{rec, c.Revision}
			}
			for _, key := range c.Deletes {
				newer[key] = held{}
			}
		}
	}
	var dec state.Decoder
	from, end := s.below(recordDir)
	err = s.scan(ctx, from, end, snap.at, false, func(name string, kv *mvccpb.KeyValue) error {
		key := state.Key(name[len(recordDir):])
		if _, ok := newer[key]; ok {
			return nil
		}
		rec, mod, err := decodeRecord(key, kv.Value, &dec)
		if err == nil && mod > marker.mark.Revision {
			err = fmt.Errorf("it was changed at revision %d, of which the log knows nothing", mod)
		}
		if err != nil {
			return s.errDamaged(fmt.Errorf("%v: %w", key, err))
		}
		load(rec, mod)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, h := range newer {
		if h.rec != nil {
			load(h.rec, h.mod)
		}
	}
	from, end = s.below(logDir)
	err = s.scan(ctx, from, end, snap.at, true, func(name string, _ *mvccpb.KeyValue) error {
		sp, err := parseLogName(name)
		if err != nil {
			return s.errDamaged(err)
		}
		snap.spans = append(snap.spans, sp)
		return nil
	})
	return snap, err
}

// readTail reads the entries from the marker to the head.
func (s *Store) readTail(ctx context.Context, snap *snapshot, at point) error {
	for at.txn < snap.head.txn {
		entries, _, _, err := s.readLog(ctx, at.txn+1, logPage, snap.at)
		if errors.Is(err, errStageGone) {
			return s.errDamaged(fmt.Errorf("chunks of entries after transaction %d are missing", at.txn))
		}
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return s.errDamaged(fmt.Errorf("the log ends at transaction %d, and the head is at %d", at.txn, snap.head.txn))
		}
		for _, e := range entries {
			if e.before != at {
				return s.errDamaged(fmt.Errorf("transaction %d follows %v and not %v", e.after.txn, e.before, at))
			}
			at = e.after
		}
		snap.tail = append(snap.tail, entries...)
	}
	if at != snap.head.point {
		return s.errDamaged(fmt.Errorf("the log leads to %v, and the head is %v", at, snap.head.point))
	}
	return nil
}

// decodeMarker reads the marker: up to where the log has been folded.
func (s *Store) decodeMarker(kvs []*mvccpb.KeyValue) (m head, err error) {
	if len(kvs) == 0 {
		return m, s.errDamaged(errors.New("the key that says how far the log was folded is missing"))
	}
	if m.point, err = decodePoint(markerName, kvs[0].Value); err != nil {
		return m, s.errDamaged(err)
	}
	m.mod = kvs[0].ModRevision
	return m, nil
}
