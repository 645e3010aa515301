package scenario

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// corpus calls fn with every scenario of testdata: the project's shared sample, and
// the cases of our own, one file a family.
func corpus(t testing.TB, fn func(Scenario)) {
	files, err := filepath.Glob("testdata/cases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range append(files, "testdata/sample.jsonl") {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Read(f, name, func(s Scenario) error { fn(s); return nil }); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCorpus runs every case in process, and keeps the corpus what it should be: ids
// that are unique, a phrase that says why, every family of the format, both answers in
// each.
func TestCorpus(t *testing.T) {
	ids := map[string]string{}
	type family struct{ allow, deny int }
	families := map[string]*family{}
	modes := map[string]int{}
	corpus(t, func(s Scenario) {
		// The shared sample is a sample: what it lacks is among our cases, under ids of
		// their own.
		if was, twice := ids[s.ID]; twice {
			t.Errorf("%s is in %s and in %s", s.ID, was, s.File)
		}
		ids[s.ID] = s.File
		if s.Why == "" {
			t.Errorf("%s does not say why", s.ID)
		}
		name, _, _ := strings.Cut(s.ID, "-")
		if base := filepath.Base(s.File); base != "sample.jsonl" && base != name+".yaml" {
			t.Errorf("%s does not belong in %s", s.ID, s.File)
		}
		if families[name] == nil {
			families[name] = &family{}
		}
		if s.Expect == "allow" {
			families[name].allow++
		} else {
			families[name].deny++
		}
		modes[s.World.Instance.PublicScope]++
		d, _, err := Run(&s)
		if err != nil {
			t.Error(err)
			return
		}
		if wrong := s.Judge(d); wrong != "" {
			t.Errorf("%s:%d: %s: %s; %s", s.File, s.Line, s.ID, wrong, s.Why)
		}
	})
	for _, name := range strings.Fields("live src self in out grp vis feat fg push git reg user tgt role surf limits fork anon") {
		f := families[name]
		if f == nil {
			t.Errorf("no case of the family %s", name)
		} else if (f.allow == 0 && name != "fork") || f.deny == 0 {
			t.Errorf("%s has %d allows and %d denials", name, f.allow, f.deny)
		}
	}
	t.Logf("%d cases, modes %v", len(ids), modes)
}

// TestFormsAgree reads every case again in the other form: one line of JSON, and YAML
// made by a library that knows nothing of scenarios.
func TestFormsAgree(t *testing.T) {
	corpus(t, func(s Scenario) {
		line := asJSON(t, s)
		plain, err := yaml.JSONToYAML([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"a.jsonl": line, "a": line, "a.yaml": string(plain), "b": string(plain)} {
			var got []Scenario
			if err := Read(strings.NewReader(text), name, func(s Scenario) error { got = append(got, s); return nil }); err != nil || len(got) != 1 {
				t.Fatalf("%s: %v, %d scenarios in\n%s", s.ID, err, len(got), text)
			}
			got[0].File, got[0].Line = s.File, s.Line
			if again := asJSON(t, got[0]); again != line {
				t.Fatalf("%s as %s came back as\n%s\nand was\n%s", s.ID, name, again, line)
			}
		}
	})
}

// TestRoundTrip takes every world of the corpus through records and both forms of the
// world format and wants the same records back, byte for byte the same text on the
// second export, and ids that stay what they were.
func TestRoundTrip(t *testing.T) {
	corpus(t, func(s Scenario) { roundTrip(t, &s.World) })
}

func roundTrip(t testing.TB, w *World) {
	records, _, err := w.Records()
	if err != nil {
		t.Fatal(err)
	}
	exported, err := FromRecords(records)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []struct {
		name  string
		write func(*World, *bytes.Buffer) error
	}{
		{"w.yaml", func(w *World, b *bytes.Buffer) error { return w.WriteYAML(b) }},
		{"w.json", func(w *World, b *bytes.Buffer) error { return w.WriteJSON(b) }},
	} {
		var text bytes.Buffer
		if err := form.write(&exported, &text); err != nil {
			t.Fatal(err)
		}
		first := text.String()
		back, err := ReadWorld(&text, form.name)
		if err != nil {
			t.Fatalf("%v in\n%s", err, first)
		}
		again, _, err := back.Records()
		if err != nil {
			t.Fatalf("%v in\n%s", err, first)
		}
		// Deaths are no part of the format, and an importer adds in its own order.
		if want, got := content(t, records), content(t, again); !reflect.DeepEqual(want, got) {
			t.Fatalf("%s\ncame back as other records:\n%v\n%v", first, want, got)
		}
		second, err := FromRecords(again)
		if err != nil {
			t.Fatal(err)
		}
		if err := form.write(&second, &text); err != nil || text.String() != first {
			t.Fatalf("the second export differs: %v\n%s\n%s", err, first, text.String())
		}
	}
}
