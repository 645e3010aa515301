package floors

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/jobward/jobward"

// tree is the source of the module as the checks see it.
type tree struct {
	fset  *token.FileSet
	files []*file // sorted by path
	gomod string
}

// file is one Go file outside gen/.
type file struct {
	path    string // from the root of the module, with slashes
	pkg     string // its folder, likewise; "." is the root
	test    bool   // a _test.go file
	lines   int
	source  string
	ast     *ast.File
	imports []imported
}

type imported struct {
	path string
	name string // the local name if the file gives one, else ""
	pos  token.Pos
}

// load reads the tree that this test is part of.
func load(t *testing.T) *tree {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() && rel != "." && (rel == "gen" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")) {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() && (rel == "go.mod" || strings.HasSuffix(rel, ".go")) {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			sources[rel] = string(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sources["go.mod"] == "" || sources["internal/floors/tree_test.go"] == "" {
		t.Fatalf("%s is not the root of the module: it must hold go.mod and this test", root)
	}
	return parse(t, sources)
}

// parse makes a tree of sources by path. The path go.mod is what it says.
func parse(t *testing.T, sources map[string]string) *tree {
	t.Helper()
	tr := &tree{fset: token.NewFileSet(), gomod: sources["go.mod"]}
	for _, name := range sorted(sources) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		f := &file{path: name, pkg: path.Dir(name), source: sources[name]}
		f.test = strings.HasSuffix(name, "_test.go")
		f.lines = strings.Count(f.source, "\n")
		var err error
		f.ast, err = parser.ParseFile(tr.fset, name, f.source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range f.ast.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			i := imported{path: p, pos: spec.Pos()}
			if spec.Name != nil {
				i.name = spec.Name.Name
			}
			f.imports = append(f.imports, i)
		}
		tr.files = append(tr.files, f)
	}
	return tr
}

// at is a complaint about a place in the source.
func (tr *tree) at(pos token.Pos, format string, args ...any) string {
	p := tr.fset.Position(pos)
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

// within reports whether the import path or folder p is root or lies below it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

func withinAny(p string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(p, root) })
}
