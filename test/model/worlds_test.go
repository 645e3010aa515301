package model

import (
	"flag"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

var (
	whole = flag.Bool("whole", false, "explore the large worlds too: hours of one core, and 8 GiB")
	most  = flag.Int("most", 400_000_000, "with -whole, how many states of one world to look at")
	only  = flag.String("world", "", "explore only worlds with this in their name")
)

// small are the worlds that are explored with every run of the tests. In the ones that
// are not lean nothing is left out; the others are worlds of the size that the proof is
// about, which would not end otherwise.
func small() []Config {
	return []Config{
		{Name: "one: two generations, a broken stream", Holders: 1, Commits: twice, Asks: 2, Hellos: 1, Breaks: 1},
		{Name: "one: a restart that forgets", Holders: 1, Commits: twice, Asks: 2, Hellos: 1, Restarts: 1},
		{Name: "one: a restart that remembers", Holders: 1, Commits: twice, Asks: 2, Hellos: 1, Restarts: 1, Remembers: true},
		{Name: "one: three generations", Holders: 1, Commits: once, Asks: 2, Hellos: 2},
		{Name: "one: renewals", Holders: 1, Commits: once, Asks: 2, Renews: 2},
		{Name: "one: a renewal, two generations", Holders: 1, Commits: once, Asks: 2, Hellos: 1, Renews: 1},
		{Name: "one: evictions", Holders: 1, Commits: twice, Asks: 3, Evicts: 2},
		{Name: "one: an eviction, two generations", Holders: 1, Commits: once, Asks: 2, Hellos: 1, Evicts: 1},
		{Name: "one: acks, renewals and notices overtake each other", Loose: true, Holders: 1, Commits: twice, Asks: 2, Renews: 1, Evicts: 1},
		{Name: "one: leaving", Holders: 1, Commits: twice, Asks: 2, Hellos: 1, Leaves: 1},
		{Name: "one: heartbeats", Holders: 1, Commits: twice, Asks: 2, Hellos: 1, Beats: 1},
		{Name: "one: the view ahead of the dispatch", Holders: 1, Commits: twice, Asks: 2, Hellos: 1, Ahead: true},
		{Name: "one: a slow writer and a full queue", Holders: 1, Commits: twice, Asks: 2, Renews: 1, Queue: 2},
		{Name: "one: two questions, two keys", Holders: 1, Questions: questions, Commits: both, Asks: 2, Hellos: 1, Evicts: 1},
		{Name: "two: three questions", Holders: 2, Commits: twice, Asks: 3},
		{Name: "two: two generations each", Holders: 2, Commits: once, Asks: 1, Hellos: 1},
		{Name: "two: a restart", Holders: 2, Commits: once, Asks: 2, Restarts: 1},
		{Name: "two, lean: two generations each, two revisions", Lean: true, Holders: 2, Commits: twice, Asks: 2, Hellos: 1},
		{Name: "two, lean: and a restart", Lean: true, Holders: 2, Commits: twice, Asks: 2, Hellos: 1, Restarts: 1, Remembers: true},
		{Name: "two, lean: and an eviction", Lean: true, Holders: 2, Commits: twice, Asks: 2, Hellos: 1, Evicts: 1},
		{Name: "two, lean: and a broken stream", Lean: true, Holders: 2, Commits: twice, Asks: 2, Hellos: 1, Breaks: 1},
	}
}

// large are those explored on request. The first is the one that the proof is about, and
// then that with one thing more each.
func large() []Config {
	base := Config{Lean: true, Holders: 2, Commits: twice, Asks: 3, Hellos: 1}
	with := func(name string, change func(*Config)) Config {
		c := base
		c.Name = "two, lean, three questions: " + name
		change(&c)
		return c
	}
	return []Config{
		with("two generations each, two revisions", func(*Config) {}),
		with("and a restart that forgets", func(c *Config) { c.Restarts = 1 }),
		with("and a restart that remembers", func(c *Config) { c.Restarts, c.Remembers = 1, true }),
		with("and a broken stream", func(c *Config) { c.Breaks = 1 }),
		with("and a heartbeat", func(c *Config) { c.Beats = 1 }),
		with("and the view ahead", func(c *Config) { c.Ahead = true }),
		with("and an eviction", func(c *Config) { c.Evicts = 1 }),
		with("and one leaves", func(c *Config) { c.Leaves = 1 }),
		with("and two keys", func(c *Config) { c.Questions, c.Commits = questions, both }),
		with("and messages to the PDP overtake each other", func(c *Config) { c.Loose, c.Evicts = true, 1 }),
		with("and a renewal", func(c *Config) { c.Renews = 1 }),
		{Name: "one: three questions, two generations", Holders: 1, Commits: twice, Asks: 3, Hellos: 1},
		{Name: "one: a renewal, two generations, two revisions", Holders: 1, Commits: twice, Asks: 2, Hellos: 1, Renews: 1},
		{Name: "one, lean: everything once", Lean: true, Holders: 1, Commits: twice, Asks: 3, Hellos: 2, Renews: 1, Breaks: 1, Restarts: 1, Remembers: true, Evicts: 1, Leaves: 1},
		{Name: "two: two questions, two generations each", Holders: 2, Commits: once, Asks: 2, Hellos: 1},
		{Name: "two: two generations each, two revisions", Holders: 2, Commits: twice, Asks: 1, Hellos: 1},
		with("everything once", func(c *Config) {
			c.Restarts, c.Remembers, c.Breaks, c.Renews, c.Evicts, c.Leaves = 1, true, 1, 1, 1, 1
		}),
		{Name: "two: three questions, two generations each, two revisions", Holders: 2, Commits: twice, Asks: 3, Hellos: 1},
	}
}

func exploreAll(t *testing.T, worlds []Config, most int) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // next to nothing lives long
	for _, c := range worlds {
		if *only != "" && !strings.Contains(c.Name, *only) {
			continue
		}
		if c.Questions == nil {
			c.Questions = question
		}
		start := time.Now()
		print := func(r Result, how string) {
			fmt.Printf("%-66s %10d states %11d steps, %2d deep, %s, %.1fs\n", c.Name, r.States, r.Steps, r.Depth, how, time.Since(start).Seconds())
		}
		r := Explore(&c, most, func(r Result) {
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
		}
	}
}

// TestSmallWorlds explores the small worlds, and completes each.
func TestSmallWorlds(t *testing.T) { exploreAll(t, small(), 2_000_000) }

// TestWhole explores the large ones. It says of each whether it was completed.
func TestWhole(t *testing.T) {
	if !*whole {
		return // TestSmallWorlds is the part of it that runs always
	}
	exploreAll(t, large(), *most)
}
