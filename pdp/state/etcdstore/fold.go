package etcdstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/state"
)

// Folding writes what the log says of records and events to their own keys, so that a start
// does not have to read all history and the log can be cut. Whoever folds owns the marker: each
// of its transactions compares the marker's revision and writes the marker, so that of two
// stores that fold the slower one stops. What a fold that was given up has written is not seen
// before the log says the same, and the next fold writes it again.

// errMarkerMoved says that another folded.
var errMarkerMoved = errors.New("another store is folding the log")

// cleanEvery is the time between two looks for stages that were given up.
const cleanEvery = 5 * time.Minute

func (s *Store) foldLoop() {
	since := make(map[string]time.Time)
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-s.ctx.Done():
			return
		case <-s.foldNow:
			if _, err = s.fold(s.ctx); err == nil {
				err = s.cutLog(s.ctx)
			}
		case <-tick.C:
			err = s.cleanStages(s.ctx, since, time.Now())
		}
		if err != nil && s.ctx.Err() == nil && !errors.Is(err, errMarkerMoved) {
			if known := s.known(err); known != nil {
				s.fail(known)
				return
			}
			s.log.Warn("tidying the log failed; it will be tried again", "error", err)
		}
	}
}

// marker reads how far the log was folded and forgets the entries that are.
func (s *Store) marker(ctx context.Context) (head, error) {
	resp, err := s.get(ctx, s.key(markerName))
	if err != nil {
		return head{}, err
	}
	m, err := s.decodeMarker(resp.Kvs)
	if err != nil {
		return head{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.tail) && s.tail[n].after.txn <= m.txn {
		s.heavy -= s.tail[n].size
		n++
	}
	s.tail = append([]*entry(nil), s.tail[n:]...)
	return m, nil
}

// fold folds everything that readers see, and gives the marker after it.
func (s *Store) fold(ctx context.Context) (head, error) {
	s.folding.Lock()
	defer s.folding.Unlock()
	return s.foldLocked(ctx)
}

func (s *Store) foldLocked(ctx context.Context) (head, error) {
	m, err := s.marker(ctx)
	if err != nil {
		return m, err
	}
	s.mu.RLock()
	entries := s.tail
	s.mu.RUnlock()
	if len(entries) == 0 {
		return m, nil
	}
	if entries[0].before != m.point {
		return m, s.errDamaged(fmt.Errorf("the log was folded up to %v, and what follows is after %v", m.point, entries[0].before))
	}
	w := &writer{s: s, m: m}
	if err := s.foldRecords(ctx, w, entries); err != nil {
		return m, err
	}
	for _, e := range entries {
		if err := s.foldEvents(ctx, w, e); err != nil {
			return m, err
		}
	}
	w.m.point = entries[len(entries)-1].after
	if err := w.flush(ctx); err != nil {
		return m, err
	}
	s.stats.Folds.Add(1)
	return s.marker(ctx)
}

// foldRecords writes each record that the entries touch, once.
func (s *Store) foldRecords(ctx context.Context, w *writer, entries []*entry) error {
	type last struct{ e, change, put int }
	where := make(map[state.Key]last)
	for i, e := range entries {
		for j := range e.changes {
			for k, key := range e.changes[j].Keys {
				where[key] = last{i, j, k}
			}
		}
	}
	for key, at := range where {
		e := entries[at.e]
		c := &e.changes[at.change]
		op := clientv3.OpDelete(s.key(recordName(key)))
		size := 64
		if at.put < len(c.Puts) {
			body := e.bodies[at.change][at.put]
			op, size = clientv3.OpPut(s.key(recordName(key)), encodeRecord(key, c.Revision, body)), size+len(key)+len(body)
		}
		if err := w.add(ctx, op, size); err != nil {
			return err
		}
	}
	return nil
}

// foldEvents writes the events of an entry, in packs that depend on the entry alone.
func (s *Store) foldEvents(ctx context.Context, w *writer, e *entry) error {
	list := append([]event(nil), e.events...)
	sort.Slice(list, func(i, j int) bool { return list[i].EventID.Before(list[j].EventID) })
	for len(list) > 0 {
		first := eventFrom(list[0].EventID.Stamp)
		var pack []byte
		part := 0
		for len(list) > 0 && eventFrom(list[0].EventID.Stamp) == first {
			pack = appendEvent(pack, list[0])
			stamp := list[0].EventID.Stamp
			list = list[1:]
			if len(list) > 0 && eventFrom(list[0].EventID.Stamp) == first && len(pack)+len(list[0].Data) < s.opts.Request/2 {
				continue
			}
			name := eventName(stamp, e.after.txn, part)
			value := string(seal(name, append([]byte{format}, pack...)))
			if err := w.add(ctx, clientv3.OpPut(s.key(name), value), 64+len(value)); err != nil {
				return err
			}
			pack, part = nil, part+1
		}
	}
	return nil
}

func appendEvent(b []byte, e event) []byte {
	b = binary.AppendUvarint(b, uint64(e.EventID.Stamp))
	b = binary.AppendUvarint(b, e.Seq)
	b = binary.AppendUvarint(b, uint64(e.Revision))
	return appendText(b, e.Data)
}

// writer makes transactions of an owner of the marker.
type writer struct {
	s    *Store
	m    head
	ops  []clientv3.Op
	size int
}

func (w *writer) add(ctx context.Context, op clientv3.Op, size int) error {
	if len(w.ops) > 0 && (len(w.ops) >= w.s.opts.Operations-1 || w.size+size > w.s.opts.Request-4096) {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.ops, w.size = append(w.ops, op), w.size+size
	return nil
}

// flush writes what was added, and the marker. When the answer is lost the owner begins anew:
// whatever was written is written again.
func (w *writer) flush(ctx context.Context) error {
	s := w.s
	ctx, cancel := s.try(ctx)
	defer cancel()
	ops := append(w.ops, clientv3.OpPut(s.key(markerName), encodePoint(markerName, w.m.point)))
	var resp *clientv3.TxnResponse
	err := s.opts.Fault.do(StepFold, func() (err error) {
		resp, err = s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(s.key(markerName)), "=", w.m.mod)).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return errMarkerMoved
	}
	w.m.mod, w.ops, w.size = resp.Header.Revision, nil, 0
	return nil
}

// cutLog removes the oldest entries, leaving as many changes as are promised.
func (s *Store) cutLog(ctx context.Context) error {
	m, err := s.marker(ctx)
	if err != nil {
		return err
	}
	s.mu.RLock()
	spans, seen := s.spans, s.seen
	s.mu.RUnlock()
	if seen.mark.Revision < s.history() {
		return nil
	}
	i := find(spans, seen.mark.Revision-s.history())
	if i <= 0 {
		return nil
	}
	first := min(spans[i].txn, m.txn+1)
	tctx, cancel := s.try(ctx)
	defer cancel()
	_, err = s.client.Delete(tctx, s.key(logDir), clientv3.WithRange(s.key(logFrom(first))))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].txn >= first })
	s.spans = append([]span(nil), s.spans[n:]...)
	return nil
}
