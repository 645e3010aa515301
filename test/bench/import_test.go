package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/test/etcd"
	"github.com/jobward/jobward/test/worlds"
)

// A world, imported into a cluster of three real members as pdp migrate does: what etcd's database and
// its members take for it, how long the import takes, and how long a replica takes to load it. It
// is what deploy/etcd.md says of sizes. With -x also a tenth of world X.
func BenchmarkEtcdImport(b *testing.B) {
	b.Cleanup(etcd.Clean)
	w := worlds.W()
	b.Run("W", func(b *testing.B) { importWorld(b, w, 0) })
	b.Run("W+events", func(b *testing.B) { importWorld(b, w, 200_000) })
	if *large {
		x := worlds.X()
		x.Groups, x.Projects, x.Users, x.Memberships, x.Entries = x.Groups/10, x.Projects/10, x.Users/10, x.Memberships/10, x.Entries/10
		x.Jobs, x.Runners = x.Jobs/10, x.Runners/10
		b.Run("X/10", func(b *testing.B) { importWorld(b, x, 0) })
	}
}

func importWorld(b *testing.B, w worlds.World, events int) {
	ctx := context.Background()
	cluster := etcd.Start(b, etcd.Options{Args: []string{"-quota", fmt.Sprint(int64(8) << 30)}})
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/bench"}
	began := time.Now()
	im, err := etcdstore.OpenImport(ctx, opts)
	if err != nil {
		b.Fatal(err)
	}
	defer im.Close()
	records, own := 0, 0
	var buf []byte
	w.Records(func(rec state.Record) {
		buf = state.AppendRecord(buf[:0], rec)
		if err := im.Record(ctx, rec.Key(), worlds.Revision, buf); err != nil {
			b.Fatal(err)
		}
		records, own = records+1, own+len(rec.Key())+len(buf)
	})
	data := []byte(strings.Repeat("e", 150))
	for i := range events { // ten in a second, newest first
		at := worlds.Now - authz.Stamp(i)*1e8
		if err := im.Event(ctx, state.EventID{Stamp: at, Seq: uint64(events - i)}, state.Event{Stamp: at, Data: data}); err != nil {
			b.Fatal(err)
		}
	}
	mark := state.Mark{Epoch: state.Epoch{Counter: 2}, Revision: worlds.Revision}
	if err := im.Finish(ctx, state.Beginning{Mark: mark, Stamp: worlds.Now, Seq: uint64(events)}); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	client, err := clientv3.New(clientv3.Config{Endpoints: cluster.Endpoints, Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	st, err := client.Status(ctx, cluster.Endpoints[0])
	if err != nil {
		b.Fatal(err)
	}
	before := heapBytes()
	began = time.Now()
	s, err := etcdstore.Open(ctx, opts)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	view := state.NewView()
	if err := s.Attach(ctx, view); err != nil {
		b.Fatal(err)
	}
	loaded := time.Since(began)
	b.ReportMetric(float64(records), "records")
	b.ReportMetric(float64(own)/float64(records), "own-B/record")
	b.ReportMetric(float64(st.DbSize)/(1<<20), "db-MiB")
	b.ReportMetric(float64(st.DbSize-int64(own))/float64(records+events), "over-B/entry")
	b.ReportMetric(took.Seconds(), "import-s")
	b.ReportMetric(loaded.Seconds(), "attach-s")
	b.ReportMetric(memberMiB(), "member-MiB")
	b.ReportMetric(float64(heapBytes()-before)/(1<<20), "replica-heap-MiB")
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(view)
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// memberMiB gives the most memory that one of our child processes has resident.
func memberMiB() (most float64) {
	files, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		if !strings.Contains(string(text), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			continue
		}
		if _, rest, ok := strings.Cut(string(text), "\nVmRSS:"); ok {
			var kib float64
			fmt.Sscan(rest, &kib)
			most = max(most, kib/1024)
		}
	}
	return most
}
