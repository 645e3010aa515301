package floors

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestHouse runs every check on the repository itself.
func TestHouse(t *testing.T) {
	tr := load(t)
	for _, c := range []struct {
		name  string
		check func(*tree) []string
	}{
		{"floors", checkFloors},
		{"bans", checkBans},
		{"pure", checkPure},
		{"package comments", checkPackageComments},
		{"exported names", checkExported},
		{"rules", checkRules},
		{"sizes", checkSizes},
		{"init", checkInit},
		{"go.mod", checkGoMod},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, complaint := range c.check(tr) {
				t.Error(complaint)
			}
		})
	}
}

// planted is a small tree, by path, and what a check must say of it: one
// complaint that contains want, or none if want is empty.
type planted struct {
	name  string
	files map[string]string
	want  string
}

// catches runs a check on planted trees.
func catches(t *testing.T, check func(*tree) []string, cases []planted) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := check(parse(t, c.files))
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("complains without a reason: %q", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("says %q, want one complaint with %q", got, c.want)
			}
		})
	}
}

// sorted is the keys of m in order, so that complaints come in the same order each time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
