package etcdstore

import (
	"context"
	"fmt"
	"time"
)

// spaceEvery is the time between two questions for the size of etcd's database.
const spaceEvery = 5 * time.Second

// reserveShare is the share of the quota that is left to urgent batches: a tenth.
const reserveShare = 10

// spaceLoop watches how much of its quota etcd uses. When that is used up etcd refuses whatever
// is written, so batches that are not urgent are refused before.
func (s *Store) spaceLoop() {
	for {
		s.askSpace()
		if !pause(s.ctx, spaceEvery) {
			return
		}
	}
}

// askSpace asks each member: the quota of any of them ends all writes. One that does not answer
// says nothing, and what was known stays.
func (s *Store) askSpace() {
	var size, quota int64
	for i, endpoint := range s.client.Endpoints() {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.Timeout)
		st, err := s.client.Status(ctx, endpoint)
		cancel()
		if err != nil || st.DbSizeQuota <= 0 {
			continue
		}
		if quota == 0 || float64(st.DbSize)/float64(st.DbSizeQuota) > float64(size)/float64(quota) {
			size, quota = st.DbSize, st.DbSizeQuota
		}
		low := st.DbSize > st.DbSizeQuota-st.DbSizeQuota/reserveShare
		if was := s.low[i].Swap(low); low && !was {
			s.log.Warn("etcd's database is nearly as large as its quota; only urgent batches are taken", "endpoint", endpoint, "size", st.DbSize, "quota", st.DbSizeQuota)
		}
	}
	if quota > 0 {
		s.stats.Size.Store(size)
		s.stats.Quota.Store(quota)
	}
}

// spaceLeft refuses what is not urgent while a member is low on space.
func (s *Store) spaceLeft(r *request) error {
	if r.batch.Urgent || len(r.batch.Keys)+len(r.batch.Events) == 0 {
		return nil
	}
	for i := range s.low {
		if s.low[i].Load() {
			return errNoSpace(fmt.Errorf("more than nine tenths of its quota are used"))
		}
	}
	return nil
}
