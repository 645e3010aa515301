package floors

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// documented is the least share of exported names with a comment, in percent.
const documented = 95

// checkPackageComments wants every package to say what its one idea is. A
// program is called after its folder, as its command will be.
func checkPackageComments(tr *tree) (complaints []string) {
	type state struct {
		first *file
		want  string
		found bool
	}
	pkgs := map[string]*state{}
	for _, f := range tr.files {
		if f.test && strings.HasSuffix(f.ast.Name.Name, "_test") {
			continue // the outside half of a package
		}
		s := pkgs[f.pkg]
		if s == nil {
			s = &state{first: f, want: "Package " + f.ast.Name.Name}
			if f.ast.Name.Name == "main" {
				s.want = "Command " + path.Base(f.pkg)
			}
			pkgs[f.pkg] = s
		}
		text := f.ast.Doc.Text()
		s.found = s.found || text == s.want+"\n" || strings.HasPrefix(text, s.want+" ") || strings.HasPrefix(text, s.want+"\n")
	}
	for _, pkg := range sorted(pkgs) {
		if s := pkgs[pkg]; !s.found {
			complaints = append(complaints, tr.at(s.first.ast.Package, "no file of %s has a comment that begins with %q", pkg, s.want))
		}
	}
	return complaints
}

// checkExported counts exported types, functions, methods, interface methods,
// constants and variables outside tests. A comment over a group of constants or
// variables speaks for all of them. Fields are not counted: the comment of their
// struct, or a help text in their tag, often says it better.
func checkExported(tr *tree) (complaints []string) {
	total := 0
	var missing []string
	for _, f := range tr.files {
		if f.test {
			continue
		}
		count := func(name *ast.Ident, qualifier string, ok bool) {
			if !name.IsExported() {
				return
			}
			total++
			if !ok {
				missing = append(missing, tr.at(name.Pos(), "%s%s has no comment", qualifier, name.Name))
			}
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				recv := receiver(d)
				if recv == "" || ast.IsExported(recv) {
					count(d.Name, strings.TrimPrefix(recv+".", "."), d.Doc != nil)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					countSpec(d, spec, count)
				}
			}
		}
	}
	if total > 0 && (total-len(missing))*100 < total*documented {
		complaints = append(complaints, fmt.Sprintf("%d of %d exported names have no comment, more than %d%%:\n\t%s",
			len(missing), total, 100-documented, strings.Join(missing, "\n\t")))
	}
	return complaints
}

func countSpec(d *ast.GenDecl, spec ast.Spec, count func(*ast.Ident, string, bool)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			count(name, "", s.Doc != nil || s.Comment != nil || d.Doc != nil)
		}
	case *ast.TypeSpec:
		alone := d.Lparen == token.NoPos
		count(s.Name, "", s.Doc != nil || s.Comment != nil || alone && d.Doc != nil)
		if i, ok := s.Type.(*ast.InterfaceType); ok && s.Name.IsExported() {
			for _, m := range i.Methods.List {
				for _, name := range m.Names {
					count(name, s.Name.Name+".", m.Doc != nil || m.Comment != nil)
				}
			}
		}
	}
}

// receiver is the name of the type that d is a method of, or "".
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	for t := d.Recv.List[0].Type; ; {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func TestPackageCommentsCatches(t *testing.T) {
	catches(t, checkPackageComments, []planted{
		{"none", map[string]string{"a/x/a.go": "package x"}, `"Package x"`},
		{"another name", map[string]string{"a/x/a.go": "// Package xy is.\npackage x"}, `"Package x"`},
		{"not the beginning", map[string]string{"a/x/a.go": "// The Package x is.\npackage x"}, `"Package x"`},
		{"in one of the files", map[string]string{"a/x/a.go": "package x", "a/x/doc.go": "// Package x is.\npackage x"}, ""},
		{"only in a test from outside", map[string]string{"a/x/a.go": "package x", "a/x/a_test.go": "// Package x is.\npackage x_test"}, `"Package x"`},
		{"a package of tests", map[string]string{"a/x/a_test.go": "package x"}, `"Package x"`},
		{"a program", map[string]string{"a/prog/main.go": "// Command prog runs.\npackage main"}, ""},
		{"a program without", map[string]string{"a/prog/main.go": "// Package main runs.\npackage main"}, `"Command prog"`},
		{"a directive is no comment", map[string]string{"a/x/a.go": "//go:build linux\n\npackage x"}, `"Package x"`},
	})
}

func TestExportedCatches(t *testing.T) {
	one := func(decl string) map[string]string { return map[string]string{"a/x/a.go": "package x\n" + decl} }
	twenty := strings.Repeat("// F is.\nfunc F() {}\n", 19)
	catches(t, checkExported, []planted{
		{"function", one("func F() {}"), "a/x/a.go:2: F has no comment"},
		{"method", one("// T is.\ntype T int\nfunc (t *T) M() {}"), "T.M has no comment"},
		{"method of a generic type", one("// T is.\ntype T[A any] int\nfunc (t T[A]) M() {}"), "T.M has no comment"},
		{"method of an unexported type", one("type t int\nfunc (t) M() {}"), ""},
		{"type", one("type T int"), "T has no comment"},
		{"type in a group", one("// Types.\ntype (\n\tT int\n)"), "T has no comment"},
		{"interface method", one("// T is.\ntype T interface {\n\tM()\n}"), "T.M has no comment"},
		{"interface method with a comment", one("// T is.\ntype T interface {\n\t// M does.\n\tM()\n}"), ""},
		{"constants in a group", one("// Kinds.\nconst (\n\tA = 1\n\tB = 2\n)"), ""},
		{"constant with a comment behind", one("const A = 1 // one"), ""},
		{"variable", one("var A = 1"), "A has no comment"},
		{"unexported", one("func f() {}\nvar a = 1\ntype t int"), ""},
		{"a test", map[string]string{"a/x/a_test.go": "package x\nfunc TestF() {}"}, ""},
		{"one of twenty", one(twenty + "func G() {}"), ""},
		{"two of twenty-one", one(twenty + "func G() {}\nfunc H() {}"), "2 of 21"},
	})
}
