package feed

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// cache is a sidecar reduced to what this package has to do for it: it keeps answers, by
// Interest, and drops what rests on the keys that its stream brings.
type cache struct {
	*bench
	g       *gen
	s       *Stream
	answers map[authz.Request]authz.Decision
}

func newCache(t testing.TB, g *gen, opt Options) *cache {
	c := &cache{bench: newBench(t, opt), g: g, answers: map[authz.Request]authz.Decision{}}
	c.put(g.world()...)
	s, err := c.feed.Open(context.Background(), "sidecar", About{}, lease.Hello{})
	if err != nil {
		t.Fatal(err)
	}
	<-c.tail.C // the Leases record
	c.s = s
	c.take()
	return c
}

// take takes what the stream has, and acks it.
func (c *cache) take() {
	for {
		ms, open := c.s.take()
		if !open {
			c.Fatal("the stream was cut")
		}
		if len(ms) == 0 {
			return
		}
		for _, m := range ms {
			if m.Kind != lease.Invalidation {
				continue
			}
			for q, d := range c.answers {
				if meet(d.Keys, m.Keys) {
					delete(c.answers, q)
				}
			}
			c.s.Ack(m.Revision)
		}
	}
}

// step asks some questions, makes a change, and drops what it invalidates.
func (c *cache) step() {
	for range 8 {
		q := c.g.question()
		d := c.ask(q)
		if d.Reason == authz.TokenUnknown {
			continue // it is never asked before its Issue (R16)
		}
		if _, v := c.feed.Interest(c.s.gen, "sidecar", d.Revision, d.Keys); v != lease.Cacheable {
			c.Fatalf("verdict %d", v)
		}
		c.answers[q] = d
	}
	if len(c.answers) > 300 {
		for q := range c.answers {
			delete(c.answers, q)
			if len(c.answers) < 200 {
				break
			}
		}
	}
	batch := c.g.batch(c)
	if len(batch.Puts)+len(batch.Deletes) > 0 {
		c.commit(batch)
		c.take()
	}
}

// compare gives the questions whose cached answer is not the one that is given now.
func (c *cache) compare() (wrong []string) {
	for q, d := range c.answers {
		if is := c.ask(q); !same(d, is) {
			wrong = append(wrong, fmt.Sprintf("%+v: %s is kept from revision %d, and at %d it is %s", q, d.Reason, d.Revision, is.Revision, is.Reason))
		}
	}
	return wrong
}

// batch is a change of one to three records, some of which move together.
func (g *gen) batch(t testing.TB) (b state.Batch) {
	used := map[state.Key]bool{}
	put := func(rec state.Record) {
		if k := rec.Key(); !used[k] && g.fits(rec) {
			used[k] = true
			g.recs[k] = rec
			b.Puts = append(b.Puts, rec)
		}
	}
	if g.chance(10) { // two groups or projects take each other's place
		g.swap(put)
		return b
	}
	for range 1 + g.IntN(3) {
		rec := g.any()
		k := rec.Key()
		switch k.Kind() {
		case state.KindRunner:
			continue // R12: see excused
		case state.KindJob, state.KindInstance:
		default:
			if g.chance(10) && !used[k] && g.empty(k) {
				used[k] = true
				delete(g.recs, k)
				b.Deletes = append(b.Deletes, k)
				continue
			}
		}
		c := clone(rec)
		all := fieldsOf(c)
		if g.change(t, all[g.IntN(len(all))]); c.Key() == k {
			put(c)
		}
	}
	if g.chance(20) { // what is gone comes back
		put(pick[state.Record](g,
			&state.Group{ID: authz.GroupID(1 + g.IntN(someGroups)), Name: pick(g, names...)},
			&state.Project{ID: g.projectID(), Namespace: pick(g, names...), Name: pick(g, names...), Visibility: authz.Public, PublicBuilds: true},
			&state.User{ID: authz.UserID(1 + g.IntN(someUsers)), Name: "back"},
			&state.Members{User: authz.UserID(1 + g.IntN(someUsers))}, g.allowlist(g.projectID()),
			&state.Death{Project: g.projectID()}, g.catalogue(), &state.Replaced{Digest: digestOf(100 + g.IntN(4)), Job: "job1"},
		))
	}
	return b
}

func (g *gen) swap(put func(state.Record)) {
	a, b := g.any(), g.any()
	switch x := a.(type) {
	case *state.Group:
		if y, ok := b.(*state.Group); ok && x.ID != y.ID {
			p, q := *x, *y
			p.Name, q.Name = q.Name, p.Name
			put(&p)
			put(&q)
		}
	case *state.Project:
		if y, ok := b.(*state.Project); ok && x.ID != y.ID {
			p, q := *x, *y
			p.Name, q.Name, p.Group, q.Group, p.Namespace, q.Namespace = q.Name, p.Name, q.Group, p.Group, q.Namespace, p.Namespace
			put(&p)
			put(&q)
		}
	}
}

// TestCachedEqualsFresh is P9 as far as the feed goes: in random worlds under random
// changes, an answer that was not invalidated is the one that would be given now.
func TestCachedEqualsFresh(t *testing.T) {
	g := newGen(t)
	n, changes, visitors := 0, 0, 0
	for n < fewer(*comparisons) {
		c := newCache(t, g, Options{MaxInterest: pick(g, 0, 0, 50)}) // 50: kept in buckets (R18)
		for range 400 {
			c.step()
			changes++
			if wrong := c.compare(); len(wrong) > 0 {
				slices.Sort(wrong)
				t.Fatal(wrong)
			}
			n += len(c.answers)
			for q, d := range c.answers {
				if q.Token == authz.Nobody && d.Allow {
					visitors++
				}
			}
		}
		c.end()
	}
	t.Logf("%d comparisons over %d changes, %d of them of visitors who were let in", n, changes, visitors)
	if visitors == 0 {
		t.Error("no visitor was let in: their answers were not compared")
	}
}
