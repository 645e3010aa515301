package policy_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
)

var (
	seed   = flag.Uint64("seed", 0, "seed of the random worlds; 0 takes one from the clock")
	worlds = flag.Int("worlds", 3000, "random worlds to compare, with 100 questions each")
)

// generator gives a generator and prints how to get the same again.
func generator(t testing.TB) gen {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -seed %d -worlds %d", s, *worlds)
	return gen{rand.New(rand.NewPCG(s, 1))}
}

// permissionsOf gives the names of the naive table that exist in a world.
func permissionsOf(w *scenario.World) []string {
	var out []string
	for name := range nTable() {
		if w.Catalogue != nil || !strings.HasSuffix(name, "_wiki") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// table is a random world loaded both ways, to ask many questions of.
type table struct {
	w     scenario.World
	naive *naive
	facts *scenario.Facts
	index *scenario.Index
	names []string
	now   authz.Stamp
}

func load(t testing.TB, w scenario.World) *table {
	records, index, err := w.Records()
	if err != nil {
		t.Fatalf("%v in %s", err, asJSON(w))
	}
	facts, err := scenario.NewFacts(records...)
	if err != nil {
		t.Fatal(err)
	}
	return &table{w: w, naive: newNaive(&w), facts: facts, index: index, names: permissionsOf(&w), now: authz.StampOf(time.Unix(1e9, 0))}
}

// ask puts the job into the facts and gives the request.
func (tb *table) ask(t testing.TB, j scenario.Job, r scenario.Request) authz.Request {
	records, err := j.Records(tb.index, tb.now)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		if err := tb.facts.Put(rec); err != nil {
			t.Fatal(err)
		}
	}
	surface := authz.SurfaceDefault
	if r.Surface != "" {
		if surface, err = authz.ParseSurface(r.Surface); err != nil {
			t.Fatal(err)
		}
	}
	return authz.Request{Token: j.Shows(), Target: authz.Target{Path: r.TargetProject}, Permission: r.Permission, Surface: surface}
}

// TestNaiveAgrees compares the walk with the naive evaluator on random worlds: the
// answer and the reason for it, which is the first rule that refuses (R1 to R20). On
// the same questions Explain has to say what Decide says, and the fields of the decision
// have to be what they promise.
func TestNaiveAgrees(t *testing.T) {
	g := generator(t)
	var walk policy.Walk
	var count [authz.NumReasons]int
	total, allowed := 0, 0
	for range *worlds {
		tb := load(t, g.world())
		for range 100 {
			j, r := g.question(&tb.w, tb.names)
			req := tb.ask(t, j, r)
			d := walk.Decide(tb.facts, req, tb.now)
			want := tb.naive.answer(j, r)
			if want != d.Reason.String() || d.Allow != strings.HasPrefix(want, "allowed_") {
				disagree(t, asScenario(total, &tb.w, j, r))
			}
			if wrong := promised(d); wrong != "" {
				t.Fatalf("%s: %+v\n%s", wrong, d, asJSON(asScenario(total, &tb.w, j, r)))
			}
			d.Keys = slices.Clone(d.Keys) // they belong to the walk
			e, steps := walk.Explain(tb.facts, req, tb.now)
			if wrong := explained(d, e, steps); wrong != "" {
				t.Fatalf("%s\n%s", wrong, asJSON(asScenario(total, &tb.w, j, r)))
			}
			total++
			count[d.Reason]++
			if d.Allow {
				allowed++
			}
		}
	}
	t.Logf("%d questions in %d worlds, %.1f %% allowed\n%s", total, *worlds, 100*float64(allowed)/float64(total), histogram(count, total))
	if total < 100_000 {
		return // too few to say anything about the rare ones
	}
	if allowed*4 < total {
		t.Errorf("only %d of %d were allowed: the worlds are too mean to find a wrong denial", allowed, total)
	}
	for r := authz.ReasonNone + 1; int(r) < authz.NumReasons; r++ {
		if r != authz.LeaseLapsed && count[r] == 0 {
			t.Errorf("the reason %s never occurred", r)
		}
	}
	if count[authz.LeaseLapsed]+count[authz.ReasonNone] > 0 {
		t.Error("policy gave a reason that is not its own")
	}
}

func histogram(count [authz.NumReasons]int, total int) string {
	var b strings.Builder
	for r, n := range count {
		if n > 0 {
			fmt.Fprintf(&b, "%9d %6.2f %%  %s\n", n, 100*float64(n)/float64(total), authz.Reason(r))
		}
	}
	return b.String()
}

// both asks policy and the naive evaluator the same scenario from scratch.
func both(sc *scenario.Scenario) (d authz.Decision, steps []policy.Step, want string, err error) {
	if d, steps, err = scenario.Run(sc); err == nil {
		want = newNaive(&sc.World).answer(sc.Job, sc.Request)
	}
	return d, steps, want, err
}

// disagree shrinks a scenario on which the two differ, and ends the test with a line
// that `pdpctl test` and the files in testdata can take.
func disagree(t testing.TB, sc *scenario.Scenario) {
	t.Helper()
	differ := func(sc *scenario.Scenario) bool {
		d, _, want, err := both(sc)
		return err == nil && d.Reason.String() != want
	}
	if !differ(sc) {
		t.Fatalf("the two differ only in the world as it was loaded, not from scratch:\n%s", asJSON(sc))
	}
	shrink(sc, differ)
	d, steps, want, _ := both(sc)
	sc.Expect, sc.ExpectReason = "deny", want
	if strings.HasPrefix(want, "allowed_") {
		sc.Expect = "allow"
	}
	t.Fatalf("policy says %s, the naive evaluator %s:\n%s\n%s", d.Reason, want, asJSON(sc), transcript(d, steps))
}

// shrink removes what is not needed for sc to stay bad, until nothing more can go.
func shrink(sc *scenario.Scenario, bad func(*scenario.Scenario) bool) {
	for again := true; again; {
		again = false
		again = shrinkValue(reflect.ValueOf(sc).Elem(), func() bool { return bad(sc) }) || again
	}
}

// shrinkValue tries, for every field and element below v, to make it zero or to leave
// it out. It reports whether anything went.
func shrinkValue(v reflect.Value, bad func() bool) (changed bool) {
	try := func(set func(), undo func()) bool {
		if set(); bad() {
			changed = true
			return true
		}
		undo()
		return false
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			changed = shrinkValue(v.Field(i), bad) || changed
		}
	case reflect.Slice:
		for i := 0; i < v.Len(); {
			old := reflect.ValueOf(slices.Clone(sliceOf(v)))
			if try(func() { v.Set(reflect.AppendSlice(v.Slice3(0, i, i), v.Slice(i+1, v.Len()))) }, func() { setSlice(v, old) }) {
				continue
			}
			if e := v.Index(i); e.Kind() == reflect.Struct {
				changed = shrinkValue(e, bad) || changed
			}
			i++
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			e := v.MapIndex(k)
			try(func() { v.SetMapIndex(k, reflect.Value{}) }, func() { v.SetMapIndex(k, e) })
		}
	case reflect.Interface: // the catalogue: goes whole or stays
		if !v.IsNil() {
			old := reflect.ValueOf(v.Interface())
			try(v.SetZero, func() { v.Set(old) })
		}
	case reflect.Pointer:
		if v.IsNil() {
			return false
		}
		old := reflect.ValueOf(v.Interface())
		if !try(v.SetZero, func() { v.Set(old) }) {
			changed = shrinkValue(v.Elem(), bad) || changed
		}
	default:
		if !v.IsZero() {
			old := reflect.ValueOf(v.Interface())
			try(v.SetZero, func() { v.Set(old) })
		}
	}
	return changed
}

func sliceOf(v reflect.Value) []any {
	out := make([]any, v.Len())
	for i := range out {
		out[i] = v.Index(i).Interface()
	}
	return out
}

func setSlice(v, old reflect.Value) {
	out := reflect.MakeSlice(v.Type(), old.Len(), old.Len())
	for i := range old.Len() {
		out.Index(i).Set(old.Index(i).Elem())
	}
	v.Set(out)
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
