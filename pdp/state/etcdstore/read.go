package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
)

// page is how many keys are read at a time at first. For every page etcd counts all keys that follow, so
// that small pages make reading a large store take the square of its size; so they grow to maxPage,
// while they have no more than pageBytes.
const (
	page      = 512
	maxPage   = 32 * page
	pageBytes = 4 << 20
)

// readSpans reads the names of the log.
func (s *Store) readSpans(ctx context.Context) (spans []span, err error) {
	from, end := s.below(logDir)
	err = s.scan(ctx, from, end, 0, true, func(name string, _ *mvccpb.KeyValue) error {
		sp, err := parseLogName(name)
		spans = append(spans, sp)
		return err
	})
	return spans, err
}

// find gives the entry that has the change after a revision, or would have; -1 when it is gone.
func find(spans []span, after authz.Revision) int {
	return sort.Search(len(spans), func(i int) bool { return spans[i].before > after }) - 1
}

// scan calls fn for each key of a range in order, all as of one revision of etcd's: rev, or,
// for zero, that of the first page.
func (s *Store) scan(ctx context.Context, from string, end clientv3.OpOption, rev int64, names bool, fn func(name string, kv *mvccpb.KeyValue) error) error {
	for limit := page; ; {
		opts := []clientv3.OpOption{end, clientv3.WithLimit(int64(limit)), clientv3.WithRev(rev)}
		if names {
			opts = append(opts, clientv3.WithKeysOnly())
		}
		resp, err := s.get(ctx, from, opts...)
		if err != nil {
			return err
		}
		if rev == 0 {
			rev = resp.Header.Revision
		}
		size := 0
		for _, kv := range resp.Kvs {
			size += len(kv.Key) + len(kv.Value)
			if err := fn(s.name(kv.Key), kv); err != nil {
				return err
			}
		}
		switch {
		case size < pageBytes/2:
			limit = min(2*limit, maxPage)
		case size > pageBytes:
			limit = max(limit/2, page)
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// get reads once, in the time of one try.
func (s *Store) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := s.try(ctx)
	defer cancel()
	resp, err := s.client.Get(ctx, key, opts...)
	if err != nil {
		return nil, err
	}
	return resp, s.sameCluster(resp.Header.ClusterId)
}

// sameCluster refuses the answer of another cluster (R13).
func (s *Store) sameCluster(cluster uint64) error {
	if cluster != s.cluster {
		return s.errOtherHistory("cluster %016x answered, and the store is in %016x", cluster, s.cluster)
	}
	return nil
}

// readLog reads entries from txn on, up to limit, as of rev, zero for the newest. It also gives
// the head as of the same revision, and that revision. The entries may begin after txn when the
// log no longer has it.
func (s *Store) readLog(ctx context.Context, txn uint64, limit int64, rev int64) (entries []*entry, h head, at int64, err error) {
	tctx, cancel := s.try(ctx)
	defer cancel()
	from, end := s.between(logFrom(txn), logDir)
	resp, err := s.client.Txn(tctx).Then(
		clientv3.OpGet(s.key(headName), clientv3.WithRev(rev)),
		clientv3.OpGet(from, end, clientv3.WithLimit(limit), clientv3.WithRev(rev)),
	).Commit()
	if err != nil {
		return nil, h, 0, err
	}
	if err := s.sameCluster(resp.Header.ClusterId); err != nil {
		return nil, h, 0, err
	}
	if h, err = s.decodeHead(resp.Responses[0].GetResponseRange().Kvs); err != nil {
		return nil, h, 0, err
	}
	if at = rev; at == 0 {
		at = resp.Header.Revision
	}
	for _, kv := range resp.Responses[1].GetResponseRange().Kvs {
		e, err := s.readEntry(ctx, kv, at)
		if err != nil {
			return nil, h, 0, err
		}
		entries = append(entries, e)
	}
	return entries, h, at, nil
}

// head is the head key.
type head struct {
	point
	mod int64
}

func (s *Store) decodeHead(kvs []*mvccpb.KeyValue) (h head, err error) {
	if len(kvs) == 0 {
		return h, s.errOtherHistory("its head is gone")
	}
	if h.point, err = decodePoint(headName, kvs[0].Value); err != nil {
		return h, s.errDamaged(err)
	}
	h.mod = kvs[0].ModRevision
	return h, nil
}

// readEntry decodes an entry, and reads its chunks when it has some.
func (s *Store) readEntry(ctx context.Context, kv *mvccpb.KeyValue, at int64) (*entry, error) {
	name := s.name(kv.Key)
	h, err := decodeHeader(name, kv.Value)
	if err != nil {
		return nil, s.errDamaged(err)
	}
	h.at = kv.ModRevision
	body := h.body
	if h.staged != (id{}) {
		if body, err = s.readStage(ctx, &h.st, at); err != nil {
			return nil, err
		}
	}
	e, err := h.finish(body)
	if err != nil {
		return nil, s.errDamaged(err)
	}
	return e, nil
}

// errStageGone says that the chunks of an entry are gone: so is the entry by now.
var errStageGone = errors.New("the chunks of a large batch are gone")

func (s *Store) readStage(ctx context.Context, st *stage, at int64) ([]byte, error) {
	body := make([]byte, 0, st.size)
	from, end := s.below(fmt.Sprintf("%s%x/", stageDir, st.id[:]))
	err := s.scan(ctx, from, end, at, false, func(_ string, kv *mvccpb.KeyValue) error {
		body = append(body, kv.Value...)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(body) == 0:
		return nil, errStageGone
	case len(body) != st.size || crc32.Checksum(body, castagnoli) != st.sum:
		return nil, s.errDamaged(fmt.Errorf("the chunks of stage %x are damaged: they have %d bytes of %d", st.id[:4], len(body), st.size))
	}
	return body, nil
}
