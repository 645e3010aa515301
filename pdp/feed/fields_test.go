package feed

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// excused are the fields whose change needs no key, with the reason. Everything else that
// a record has must be seen to change a decision, with a key that covers it, by
// TestEveryFieldIsCovered.
var excused = map[string]string{
	"instance.MaxProjectEntries": "bounds edits, not decisions",
	"instance.MaxGroupEntries":   "bounds edits, not decisions",
	"group.ID":                   "names the record",
	"group.Visibility":           "decides what people see, not what jobs may do",
	"project.ID":                 "names the record",
	"user.ID":                    "names the record",
	"user.Name":                  "is for people",
	"user.Admin":                 "never counts for a job token",
	"members.User":               "names the record",
	"allowlist.Project":          "names the record",
	"job.ID":                     "names the record",
	"job.Pipeline":               "is for reports",
	"job.Ref":                    "is for reports",
	"job.Ended":                  "says when; Status, Erased and Lapsed say whether",
	"job.EndedAt":                "says when; Status, Erased and Lapsed say whether",
	"replaced.Digest":            "names the record",
	"replaced.At":                "is for the sweep",
	"death.Project":              "names the record",
	"death.User":                 "names the record",
	"death.At":                   "is for people",
	"runner.ID":                  "names the record",
	"runner.Beat":                "R12: it only prolongs, guarded on not lapsed; answers carry their end, and a lapse is a change of the job",
	"request.ID":                 "names the record",
	"request.Fingerprint":        "no decision reads requests",
	"request.Done":               "no decision reads requests",
	"request.At":                 "no decision reads requests",
	"leases.Longest":             "no decision reads leases",
	"leases.Out":                 "no decision reads leases",
	"leases.Epoch":               "no decision reads leases",
	"leases.SealKey":             "no decision reads leases",
}

// prototypes has one record of each kind; the test below fails when one is missing.
func prototypes() []state.Record {
	return []state.Record{
		new(state.Instance), new(state.Catalogue), new(state.Group), new(state.Project), new(state.User), new(state.Members),
		new(state.Allowlist), new(state.Job), new(state.Replaced), new(state.Runner), new(state.Death), new(state.Request), new(state.Leases), new(state.Directory),
	}
}

func fieldsOf(rec state.Record) []leaf {
	return leaves(rec.Key().Kind().String(), reflect.ValueOf(rec).Elem())
}

// bench is a feed on a reference store, and a tail to see the keys by.
type bench struct {
	testing.TB
	view  *state.View
	store *memstore.Store
	feed  *Feed
	tail  *Tail
	walk  policy.Walk
}

func newBench(t testing.TB, opt Options) *bench {
	return startBench(t, memstore.New(), opt)
}

func startBench(t testing.TB, store *memstore.Store, opt Options) *bench {
	if opt.Now == nil {
		opt.Now = func() lease.Instant { return 0 }
	}
	b := &bench{TB: t, view: state.NewView(), store: store}
	b.feed = New(b.view, opt)
	if err := store.Attach(context.Background(), b.feed); err != nil {
		t.Fatal(err)
	}
	if err := b.feed.Start(context.Background(), store); err != nil {
		t.Fatal(err)
	}
	b.tail = b.feed.Tail(16)
	return b
}

// end stops the feed without waiting for anybody.
func (b *bench) end() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.feed.Close(ctx); err != nil {
		b.Error(err)
	}
}

// commit stores records, or deletes those of keys, and gives the keys emitted.
func (b *bench) commit(batch state.Batch) Event {
	b.Helper()
	if _, err := b.store.Commit(context.Background(), batch); err != nil {
		b.Fatal(err)
	}
	return <-b.tail.C
}

func (b *bench) put(recs ...state.Record) Event { b.Helper(); return b.commit(state.Batch{Puts: recs}) }

func (b *bench) ask(r authz.Request) authz.Decision {
	d := b.view.Decide(&b.walk, r, noon)
	d.Keys = slices.Clone(d.Keys)
	return d
}

// same compares all that a cache would give out, but for the revision.
func same(a, b authz.Decision) bool {
	a.Keys, b.Keys, a.ValidFor, b.ValidFor, a.Revision, b.Revision = nil, nil, 0, 0, 0, 0
	return reflect.DeepEqual(a, b)
}

func meet(a, b []authz.Key) bool {
	return slices.ContainsFunc(a, func(k authz.Key) bool { return slices.Contains(b, k) })
}

// TestEveryFieldIsCovered changes every field of every kind of record in random worlds,
// makes and deletes every kind of record, and compares what many questions are answered
// before and after (P9, PROTOCOL R15): an answer that changed must have rested on a key
// that was emitted. A field that changes no answer in any world must be excused above, so
// a new one fails until somebody has thought of it.
func TestEveryFieldIsCovered(t *testing.T) {
	g := newGen(t)
	seen := map[string]int{}
	missing := func() bool {
		for _, rec := range prototypes() {
			for _, l := range fieldsOf(rec) {
				if _, ok := excused[l.name]; !ok && seen[l.name] < 3 {
					return true
				}
			}
		}
		return false
	}
	for n := 0; n < fewer(*fieldWorlds) || n < 20**fieldWorlds && missing(); n++ {
		changeEverything(t, g, seen)
	}
	var all []string
	kinds := map[state.Kind]bool{}
	for _, rec := range prototypes() {
		kinds[rec.Key().Kind()] = true
		for _, l := range fieldsOf(rec) {
			all = append(all, l.name)
			switch why, ok := excused[l.name]; {
			case !ok && seen[l.name] == 0:
				t.Errorf("changing %s changed no answer: excuse it with a reason, or make the worlds of this test depend on it", l.name)
			case ok && seen[l.name] > 0 && l.name != "runner.Beat":
				t.Errorf("%s is excused (%s), and changing it changed an answer", l.name, why)
			}
		}
	}
	for kind := state.Kind(1); int(kind) < state.NumKinds; kind++ {
		if !kinds[kind] {
			t.Errorf("no prototype of kind %v", kind)
		}
	}
	for name := range excused {
		if !slices.Contains(all, name) {
			t.Errorf("%s is excused and does not exist", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%7d answers changed by %s", seen[name], name)
	}
}

func changeEverything(t *testing.T, g *gen, seen map[string]int) {
	b := newBench(t, Options{})
	defer b.end()
	b.put(g.world()...)
	questions := make([]authz.Request, 100)
	before := make([]authz.Decision, len(questions))
	for i := range questions {
		questions[i] = g.question()
	}
	look := func() {
		for i, q := range questions {
			before[i] = b.ask(q)
		}
	}
	// try commits a change and its opposite, and looks at what both did to answers.
	try := func(name string, there, back state.Batch) {
		look()
		for _, batch := range []state.Batch{there, back} {
			keys := b.commit(batch).Keys
			for i, q := range questions {
				was, is := before[i], b.ask(q)
				before[i] = is
				if same(was, is) || was.Reason == authz.TokenUnknown { // unknown rests on no key (R16)
					continue
				}
				seen[name]++
				if _, ok := excused[name]; !ok && !meet(keys, was.Keys) {
					t.Fatalf("%s changed %s to %s for %+v and emitted %v; the answer rested on %v", name, was.Reason, is.Reason, q, keys, was.Keys)
				}
			}
		}
	}
	for _, rec := range g.all() {
		for n := range fieldsOf(rec) {
			for range 2 {
				c := clone(rec)
				l := fieldsOf(c)[n]
				g.change(t, l)
				if c.Key() == rec.Key() && g.fits(c) {
					try(l.name, state.Batch{Puts: []state.Record{c}}, state.Batch{Puts: []state.Record{rec}})
				}
			}
		}
		name := rec.Key().Kind().String() + " gone and made"
		if rec.Key().Kind() == state.KindRunner || !g.empty(rec.Key()) {
			continue // as runner.Beat
		}
		try(name, state.Batch{Deletes: []state.Key{rec.Key()}}, state.Batch{Puts: []state.Record{rec}})
	}
	for _, rec := range []state.Record{
		&state.Death{Project: g.projectID(), Before: 4}, &state.Death{User: 1, Before: 4}, g.catalogue(), g.allowlist(g.projectID()),
	} {
		if g.recs[rec.Key()] == nil {
			try(rec.Key().Kind().String()+" made and gone", state.Batch{Puts: []state.Record{rec}}, state.Batch{Deletes: []state.Key{rec.Key()}})
		}
	}
}

// TestAMissingKeyIsCaught plants the bug that all keys of one kind are forgotten, for each
// kind, and looks whether the comparison of answers sees it.
func TestAMissingKeyIsCaught(t *testing.T) {
	for kind := authz.KeyInstance; kind <= authz.KeyPath; kind++ {
		g := newGen(t)
		wrong := 0
		for range 200 {
			w := newCache(t, g, Options{LoseKeys: kind})
			for range 100 {
				w.step()
				wrong += len(w.compare())
			}
			w.end()
			if wrong > 0 {
				break
			}
		}
		if wrong == 0 {
			t.Errorf("without keys of kind %d nothing is wrong", kind)
		}
	}
}

// TestPathsOfMovedThings names the keys of moves and swaps (R15).
func TestPathsOfMovedThings(t *testing.T) {
	b := newBench(t, Options{})
	defer b.end()
	b.put(
		&state.Group{ID: 1, Name: "a"}, &state.Group{ID: 2, Name: "b"}, &state.Group{ID: 3, Parent: 1, Name: "c"},
		&state.Project{ID: 1, Group: 3, Name: "p"}, &state.Project{ID: 2, Namespace: "dev", Name: "q"},
		&state.Job{ID: "j", Digest: digestOf(1)}, &state.Replaced{Digest: digestOf(9), Job: "j"},
	)
	path := func(paths ...string) (keys []authz.Key) {
		for _, p := range paths {
			keys = append(keys, authz.PathKey(p))
		}
		return keys
	}
	for _, c := range []struct {
		name  string
		batch state.Batch
		want  []authz.Key
	}{
		{"nothing of a group", state.Batch{Puts: []state.Record{&state.Group{ID: 3, Parent: 1, Name: "c", State: authz.StateArchived}}}, append(path("a/c"), authz.GroupKey(3))},
		{"swap", state.Batch{Puts: []state.Record{&state.Group{ID: 1, Name: "b"}, &state.Group{ID: 2, Name: "a"}}},
			append(path("a", "b"), authz.GroupKey(1), authz.GroupKey(2))},
		{"moved with the one above", state.Batch{Puts: []state.Record{&state.Group{ID: 1, Name: "x"}, &state.Group{ID: 3, Parent: 1, Name: "y"}}},
			append(path("b", "x", "b/c", "x/y"), authz.GroupKey(1), authz.GroupKey(3))},
		{"project moved", state.Batch{Puts: []state.Record{&state.Project{ID: 1, Namespace: "dev", Name: "p"}}}, append(path("x/y/p", "dev/p"), authz.ProjectKey(1))},
		{"project gone", state.Batch{Deletes: []state.Key{state.ProjectKey(2)}}, append(path("dev/q"), authz.ProjectKey(2))},
		{"replaced", state.Batch{Puts: []state.Record{&state.Replaced{Digest: digestOf(9), Job: "k"}}}, []authz.Key{authz.JobKey("j"), authz.JobKey("k")}},
		{"replaced gone", state.Batch{Deletes: []state.Key{state.ReplacedKey(digestOf(9))}}, []authz.Key{authz.JobKey("k")}},
		{"deaths", state.Batch{Puts: []state.Record{&state.Death{User: 3}}, Deletes: []state.Key{state.ProjectDeathKey(3)}}, []authz.Key{authz.UserKey(3), authz.ProjectKey(3)}},
		{"one key for two records", state.Batch{Puts: []state.Record{&state.User{ID: 1}, &state.Members{User: 1}}}, []authz.Key{authz.UserKey(1)}},
		{"the instance", state.Batch{Puts: []state.Record{&state.Instance{}, &state.Catalogue{}}}, []authz.Key{authz.TheInstance}},
		{"nothing", state.Batch{Puts: []state.Record{&state.Runner{ID: "r"}, &state.Request{ID: "a/b"}, &state.Leases{}, &state.Directory{}}}, nil},
	} {
		got := b.commit(c.batch)
		slices.Sort(c.want)
		if !slices.Equal(got.Keys, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got.Keys, c.want)
		}
	}
}

// TestKeysFromHistory compares the keys that can be told without contents with those that
// were emitted (L14).
func TestKeysFromHistory(t *testing.T) {
	g := newGen(t)
	b := newBench(t, Options{})
	defer b.end()
	b.put(g.world()...)
	told, untold := 0, 0
	for range 2000 {
		batch := g.batch(t)
		if len(batch.Puts)+len(batch.Deletes) == 0 {
			continue
		}
		e := b.commit(batch)
		err := b.store.History(context.Background(), e.Revision-1, func(c state.Change) error {
			keys, ok := keysFromHistory(&c)
			if !ok {
				untold++
				return nil
			}
			told++
			if !slices.Equal(keys, e.Keys) && !replaces(batch) {
				return fmt.Errorf("revision %d emitted %v, and history tells %v", c.Revision, e.Keys, keys)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if told == 0 || untold == 0 {
		t.Errorf("%d told, %d not", told, untold)
	}
}

// replaces reports whether a batch says of a digest what no verb would say.
func replaces(b state.Batch) bool {
	return slices.ContainsFunc(b.Puts, func(r state.Record) bool { return strings.HasPrefix(string(r.Key()), string(byte(state.KindReplaced))) })
}
