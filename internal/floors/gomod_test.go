package floors

import (
	"fmt"
	"strings"
	"testing"
)

// directModules is the most that go.mod may require directly. Three of them are one thing:
// etcd's client, the module that its errors and values are in, and the logger that it wants.
const directModules = 29

// checkGoMod wants no replace (it would hold for us and not for who imports
// sidecar/pep), few direct dependencies, and behind each, or on the line above
// it, why it is there.
func checkGoMod(tr *tree) (complaints []string) {
	direct, block, above := 0, "", false
	for line := range strings.Lines(tr.gomod) {
		code, comment, _ := strings.Cut(line, "//")
		code, comment = strings.TrimSpace(code), strings.TrimSpace(comment)
		verb, rest, _ := strings.Cut(code, " ")
		switch {
		case code == "":
			above = comment != ""
			continue
		case code == ")":
			block = ""
		case rest == "(":
			block = verb
		default:
			if block != "" {
				verb, rest = block, code
			}
			if verb == "replace" {
				complaints = append(complaints, "go.mod replaces "+rest)
			}
			if verb == "require" && comment != "indirect" && !strings.HasPrefix(comment, "indirect;") {
				direct++
				if comment == "" && !above {
					complaints = append(complaints, fmt.Sprintf("go.mod requires %s and does not say why: a comment behind it, in one line", rest))
				}
			}
		}
		above = false
	}
	if direct > directModules {
		complaints = append(complaints, fmt.Sprintf("go.mod requires %d modules directly, more than %d", direct, directModules))
	}
	return complaints
}

func TestGoModCatches(t *testing.T) {
	mod := func(lines string) map[string]string {
		return map[string]string{"go.mod": "module x\n\ngo 1.26.0\n\ntool (\n\tx.org/cmd\n)\n\n" + lines}
	}
	catches(t, checkGoMod, []planted{
		{"a reason behind", mod("require (\n\tx.org/a v1.0.0 // words\n)"), ""},
		{"a reason above", mod("require (\n\t// words\n\tx.org/a v1.0.0\n)"), ""},
		{"no reason", mod("require (\n\tx.org/a v1.0.0 // words\n\tx.org/b v1.0.0\n)"), "x.org/b v1.0.0"},
		{"no reason, alone", mod("require x.org/b v1.0.0"), "x.org/b v1.0.0"},
		{"the reason of another", mod("require (\n\t// words\n\tx.org/a v1.0.0\n\tx.org/b v1.0.0\n)"), "x.org/b"},
		{"indirect", mod("require x.org/b v1.0.0 // indirect"), ""},
		{"replace", mod("replace x.org/b => ../b"), "replaces x.org/b"},
		{"replace in a block", mod("replace (\n\tx.org/b => ../b // for now\n)"), "replaces x.org/b"},
		{"29", mod("require (\n" + strings.Repeat("\tx.org/a v1 // w\n", 29) + ")"), ""},
		{"30", mod("require (\n" + strings.Repeat("\tx.org/a v1 // w\n", 30) + ")"), "30 modules"},
	})
}
