package bench

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/test/etcd"
)

// Commits on a cluster of three real members, synced, beside etcd's own puts of the same bytes by
// as many callers in the same run. Targets: 256 callers reach at least 0.7 of the rate of puts;
// one caller takes at most 1.5 times one put.
func BenchmarkEtcdCommit(b *testing.B) {
	b.Cleanup(etcd.Clean)
	cluster := etcd.Start(b, etcd.Options{})
	for _, callers := range []int{1, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			ctx := context.Background()
			s, err := etcdstore.Open(ctx, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: fmt.Sprintf("/bench/%d", callers)})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if err := s.Attach(ctx, state.NewView()); err != nil {
				b.Fatal(err)
			}
			client, err := clientv3.New(clientv3.Config{Endpoints: cluster.Endpoints, Logger: zap.NewNop()})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			job := func(i int64) *state.Job {
				return &state.Job{ID: authz.JobID(fmt.Sprint("job-", i)), Ref: "refs/heads/main", Issued: state.ThisRevision}
			}
			value := strings.Repeat("x", len(state.AppendRecord(nil, job(1_000_000)))+100)
			var n atomic.Int64
			var put, commit, ratio []float64
			for round := range 4 {
				c := rate(b, callers, time.Second, &n, func(i int64) error {
					j := job(i)
					_, err := s.Commit(ctx, state.Batch{
						Guards: []state.Guard{{Key: j.Key()}}, Puts: []state.Record{j}, Actor: "bench", Verb: "issue",
						Events: []state.Event{{Stamp: authz.Stamp(i), Data: []byte(value[:100])}},
					})
					return err
				})
				p := rate(b, callers, time.Second, &n, func(i int64) error {
					_, err := client.Put(ctx, fmt.Sprint("/puts/", i), value)
					return err
				})
				if round > 0 {
					put, commit, ratio = append(put, p), append(commit, c), append(ratio, c/p)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(put), "put/s")
			b.ReportMetric(middle(commit), "commit/s")
			b.ReportMetric(middle(ratio), "commit×put")
		})
	}
}
