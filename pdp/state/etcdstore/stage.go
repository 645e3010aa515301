package etcdstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// stage is where the batches of a large entry stand, in chunks. What is in them does not
// depend on the place that the entry gets, so that a transaction that came too late does not
// have to write them again.
type stage struct {
	id   id
	size int
	sum  uint32
}

// writeStage writes the chunks. Nobody reads them until an entry names them. Writing one again
// does no harm, so that no answer is missed.
func (s *Store) writeStage(body []byte) (*stage, error) {
	st := &stage{size: len(body), sum: crc32.Checksum(body, castagnoli)}
	rand.Read(st.id[:])
	for i := 0; len(body) > 0; i++ {
		n := min(len(body), s.opts.Request-1024)
		err := s.insist(func(ctx context.Context) error {
			return s.opts.Fault.do(StepStage, func() error {
				_, err := s.client.Put(ctx, s.key(stageName(st.id, i)), string(body[:n]))
				return err
			})
		})
		if err != nil {
			return nil, err
		}
		body = body[n:]
	}
	return st, nil
}

// insist tries for as long as a batch may wait. What it does must do no harm twice.
func (s *Store) insist(fn func(ctx context.Context) error) error {
	for began := time.Now(); ; {
		ctx, cancel := s.try(s.ctx)
		err := fn(ctx)
		cancel()
		if err == nil || classify(err) != unknown || time.Since(began) > s.opts.Patience || s.closing() {
			return err
		}
		s.again(s.ctx)
	}
}

// staleAfter is how long a stage stands that no entry names before it is removed. Removing one
// that is still wanted does no harm: its batch is staged again.
const staleAfter = 10 * time.Minute

// cleanStages removes what was staged and then given up. since remembers when each stage was
// first seen without an entry, on this process's clock. A stage is condemned before the log is
// read for the last time: from then on no transaction can name it.
func (s *Store) cleanStages(ctx context.Context, since map[string]time.Time, now time.Time) error {
	stages, err := s.idleStages(ctx)
	if err != nil {
		return err
	}
	for of := range since {
		if !stages[of] {
			delete(since, of)
		}
	}
	condemned := false
	for of := range stages {
		if _, ok := since[of]; !ok {
			since[of] = now
		}
		if now.Sub(since[of]) < staleAfter {
			delete(stages, of)
			continue
		}
		condemned = true
		if err := s.write(ctx, clientv3.OpPut(s.key(condemnedDir+of), "")); err != nil {
			return err
		}
	}
	if !condemned {
		return nil
	}
	idle, err := s.idleStages(ctx)
	if err != nil {
		return err
	}
	for of := range stages {
		ops := []clientv3.Op{clientv3.OpDelete(s.key(condemnedDir + of))}
		if idle[of] {
			from, end := s.below(stageDir + of + "/")
			ops = append(ops, clientv3.OpDelete(from, end))
		}
		if err := s.write(ctx, ops...); err != nil {
			return err
		}
		delete(since, of)
	}
	return nil
}

// write does a transaction that compares nothing.
func (s *Store) write(ctx context.Context, ops ...clientv3.Op) error {
	ctx, cancel := s.try(ctx)
	defer cancel()
	_, err := s.client.Txn(ctx).Then(ops...).Commit()
	return err
}

// idleStages gives the stages that no entry names. The log is read last: what is named in
// between is not idle.
func (s *Store) idleStages(ctx context.Context) (map[string]bool, error) {
	stages := make(map[string]bool)
	from, end := s.below(stageDir)
	err := s.scan(ctx, from, end, 0, true, func(name string, _ *mvccpb.KeyValue) error {
		of, _, _ := strings.Cut(strings.TrimPrefix(name, stageDir), "/")
		stages[of] = true
		return nil
	})
	if err != nil || len(stages) == 0 {
		return stages, err
	}
	from, end = s.below(logDir)
	err = s.scan(ctx, from, end, 0, false, func(name string, kv *mvccpb.KeyValue) error {
		h, err := decodeHeader(name, kv.Value)
		if h.staged != (id{}) {
			delete(stages, fmt.Sprintf("%x", h.staged[:]))
		}
		return err
	})
	return stages, err
}

// stageStands compares, in a transaction, that a stage is there and not condemned.
func (s *Store) stageStands(st *stage) []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(s.key(stageName(st.id, 0))), ">", 0),
		clientv3.Compare(clientv3.CreateRevision(s.key(fmt.Sprintf("%s%x", condemnedDir, st.id[:]))), "=", 0),
	}
}
