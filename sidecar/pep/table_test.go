package pep

import (
	"flag"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

var seed = flag.Uint64("seed", 0, "seed of the random tests; 0 draws one")

func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with -seed", s)
	return rand.New(rand.NewPCG(s, 1))
}

// TestKeyIsExhaustive changes each field of a request, however deep, and wants another
// key and another entry. A field that is new and in no key fails here.
func TestKeyIsExhaustive(t *testing.T) {
	// A path beside an id is not looked at by anybody, so it is tried without one.
	excused := map[string]string{}
	base := authz.Request{Token: authz.Digest{1}, Target: authz.Target{Path: "a/b"}, Permission: "p", Surface: authz.SurfaceREST}
	tab := newTable(100, 1<<20, rand.New(rand.NewPCG(1, 2)).Uint64)
	k := keyOf(&base)
	tab.install(tab.hash(&k), &k, &authz.Decision{Reason: authz.AllowedOpen, Allow: true}, 1, 0, noEnd)
	if tab.find(tab.hash(&k), &k) == nil {
		t.Fatal("the entry is not found")
	}
	n := 0
	eachField(reflect.ValueOf(&base).Elem(), "Request", func(name string, v reflect.Value) {
		if excused[name] != "" {
			return
		}
		n++
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch {
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
		case v.CanInt():
			v.SetInt(v.Int() + 1)
		case v.CanUint():
			v.SetUint(v.Uint() + 1)
		default:
			t.Fatalf("%s: a %v, which this test cannot change", name, v.Type())
		}
		o := keyOf(&base)
		if o == k || tab.find(tab.hash(&k), &o) != nil {
			t.Errorf("two questions that differ in %s share an answer", name)
		}
		if again := o.request(); keyOf(&again) != o {
			t.Errorf("%s is lost on the way to a key and back", name)
		}
		v.Set(old)
	})
	if want := 32 + 4; n != want {
		t.Errorf("%d values of a request, want %d: is there a new field?", n, want)
	}
	base.Target.ID = 7
	a := keyOf(&base)
	base.Target.Path = ""
	if a != keyOf(&base) {
		t.Error("a path beside an id makes another key")
	}
}

func eachField(v reflect.Value, name string, f func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			eachField(v.Field(i), name+"."+v.Type().Field(i).Name, f)
		}
	case reflect.Array:
		for i := range v.Len() {
			eachField(v.Index(i), name, f)
		}
	default:
		f(name, v)
	}
}

// TestDecisionIsKept does the same for what an entry says.
func TestDecisionIsKept(t *testing.T) {
	lost := map[string]string{
		"Keys": "a cached answer has none", "Number": "likewise", "Cached": "set", "ValidFor": "counts down", "Allow": "follows from Reason",
	}
	for i := range reflect.TypeFor[authz.Decision]().NumField() {
		name := reflect.TypeFor[authz.Decision]().Field(i).Name
		if lost[name] != "" {
			continue
		}
		want := authz.Decision{Reason: authz.NotMember}
		v := reflect.ValueOf(&want).Elem().Field(i)
		switch {
		case v.Kind() == reflect.String:
			v.SetString("x")
		case v.CanInt():
			v.SetInt(3)
		case v.CanUint():
			v.SetUint(3)
		case v.Type() == reflect.TypeFor[authz.Scope]():
			v.Set(reflect.ValueOf(authz.InGroup(3)))
		case v.Type() == reflect.TypeFor[[]string]():
			v.Set(reflect.ValueOf([]string{"a", "b"}))
		default:
			t.Fatalf("%s: a %v, which this test cannot set", name, v.Type())
		}
		for _, q := range []question{{target: authz.Target{ID: 3}}, {target: authz.Target{Path: "a/b"}}} {
			k := key{question: q}
			tab := newTable(10, 1<<20, rand.New(rand.NewPCG(1, 2)).Uint64)
			tab.install(tab.hash(&k), &k, &want, 0, 0, noEnd)
			var got authz.Decision
			tab.find(tab.hash(&k), &k).decision(&got, 0)
			got.Cached = false
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %+v: kept\n%+v, was\n%+v", name, q, got, want)
			}
		}
	}
}

// naive is a table without any index.
type naive map[key]naiveEntry

type naiveEntry struct {
	d    authz.Decision
	ends lease.Instant
}

// TestTableAgainstNaive does the same at random to both.
func TestTableAgainstNaive(t *testing.T) {
	r := random(t)
	for range 100 {
		tab, model := newTable(1000, 1<<30, r.Uint64), naive{}
		now := lease.Instant(0)
		keys := []authz.Key{authz.TheInstance}
		for i := range 12 {
			keys = append(keys, authz.ProjectKey(authz.ProjectID(1+i)), authz.JobKey(authz.JobID(string(rune('a'+i%4)))))
		}
		for range 300 {
			k := key{authz.Digest{byte(r.IntN(6))}, question{authz.Target{ID: authz.ProjectID(1 + r.IntN(3))}, "p", 0}}
			switch op := r.IntN(20); {
			case op < 12:
				d := authz.Decision{Reason: authz.Reason(1 + r.IntN(3)), Revision: authz.Revision(r.IntN(9)), Job: authz.JobID(string(rune('a' + k.token[0]%4)))}
				for range r.IntN(5) {
					d.Keys = append(d.Keys, keys[r.IntN(len(keys))])
				}
				ends := now + lease.Instant(1+r.IntN(50))
				tab.install(tab.hash(&k), &k, &d, 0, now, ends)
				model[k] = naiveEntry{d, ends}
			case op < 16:
				void := []authz.Key{keys[r.IntN(len(keys))], keys[r.IntN(len(keys))]}
				tab.invalidate(void)
				for k, e := range model {
					if slices.ContainsFunc(e.d.Keys, func(x authz.Key) bool { return slices.Contains(void, x) }) {
						delete(model, k)
					}
				}
			case op < 18:
				now += lease.Instant(r.IntN(10))
				tab.sweep(r.IntN(len(tab.buckets)), now)
			case op == 18 && r.IntN(10) == 0:
				tab.clear()
				clear(model)
			default:
				unused := tab.takeUnused()
				for _, e := range model {
					for _, x := range e.d.Keys {
						if slices.Contains(unused, x) && now < e.ends {
							t.Fatalf("%v is forgotten, and an answer rests on it", x)
						}
					}
				}
			}
			compare(t, tab, model, keys, now)
		}
		tab.sweep(len(tab.buckets), now+1000)
		if tab.entries != 0 || tab.bytes != 0 || len(tab.keyAt) != 0 || len(tab.jobs) != 0 || len(tab.same) != 0 || tab.instances != 0 {
			t.Fatalf("left behind: %d entries, %d bytes, %d keys, %d jobs, %d grounds", tab.entries, tab.bytes, len(tab.keyAt), len(tab.jobs), len(tab.same))
		}
	}
}

// compare wants every answer of the model in the table, and nothing that the model does
// not have. The table may void more than it has to: answers of one token are void
// together when its job changes.
func compare(t *testing.T, tab *table, model naive, keys []authz.Key, now lease.Instant) {
	t.Helper()
	all := tab.all()
	for id := range 6 {
		for target := range 3 {
			k := key{authz.Digest{byte(id)}, question{authz.Target{ID: authz.ProjectID(1 + target)}, "p", 0}}
			e := tab.find(tab.hash(&k), &k)
			there := e != nil && !e.dead() && now < e.ends
			want, ok := model[k]
			switch {
			case there && (!ok || now >= want.ends):
				t.Fatalf("%v is answered, and should be void", k)
			case !there && ok && now < want.ends && !slices.Contains(want.d.Keys, authz.JobKey(want.d.Job)):
				t.Fatalf("%v is not answered", k)
			case there:
				var d authz.Decision
				e.decision(&d, now)
				if d.Reason != want.d.Reason || d.Revision != want.d.Revision {
					t.Fatalf("%v is answered by %+v, want %+v", k, d, want.d)
				}
				if !containsAll(all, want.d.Keys) {
					t.Fatalf("%v rests on %v, and the table on %v", k, want.d.Keys, all)
				}
			}
		}
	}
}

// Eviction keeps what is used and bounds what is there.
func TestEviction(t *testing.T) {
	tab := newTable(1000, 1<<30, rand.New(rand.NewPCG(1, 2)).Uint64)
	put := func(i int) *key {
		q, d := jobAndTarget(i, i%7, i%5)
		k := keyOf(&q)
		tab.install(tab.hash(&k), &k, &d, 0, 0, noEnd)
		return &k
	}
	var hot []*key
	for i := range 500 {
		hot = append(hot, put(i))
	}
	for i := range 30_000 {
		put(1000 + i)
		k := hot[i%len(hot)]
		if e := tab.find(tab.hash(k), k); e != nil {
			e.last.Store(uint32(i)<<1 | 1)
		}
	}
	kept := 0
	for _, k := range hot {
		if tab.find(tab.hash(k), k) != nil {
			kept++
		}
	}
	if tab.entries != 1000 || kept < 450 {
		t.Errorf("%d entries, %d of 500 that were used all the time", tab.entries, kept)
	}
	tab.maxBytes = tab.bytes / 2
	put(0)
	if tab.bytes > tab.maxBytes {
		t.Errorf("%d bytes, at most %d", tab.bytes, tab.maxBytes)
	}
}
