package badgerstore_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

var (
	loadSize = flag.Int("load-size", 50_000, "users, projects and jobs, each, of BenchmarkAttach; a tenth as many groups; 1000000 is world X")
	loadDir  = flag.String("load-dir", "", "folder where BenchmarkAttach leaves its world, to be used again")
)

// loadWorld commits a world of that size, in batches of the largest number of records.
func loadWorld(b *testing.B, s state.Store, size int) (records int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var batch state.Batch
	flush := func() {
		if _, err := s.Commit(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		records += len(batch.Puts)
		batch = state.Batch{Stamp: 1_800_000_000_000_000_000, Verb: "sync"}
	}
	put := func(rec state.Record) {
		if batch.Puts = append(batch.Puts, rec); len(batch.Puts) == state.MaxBatchRecords {
			flush()
		}
	}
	groups := int64(size/10 + 1)
	for i := int64(1); i <= groups; i++ {
		put(&state.Group{ID: authz.GroupID(i), Parent: authz.GroupID(i / 4), Name: fmt.Sprint("group-", i)})
	}
	for i := range int64(size) {
		id := i + 1
		put(&state.User{ID: authz.UserID(id), Name: fmt.Sprint("user-", id)})
		put(&state.Project{ID: authz.ProjectID(id), Group: authz.GroupID(1 + rnd.Int64N(groups)), Name: fmt.Sprint("project-", id)})
		m := &state.Members{User: authz.UserID(id)}
		for range 10 {
			m.List = append(m.List, state.Membership{Scope: authz.InGroup(authz.GroupID(1 + rnd.Int64N(groups))), Role: authz.RoleDeveloper})
		}
		put(m)
		j := &state.Job{
			ID: authz.JobID(fmt.Sprint("job-", id)), Project: authz.ProjectID(1 + rnd.Int64N(int64(size))), User: authz.UserID(1 + rnd.Int64N(int64(size))),
			Pipeline: id, Ref: "refs/heads/main", Runner: fmt.Sprint("runner-", id%100), Term: time.Minute, Issued: state.ThisRevision,
			IssuedAt: 1_800_000_000_000_000_000, Expires: 1_800_003_600_000_000_000,
		}
		binary.LittleEndian.PutUint64(j.Digest[:], rnd.Uint64())
		put(j)
		if i%20 == 0 {
			a := state.DefaultAllowlist(authz.ProjectID(id))
			for range 5 {
				e := state.Entry{Caller: authz.InProject(authz.ProjectID(1 + rnd.Int64N(int64(size))))}
				e.Default = true
				a.Inbound = append(a.Inbound, e)
			}
			put(a)
		}
	}
	flush()
	return records
}

// BenchmarkAttach opens a world and loads it, into a sink that takes nothing and into the
// view.
func BenchmarkAttach(b *testing.B) {
	dir := *loadDir
	if dir == "" {
		dir = b.TempDir()
	}
	if _, err := os.Stat(dir + "/MARK"); err != nil {
		s := open(b, badgerstore.Options{Dir: dir})
		if err := s.Attach(context.Background(), new(discard)); err != nil {
			b.Fatal(err)
		}
		loadWorld(b, s, *loadSize)
		s.Close()
	}
	for _, kind := range []string{"nothing", "view"} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				start := time.Now()
				s := open(b, badgerstore.Options{Dir: dir})
				opened := time.Since(start)
				sink := new(discard)
				var err error
				if kind == "view" {
					err = s.Attach(context.Background(), state.NewView())
				} else {
					err = s.Attach(context.Background(), sink)
				}
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(opened.Seconds(), "s-open")
				b.ReportMetric(time.Since(start).Seconds(), "s-loaded")
				b.ReportMetric(peakMiB(), "MiB-peak")
				if sink.loaded > 0 {
					b.ReportMetric(float64(sink.loaded), "records")
				}
				s.Close()
			}
		})
	}
}

// peakMiB is the most memory that this process ever had.
func peakMiB() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	fmt.Sscan(after, &kib)
	return kib / 1024
}
