package scenario

import (
	"os"
	"strings"
	"testing"
)

// FuzzRead: whatever the bytes, reading ends without a panic; what is read can be run
// or says why not; and what makes a world survives an export and an import.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"testdata/cases/fg.yaml", "testdata/cases/live.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for i, doc := range strings.SplitAfter(string(text), "\nwhy:") {
			if i%10 == 0 {
				f.Add(doc)
			}
		}
	}
	for _, seed := range []string{
		smallest, smallest + "\n" + smallest, "", "---", "{", "id: a\nexpect: deny", "- - - a", "? a", "a: |\n  b\n ---\n", "\ufeff{}", "a: 'b\n--- c'",
		"id: a\nexpect: deny\njob: {project: a/b, limits: {targets: [], permissions: null}, heartbeat: lapsed, token: replaced}",
		"id: a\nexpect: deny\nworld: {catalogue: {permissions: [{name: x, surface: rest, role: guest}]}, groups: [{path: a, id: 7}, {path: a/b}], " +
			"projects: [{path: a/b/c, features: {packages: public}, inbound_groups: [{path: a, policies: [read_jobs, read_jobs], autopopulated: true}]}], " +
			"members: [{user: u, scope: a, role: minimal}]}\njob: {project: a/b/c}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{"f", "f.yaml", "f.jsonl"} {
			err := Read(strings.NewReader(text), name, func(s Scenario) error {
				if s.ID == "" || s.Line < 1 || s.Line > strings.Count(text, "\n")+1 {
					t.Errorf("scenario %q at line %d", s.ID, s.Line)
				}
				d, steps, err := Run(&s)
				if err != nil {
					return nil
				}
				if d.Allow != d.Reason.Allows() || len(steps) == 0 {
					t.Errorf("%v", d)
				}
				roundTrip(t, &s.World)
				return nil
			})
			if err != nil && !strings.HasPrefix(err.Error(), name+":") {
				t.Errorf("an error without its place: %v", err)
			}
		}
		if w, err := ReadWorld(strings.NewReader(text), "w.yaml"); err == nil {
			if _, _, err := w.Records(); err == nil {
				roundTrip(t, &w)
			}
		}
	})
}
