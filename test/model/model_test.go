package model

import (
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

func keys(ids ...int) (out []authz.Key) {
	for _, id := range ids {
		out = append(out, authz.ProjectKey(authz.ProjectID(id)))
	}
	return out
}

func TestTry(t *testing.T) {
	one := [][]authz.Key{keys(1)}
	for _, c := range []Config{
		{Name: "one", Holders: 1, Questions: one, Commits: [][]authz.Key{keys(1), keys(1)}, Asks: 2, Hellos: 1},
		{Name: "one+", Holders: 1, Questions: one, Commits: [][]authz.Key{keys(1), keys(1)}, Asks: 3, Hellos: 1, Renews: 1, Breaks: 1},
		{Name: "two-", Holders: 2, Questions: one, Commits: [][]authz.Key{keys(1)}, Asks: 2, Hellos: 0},
		{Name: "two", Holders: 2, Questions: one, Commits: [][]authz.Key{keys(1), keys(1)}, Asks: 2, Hellos: 1},
	} {
		start := time.Now()
		r := Explore(&c, 1_000_000)
		t.Logf("%s: %d states, %d steps, depth %d, complete %v, %v, wrong %q", c.Name, r.States, r.Steps, r.Depth, r.Complete, time.Since(start), r.Wrong)
		for _, l := range r.Story {
			t.Log(l)
		}
	}
}
