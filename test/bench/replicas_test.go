package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
	pdpdaemon "github.com/jobward/jobward/pdp/daemon"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/test/etcd"
)

// Several PDPs on a real etcd of three members, all on this machine, beside etcd's own puts and empty gRPC calls, of the same run and taken in turn. The
// sample world; over real sockets.

// replicaPDP starts a PDP of several.
func replicaPDP(b *testing.B, cluster *etcd.Cluster, prefix, name string) (addr string) {
	b.Helper()
	var hosts []string
	for _, e := range cluster.Endpoints {
		hosts = append(hosts, strings.TrimPrefix(e, "http://"))
	}
	cfg, err := pdpdaemon.Parse([]string{"--store=etcd://" + strings.Join(hosts, ",") + "/" + prefix, "--data-dir=" + b.TempDir(), "--replica-name=" + name,
		"--grpc-addr=127.0.0.1:0", "--admin-addr=off", "--shutdown-grace=5s"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- pdpdaemon.Run(ctx, pdpdaemon.Options{Config: cfg, Stdout: io.Discard, Stderr: io.Discard, Ready: func(a pdpdaemon.Addresses) { ready <- a.GRPC[0].String() }})
	}()
	b.Cleanup(func() {
		cancel()
		<-done
	})
	select {
	case addr = <-ready:
	case err := <-done:
		b.Fatal(err)
	}
	return addr
}

func dialAt(b *testing.B, addr string) *grpc.ClientConn {
	b.Helper()
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func puts(b *testing.B, cluster *etcd.Cluster) *clientv3.Client {
	b.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: cluster.Endpoints, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// putBytes is about what the entry of an Issue has.
var putBytes = strings.Repeat("x", 500)

// A receipt at one PDP, with holders at two others, healthy: from Revoke's call to its answer. Target: the median is at most one put and three empty calls;
// that of three PDPs is at most 1.5 times that of one.
func BenchmarkReceiptReplicas(b *testing.B) {
	b.Cleanup(etcd.Clean)
	cluster := etcd.Start(b, etcd.Options{})
	client := puts(b, cluster)
	var one float64
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprintf("pdps=%d", n), func(b *testing.B) {
			prefix := fmt.Sprint("receipts-", n)
			var addrs []string
			for i := range n {
				addrs = append(addrs, replicaPDP(b, cluster, prefix, fmt.Sprint("pdp-", i+1)))
			}
			var holders []*pep.Decider
			for i := range 2 {
				d, err := pep.New(pep.Config{Addresses: []string{addrs[min(i+1, n-1)]}, Development: true, Name: fmt.Sprint("holder-", i), ReportEvery: -1})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { d.Close(context.Background()) })
				holders = append(holders, d)
			}
			conn := dialAt(b, addrs[0])
			tokens, health := jobwardv1.NewTokenServiceClient(conn), healthpb.NewHealthClient(conn)
			var receipt, put, call []float64
			for i := range 150 {
				ctx, job := context.Background(), fmt.Sprint("job-", i)
				resp, err := tokens.Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: 11, UserId: 102})
				if err != nil {
					b.Fatal(err)
				}
				for _, d := range holders {
					holds(b, d, resp.GetToken())
				}
				call = append(call, timed(b, func() error {
					_, err := health.Check(ctx, &healthpb.HealthCheckRequest{})
					return err
				}))
				receipt = append(receipt, timed(b, func() error {
					resp, err := tokens.Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{job}})
					if r := resp.GetReceipt(); err == nil && (!r.GetEffective() || r.GetAcknowledged() != 2) {
						b.Fatalf("%v", r)
					}
					return err
				}))
				put = append(put, timed(b, func() error {
					_, err := client.Put(ctx, fmt.Sprint("/puts/", i), putBytes)
					return err
				}))
			}
			r, p, c := middle(receipt), middle(put), middle(call)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(r, "receipt-µs")
			b.ReportMetric(p, "put-µs")
			b.ReportMetric(c, "call-µs")
			b.ReportMetric(r/(p+3*c), "receipt/(put+3calls)")
			if one == 0 {
				one = r / p
			} else {
				b.ReportMetric(r/p/one, "three/one")
			}
		})
	}
}

// holds asks until the answer comes from the cache.
func holds(b *testing.B, d *pep.Decider, text string) {
	b.Helper()
	for range 1000 {
		got, err := d.Check(context.Background(), authz.Request{Token: d.Digest(text), Target: authz.Target{Path: "acme/platform/api"}, Permission: "read_packages", Surface: authz.SurfaceREST})
		if err == nil && got.Cached && got.Allow {
			return
		}
		if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
	b.Fatal("the answer does not get into the cache")
}

// timed gives the time of one call in µs.
func timed(b *testing.B, do func() error) float64 {
	b.Helper()
	began := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return float64(time.Since(began).Nanoseconds()) / 1e3
}

// Durable Issue over gRPC at one PDP of three, beside etcd's puts by as many callers. Targets: 256 callers reach at least 0.7 of the rate of puts; one caller
// takes at most 1.5 times one put, that is 0.67 of its rate.
func BenchmarkIssueReplicas(b *testing.B) {
	b.Cleanup(etcd.Clean)
	cluster := etcd.Start(b, etcd.Options{})
	client := puts(b, cluster)
	var addrs []string
	for i := range 3 {
		addrs = append(addrs, replicaPDP(b, cluster, "issues", fmt.Sprint("pdp-", i+1)))
	}
	for _, callers := range []int{1, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			var conns []jobwardv1.TokenServiceClient
			for range 4 {
				conns = append(conns, jobwardv1.NewTokenServiceClient(dialAt(b, addrs[0])))
			}
			ctx := context.Background()
			var n atomic.Int64
			var put, issue, ratio []float64
			for round := range 5 {
				is := rate(b, callers, time.Second, &n, func(i int64) error {
					_, err := conns[i%4].Issue(ctx, &jobwardv1.IssueRequest{JobId: fmt.Sprintf("job-%d-%d", callers, i), ProjectId: 11, UserId: 102, ReceiptWait: jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE})
					return err
				})
				p := rate(b, callers, time.Second, &n, func(i int64) error {
					_, err := client.Put(ctx, fmt.Sprint("/issues/", i), putBytes)
					return err
				})
				if round > 0 {
					put, issue, ratio = append(put, p), append(issue, is), append(ratio, is/p)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(put), "put/s")
			b.ReportMetric(middle(issue), "issue/s")
			b.ReportMetric(middle(ratio), "issue×put")
		})
	}
}
