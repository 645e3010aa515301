package floors

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

// The most lines a file and a function may have. A function of a test may be
// as long as its file.
const (
	fileLines     = 600
	functionLines = 80
)

// checkSizes counts whole lines, comments and blanks included; a function from
// the word func to its closing brace.
func checkSizes(tr *tree) (complaints []string) {
	for _, f := range tr.files {
		if f.lines > fileLines {
			complaints = append(complaints, fmt.Sprintf("%s has %d lines, more than %d: it holds more than one idea", f.path, f.lines, fileLines))
		}
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			name := "a function literal"
			switch n := n.(type) {
			case *ast.FuncDecl:
				name = n.Name.Name
			case *ast.FuncLit:
			default:
				return true
			}
			lines := tr.fset.Position(n.End()).Line - tr.fset.Position(n.Pos()).Line + 1
			if lines <= functionLines {
				return true
			}
			complaints = append(complaints, tr.at(n.Pos(), "%s has %d lines, more than %d", name, lines, functionLines))
			return false // what is inside is the same finding
		})
	}
	return complaints
}

// checkInit wants no init function: what runs before main cannot be ordered,
// tested or refused, and makes importing a package an act.
func checkInit(tr *tree) (complaints []string) {
	for _, f := range tr.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				complaints = append(complaints, tr.at(fn.Pos(), "func init: let the caller pass what it would set up"))
			}
		}
	}
	return complaints
}

func TestSizesCatches(t *testing.T) {
	fill := func(head string, n int, tail string) string { return head + strings.Repeat("\n", n) + tail }
	catches(t, checkSizes, []planted{
		{"file of 600", map[string]string{"x/a.go": fill("package x", 600, "")}, ""},
		{"file of 601", map[string]string{"x/a.go": fill("package x", 601, "")}, "601 lines"},
		{"a test of 601", map[string]string{"x/a_test.go": fill("package x", 601, "")}, "601 lines"},
		{"function of 80", map[string]string{"x/a.go": fill("package x\nfunc f() {", 79, "}")}, ""},
		{"function of 81", map[string]string{"x/a.go": fill("package x\nfunc f() {", 80, "}")}, "x/a.go:2: f has 81 lines"},
		{"its comment is free", map[string]string{"x/a.go": fill("package x\n// f is.\n// It is.\nfunc f() {", 79, "}")}, ""},
		{"in a test", map[string]string{"x/a_test.go": fill("package x\nfunc f() {", 200, "}")}, ""},
		{"a literal inside", map[string]string{"x/a.go": fill("package x\nfunc f() { g(func() {", 80, "}) }")}, "f has 81"},
		{"a literal outside", map[string]string{"x/a.go": fill("package x\nvar f = func() {", 80, "}")}, "literal has 81"},
	})
}

func TestInitCatches(t *testing.T) {
	catches(t, checkInit, []planted{
		{"init", map[string]string{"x/a.go": "package x\nfunc init() {}"}, "x/a.go:2: func init"},
		{"init in a test", map[string]string{"x/a_test.go": "package x\nfunc init() {}"}, "func init"},
		{"a method", map[string]string{"x/a.go": "package x\ntype t int\nfunc (t) init() {}"}, ""},
	})
}
