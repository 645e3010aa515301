package floors

import (
	"go/ast"
	"testing"
)

// checkPure finds what an import line does not show: package time is allowed
// in the pure packages for its types, and its clock and timers are not; nor is
// a goroutine.
func checkPure(tr *tree) (complaints []string) {
	for _, f := range tr.files {
		if f.test || !withinAny(f.pkg, []string{"pdp/policy", "internal/lease", "sidecar/route"}) {
			continue
		}
		clock := ""
		for _, i := range f.imports {
			switch {
			case i.path == "time" && i.name == ".":
				complaints = append(complaints, tr.at(i.pos, "%s: import time by its name, so that its clock can be seen", f.pkg))
			case i.path == "time" && i.name != "":
				clock = i.name
			case i.path == "time":
				clock = "time"
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				complaints = append(complaints, tr.at(n.Pos(), "%s starts a goroutine: the shell around it does the waiting", f.pkg))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && clock != "" && x.Name == clock && readsClock(n.Sel.Name) {
					complaints = append(complaints, tr.at(n.Pos(), "%s uses time.%s: the time is an argument", f.pkg, n.Sel.Name))
				}
			}
			return true
		})
	}
	return complaints
}

func readsClock(name string) bool {
	switch name {
	case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker":
		return true
	}
	return false
}

func TestPureCatches(t *testing.T) {
	body := func(name, imports, stmt string) map[string]string {
		return map[string]string{name: "package p\nimport " + imports + "\nfunc f() {\n" + stmt + "\n}\n"}
	}
	catches(t, checkPure, []planted{
		{"now", body("pdp/policy/a.go", `"time"`, "_ = time.Now()"), "pdp/policy/a.go:4: pdp/policy uses time.Now"},
		{"now as a value", body("internal/lease/a.go", `"time"`, "now := time.Now; now()"), "uses time.Now"},
		{"now by another name", body("internal/lease/a.go", `clock "time"`, "_ = clock.Since(clock.Time{})"), "uses time.Since"},
		{"dot import", body("internal/lease/a.go", `. "time"`, "_ = Now()"), "import time by its name"},
		{"timer", body("sidecar/route/a.go", `"time"`, "_ = time.NewTimer(time.Second)"), "uses time.NewTimer"},
		{"types", body("pdp/policy/a.go", `"time"`, "_ = time.Time{}.Add(time.Second)"), ""},
		{"not the package", body("pdp/policy/a.go", `"strings"`, "time.Now()"), ""},
		{"goroutine", body("internal/lease/a.go", `"time"`, "go f()"), "starts a goroutine"},
		{"a test", body("pdp/policy/a_test.go", `"time"`, "_ = time.Now()"), ""},
		{"elsewhere", body("pdp/engine/a.go", `"time"`, "go f(); _ = time.Now()"), ""},
	})
}
