package model

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
)

// clusterFaults are the bugs of several replicas, each in the smallest world that shows it.
var clusterFaults = []struct {
	name  string
	world ClusterConfig
}{
	{"Unreachable", ClusterConfig{Fault: FaultUnreachable, Puts: 1}},
	{"Departed", ClusterConfig{Fault: FaultDeparted, Asks: 1, Fences: 1}},
	{"Newcomer", ClusterConfig{Fault: FaultNewcomer, Late: true, Joins: 1}},
	{"FenceOnly", ClusterConfig{Fault: FaultFenceOnly, Asks: 1, Hellos: 1, Fences: 1, Term: 3}},
	{"PeerEarly", ClusterConfig{Fault: FaultPeerEarly, Asks: 1}},
	{"AnswersOn", ClusterConfig{Fault: FaultAnswersOn, Fences: 1}},
	{"FromAnswer", ClusterConfig{Fault: FaultFromAnswer, Fences: 1, Puts: 1}},
	{"Overwrites", ClusterConfig{Fault: FaultOverwrites, Asks: 1, Crashes: 1, Joins: 1}},
	{"Behind", ClusterConfig{Fault: FaultBehind, Fences: 1, Joins: 1, Puts: 1}},
	{"JudgedBefore", ClusterConfig{Fault: FaultJudgedBefore, Fences: 1, Joins: 1, Puts: 1}},
	{"Pending", ClusterConfig{Fault: FaultPending, Timed: true, Slack: 3}},
	{"PendingOnce", ClusterConfig{Fault: FaultPendingOnce, Timed: true}},
	{"PendingApplied", ClusterConfig{Fault: FaultPendingApplied, Asks: 1, Timed: true, Brief: true}},
	{"Progress", ClusterConfig{Fault: FaultProgress, Commits: 2, Timed: true, Puts: 1}},
	{"ResumeGap", ClusterConfig{Fault: FaultResumeGap, Commits: 2, Asks: 1}},
	{"StaleRead", ClusterConfig{Fault: FaultStaleRead, Unknown: true}},
	{"NoApplied of the holder", ClusterConfig{Holder: lease.FaultNoApplied, Asks: 1}},
}

func (c *ClusterConfig) fill() {
	if c.Commits == 0 {
		c.Commits = 1
	}
	if c.Replicas == 0 {
		c.Replicas = 2
	}
	if c.Holders == 0 {
		c.Holders = 1
	}
	if c.Term == 0 {
		c.Term = 2
	}
	if c.Fence == 0 {
		c.Fence = 2
	}
}

// clusters are worlds with no rule left out that are explored with every run.
func clusters() []ClusterConfig {
	return []ClusterConfig{
		{Name: "registrations are renewed, and fenced", Commits: 1, Asks: 1, Puts: 2, Fences: 1},
		{Name: "fenced, and joined again", Commits: 1, Asks: 1, Puts: 1, Fences: 1, Joins: 1, Brief: true},
		{Name: "killed, and started again", Commits: 1, Asks: 1, Crashes: 1, Fences: 1, Joins: 1, Brief: true},
		{Name: "a clean stop, and a start", Commits: 1, Asks: 1, Stops: 1, Joins: 1},
		{Name: "a newcomer", Commits: 1, Late: true, Joins: 1, Asks: 1, Hellos: 1},
		{Name: "the holder moves", Commits: 1, Asks: 1, Hellos: 1, Fences: 1, Brief: true},
		{Name: "the holder renews its lease", Commits: 1, Asks: 1, Renews: 1, Fences: 1, Brief: true},
		{Name: "two holders", Holders: 2, Commits: 1, Asks: 1, Fences: 1, Brief: true},
		{Name: "both replicas revoke", Any: true, Commits: 2, Asks: 1, Fences: 1, Brief: true},
		{Name: "the bound", Commits: 1, Asks: 1, Puts: 2, Timed: true},
		{Name: "the bound, two revisions", Commits: 2, Asks: 1, Puts: 1, Timed: true, Brief: true},
		{Name: "the bound, and a crash", Commits: 1, Asks: 1, Puts: 1, Crashes: 1, Joins: 1, Timed: true, Brief: true},
		{Name: "unknown tokens", Commits: 1, Unknown: true},
		{Name: "tested before it is judged", Commits: 1, Asks: 1, Puts: 1, Fences: 1, Joins: 1, TestFirst: true, Brief: true},
		{Name: "nobody is fenced", Commits: 1, Asks: 1, Puts: 2, WaitsOut: true},
		{Name: "nobody is fenced: the bound", Commits: 1, Asks: 1, Puts: 2, Timed: true, WaitsOut: true},
		{Name: "nobody is fenced: two revisions, of both, in time", Any: true, Commits: 2, Asks: 1, Timed: true, WaitsOut: true, Brief: true},
	}
}

// largeClusters are those explored on request.
func largeClusters() []ClusterConfig {
	return []ClusterConfig{
		{Name: "two revisions, and two questions", Commits: 2, Asks: 2, Puts: 1, Fences: 1, Brief: true},
		{Name: "a clean stop, and the holder moves", Commits: 1, Asks: 1, Hellos: 1, Stops: 1, Joins: 1, Puts: 1, Brief: true},
		{Name: "nobody is fenced: a crash, and the holder moves", Commits: 1, Asks: 1, Hellos: 1, Puts: 1, Joins: 1, Crashes: 1, WaitsOut: true, Brief: true},
		{Name: "nobody is fenced: two revisions, of both, and the holder moves", Any: true, Commits: 2, Asks: 1, Hellos: 1, Puts: 1, WaitsOut: true, Brief: true},
		{Name: "nobody is fenced: the holder renews, and moves", Commits: 1, Asks: 1, Hellos: 1, Renews: 1, Puts: 1, WaitsOut: true, Brief: true},
		{Name: "two holders", Holders: 2, Commits: 1, Asks: 2, Hellos: 1, Fences: 1, Brief: true},
		{Name: "a crash, a fence, and the holder moves", Commits: 1, Asks: 1, Hellos: 1, Puts: 1, Fences: 1, Crashes: 1, Joins: 1, Brief: true},
		{Name: "two revisions, two questions, and the holder moves", Commits: 2, Asks: 2, Hellos: 1, Fences: 1, Brief: true},
		{Name: "both replicas revoke, a fence, a join, and the holder moves", Any: true, Commits: 2, Asks: 1, Hellos: 1, Fences: 1, Joins: 1, Brief: true},
	}
}

func exploreClusters(t *testing.T, worlds []ClusterConfig, most int) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, c := range worlds {
		if *only != "" && !strings.Contains(c.Name, *only) {
			continue
		}
		c.fill()
		start, d := time.Now(), &drawn{}
		print := func(r Result, how string) {
			fmt.Printf("%-66s %10d states %11d steps, %2d deep, %s, %.1fs\n", c.Name, r.States, r.Steps, r.Depth, how, time.Since(start).Seconds())
		}
		r := explore(beginCluster(&c, d), d, most, func(r Result) {
			if r.States%5_000_000 == 0 {
				print(r, "going on")
			}
		})
		how := "complete"
		if !r.Complete {
			how = "NOT COMPLETE"
		}
		print(r, how)
		if r.Wrong != "" {
			t.Errorf("%s: %s", c.Name, r.Wrong)
			for _, line := range r.Story {
				t.Log(line)
			}
		} else if !r.Complete && !*whole {
			t.Errorf("%s: not complete", c.Name)
		}
	}
}

// TestClusters explores worlds of two replicas, and completes each (R8, R9, R14, R16).
func TestClusters(t *testing.T) { exploreClusters(t, clusters(), 2_000_000) }

// TestWholeClusters explores the large ones. It says of each whether it was completed.
func TestWholeClusters(t *testing.T) {
	if !*whole {
		return // TestClusters is the part of it that runs always
	}
	exploreClusters(t, largeClusters(), *most)
}

// TestClusterFaults leaves out each rule of several replicas (R8, R9, R14, R16), and wants
// the exploration to come upon a wrong answer, or a receipt past its bound. The stories are
// the shortest ones; they are printed with -v.
func TestClusterFaults(t *testing.T) {
	shown := map[ClusterFault]bool{0: true, FaultKeepsGenerations: true}
	for _, x := range clusterFaults {
		shown[x.world.Fault] = true
		t.Run(strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) {
			c, d := x.world, &drawn{}
			c.Name = x.name
			c.fill()
			r := shortest(beginCluster(&c, d), d, 2_000_000)
			if r.Wrong == "" {
				t.Fatalf("nothing is wrong with it in %d states (complete: %v)", r.States, r.Complete)
			}
			for _, line := range r.Story {
				t.Log(line)
			}
			t.Logf("    %s (found in %d states)", r.Wrong, r.States)
		})
	}
	for f := NoClusterFault; f <= FaultStaleRead; f++ {
		if !shown[f] {
			t.Errorf("fault %d is shown by nothing", f)
		}
	}
}

// TestClusterRulesThatNeedTwo: that who was fenced cuts its generations, before it joins
// again, is kept by another rule as well, and that one is enough: it renews nothing before
// its view has reached the head that its join read, and so has told them of everything by
// then. With the rule left out the world is explored completely and has nothing wrong.
func TestClusterRulesThatNeedTwo(t *testing.T) {
	c, d := ClusterConfig{Fault: FaultKeepsGenerations, Commits: 1, Asks: 1, Renews: 1, Fences: 1, Joins: 1, Brief: true}, &drawn{}
	c.fill()
	if r := explore(beginCluster(&c, d), d, 500_000, nil); r.Wrong != "" || !r.Complete {
		t.Errorf("%d states, complete %v: %s\n%s", r.States, r.Complete, r.Wrong, strings.Join(r.Story, "\n"))
	}
}
