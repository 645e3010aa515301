package floors

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// checkRules reads the numbered rules of a package's doc.go and wants each cited
// by a test of that package: R7 in a comment, a name or a string.
func checkRules(tr *tree) (complaints []string) {
	complaints = append(complaints, rulesOf(tr, "pdp/policy", "R")...)
	complaints = append(complaints, rulesOf(tr, "internal/lease", "L")...)
	return append(complaints, rulesOf(tr, "pdp/replica", "M")...)
}

// rulesOf checks one package, silently if there is none yet. A rule is a line
// of doc.go like "//	R7  text". The numbers run from 1 without gaps, so that a
// rule that was dropped or doubled by a merge is seen.
func rulesOf(tr *tree, pkg, letter string) (complaints []string) {
	line := regexp.MustCompile(`(?m)^//\t` + letter + `(\d+)[ \t]+\S`)
	// The R-numbers of PROTOCOL.md are other rules.
	protocol := regexp.MustCompile(`PROTOCOL(\.md)?,?\s+[RL]\d+((,|, and| and| to|–|-)\s*[RL]\d+)*`)
	var exists bool
	var rules []int
	var tests strings.Builder
	for _, f := range tr.files {
		if f.pkg != pkg {
			continue
		}
		exists = true
		switch {
		case f.test:
			tests.WriteString(protocol.ReplaceAllString(f.source, "") + "\n")
		case f.path == pkg+"/doc.go":
			for _, m := range line.FindAllStringSubmatch(f.source, -1) {
				n, _ := strconv.Atoi(m[1]) // digits, by the expression
				rules = append(rules, n)
			}
		}
	}
	if !exists {
		return nil
	}
	if len(rules) == 0 {
		return []string{fmt.Sprintf("%s/doc.go lists no rules: lines like \"//\t%s1  text\"", pkg, letter)}
	}
	for i, n := range rules {
		if n != i+1 {
			return []string{fmt.Sprintf("%s/doc.go: %s%d stands where %s%d should", pkg, letter, n, letter, i+1)}
		}
		if !cited(tests.String(), letter, n) {
			complaints = append(complaints, fmt.Sprintf("%s%d of %s/doc.go is cited by no test of the package", letter, n, pkg))
		}
	}
	return complaints
}

// cited finds R7 in "R7", "TestR7Dead" and "R6/R7", not in "R70" or "ERR7".
func cited(text, letter string, n int) bool {
	return regexp.MustCompile(fmt.Sprintf(`(^|[^A-Z0-9])%s%d([^0-9]|$)`, letter, n)).MatchString(text)
}

func TestRulesCatches(t *testing.T) {
	const doc = "// Package policy is.\n//\n//\tR1   one\n//\t     more of it, R3\n//\tR2   two\npackage policy"
	with := func(test string) map[string]string {
		return map[string]string{"pdp/policy/doc.go": doc, "pdp/policy/a_test.go": "package policy\n" + test}
	}
	catches(t, checkRules, []planted{
		{"no package", map[string]string{"pdp/engine/a.go": "package engine"}, ""},
		{"both cited", with("// R1\nfunc TestR2Works() {}"), ""},
		{"in strings", with(`var _ = []string{"R1", "R1/R2"}`), ""},
		{"one not", with("// R1 and R12"), "R2 of pdp/policy/doc.go"},
		{"other letters", with("// R1 ERR2"), "R2 of"},
		{"the protocol's number", with("// R1, PROTOCOL.md R2"), "R2 of"},
		{"several of the protocol's", with("// R1; PROTOCOL R4, R2 and R6"), "R2 of"},
		{"cited elsewhere", map[string]string{"pdp/policy/doc.go": doc, "pdp/policy/a_test.go": "package policy // R1", "pdp/engine/a_test.go": "package engine // R2"}, "R2 of"},
		{"cited in code only", map[string]string{"pdp/policy/doc.go": doc, "pdp/policy/a.go": "package policy // R2", "pdp/policy/a_test.go": "package policy // R1"}, "R2 of"},
		{"no rules", map[string]string{"internal/lease/doc.go": "package lease"}, "lists no rules"},
		{"no doc.go", map[string]string{"internal/lease/a.go": "package lease"}, "lists no rules"},
		{"a gap", map[string]string{"internal/lease/doc.go": "//\tL1  one\n//\tL3  three\npackage lease", "internal/lease/a_test.go": "package lease // L1 L2 L3"}, "L3 stands where L2 should"},
		{"lease", map[string]string{"internal/lease/doc.go": "//\tL1  one\npackage lease", "internal/lease/a_test.go": "package lease // R1"}, "L1 of"},
	})
}
