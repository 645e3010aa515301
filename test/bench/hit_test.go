package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/pep/peptest"
)

// BenchmarkHit is an answer from the cache of package pep, in process, through its public API: 100,000 answers of a PDP (1,000 tokens, 100 questions
// each), asked for all over or one alone, by one goroutine and by two. Beside it what it cannot do without: a read of the clock, a map's get of as many
// keys, and an empty call that looks at the question. The requests lie in memory in the order in which they are asked. Target: at most 150 ns
// and no allocations; cpu-ns/op leaves out what others take on the machine.
func BenchmarkHit(b *testing.B) {
	reqs, d := hundredThousand(b)
	type key struct {
		token  authz.Digest
		target authz.ProjectID
		perm   authz.Permission
	}
	keys := map[key]int{}
	for i, q := range reqs {
		keys[key{q.Token, q.Target.ID, q.Permission}] = i
	}
	source, ctx := clock.New(), context.Background()
	for _, c := range []struct {
		name string
		do   func(q *authz.Request) bool
	}{
		{"empty", look},
		{"clock", func(*authz.Request) bool { return source.Now() > 0 }},
		{"map", func(q *authz.Request) bool { _, ok := keys[key{q.Token, q.Target.ID, q.Permission}]; return ok }},
		{"hit", func(q *authz.Request) bool { out, err := d.Check(ctx, *q); return err == nil && out.Cached }},
		{"look", func(q *authz.Request) bool {
			var least pep.Least
			var out authz.Decision
			return d.Look(q, &least, &out)
		}},
	} {
		for _, set := range []struct {
			name string
			reqs []authz.Request
		}{{"uniform", reqs}, {"hot", reqs[:1]}} {
			for goroutines := 1; goroutines <= 2; goroutines++ {
				b.Run(fmt.Sprintf("%s/%s/%d", c.name, set.name, goroutines), func(b *testing.B) { askAll(b, goroutines, set.reqs, c.do) })
			}
		}
	}
}

// askAll shares b.N calls among goroutines, which begin at different places.
func askAll(b *testing.B, goroutines int, reqs []authz.Request, do func(*authz.Request) bool) {
	b.ReportAllocs()
	before := cpuTime(b)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			at := g * len(reqs) / goroutines
			for range b.N / goroutines {
				if !do(&reqs[at]) {
					b.Error("not from the cache")
					return
				}
				if at++; at == len(reqs) {
					at = 0
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

//go:noinline
func look(q *authz.Request) bool { return q.Token[0] != q.Token[1] || q.Permission != "" }

// hundredThousand fills a cache, and gives the questions in a random order.
func hundredThousand(b *testing.B) ([]authz.Request, *pep.Decider) {
	b.Helper()
	const tokens, projects = 1000, 10
	p := peptest.Start(b)
	for i := range authz.ProjectID(projects - 4) {
		p.AddProject(20+i, fmt.Sprint("more-", i))
	}
	cfg := p.Config()
	cfg.Clock, cfg.MaxEntries, cfg.MaxBytes = clock.New(), 200_000, 1<<30
	d, err := pep.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.WaitReady(ctx); err != nil {
		b.Fatal(err)
	}
	names := []authz.Permission{"read_packages", "create_package", "read_project", "read_repository", "push_code", "read_job_artifacts", "read_jobs", "read_releases",
		"read_deployments", "read_environments"}
	var all []authz.Request
	for i := range tokens {
		digest := d.Digest(p.Issue(fmt.Sprint("job-", i), peptest.App, peptest.Dev))
		for t := range authz.ProjectID(projects) {
			target := peptest.App + t
			if t >= 4 {
				target = 20 + t - 4
			}
			for _, name := range names {
				all = append(all, authz.Request{Token: digest, Target: authz.Target{ID: target}, Permission: name})
			}
		}
		if _, err := d.CheckMany(ctx, all[len(all)-100:]); err != nil {
			b.Fatal(err)
		}
	}
	if c := d.Counters(); c.Entries != int64(len(all)) {
		b.Fatalf("%d answers are held of %d: %+v", c.Entries, len(all), c)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all, d
}
