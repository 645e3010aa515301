package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// errGap says that entries before the first are missing.
var errGap = errors.New("entries of the log are missing")

// advance brings the sink forward by entries that follow each other, those that it has left
// out: our own come twice, by the answer and by the watch.
func (s *Store) advance(entries []*entry) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	for len(entries) > 0 && entries[0].after.txn <= s.now.txn {
		entries = entries[1:]
	}
	if len(entries) == 0 {
		return nil
	}
	if entries[0].after.txn != s.now.txn+1 {
		return errGap
	}
	at := s.now
	var changes []state.Change
	for _, e := range entries {
		if e.before != at {
			return s.errOtherHistory("transaction %d follows %v, and this PDP is at %v", e.after.txn, e.before.mark, at.mark)
		}
		at = e.after
		changes = append(changes, e.changes...)
	}
	s.apply(changes)
	last := entries[len(entries)-1]
	s.now, s.headMod, s.at = at, last.at, max(s.at, last.at)
	s.publish(entries)
	return nil
}

// apply gives the sink changes. The caller holds applying.
func (s *Store) apply(changes []state.Change) {
	if len(changes) == 0 {
		return
	}
	s.sink.Apply(changes)
	for i := range changes {
		c := &changes[i]
		for j, key := range c.Keys {
			if j < len(c.Puts) {
				s.mods[key] = c.Revision
			} else {
				delete(s.mods, key)
			}
		}
	}
}

// publish lets readers see what the sink has. The caller holds applying.
func (s *Store) publish(entries []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = s.now
	for _, e := range entries {
		s.spans = append(s.spans, span{e.after.txn, e.before.mark.Revision})
		s.tail = append(s.tail, e)
		s.heavy += e.size
	}
	if len(s.tail) >= s.opts.Fold || s.heavy >= foldBytes {
		select {
		case s.foldNow <- struct{}{}:
		default:
		}
	}
}

// logPage is how many entries are read at a time.
const logPage = 64

// catchUp brings the sink to the head, as a linearizable read finds it.
func (s *Store) catchUp(ctx context.Context) error {
	for {
		s.applying.Lock()
		now := s.now
		s.applying.Unlock()
		entries, h, at, err := s.readLog(ctx, now.txn+1, logPage, 0)
		gone := errors.Is(err, errStageGone)
		if err != nil && !gone {
			return err
		}
		if !gone {
			if err := s.follows(now, h.point); err != nil {
				return err
			}
			if h.txn == now.txn {
				s.applying.Lock()
				s.at = max(s.at, at) // Nothing between is ours.
				s.applying.Unlock()
				return nil
			}
		}
		if gone || len(entries) == 0 || entries[0].after.txn != now.txn+1 {
			if err := s.reload(ctx); err != nil {
				return err
			}
			continue
		}
		if err := s.advance(entries); err != nil && !errors.Is(err, errGap) {
			return err
		}
	}
}

// follows refuses a head that is behind ours, or beside it (R13).
func (s *Store) follows(now, h point) error {
	if h.mark.Epoch != now.mark.Epoch || h.txn < now.txn || h.txn == now.txn && h != now {
		return s.errOtherHistory("its head is %v (transaction %d), and this PDP is at %v (transaction %d)", h.mark, h.txn, now.mark, now.txn)
	}
	return nil
}

// watchLoop follows the log for the entries of others. A watch resumes right after what has
// been seen; where that is compacted the log itself is read, which compaction does not touch.
func (s *Store) watchLoop() {
	for s.ctx.Err() == nil {
		err := s.watch()
		if err != nil && s.ctx.Err() == nil {
			if s.stop(err) {
				return
			}
			s.log.Debug("the watch ended", "error", err)
		}
		if !s.again(s.ctx) || !pause(s.ctx, rand.N(100*time.Millisecond)) {
			return
		}
	}
}

func (s *Store) watch() error {
	s.applying.Lock()
	from := s.at + 1
	s.applying.Unlock()
	if err := s.opts.Fault.do(StepWatch, func() error { return nil }); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(s.ctx))
	defer cancel()
	s.mu.Lock()
	s.endWatch = cancel
	s.mu.Unlock()
	s.stats.Watches.Add(1)
	key, end := s.below(logDir)
	for resp := range s.client.Watch(ctx, key, end, clientv3.WithRev(from), clientv3.WithFilterDelete()) {
		if resp.CompactRevision != 0 {
			s.stats.Compacted.Add(1)
			return s.catchUp(ctx)
		}
		if err := resp.Err(); err != nil {
			return err
		}
		if err := s.sameCluster(resp.Header.ClusterId); err != nil {
			return err
		}
		if err := s.watched(ctx, &resp); err != nil {
			return err
		}
	}
	return nil
}

// watched takes the entries of one message of the watch.
func (s *Store) watched(ctx context.Context, resp *clientv3.WatchResponse) error {
	var entries []*entry
	for _, ev := range resp.Events {
		sp, err := parseLogName(s.name(ev.Kv.Key))
		if err != nil {
			return s.errDamaged(err)
		}
		s.mu.RLock()
		old := sp.txn <= s.seen.txn
		s.mu.RUnlock()
		if old {
			continue
		}
		e, err := s.readEntry(ctx, ev.Kv, ev.Kv.ModRevision)
		if errors.Is(err, errStageGone) || compacted(err) {
			return s.catchUp(ctx)
		}
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	err := s.advance(entries)
	if errors.Is(err, errGap) {
		s.stats.Gaps.Add(1)
		s.log.Warn("the watch left out entries of the log; reading them")
		return s.catchUp(ctx)
	}
	return err
}

// reload reads everything again when the log no longer has what follows the sink's point, and
// tells the sink the difference (PROTOCOL R9): every revision between, in one call, so that
// nobody sees a part of it. A record that changed is in the revision that changed it last. One
// that is gone is in the last of them, since nothing says when it went.
func (s *Store) reload(ctx context.Context) error {
	s.stats.Reloads.Add(1)
	s.log.Warn("this PDP was so far behind that the log no longer has what it missed; reading all records again")
	s.applying.Lock()
	defer s.applying.Unlock()
	puts := make(map[authz.Revision][]state.Record)
	mods := make(map[state.Key]authz.Revision, len(s.mods))
	snap, err := s.snapshot(ctx, func(rec state.Record, mod authz.Revision) {
		mods[rec.Key()] = mod
		if mod > s.now.mark.Revision {
			puts[mod] = append(puts[mod], rec)
		}
	})
	if err != nil {
		return err
	}
	if err := s.follows(s.now, snap.head.point); err != nil {
		return err
	}
	var changes []state.Change
	for rev := s.now.mark.Revision + 1; rev <= snap.head.mark.Revision; rev++ {
		c := state.Change{Revision: rev, Stamp: s.now.stamp, Actor: "etcdstore", Verb: "reload", Puts: puts[rev]}
		for _, rec := range c.Puts {
			c.Keys = append(c.Keys, rec.Key())
		}
		changes = append(changes, c)
	}
	if n := len(changes); n > 0 {
		last := &changes[n-1]
		for key := range s.mods {
			if _, ok := mods[key]; !ok {
				last.Deletes, last.Keys = append(last.Deletes, key), append(last.Keys, key)
			}
		}
		last.Stamp, last.Chain = snap.head.stamp, snap.head.mark.Chain
	}
	s.apply(changes)
	s.adopt(snap)
	return nil
}

// adopt takes the place of a snapshot. The caller holds applying.
func (s *Store) adopt(snap *snapshot) {
	s.now, s.headMod, s.at = snap.head.point, snap.head.mod, snap.at
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.spans, s.tail, s.heavy = s.now, snap.spans, snap.tail, 0
	for _, e := range snap.tail {
		s.heavy += e.size
	}
}

// String names the point for logs.
func (p point) String() string { return fmt.Sprintf("%v, transaction %d", p.mark, p.txn) }
