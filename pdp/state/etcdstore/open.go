package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Open opens the store below a prefix, or makes it. It waits for the cluster until ctx ends and
// logs what it waits for. An error is a *authz.Error; its text says what to do.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, log: opts.Logger, mods: make(map[state.Key]authz.Revision),
		queue: make(chan *request, 1024), foldNow: make(chan struct{}, 1), endWatch: func() {},
		closed: make(chan struct{}), idle: make(chan struct{}), failed: make(chan struct{}),
	}
	s.low = make([]atomic.Bool, len(opts.Endpoints))
	if err := s.connect(ctx); err != nil {
		if s.client != nil {
			s.client.Close()
		}
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.commitLoop()
	return s, nil
}

// connect waits for the cluster and finds or makes the head.
func (s *Store) connect(ctx context.Context) error {
	began, told := time.Now(), time.Time{}
	for {
		err := s.find(ctx)
		if errors.Is(err, errMade) {
			continue
		}
		var known *authz.Error
		if err == nil || errors.As(err, &known) {
			return err
		}
		if locked(err) {
			return s.errLocked(err)
		}
		if now := time.Now(); now.Sub(told) > 5*time.Second {
			told = now
			s.log.Warn("waiting for etcd", "endpoints", strings.Join(s.opts.Endpoints, ", "), "prefix", s.opts.Prefix,
				"waited", now.Sub(began).Round(time.Millisecond).String(), "error", err)
		}
		if s.client == nil && !pause(ctx, retryPause) || s.client != nil && !s.again(ctx) {
			return s.errUnreachable(errors.Join(context.Cause(ctx), err))
		}
	}
}

// errMade says that there is a new store, to be looked at: another may have been faster.
var errMade = errors.New("a new store was made")

// find asks once.
func (s *Store) find(ctx context.Context) error {
	if s.client == nil {
		client, err := s.opts.dial()
		if err != nil {
			return err
		}
		s.client = client
	}
	ctx, cancel := s.try(ctx)
	defer cancel()
	all, end := s.below("")
	resp, err := s.client.Txn(ctx).Then(
		clientv3.OpGet(s.key(headName)), clientv3.OpGet(s.key(clusterName)), clientv3.OpGet(all, end, clientv3.WithLimit(1), clientv3.WithKeysOnly()),
		clientv3.OpGet(s.key(importName), clientv3.WithKeysOnly()),
	).Commit()
	if err != nil {
		return err
	}
	s.cluster = resp.Header.ClusterId
	head, cluster := resp.Responses[0].GetResponseRange().Kvs, resp.Responses[1].GetResponseRange().Kvs
	if len(head) == 0 {
		if len(resp.Responses[3].GetResponseRange().Kvs) > 0 {
			return state.ErrImportUnfinished(s.opts.Prefix + " in etcd")
		}
		if some := resp.Responses[2].GetResponseRange().Kvs; len(some) > 0 {
			return s.errDamaged(fmt.Errorf("it has the key %q and no head", some[0].Key))
		}
		if s.opts.Look {
			return authz.Errorf(authz.KindNotFound, "NO_STORE", "there is no store below %s in etcd at %s", s.opts.Prefix, strings.Join(s.opts.Endpoints, ", "))
		}
		if s.opts.Seen != (state.Mark{}) {
			return s.errOtherHistory("it is empty, and it had come to %v", s.opts.Seen)
		}
		if err := s.create(ctx); err != nil {
			return err
		}
		return errMade
	}
	if len(cluster) == 0 {
		return s.errDamaged(errors.New("the key that names its cluster is missing"))
	}
	if err := s.checkCluster(cluster[0].Value); err != nil {
		return err
	}
	p, err := decodePoint(headName, head[0].Value)
	if err != nil {
		return s.errDamaged(err)
	}
	s.now, s.seen, s.headMod = p, p, head[0].ModRevision
	return s.checkSeen(ctx)
}

// create makes the first head, unless somebody else does.
func (s *Store) create(ctx context.Context) error {
	var p point
	p.mark.Epoch.Counter = 1
	rand.Read(p.mark.Epoch.ID[:])
	_, err := s.client.Txn(ctx).If(s.noHead(), clientv3.Compare(clientv3.CreateRevision(s.key(importName)), "=", 0)).Then(
		clientv3.OpPut(s.key(headName), encodePoint(headName, p)),
		clientv3.OpPut(s.key(markerName), encodePoint(markerName, p)),
		clientv3.OpPut(s.key(clusterName), string(s.clusterValue())),
	).Commit()
	return err
}

func (s *Store) clusterValue() []byte {
	return seal(clusterName, fmt.Appendf([]byte{format}, "%016x", s.cluster))
}

// checkCluster refuses the store of another cluster (R13).
func (s *Store) checkCluster(value []byte) error {
	b, err := unseal(clusterName, value)
	if err != nil {
		return s.errDamaged(err)
	}
	if have := fmt.Sprintf("%016x", s.cluster); string(b) != have {
		return s.errOtherHistory("it was made in cluster %s, and this is cluster %s", b, have)
	}
	return nil
}

// checkSeen compares the history with the mark that the caller knows.
func (s *Store) checkSeen(ctx context.Context) error {
	seen, head := s.opts.Seen, s.now.mark
	switch {
	case seen == (state.Mark{}):
		return nil
	case seen.Epoch.Counter > head.Epoch.Counter, seen.Epoch.Counter == head.Epoch.Counter && seen.Epoch.ID != head.Epoch.ID:
		return s.errOtherHistory("it is of epoch %d (%x), and the PDP has seen %d (%x)", head.Epoch.Counter, head.Epoch.ID[:4], seen.Epoch.Counter, seen.Epoch.ID[:4])
	case seen.Epoch != head.Epoch:
		return nil // A later epoch: a restore that was meant.
	case seen.Revision > head.Revision, seen.Revision == head.Revision && seen.Chain != head.Chain:
		return s.errOtherHistory("it is at %v, and had come to %v", head, seen)
	case seen.Revision == head.Revision:
		return nil
	}
	spans, err := s.readSpans(ctx)
	if err != nil {
		return err
	}
	i := find(spans, seen.Revision)
	if i < 0 {
		return nil // No longer in the log: the chain there cannot be told.
	}
	entries, _, _, err := s.readLog(ctx, spans[i].txn, 1, 0)
	if err != nil || len(entries) == 0 {
		return err
	}
	if chain, ok := entries[0].chainAt(seen.Revision); ok && chain != seen.Chain {
		return s.errOtherHistory("at revision %d its chain is %x, and was %x", seen.Revision, chain[:4], seen.Chain[:4])
	}
	return nil
}
