package sim

import (
	"cmp"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

var (
	flagSeed  = flag.Uint64("seed", 0, "run this seed alone, and print its trace")
	flagSeeds = flag.Int("seeds", 2000, "how many seeds TestSeeds runs")
	flagFirst = flag.Uint64("first", 1, "the first of them")
)

// TestMain lets one goroutine run at a time. What happens in one instant then happens in
// the order in which it was made ready, which is what makes a seed repeat itself.
func TestMain(m *testing.M) {
	flag.Parse()
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(200)
	os.Exit(m.Run())
}

// TestSeeds runs whole systems under random troubles and wants every promise kept.
func TestSeeds(t *testing.T) {
	if *flagSeed != 0 {
		r := simulate(t, options{seed: *flagSeed, tracing: true})
		for _, e := range r.trace {
			t.Log(e)
		}
		report(t, r)
		return
	}
	n := *flagSeeds
	if testing.Short() {
		n = min(n, 200)
	}
	began := time.Now()
	var checks, hits, allows, receipts int
	var virtual time.Duration
	for i := range n {
		r := simulate(t, options{seed: *flagFirst + uint64(i)})
		checks, hits, allows, receipts = checks+r.oracle.checks, hits+r.oracle.hits, allows+r.oracle.allows, receipts+r.oracle.receipts
		virtual += r.virtual
		report(t, r)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d seeds in %v: %v of virtual time, %d answers (%d cached, %d allowed), %d effective receipts",
		n, time.Since(began).Round(time.Millisecond), virtual.Round(time.Second), checks, hits, allows, receipts)
}

// report fails the test for a violation, with the story that led to it.
func report(t *testing.T, r result) {
	t.Helper()
	if len(r.violations) == 0 {
		return
	}
	v := r.violations[0]
	if !r.tracing {
		again := simulate(t, options{seed: r.seed, bug: r.bug, tracing: true})
		if len(again.violations) == 0 {
			t.Errorf("seed %d: %s: %s\nand not when it was run again", r.seed, v.rule, v.text)
			return
		}
		r, v = again, again.violations[0]
	}
	t.Errorf("seed %d: %s: %s\nplan %+v\nthe last lines that have to do with it:\n%s\nrun again with: go test ./test/sim -run TestSeeds -seed=%d -v",
		r.seed, v.rule, v.text, r.plan, r.story(v, 60), r.seed)
}

// TestSeedsRepeat runs seeds twice and wants the same trace, line by line.
func TestSeedsRepeat(t *testing.T) {
	if racing {
		t.Skip("the race detector makes the order within an instant random on purpose")
	}
	for seed := uint64(1); seed <= 12; seed++ {
		first := simulate(t, options{seed: seed, tracing: true})
		second := simulate(t, options{seed: seed, tracing: true})
		first.settle()
		second.settle()
		for i := range max(len(first.trace), len(second.trace)) {
			if i >= len(first.trace) || i >= len(second.trace) || first.trace[i] != second.trace[i] {
				t.Errorf("seed %d differs at line %d:\n%s\n---\n%s", seed, i, around(first.trace, i), around(second.trace, i))
				break
			}
		}
	}
}

// settle gives lines of one instant one order: context ends its children in the order of a
// map.
func (s *sim) settle() {
	slices.SortStableFunc(s.trace, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.who, b.who), cmp.Compare(a.text, b.text))
	})
}

func around(trace []event, i int) (out string) {
	for _, e := range trace[max(0, min(i-6, len(trace))):min(i+3, len(trace))] {
		out += e.String() + "\n"
	}
	return out
}

// TestLapseUndone runs a story that random troubles nearly never tell.
func TestLapseUndone(t *testing.T) {
	r := simulate(t, options{seed: 1, change: calm, script: lapseUndone, tracing: true})
	if len(r.violations) > 0 {
		v := r.violations[0]
		t.Errorf("%s: %s\n%s", v.rule, v.text, r.story(v, 40))
	}
}
